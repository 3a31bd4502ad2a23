//! Reads whose data is in memory, done on the caller's thread before anything else: `preadv2(RWF_NOWAIT)`.
//!
//! No ring can be faster than that for the page cache, and no thread is woken. It is for buffered files only: on `O_DIRECT` the call
//! waits for the device all the same (measured). Per inode the engine remembers how often it helped.

use crate::{hits, inode::Inode};
use io_core::{FileHandle, IoBufMut, errno};
#[cfg(target_os = "linux")]
use std::io;

/// Whether reads are tried at once here, and up to which size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtOnce {
    /// Largest read that is tried; 0: none.
    most: u32,
}

impl AtOnce {
    /// Tried up to `most` bytes, if this system does it right.
    pub(crate) fn up_to(most: u32) -> AtOnce {
        AtOnce { most: if most > 0 && works_here() { most } else { 0 } }
    }

    pub(crate) const NEVER: AtOnce = AtOnce { most: 0 };

    /// Reads into the buffer's capacity, if its data is in memory: all of it or nothing. A short answer is not taken at its word: it may
    /// be the end of the file, or of what is in memory, and some kernels call the second the first (Linux 5.9 and 5.10).
    #[inline]
    pub(crate) fn read_into<B: IoBufMut>(&self, file: &FileHandle, buf: &mut B, offset: u64) -> Option<usize> {
        let len = buf.capacity();
        let facts = file.facts();
        if len > self.most as usize || len == 0 || facts.direct || !facts.seekable {
            return None;
        }
        let at_once = &Inode::of(file).at_once;
        if !at_once.tries() {
            return None;
        }
        // SAFETY: the buffer is borrowed until the call returns, so its `len` bytes are valid, writable and nobody else's.
        let result = unsafe { io_threadpool::read_now(file.at().raw, buf.as_mut_ptr(), len as u32, offset) };
        if result != len as i32 {
            missed(at_once, result);
            return None;
        }
        at_once.note(true);
        // SAFETY: the call above has returned, and all of the `len` bytes were read.
        unsafe { buf.set_len(len) };
        Some(len)
    }
}

#[cold]
fn missed(at_once: &hits::AtOnce, result: i32) {
    match -result {
        errno::EOPNOTSUPP | errno::EINVAL | errno::ENOSYS => at_once.never(),
        errno::EAGAIN => at_once.note(false),
        _ => {}
    }
}

/// Asks the system once: a read that it says to have done must be what an ordinary read reads.
#[cfg(target_os = "linux")]
fn works_here() -> bool {
    static WORKS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *WORKS.get_or_init(|| {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        // tokio#3803: short answers in the middle of files.
        let denied = ["5.9.", "5.10."].iter().any(|bad| release.starts_with(bad));
        !denied && reads_the_same().unwrap_or(false)
    })
}

#[cfg(target_os = "linux")]
fn reads_the_same() -> io::Result<bool> {
    use std::os::{fd::AsRawFd, unix::fs::FileExt};
    let file = std::fs::File::open(std::env::current_exe()?)?;
    let (mut plain, mut same) = ([0u8; 4096], [0u8; 4096]);
    let n = file.read_at(&mut plain, 0)?;
    let raw = io_core::RawFile::new(i64::from(file.as_raw_fd()));
    // SAFETY: the array is this function's.
    let now = unsafe { io_threadpool::read_now(raw, same.as_mut_ptr(), 4096, 0) };
    // What is on another kind of file system than the files that matter may refuse; that is found out per file.
    let refused = [errno::EAGAIN, errno::EOPNOTSUPP].contains(&-now);
    Ok(refused || (now == n as i32 && plain == same))
}

#[cfg(not(target_os = "linux"))]
fn works_here() -> bool {
    false
}
