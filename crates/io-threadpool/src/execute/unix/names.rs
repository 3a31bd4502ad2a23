//! Operations on names: what is in the directories.

use super::check;
use crate::execute::{Answer, code_of, list};
#[cfg(not(target_vendor = "apple"))]
use io_core::errno;
use io_core::{AccessMode, DirEntry, OpPath, RenameMode};
use std::{ffi::c_int, path::PathBuf};

/// faccessat(2), with the real user and group, as access(2).
pub(crate) fn access(path: &OpPath, mode: AccessMode) -> Answer<()> {
    let mode = match mode {
        AccessMode::Exists => libc::F_OK,
        AccessMode::Read => libc::R_OK,
        AccessMode::ReadWrite => libc::R_OK | libc::W_OK,
    };
    // SAFETY: the path is NUL-terminated.
    unit(unsafe { libc::faccessat(libc::AT_FDCWD, path.as_c_str().as_ptr(), mode, 0) })
}

/// realpath(3).
pub(crate) fn real_path(path: &OpPath) -> Answer<PathBuf> {
    std::fs::canonicalize(path.as_path()).map_err(code_of)
}

/// chmod(2).
pub(crate) fn set_permissions(path: &OpPath, mode: u32) -> Answer<()> {
    // SAFETY: the path is NUL-terminated.
    unit(unsafe { libc::chmod(path.as_c_str().as_ptr(), mode as libc::mode_t) })
}

/// rename(2), and its two other modes where the platform has them.
pub(crate) fn rename(from: &OpPath, to: &OpPath, mode: RenameMode) -> Answer<()> {
    match mode {
        // SAFETY: the paths are NUL-terminated.
        RenameMode::Replace => unit(unsafe { libc::rename(from.as_c_str().as_ptr(), to.as_c_str().as_ptr()) }),
        RenameMode::NoReplace | RenameMode::Exchange => rename_otherwise(from, to, mode),
    }
}

/// renameat2(2), Linux 3.15. A file system without these modes answers `EINVAL`.
#[cfg(target_os = "linux")]
fn rename_otherwise(from: &OpPath, to: &OpPath, mode: RenameMode) -> Answer<()> {
    let flags = match mode {
        RenameMode::Replace => 0,
        RenameMode::NoReplace => libc::RENAME_NOREPLACE,
        RenameMode::Exchange => libc::RENAME_EXCHANGE,
    };
    let (from, to) = (from.as_c_str().as_ptr(), to.as_c_str().as_ptr());
    // SAFETY: the paths are NUL-terminated.
    let returned = unsafe { libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, flags) };
    match unit(returned as c_int) {
        Err(errno::ENOSYS) => Err(errno::EOPNOTSUPP),
        answer => answer,
    }
}

/// renamex_np(2), macOS 10.12.
#[cfg(target_vendor = "apple")]
fn rename_otherwise(from: &OpPath, to: &OpPath, mode: RenameMode) -> Answer<()> {
    let flags = match mode {
        RenameMode::Replace => 0,
        RenameMode::NoReplace => libc::RENAME_EXCL,
        RenameMode::Exchange => libc::RENAME_SWAP,
    };
    // SAFETY: the paths are NUL-terminated.
    unit(unsafe { libc::renamex_np(from.as_c_str().as_ptr(), to.as_c_str().as_ptr(), flags) })
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_otherwise(_from: &OpPath, _to: &OpPath, _mode: RenameMode) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

/// unlink(2).
pub(crate) fn unlink(path: &OpPath) -> Answer<()> {
    // SAFETY: the path is NUL-terminated.
    unit(unsafe { libc::unlink(path.as_c_str().as_ptr()) })
}

/// mkdir(2).
pub(crate) fn make_dir(path: &OpPath, mode: u32) -> Answer<()> {
    // SAFETY: the path is NUL-terminated.
    unit(unsafe { libc::mkdir(path.as_c_str().as_ptr(), mode as libc::mode_t) })
}

/// rmdir(2).
pub(crate) fn remove_dir(path: &OpPath) -> Answer<()> {
    // SAFETY: the path is NUL-terminated.
    unit(unsafe { libc::rmdir(path.as_c_str().as_ptr()) })
}

/// readdir(3) to the end.
pub(crate) fn read_dir(path: &OpPath) -> Answer<Vec<DirEntry>> {
    list(path, std::os::unix::fs::DirEntryExt::ino)
}

fn unit(returned: c_int) -> Answer<()> {
    check(returned).map(drop)
}
