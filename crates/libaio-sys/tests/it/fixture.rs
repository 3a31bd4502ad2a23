//! What the cases stand on: a context that is destroyed in the end, files that have no name, iocbs, aligned pages.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libaio_sys::{aio_context_t, io_event, iocb};

use crate::api::Api;

/// Longer than any of these operations takes; it ends a test that would otherwise hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A page for direct I/O.
#[repr(C, align(4096))]
#[derive(Clone)]
pub(crate) struct Page(pub(crate) [u8; 4096]);

/// A context of one implementation.
///
/// One at a time in the process: a destroyed context's value is free for the next one, so a case that asks what a
/// destroyed context answers would otherwise hit its neighbour's.
pub(crate) struct Context<'a> {
    pub(crate) api: &'a Api,
    pub(crate) id: aio_context_t,
    alive: bool,
    _alone: MutexGuard<'static, ()>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(api: &'a Api, nr_events: u32) -> Self {
        let alone = alone();
        // SAFETY: the ring is only touched as AioRing says, and Drop or `destroy` ends it.
        let id = unsafe { (api.io_setup)(nr_events) }.expect("io_setup");
        assert_ne!(id, 0);
        Context { api, id, alive: true, _alone: alone }
    }

    /// Submits iocbs whose buffers and files the calling case keeps until their completions.
    pub(crate) fn submit(&self, iocbs: &mut [&mut iocb]) -> Result<usize, i32> {
        let pointers: Vec<*mut iocb> = iocbs.iter_mut().map(|iocb| &raw mut **iocb).collect();
        // SAFETY: the context is alive, the pointers are to live iocbs; each case reaps what was accepted, or destroys
        // the context (which waits), before iocbs and buffers go.
        unsafe { (self.api.io_submit)(self.id, &pointers) }
    }

    /// Waits for exactly `n` completions, sorted by `data` because their order is nobody's promise.
    pub(crate) fn reap(&self, n: usize) -> Vec<io_event> {
        let mut events = Vec::new();
        while events.len() < n {
            let got = self.getevents(1, n - events.len(), Some(PATIENCE)).expect("io_getevents");
            assert!(!got.is_empty(), "{} of {n} completions after {PATIENCE:?}", events.len());
            events.extend(got);
        }
        assert!(self.getevents(0, 8, Some(Duration::ZERO)).expect("io_getevents").is_empty(), "a completion too many");
        events.sort_by_key(|event| event.data);
        events
    }

    pub(crate) fn getevents(&self, min: usize, room: usize, timeout: Option<Duration>) -> Result<Vec<io_event>, i32> {
        let mut events = vec![MaybeUninit::uninit(); room];
        // SAFETY: the context is alive.
        let n = unsafe { (self.api.io_getevents)(self.id, min, &mut events, timeout) }?;
        Ok(initialised(&events, n))
    }

    pub(crate) fn pgetevents(
        &self,
        min: usize,
        room: usize,
        timeout: Option<Duration>,
        mask: Option<&libc::sigset_t>,
    ) -> Result<Vec<io_event>, i32> {
        let mut events = vec![MaybeUninit::uninit(); room];
        // SAFETY: the context is alive.
        let n = unsafe { (self.api.io_pgetevents)(self.id, min, &mut events, timeout, mask) }?;
        Ok(initialised(&events, n))
    }

    pub(crate) fn destroy(&mut self) -> Result<(), i32> {
        self.alive = false;
        // SAFETY: nobody else has this context, and no other can have taken its value: contexts are one at a time.
        unsafe { (self.api.io_destroy)(self.id) }
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if self.alive {
            let destroyed = self.destroy();
            if !std::thread::panicking() {
                assert_eq!(destroyed, Ok(()));
            }
        }
    }
}

/// Keeps every other case out; see [`Context`].
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A failed case says so itself; the others go on.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn initialised(events: &[MaybeUninit<io_event>], n: usize) -> Vec<io_event> {
    // SAFETY: the call that returned n has written the first n events.
    events[..n].iter().map(|event| unsafe { event.assume_init() }).collect()
}

/// Describes one operation; everything not named is 0.
pub(crate) fn iocb(data: u64, opcode: u32, file: &impl AsRawFd, buf: u64, nbytes: u64, offset: i64) -> iocb {
    iocb {
        aio_data: data,
        aio_key: 0,
        aio_rw_flags: 0,
        aio_lio_opcode: opcode as u16,
        aio_reqprio: 0,
        aio_fildes: file.as_raw_fd() as u32,
        aio_buf: buf,
        aio_nbytes: nbytes,
        aio_offset: offset,
        aio_reserved2: 0,
        aio_flags: 0,
        aio_resfd: 0,
    }
}

pub(crate) fn address<T: ?Sized>(buf: &mut T) -> u64 {
    (&raw mut *buf).cast::<u8>().expose_provenance() as u64
}

/// Opens a file beside the test's binary that is gone when it is closed.
pub(crate) fn file() -> File {
    open(0).expect("a scratch file")
}

/// The same with O_DIRECT; `None`, and said so, on a file system that has none.
pub(crate) fn direct_file() -> Option<File> {
    match open(libc::O_DIRECT) {
        Ok(file) => Some(file),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            eprintln!("skipped: the file system of {} refuses O_DIRECT", env!("CARGO_TARGET_TMPDIR"));
            None
        }
        Err(error) => panic!("a scratch file: {error}"),
    }
}

fn open(flags: i32) -> io::Result<File> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("libaio-sys-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).custom_flags(flags).open(&path);
    // Where the file system refuses O_DIRECT, it may have created the file before it looked.
    let removed = std::fs::remove_file(&path);
    let file = file?;
    removed?;
    Ok(file)
}

pub(crate) fn eventfd() -> OwnedFd {
    // SAFETY: a call without memory; its result is checked and then owned here alone.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        assert!(fd >= 0, "eventfd: {}", io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    }
}
