//! Operations on names: what is in the directories.

use super::{check, code_of, wide};
use crate::execute::{Answer, list};
use io_core::{AccessMode, DirEntry, OpPath, RenameMode, errno};
use std::{fs, path::PathBuf};
use windows_sys::Win32::Storage::FileSystem::{DeleteFileW, MoveFileExW};

/// There is no access(2): the read-only attribute is what is looked at.
pub(crate) fn access(path: &OpPath, mode: AccessMode) -> Answer<()> {
    let metadata = fs::metadata(path.as_path()).map_err(code_of)?;
    match mode {
        AccessMode::ReadWrite if metadata.permissions().readonly() && metadata.is_file() => Err(errno::EACCES),
        AccessMode::Exists | AccessMode::Read | AccessMode::ReadWrite => Ok(()),
    }
}

/// The absolute path, in the `\\?\` form.
pub(crate) fn real_path(path: &OpPath) -> Answer<PathBuf> {
    fs::canonicalize(path.as_path()).map_err(code_of)
}

/// A mode without any right to write sets the read-only attribute, any other clears it.
pub(crate) fn set_permissions(path: &OpPath, mode: u32) -> Answer<()> {
    let mut permissions = fs::metadata(path.as_path()).map_err(code_of)?.permissions();
    permissions.set_readonly(mode & 0o222 == 0);
    fs::set_permissions(path.as_path(), permissions).map_err(code_of)
}

pub(crate) fn rename(from: &OpPath, to: &OpPath, mode: RenameMode) -> Answer<()> {
    match mode {
        // `std` asks for POSIX semantics where the system has them (Windows 10, 1607).
        RenameMode::Replace => fs::rename(from.as_path(), to.as_path()).map_err(code_of),
        RenameMode::NoReplace => {
            let (from, to) = (wide(from), wide(to));
            // SAFETY: the paths are NUL-terminated.
            check(unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), 0) })
        }
        RenameMode::Exchange => Err(errno::EOPNOTSUPP),
    }
}

pub(crate) fn unlink(path: &OpPath) -> Answer<()> {
    let path = wide(path);
    // SAFETY: the path is NUL-terminated.
    check(unsafe { DeleteFileW(path.as_ptr()) })
}

/// The mode has no meaning here.
pub(crate) fn make_dir(path: &OpPath, _mode: u32) -> Answer<()> {
    fs::create_dir(path.as_path()).map_err(code_of)
}

pub(crate) fn remove_dir(path: &OpPath) -> Answer<()> {
    fs::remove_dir(path.as_path()).map_err(code_of)
}

/// Inode numbers are not part of a listing.
pub(crate) fn read_dir(path: &OpPath) -> Answer<Vec<DirEntry>> {
    match list(path, |_| 0).map_err(super::plain) {
        // Looking for `file\*` tells in several ways that `file` is no directory.
        Err(_) if path.as_path().is_file() => Err(errno::ENOTDIR),
        answer => answer,
    }
}
