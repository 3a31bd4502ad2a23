//! Reads whose data is in memory, done on the caller's thread before anything else: `preadv2(RWF_NOWAIT)`.
//!
//! No ring can be faster than that for the page cache, and no thread is woken. It is for buffered files only: on `O_DIRECT` the call
//! waits for the device all the same (measured). Per inode the engine remembers how often it helped.

use crate::inode::Inode;
use io_core::{Op, OpKind, RawOp, RwFlags, errno};
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

    /// The read's whole answer, if its data is in memory. A short one is not taken at its word: it may be the end of the file, or of
    /// what is in memory, and some kernels call the second the first (Linux 5.9 and 5.10).
    #[inline]
    pub(crate) fn read(&self, op: &mut Op) -> Option<io::Result<usize>> {
        if self.most == 0 || op.kind() != OpKind::Read {
            return None;
        }
        let len = op.len();
        if len == 0 || len > u64::from(self.most) || !op.flags().is_empty() {
            return None;
        }
        let facts = op.file()?.facts();
        if facts.direct || !facts.seekable {
            return None;
        }
        if !Inode::of(op.file()?).at_once.tries() {
            return None;
        }
        let result = now(op);
        if i64::from(result) == len as i64 {
            Inode::of(op.file()?).at_once.note(true);
            // SAFETY: the call above has returned; it read all of `len` bytes into the operation's buffer.
            unsafe { op.settle(len, result) };
            return Some(Ok(len as usize));
        }
        match -result {
            errno::EOPNOTSUPP | errno::EINVAL | errno::ENOSYS => Inode::of(op.file()?).at_once.never(),
            errno::EAGAIN => Inode::of(op.file()?).at_once.note(false),
            _ => {}
        }
        None
    }
}

/// The same read with `RWF_NOWAIT`, by a call of the system on this thread.
#[inline]
fn now(op: &mut Op) -> i32 {
    let mut raw = op.raw(0, RawOp::MAX_TRANSFER);
    if let RawOp::Read { flags, .. } = &mut raw {
        *flags = RwFlags::NOWAIT;
    }
    // SAFETY: the operation is borrowed until the call returns, so its buffer and file stay where they are; nobody else has them.
    unsafe { io_threadpool::execute(&raw) }
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
    let file = io_threadpool::adopt(std::fs::File::open(std::env::current_exe()?)?)?;
    let read = |flags| {
        let mut op = Op::read(&file, vec![0u8; 4096], 0).with_flags(flags);
        let raw = op.raw(0, RawOp::MAX_TRANSFER);
        // SAFETY: as in `now`.
        let result = unsafe { io_threadpool::execute(&raw) };
        (result, op.into_buf::<Vec<u8>>().unwrap_or_default())
    };
    let (plain, bytes) = read(RwFlags::NONE);
    let (now, same) = read(RwFlags::NOWAIT);
    // What is on another kind of file system than the files that matter may refuse; that is found out per file.
    let refused = [errno::EAGAIN, errno::EOPNOTSUPP].contains(&-now);
    Ok(refused || (now == plain && bytes == same))
}

#[cfg(not(target_os = "linux"))]
fn works_here() -> bool {
    false
}
