//! Reads and writes: preadv2(2) where there are flags, pread(2) and its kin where there are none.

use super::{durable, position, uninterrupted, wide};
use crate::execute::Answer;
use io_core::{IoVec, RawFile, RawOp, RwFlags, errno};
use std::ffi::{c_int, c_void};

/// # Safety
/// `len` bytes at `buf` are writable and nobody else's until this returns.
pub(crate) unsafe fn read(file: RawFile, buf: *mut u8, len: u32, offset: u64, flags: RwFlags, ioprio: u16) -> Answer {
    let len = len.min(RawOp::MAX_TRANSFER) as usize;
    if !flags.is_empty() {
        // SAFETY: the piece is the caller's memory.
        return unsafe { read_vectored(file, &IoVec { base: buf, len }, 1, offset, flags, ioprio) };
    }
    let (fd, at) = (file.fd(), position(offset)?);
    let _priority = Priority::set(ioprio)?;
    // SAFETY: the caller lends `len` bytes.
    uninterrupted(|| unsafe { wide::pread(fd, buf.cast::<c_void>(), len, at) })
}

/// As [`read`] with `NOWAIT` and nothing else, without the detours of the general case.
///
/// # Safety
/// As [`read`].
#[inline]
pub(crate) unsafe fn read_now(file: RawFile, buf: *mut u8, len: u32, offset: u64) -> Answer {
    #[cfg(target_os = "linux")]
    {
        let piece = libc::iovec { iov_base: buf.cast(), iov_len: len.min(RawOp::MAX_TRANSFER) as usize };
        let (low, high) = (offset as libc::c_ulong, (offset >> 32) as libc::c_ulong);
        let flags = RwFlags::NOWAIT.bits();
        // SAFETY: the arguments are those of preadv2(2); the caller lends the memory, the piece is a local.
        let n = unsafe { libc::syscall(libc::SYS_preadv2, file.fd(), &raw const piece, 1, low, high, flags) };
        super::moved(n as isize)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, buf, len, offset);
        Err(errno::EOPNOTSUPP)
    }
}

/// # Safety
/// `len` bytes at `buf` are readable and do not change until this returns.
pub(crate) unsafe fn write(
    file: RawFile,
    buf: *const u8,
    len: u32,
    offset: u64,
    flags: RwFlags,
    ioprio: u16,
) -> Answer {
    let len = len.min(RawOp::MAX_TRANSFER) as usize;
    if !flags.is_empty() {
        // SAFETY: the piece is the caller's memory, and a write only reads it.
        return unsafe { write_vectored(file, &IoVec { base: buf.cast_mut(), len }, 1, offset, flags, ioprio) };
    }
    let (fd, at) = (file.fd(), position(offset)?);
    let _priority = Priority::set(ioprio)?;
    // SAFETY: the caller lends `len` bytes.
    uninterrupted(|| unsafe { wide::pwrite(fd, buf.cast::<c_void>(), len, at) })
}

/// # Safety
/// `count` pieces are readable at `iov`, and the memory they name is writable and nobody else's, until this returns.
pub(crate) unsafe fn read_vectored(
    file: RawFile,
    iov: *const IoVec,
    count: u32,
    offset: u64,
    flags: RwFlags,
    ioprio: u16,
) -> Answer {
    let (fd, at) = (file.fd(), position(offset)?);
    // SAFETY: the caller lends the pieces.
    let pieces = unsafe { Pieces::new(iov, count) };
    let _priority = Priority::set(ioprio)?;
    if !flags.is_empty() {
        // SAFETY: the pieces name the caller's memory.
        return unsafe { flagged_read(fd, &pieces, at, flags) };
    }
    // SAFETY: as above.
    uninterrupted(|| unsafe { wide::preadv(fd, pieces.start(), pieces.count(), at) })
}

/// # Safety
/// `count` pieces are readable at `iov`, and the memory they name is readable and does not change, until this returns.
pub(crate) unsafe fn write_vectored(
    file: RawFile,
    iov: *const IoVec,
    count: u32,
    offset: u64,
    flags: RwFlags,
    ioprio: u16,
) -> Answer {
    let (fd, at) = (file.fd(), position(offset)?);
    // SAFETY: the caller lends the pieces.
    let pieces = unsafe { Pieces::new(iov, count) };
    let _priority = Priority::set(ioprio)?;
    if !flags.is_empty() {
        // SAFETY: the pieces name the caller's memory.
        return unsafe { flagged_write(fd, &pieces, at, flags) };
    }
    // SAFETY: as above.
    uninterrupted(|| unsafe { wide::pwritev(fd, pieces.start(), pieces.count(), at) })
}

/// The pieces of a vectored transfer, at most as many and as long as one call takes.
///
/// Linux cuts a transfer at `MAX_TRANSFER` itself; the BSDs answer `EINVAL` above `INT_MAX`, so there the pieces are cut here.
struct Pieces {
    start: *const IoVec,
    count: u32,
    #[cfg(not(target_os = "linux"))]
    _cut: Vec<IoVec>,
}

impl Pieces {
    /// # Safety
    /// `count` pieces are readable at `iov` while the value lives.
    unsafe fn new(iov: *const IoVec, count: u32) -> Pieces {
        let count = count.min(RawOp::MAX_PIECES);
        #[cfg(target_os = "linux")]
        return Pieces { start: iov, count };
        #[cfg(not(target_os = "linux"))]
        {
            let mut room = RawOp::MAX_TRANSFER as usize;
            let mut cut = Vec::new();
            // SAFETY: the caller lends `count` pieces, of which there may be none.
            let pieces = if count == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(iov, count as usize) } };
            let total = pieces.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len));
            if total <= room {
                return Pieces { start: iov, count, _cut: cut };
            }
            for piece in pieces {
                let len = piece.len.min(room);
                cut.push(IoVec { base: piece.base, len });
                room -= len;
                if room == 0 {
                    break;
                }
            }
            Pieces { start: cut.as_ptr(), count: cut.len() as u32, _cut: cut }
        }
    }

    fn start(&self) -> *const libc::iovec {
        self.start.cast()
    }

    fn count(&self) -> c_int {
        self.count as c_int
    }
}

/// A write that is durable when it is done, where the kernel has no flag for that. If the sync fails, so does the operation:
/// what was moved is not durable, and that is what was asked for.
///
/// # Safety
/// As [`write_vectored`].
unsafe fn write_then_sync(fd: c_int, pieces: &Pieces, at: wide::off_t) -> Answer {
    // SAFETY: the caller lends the pieces and their memory.
    let moved = uninterrupted(|| unsafe { wide::pwritev(fd, pieces.start(), pieces.count(), at) })?;
    durable::sync_data(RawFile::new(i64::from(fd)))?;
    Ok(moved)
}

/// preadv2(2), Linux 4.6.
///
/// # Safety
/// As [`read_vectored`].
#[cfg(target_os = "linux")]
unsafe fn flagged_read(fd: c_int, pieces: &Pieces, at: wide::off_t, flags: RwFlags) -> Answer {
    // SAFETY: the caller lends the pieces and their memory.
    without_enosys(uninterrupted(|| unsafe { vectored2(libc::SYS_preadv2, fd, pieces, at, flags) }))
}

/// pwritev2(2), Linux 4.6. Where the system call or its DSYNC flag is missing (sandboxed kernels), a sync makes up for it.
///
/// # Safety
/// As [`write_vectored`].
#[cfg(target_os = "linux")]
unsafe fn flagged_write(fd: c_int, pieces: &Pieces, at: wide::off_t, flags: RwFlags) -> Answer {
    // SAFETY: the caller lends the pieces and their memory.
    let answer = without_enosys(uninterrupted(|| unsafe { vectored2(libc::SYS_pwritev2, fd, pieces, at, flags) }));
    if answer == Err(errno::EOPNOTSUPP) && flags == RwFlags::DSYNC {
        // SAFETY: as above.
        return unsafe { write_then_sync(fd, pieces, at) };
    }
    answer
}

/// # Safety
/// The pieces and their memory are the caller's.
#[cfg(target_os = "linux")]
unsafe fn vectored2(number: libc::c_long, fd: c_int, pieces: &Pieces, at: wide::off_t, flags: RwFlags) -> isize {
    // The offset goes in two words; where one word holds all of it, the kernel shifts the second one out.
    let (low, high) = (at as libc::c_ulong, (at as u64 >> 32) as libc::c_ulong);
    // SAFETY: the arguments are those of preadv2(2) and pwritev2(2); the caller lends the memory.
    unsafe { libc::syscall(number, fd, pieces.start(), pieces.count(), low, high, flags.bits()) as isize }
}

#[cfg(target_os = "linux")]
fn without_enosys(answer: Answer) -> Answer {
    answer.map_err(|code| if code == errno::ENOSYS { errno::EOPNOTSUPP } else { code })
}

/// A read has nothing to make durable; the other flags are Linux's.
///
/// # Safety
/// As [`read_vectored`].
#[cfg(not(target_os = "linux"))]
unsafe fn flagged_read(fd: c_int, pieces: &Pieces, at: wide::off_t, flags: RwFlags) -> Answer {
    if flags != RwFlags::DSYNC {
        return Err(errno::EOPNOTSUPP);
    }
    // SAFETY: the caller lends the pieces and their memory.
    uninterrupted(|| unsafe { wide::preadv(fd, pieces.start(), pieces.count(), at) })
}

/// # Safety
/// As [`write_vectored`].
#[cfg(not(target_os = "linux"))]
unsafe fn flagged_write(fd: c_int, pieces: &Pieces, at: wide::off_t, flags: RwFlags) -> Answer {
    if flags != RwFlags::DSYNC {
        return Err(errno::EOPNOTSUPP);
    }
    // SAFETY: the caller lends the pieces and their memory.
    unsafe { write_then_sync(fd, pieces, at) }
}

/// The I/O priority of one transfer: set on the calling thread, and set back when it is over (ioprio_set(2)).
#[cfg(target_os = "linux")]
struct Priority(Option<c_int>);

#[cfg(target_os = "linux")]
impl Priority {
    const WHO_PROCESS: c_int = 1;
    const THIS_THREAD: c_int = 0;

    /// 0 leaves the thread's priority as it is.
    fn set(ioprio: u16) -> Answer<Priority> {
        if ioprio == 0 {
            return Ok(Priority(None));
        }
        // SAFETY: a question about this thread; no memory is involved.
        let before = unsafe { libc::syscall(libc::SYS_ioprio_get, Self::WHO_PROCESS, Self::THIS_THREAD) };
        Self::apply(c_int::from(ioprio))?;
        Ok(Priority(Some(before.max(0) as c_int)))
    }

    fn apply(ioprio: c_int) -> Answer<()> {
        // SAFETY: changes this thread only; no memory is involved.
        let returned = unsafe { libc::syscall(libc::SYS_ioprio_set, Self::WHO_PROCESS, Self::THIS_THREAD, ioprio) };
        if returned == -1 { Err(super::last()) } else { Ok(()) }
    }
}

#[cfg(target_os = "linux")]
impl Drop for Priority {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            // What this thread had before, it may have again.
            let _ = Self::apply(before);
        }
    }
}

#[cfg(not(target_os = "linux"))]
struct Priority;

#[cfg(not(target_os = "linux"))]
impl Priority {
    fn set(_ioprio: u16) -> Answer<Priority> {
        Ok(Priority)
    }
}
