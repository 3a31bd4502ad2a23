//! The operations on Unix: one file per theme, and what they share.

mod copy;
mod durable;
mod files;
mod locks;
mod metadata;
mod names;
mod space;
#[cfg(target_os = "linux")]
mod statx;
mod transfer;

pub(crate) use copy::{clone_range, copy_range};
pub(crate) use durable::{sync_all, sync_data, sync_dir, sync_range};
pub(crate) use files::{close, facts, is_direct, open};
pub(crate) use locks::{query_lock, try_lock, unlock};
pub(crate) use metadata::{stat_file, stat_fs, stat_path};
pub(crate) use names::{access, make_dir, read_dir, real_path, remove_dir, rename, set_permissions, unlink};
pub(crate) use space::{advise, allocate, punch_hole, truncate, write_hint, zero_range};
pub(crate) use transfer::{read, read_now, read_vectored, write, write_vectored};

use super::Answer;
use io_core::errno;
use std::{ffi::c_int, io};

/// The calls whose offsets are 64 bits wide everywhere: on 32-bit Linux that is not what the plain names give.
mod wide {
    #[cfg(not(target_os = "linux"))]
    pub(super) use libc::{flock, fstat, fstatfs, ftruncate, off_t, pread, preadv, pwrite, pwritev, stat, statfs};
    #[cfg(target_os = "linux")]
    pub(super) use libc::{
        flock64 as flock, fstat64 as fstat, fstatfs64 as fstatfs, ftruncate64 as ftruncate, off64_t as off_t,
        pread64 as pread, preadv64 as preadv, pwrite64 as pwrite, pwritev64 as pwritev, stat64 as stat,
        statfs64 as statfs,
    };
}

/// The code of the call that has just failed.
fn last() -> i32 {
    match io::Error::last_os_error().raw_os_error() {
        // Two numbers for one meaning on macOS; the floors above compare with one of them.
        #[cfg(target_vendor = "apple")]
        Some(libc::ENOTSUP) => errno::EOPNOTSUPP,
        Some(code) if code > 0 => code,
        _ => errno::EIO,
    }
}

/// The answer of a call that says -1 and sets errno.
fn check(returned: c_int) -> Answer<c_int> {
    if returned == -1 { Err(last()) } else { Ok(returned) }
}

/// The answer of a transfer; its count fits because no transfer is above `MAX_TRANSFER`.
fn moved(returned: isize) -> Answer {
    if returned == -1 { Err(last()) } else { Ok(returned as i32) }
}

/// How often an interrupted transfer is begun again before its caller hears of it.
const INTERRUPTIONS_MAX: u32 = 64;

/// Makes a call that moves bytes, again while a signal ends it before it moved any.
fn uninterrupted(mut call: impl FnMut() -> isize) -> Answer {
    let mut left = INTERRUPTIONS_MAX;
    loop {
        match moved(call()) {
            Err(errno::EINTR) if left > 0 => left -= 1,
            answer => return answer,
        }
    }
}

/// An offset as the kernel takes it: what is above its range would come out negative, which is `EINVAL`.
fn position(offset: u64) -> Answer<wide::off_t> {
    wide::off_t::try_from(offset).map_err(|_| errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_errno(code: i32) {
        #[cfg(target_os = "linux")]
        // SAFETY: the address is this thread's own errno.
        unsafe {
            *libc::__errno_location() = code
        }
        #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
        // SAFETY: the address is this thread's own errno.
        unsafe {
            *libc::__error() = code
        }
    }

    #[test]
    fn interrupted_transfers_begin_again_but_not_for_ever() {
        let mut calls = 0;
        let answer = uninterrupted(|| {
            calls += 1;
            set_errno(libc::EINTR);
            if calls < 4 { -1 } else { 17 }
        });
        assert_eq!((answer, calls), (Ok(17), 4));
        let mut calls = 0;
        let answer = uninterrupted(|| {
            calls += 1;
            set_errno(libc::EINTR);
            -1
        });
        assert_eq!((answer, calls), (Err(errno::EINTR), INTERRUPTIONS_MAX + 1));
    }

    #[test]
    fn offsets_above_the_kernels_range_are_einval() {
        assert_eq!(position(7), Ok(7));
        assert_eq!(position(1 << 63), Err(errno::EINVAL));
    }
}
