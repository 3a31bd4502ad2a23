//! What makes writes durable. None of these calls is ever made twice: after a failed one the kernel may have dropped the
//! dirty pages, and a second success would be a lie. That includes the interrupted ones.

use super::check;
use crate::execute::Answer;
#[cfg(not(target_os = "linux"))]
use io_core::errno;
use io_core::{OpPath, RawFile};
use std::ffi::c_int;

/// fdatasync(2); `F_FULLFSYNC` on macOS.
pub(crate) fn sync_data(file: RawFile) -> Answer<()> {
    #[cfg(target_vendor = "apple")]
    return full_sync(file.fd());
    #[cfg(not(target_vendor = "apple"))]
    // SAFETY: takes a number; one that is not open is EBADF.
    check(unsafe { libc::fdatasync(file.fd()) }).map(drop)
}

/// fsync(2); `F_FULLFSYNC` on macOS.
pub(crate) fn sync_all(file: RawFile) -> Answer<()> {
    full_sync(file.fd())
}

#[cfg(not(target_vendor = "apple"))]
fn full_sync(fd: c_int) -> Answer<()> {
    // SAFETY: takes a number; one that is not open is EBADF.
    check(unsafe { libc::fsync(fd) }).map(drop)
}

/// fsync(2) on macOS hands the data to the drive, which may keep it in its cache (fcntl(2) there). File systems without the
/// stronger call (network ones) refuse it before they do anything; for them fsync is all there is.
#[cfg(target_vendor = "apple")]
fn full_sync(fd: c_int) -> Answer<()> {
    // SAFETY: takes a number; one that is not open is EBADF.
    match check(unsafe { libc::fcntl(fd, libc::F_FULLFSYNC) }) {
        Err(errno::EOPNOTSUPP | errno::EINVAL | libc::ENOTTY) => {
            // SAFETY: as above.
            check(unsafe { libc::fsync(fd) }).map(drop)
        }
        answer => answer.map(drop),
    }
}

/// sync_file_range(2): begins to write the range back and waits for nothing. `len` 0: to the end.
#[cfg(target_os = "linux")]
pub(crate) fn sync_range(file: RawFile, offset: u64, len: u64) -> Answer<()> {
    let (at, len) = (super::position(offset)?, super::position(len)?);
    // SAFETY: takes numbers only.
    check(unsafe { libc::sync_file_range(file.fd(), at, len, libc::SYNC_FILE_RANGE_WRITE) }).map(drop)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_range(_file: RawFile, _offset: u64, _len: u64) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

/// fsync(2) of a directory: its entries are durable.
pub(crate) fn sync_dir(path: &OpPath) -> Answer<()> {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated.
    let fd = check(unsafe { libc::open(path.as_c_str().as_ptr(), flags) })?;
    // SAFETY: just opened, nobody else's.
    let dir = unsafe { OwnedFd::from_raw_fd(fd) };
    full_sync(dir.as_raw_fd())
}
