//! The operations on Windows: one file per theme, and what they share.
//!
//! Files are opened with every share mode, so that names can be removed and replaced while a file is open, as on Unix.

mod copy;
mod durable;
mod files;
mod locks;
mod metadata;
mod names;
mod space;
mod transfer;

pub(crate) use copy::{clone_range, copy_range};
pub(crate) use durable::{sync_all, sync_data, sync_dir, sync_range};
pub(crate) use files::{close, facts, is_direct, open};
pub(crate) use locks::{query_lock, try_lock, unlock};
pub(crate) use metadata::{stat_file, stat_fs, stat_path};
pub(crate) use names::{access, make_dir, read_dir, real_path, remove_dir, rename, set_permissions, unlink};
pub(crate) use space::{advise, allocate, punch_hole, truncate, write_hint, zero_range};
pub(crate) use transfer::{read, read_vectored, write, write_vectored};

use super::Answer;
use io_core::{OpPath, RawFile, errno};
use std::{io, os::windows::ffi::OsStrExt};
use windows_sys::{
    Win32::{
        Foundation::{
            ERROR_ALREADY_EXISTS, ERROR_DIRECTORY, ERROR_HANDLE_DISK_FULL, ERROR_INVALID_FUNCTION, ERROR_INVALID_NAME,
            ERROR_PATH_NOT_FOUND, HANDLE,
        },
        System::IO::OVERLAPPED,
    },
    core::BOOL,
};

/// A file's number as the handle it is. One that is none is `ERROR_INVALID_HANDLE`, which the floors above call `EBADF`;
/// the negative ones would name this process and this thread.
fn handle(file: RawFile) -> HANDLE {
    file.get().max(0) as isize as HANDLE
}

/// The code of the call that has just failed.
fn last() -> i32 {
    code_of(io::Error::last_os_error())
}

/// The positive code of an error, in the numbers that [`errno`] has.
fn code_of(error: io::Error) -> i32 {
    plain(super::code_of(error))
}

/// Windows has several codes for what the floors above compare with one of.
fn plain(code: i32) -> i32 {
    match code as u32 {
        ERROR_ALREADY_EXISTS => errno::EEXIST,
        ERROR_PATH_NOT_FOUND | ERROR_INVALID_NAME => errno::ENOENT,
        ERROR_HANDLE_DISK_FULL => errno::ENOSPC,
        ERROR_INVALID_FUNCTION => errno::EOPNOTSUPP,
        ERROR_DIRECTORY => errno::ENOTDIR,
        _ => code,
    }
}

fn check(returned: BOOL) -> Answer<()> {
    if returned == 0 { Err(last()) } else { Ok(()) }
}

/// Offsets and lengths are signed below the Win32 calls.
fn position(offset: u64) -> Answer<i64> {
    i64::try_from(offset).map_err(|_| errno::EINVAL)
}

/// An offset in the form that positional calls take it.
fn overlapped(offset: u64) -> OVERLAPPED {
    let mut at = OVERLAPPED::default();
    at.Anonymous.Anonymous.Offset = offset as u32;
    at.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
    at
}

/// A path as the wide calls want it.
fn wide(path: &OpPath) -> Vec<u16> {
    path.as_path().as_os_str().encode_wide().chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_per_meaning() {
        assert_eq!(plain(ERROR_ALREADY_EXISTS as i32), errno::EEXIST);
        assert_eq!(plain(ERROR_PATH_NOT_FOUND as i32), errno::ENOENT);
        assert_eq!(plain(errno::EBADF), errno::EBADF);
    }
}
