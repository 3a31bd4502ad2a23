//! A kernel AIO context: set up, used, destroyed; and what to tell the user when there is none to be had.

use crate::ring::{Event, UserRing};
use io_core::{DriverName, Unavailable};
use libaio_sys::{AioRing, aio_context_t, io_event, iocb};
use std::{fs, io, mem::MaybeUninit, process, time::Duration};

/// Requests beside the operations: the poll that ends a sleep.
const OWN_REQUESTS: u32 = 1;
/// Where `fs.aio-max-nr` is nearly used up, a driver may shrink down to this depth, and no further.
const LEAST_DEPTH: u32 = 8;
/// Most events that one system call brings; more than a batch usually has room for.
const EVENTS_PER_CALL: usize = 128;

/// A context of the kernel's, with its ring.
#[derive(Debug)]
pub(crate) struct Context {
    id: aio_context_t,
    /// `None`: the ring has an unknown layout, or the user wants system calls.
    ring: Option<UserRing>,
    /// Where system calls put events.
    events: Box<[MaybeUninit<io_event>]>,
    /// The process that may use and destroy it; in a forked child the number may stand for somebody else's context.
    pid: u32,
    destroyed: bool,
}

// SAFETY: the ring's pointers lead to a mapping of the process that this value alone reads (I6); contexts do not care which
// thread uses them.
unsafe impl Send for Context {}

impl Context {
    /// Sets up a context for `depth` operations, or for fewer if the machine has no more to give; the second is how many.
    pub(crate) fn setup(depth: u32, user_ring: bool) -> Result<(Context, u32), Unavailable> {
        let mut granted = depth;
        let id = loop {
            // SAFETY: nobody else learns the ring's address; Drop destroys the context.
            match unsafe { libaio_sys::io_setup(granted + OWN_REQUESTS) } {
                Ok(id) => break id,
                Err(libc::EAGAIN | libc::ENOMEM) if granted > LEAST_DEPTH => granted = (granted / 2).max(LEAST_DEPTH),
                Err(code) => return Err(setup_failed(granted + OWN_REQUESTS, code)),
            }
        };
        // SAFETY: just set up, and destroyed by Drop, when the ring is not used any more.
        let known = unsafe { UserRing::of(id) };
        keep_from_children(id, known.as_ref());
        let room = (granted + OWN_REQUESTS).min(EVENTS_PER_CALL as u32) as usize;
        let events = vec![MaybeUninit::uninit(); room].into_boxed_slice();
        let ring = known.filter(|_| user_ring);
        Ok((Context { id, ring, events, pid: process::id(), destroyed: false }, granted))
    }

    /// Submits iocbs in order; how many the kernel took, or why it did not take the first.
    ///
    /// # Safety
    /// As [`libaio_sys::io_submit`].
    pub(crate) unsafe fn submit(&self, iocbs: &[*mut iocb]) -> Result<usize, i32> {
        // SAFETY: the context lives; the rest is passed on.
        unsafe { libaio_sys::io_submit(self.id, iocbs) }
    }

    /// Asks for the cancellation of an operation in flight. There is no answer: its completion comes through the ring.
    ///
    /// # Safety
    /// `iocb` is one of an operation in flight.
    pub(crate) unsafe fn cancel(&self, iocb: *mut iocb) {
        let mut unused = io_event { data: 0, obj: 0, res: 0, res2: 0 };
        // EINVAL for what cannot be cancelled, which is nearly everything; EINPROGRESS for success.
        // SAFETY: the context lives, `unused` outlives the call, and the iocb is there (the caller's promise).
        let _ = unsafe { libaio_sys::io_cancel(self.id, iocb, &mut unused) };
    }

    /// True if completions are there, as far as that is known without a system call.
    pub(crate) fn has_events(&self) -> Option<bool> {
        self.ring.as_ref().map(|ring| !ring.is_empty())
    }

    /// Takes what is there, as long as `take` says that it has room for another.
    ///
    /// # Errors
    /// Of io_getevents, where that is the way.
    pub(crate) fn drain(&mut self, room: usize, mut take: impl FnMut(Event) -> bool) -> Result<(), i32> {
        if let Some(ring) = &mut self.ring {
            ring.drain(take);
            return Ok(());
        }
        let mut left = room;
        while left > 0 {
            let most = left.min(self.events.len());
            match self.wait(0, most, Some(Duration::ZERO)) {
                Ok(events) => {
                    let got = events.len();
                    let more = events.iter().fold(true, |_, event| take(Event::from(event)));
                    if !more || got < most {
                        return Ok(());
                    }
                    left -= got;
                }
                Err(libc::EINTR) => {}
                Err(code) => return Err(code),
            }
        }
        Ok(())
    }

    /// Sleeps until there is an event, at most `timeout`, and takes at most `room` (and as many as one call brings).
    ///
    /// # Errors
    /// Of io_getevents, EINTR included.
    pub(crate) fn sleep(&mut self, room: usize, timeout: Option<Duration>) -> Result<&[io_event], i32> {
        self.wait(1, room, timeout)
    }

    fn wait(&mut self, min: usize, room: usize, timeout: Option<Duration>) -> Result<&[io_event], i32> {
        let most = room.min(self.events.len());
        let events = &mut self.events[..most];
        // SAFETY: the context lives, and `&mut self` is the ring's only reader.
        let n = unsafe { libaio_sys::io_getevents(self.id, min, events, timeout)? };
        // SAFETY: the call has initialized the first `n`.
        Ok(unsafe { &*(&raw const events[..n] as *const [io_event]) })
    }

    /// Destroys the context, after waiting for what is in flight. `false`: it is still there, and the kernel may come back to
    /// the iocbs.
    pub(crate) fn destroy(&mut self) -> bool {
        if self.destroyed {
            return true;
        }
        if process::id() != self.pid {
            // A forked child: neither the context nor its number is ours here.
            return true;
        }
        self.ring = None;
        // SAFETY: the ring reader is gone, and `&mut self` is the last user.
        self.destroyed = unsafe { libaio_sys::io_destroy(self.id) }.is_ok();
        self.destroyed
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.destroy();
    }
}

/// Takes the ring out of what a forked child inherits. The mapping is shared: a child that moved `head` took its parent's
/// completions away (tried). Where the layout is unknown, the page with the header is what counts.
fn keep_from_children(id: aio_context_t, ring: Option<&UserRing>) {
    // SAFETY: a question about a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let len = ring.map_or(page, |ring| ring.mapped_len(page));
    // Refused or not, nothing here depends on it: it only makes mistakes in a child harmless.
    // SAFETY: the range is the ring's own mapping; the advice changes nothing in this process.
    unsafe { libc::madvise(AioRing::of(id).cast_mut().cast(), len, libc::MADV_DONTFORK) };
}

/// True if the descriptor is a directory's.
pub(crate) fn is_directory(fd: i32) -> bool {
    let mut answer = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the call fills the value, which is valid as zeros, too.
    let answer = unsafe {
        libc::fstat(fd, answer.as_mut_ptr());
        answer.assume_init()
    };
    answer.st_mode & libc::S_IFMT == libc::S_IFDIR
}

/// Requests set up on the whole machine, and how many there may be.
fn machine_wide() -> Option<(u64, u64)> {
    let read = |name| fs::read_to_string(name).ok()?.trim().parse().ok();
    Some((read("/proc/sys/fs/aio-nr")?, read("/proc/sys/fs/aio-max-nr")?))
}

fn setup_failed(requests: u32, code: i32) -> Unavailable {
    let error = io::Error::from_raw_os_error(code);
    if code == libc::EAGAIN {
        let mut unavailable = Unavailable::from_io(DriverName::Aio, &format!("io_setup({requests})"), &error, "");
        match machine_wide() {
            Some((used, most)) => {
                unavailable.reason += &format!(", fs.aio-nr is {used} of fs.aio-max-nr {most}");
                unavailable.remedy = format!("sysctl -w fs.aio-max-nr={}", (2 * most).max(1 << 20));
            }
            None => unavailable.remedy = "raise the sysctl fs.aio-max-nr".to_owned(),
        }
        return unavailable;
    }
    refused(&format!("io_setup({requests})"), code)
}

/// Why `call` was refused, and what would change it.
pub(crate) fn refused(call: &str, code: i32) -> Unavailable {
    let remedy = match code {
        libc::ENOSYS | libc::EPERM | libc::EACCES => {
            "allow io_setup, io_submit, io_getevents, io_cancel and io_destroy in the seccomp profile, \
             on a kernel with CONFIG_AIO; or use the driver threadpool"
        }
        libc::ENOMEM => "ask for less depth, or leave the machine more memory",
        libc::EMFILE => "raise RLIMIT_NOFILE (ulimit -n), or close files",
        libc::ENFILE => "raise the sysctl fs.file-max",
        libc::EINVAL if call.starts_with("io_setup") => "ask for less depth",
        libc::EINVAL => "use Linux 4.19 or newer",
        _ => "use the driver threadpool",
    };
    Unavailable::from_io(DriverName::Aio, call, &io::Error::from_raw_os_error(code), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_numbers_are_readable() {
        let (used, most) = machine_wide().expect("/proc/sys/fs");
        assert!(used <= most || most == 0, "{used} of {most}");
    }

    #[test]
    fn a_refusal_names_cause_and_remedy() {
        let line = setup_failed(257, libc::EAGAIN).to_string();
        assert!(line.contains("io_setup(257)") && line.contains("of fs.aio-max-nr"), "{line}");
        assert!(line.contains("sysctl -w fs.aio-max-nr="), "{line}");
        for code in [libc::ENOSYS, libc::EPERM] {
            let unavailable = setup_failed(9, code);
            assert!(unavailable.remedy.contains("seccomp"), "{unavailable}");
            assert_eq!(unavailable.code, Some(code));
        }
        assert!(refused("eventfd", libc::EMFILE).remedy.contains("RLIMIT_NOFILE"));
    }

    #[test]
    fn directories_are_told_from_files() {
        use std::os::fd::AsRawFd;
        assert!(is_directory(fs::File::open("/").unwrap().as_raw_fd()));
        assert!(!is_directory(fs::File::open("/dev/null").unwrap().as_raw_fd()));
        assert!(!is_directory(-1));
    }
}
