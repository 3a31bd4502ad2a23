//! statx(2), with what it tells of direct I/O and of atomic writes.

use super::metadata::{metadata, stat_path_classic};
use crate::execute::Answer;
use io_core::{Metadata, OpPath, RawFile, Statx, errno};
use std::{
    ffi::{CStr, c_int},
    mem::MaybeUninit,
};

/// Metadata of an open file.
pub(crate) fn stat_file(file: RawFile) -> Answer<Metadata> {
    match statx(file.fd(), c"", libc::AT_EMPTY_PATH) {
        Err(code) if is_refusal(code) => super::files::stat_of(file).map(|stat| metadata(&stat)),
        answer => answer,
    }
}

/// Metadata of what a path leads to.
pub(crate) fn stat_path(path: &OpPath, follow: bool) -> Answer<Metadata> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    match statx(libc::AT_FDCWD, path.as_c_str(), flags) {
        Err(code) if is_refusal(code) => stat_path_classic(path, follow),
        answer => answer,
    }
}

/// statx(2) itself never says `EPERM`; seccomp filters older than it do.
fn is_refusal(code: i32) -> bool {
    code == errno::ENOSYS || code == errno::EPERM
}

fn statx(dir: c_int, path: &CStr, flags: c_int) -> Answer<Metadata> {
    let mut room = MaybeUninit::<Statx>::zeroed();
    // SAFETY: the path is NUL-terminated, and the kernel writes at most these 256 bytes.
    let returned = unsafe { libc::syscall(libc::SYS_statx, dir, path.as_ptr(), flags, Statx::MASK, room.as_mut_ptr()) };
    if returned == -1 {
        return Err(super::last());
    }
    // SAFETY: zeroed before and filled by the kernel; every pattern of bits is a value.
    Ok(unsafe { room.assume_init() }.metadata())
}
