//! From file to file without a detour through the caller's memory.

use super::{files, position, uninterrupted, wide};
use crate::execute::Answer;
use io_core::{AlignedBuf, RawFile, RawOp, errno};
use std::ffi::c_void;

/// Bytes that the detour carries at once.
const DETOUR: usize = 256 << 10;

/// copy_file_range(2) where there is one, and by reading and writing where it cannot (between file systems before Linux 5.19,
/// or from files without a size). May copy less than was asked; 0 is the end of the source.
pub(crate) fn copy_range(from: RawFile, from_offset: u64, to: RawFile, to_offset: u64, len: u32) -> Answer {
    let len = len.min(RawOp::MAX_TRANSFER) as usize;
    let (source, target) = (position(from_offset)?, position(to_offset)?);
    match in_kernel(from, source, to, target, len) {
        Some(answer) => answer,
        None => detour(from, source, to, target, len),
    }
}

/// `None`: the kernel cannot, or says that the source ends here and may be wrong about it.
#[cfg(target_os = "linux")]
fn in_kernel(from: RawFile, source: i64, to: RawFile, target: i64, len: usize) -> Option<Answer> {
    let answer = uninterrupted(|| {
        let (mut source, mut target): (i64, i64) = (source, target);
        // SAFETY: the two offsets are ours and 64 bits wide, as copy_file_range(2) wants them.
        unsafe {
            libc::syscall(libc::SYS_copy_file_range, from.fd(), &mut source, to.fd(), &mut target, len, 0) as isize
        }
    });
    match answer {
        // Two unlike files, or no such call. The detour would garble two ranges of one file that overlap, so they are refused
        // as the kernel itself refuses them.
        Err(errno::EXDEV | errno::ENOSYS | errno::EOPNOTSUPP | errno::EINVAL) => {
            overlap(from, source, to, target, len).then_some(Err(errno::EINVAL))
        }
        Ok(0) if len > 0 => None,
        answer => Some(answer),
    }
}

#[cfg(not(target_os = "linux"))]
fn in_kernel(from: RawFile, source: wide::off_t, to: RawFile, target: wide::off_t, len: usize) -> Option<Answer> {
    overlap(from, source, to, target, len).then_some(Err(errno::EINVAL))
}

/// Whether the two ranges lie in one file and touch.
fn overlap(from: RawFile, source: wide::off_t, to: RawFile, target: wide::off_t, len: usize) -> bool {
    let same = match (files::stat_of(from), files::stat_of(to)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        // The detour will say what is wrong with them.
        _ => false,
    };
    same && source.abs_diff(target) < len as u64
}

/// Copies through memory. Aligned, so that files opened for direct I/O take it.
fn detour(from: RawFile, mut source: wide::off_t, to: RawFile, mut target: wide::off_t, len: usize) -> Answer {
    let mut buf = AlignedBuf::zeroed(len.min(DETOUR));
    let mut done = 0;
    while done < len {
        let want = (len - done).min(buf.len());
        match carry(from, source, to, target, &mut buf[..want]) {
            Ok(0) => break,
            Ok(moved) => {
                done += moved;
                source += moved as wide::off_t;
                target += moved as wide::off_t;
            }
            // What is copied is copied; the error comes again with the rest.
            Err(_) if done > 0 => break,
            Err(code) => return Err(code),
        }
    }
    Ok(done as i32)
}

/// Reads once and writes all of it. Answers what was written, or an error if that is nothing.
fn carry(from: RawFile, source: wide::off_t, to: RawFile, target: wide::off_t, buf: &mut [u8]) -> Answer<usize> {
    // SAFETY: the buffer is ours.
    let got =
        uninterrupted(|| unsafe { wide::pread(from.fd(), buf.as_mut_ptr().cast::<c_void>(), buf.len(), source) })?;
    let got = &buf[..got as usize];
    let mut put = 0;
    while put < got.len() {
        let left = &got[put..];
        let at = target + put as wide::off_t;
        // SAFETY: the buffer is ours.
        match uninterrupted(|| unsafe { wide::pwrite(to.fd(), left.as_ptr().cast::<c_void>(), left.len(), at) }) {
            Ok(moved) if moved > 0 => put += moved as usize,
            Ok(_) if put > 0 => break,
            Ok(_) => return Err(errno::EIO),
            Err(_) if put > 0 => break,
            Err(code) => return Err(code),
        }
    }
    Ok(put)
}

/// ioctl_ficlonerange(2): both files refer to the same blocks until one of them is written. `len` 0: to the end of the source.
#[cfg(target_os = "linux")]
pub(crate) fn clone_range(from: RawFile, from_offset: u64, to: RawFile, to_offset: u64, len: u64) -> Answer<()> {
    let range = libc::file_clone_range {
        src_fd: i64::from(from.fd()),
        src_offset: from_offset,
        src_length: len,
        dest_offset: to_offset,
    };
    // SAFETY: the request reads one structure at the address.
    match super::check(unsafe { libc::ioctl(to.fd(), libc::FICLONERANGE, &range) }) {
        Ok(_) => Ok(()),
        // A file system that knows no such request says so in its own way.
        Err(libc::ENOTTY) => Err(errno::EOPNOTSUPP),
        Err(code) => Err(code),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn clone_range(_from: RawFile, _from_at: u64, _to: RawFile, _to_at: u64, _len: u64) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}
