//! Byte-range locks by fcntl(2).
//!
//! On Linux and macOS they are *open file description* locks: two opens of one file exclude each other, in one process too, and
//! a lock goes with the last descriptor of its open. Elsewhere they are POSIX's: they belong to the process, and closing *any*
//! descriptor of the file drops them all.

use super::{check, position, wide};
use crate::execute::Answer;
use io_core::{LockHolder, RawFile, errno};
use std::ffi::{c_int, c_short};

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
const SET: c_int = libc::F_OFD_SETLK;
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
const GET: c_int = libc::F_OFD_GETLK;
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
const SET: c_int = libc::F_SETLK;
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
const GET: c_int = libc::F_GETLK;

pub(crate) fn try_lock(file: RawFile, offset: u64, len: u64, exclusive: bool) -> Answer<()> {
    let mut range = range(offset, len, kind(exclusive))?;
    fcntl(file, SET, &mut range).map_err(busy)
}

pub(crate) fn unlock(file: RawFile, offset: u64, len: u64) -> Answer<()> {
    let mut range = range(offset, len, libc::F_UNLCK as c_short)?;
    fcntl(file, SET, &mut range)
}

/// Answers one lock in the way; there may be more.
pub(crate) fn query_lock(file: RawFile, offset: u64, len: u64, exclusive: bool) -> Answer<Option<LockHolder>> {
    let mut found = range(offset, len, kind(exclusive))?;
    fcntl(file, GET, &mut found)?;
    if found.l_type == libc::F_UNLCK as c_short {
        return Ok(None);
    }
    Ok(Some(LockHolder {
        exclusive: found.l_type == libc::F_WRLCK as c_short,
        offset: found.l_start as u64,
        len: found.l_len as u64,
        // -1 for locks of open file descriptions, which have no process.
        pid: u32::try_from(found.l_pid).ok().filter(|&pid| pid > 0),
    }))
}

fn kind(exclusive: bool) -> c_short {
    (if exclusive { libc::F_WRLCK } else { libc::F_RDLCK }) as c_short
}

fn range(offset: u64, len: u64, kind: c_short) -> Answer<wide::flock> {
    let (start, len) = (position(offset)?, position(len)?);
    // SAFETY: all zeros is a value of this plain structure; `l_pid` has to be 0.
    let mut range: wide::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind;
    range.l_whence = libc::SEEK_SET as c_short;
    range.l_start = start;
    range.l_len = len;
    Ok(range)
}

fn fcntl(file: RawFile, command: c_int, range: &mut wide::flock) -> Answer<()> {
    // SAFETY: these commands read and write one `struct flock`.
    check(unsafe { libc::fcntl(file.fd(), command, std::ptr::from_mut(range)) }).map(drop)
}

/// POSIX lets a system say either code for a lock in the way.
fn busy(code: i32) -> i32 {
    if code == errno::EACCES { errno::EAGAIN } else { code }
}
