//! Errors with a name: why a driver cannot start, and the error codes the floors above share.

use crate::DriverName;
use std::{error, fmt, io};

/// A driver cannot run here: what happened and what would change it.
///
/// Displays as one line, cause first, remedy after it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unavailable {
    /// The driver that was asked for.
    pub driver: DriverName,
    /// What was tried and what the system answered.
    pub reason: String,
    /// The one change that would help: a sysctl, a seccomp profile, a limit, a feature.
    pub remedy: String,
    /// The OS error code behind it, where there was one.
    pub code: Option<i32>,
}

impl Unavailable {
    /// An answer without an OS error behind it.
    pub fn new(driver: DriverName, reason: impl Into<String>, remedy: impl Into<String>) -> Unavailable {
        Unavailable { driver, reason: reason.into(), remedy: remedy.into(), code: None }
    }

    /// An answer made from what the system said to `call`.
    pub fn from_io(driver: DriverName, call: &str, error: &io::Error, remedy: impl Into<String>) -> Unavailable {
        Unavailable { driver, reason: format!("{call}: {error}"), remedy: remedy.into(), code: error.raw_os_error() }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "driver {} is not available: {}; remedy: {}", self.driver, self.reason, self.remedy)
    }
}

impl error::Error for Unavailable {}

impl From<Unavailable> for io::Error {
    fn from(unavailable: Unavailable) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, unavailable)
    }
}

/// The OS error codes that the floors above speak of: errno values on Unix, Win32 codes on Windows, so that
/// [`io::Error::from_raw_os_error`] understands them everywhere.
pub mod errno {
    #[cfg(unix)]
    pub use libc::{
        EACCES, EAGAIN, EBADF, EBUSY, ECANCELED, EEXIST, EFAULT, EFBIG, EINTR, EINVAL, EIO, EISDIR, EMFILE, ENOENT,
        ENOMEM, ENOSPC, ENOSYS, ENOTDIR, ENOTEMPTY, EOPNOTSUPP, EPERM, EROFS, EXDEV,
    };

    #[cfg(windows)]
    mod win32 {
        #![allow(missing_docs)]
        pub const EACCES: i32 = 5; // ERROR_ACCESS_DENIED
        pub const EAGAIN: i32 = 33; // ERROR_LOCK_VIOLATION
        pub const EBADF: i32 = 6; // ERROR_INVALID_HANDLE
        pub const EBUSY: i32 = 170; // ERROR_BUSY
        pub const ECANCELED: i32 = 995; // ERROR_OPERATION_ABORTED
        pub const EEXIST: i32 = 80; // ERROR_FILE_EXISTS
        pub const EFAULT: i32 = 998; // ERROR_NOACCESS
        pub const EFBIG: i32 = 223; // ERROR_FILE_TOO_LARGE
        pub const EINTR: i32 = 10004; // WSAEINTR
        pub const EINVAL: i32 = 87; // ERROR_INVALID_PARAMETER
        pub const EIO: i32 = 1117; // ERROR_IO_DEVICE
        pub const EISDIR: i32 = 336; // ERROR_DIRECTORY_NOT_SUPPORTED
        pub const EMFILE: i32 = 4; // ERROR_TOO_MANY_OPEN_FILES
        pub const ENOENT: i32 = 2; // ERROR_FILE_NOT_FOUND
        pub const ENOMEM: i32 = 8; // ERROR_NOT_ENOUGH_MEMORY
        pub const ENOSPC: i32 = 112; // ERROR_DISK_FULL
        pub const ENOSYS: i32 = 120; // ERROR_CALL_NOT_IMPLEMENTED
        pub const ENOTDIR: i32 = 267; // ERROR_DIRECTORY
        pub const ENOTEMPTY: i32 = 145; // ERROR_DIR_NOT_EMPTY
        pub const EOPNOTSUPP: i32 = 50; // ERROR_NOT_SUPPORTED
        pub const EPERM: i32 = 1314; // ERROR_PRIVILEGE_NOT_HELD
        pub const EROFS: i32 = 19; // ERROR_WRITE_PROTECT
        pub const EXDEV: i32 = 17; // ERROR_NOT_SAME_DEVICE
    }
    #[cfg(windows)]
    pub use win32::*;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_names_cause_and_remedy() {
        let error = io::Error::from_raw_os_error(errno::EPERM);
        let unavailable =
            Unavailable::from_io(DriverName::Uring, "io_uring_setup", &error, "sysctl kernel.io_uring_disabled=0");
        let line = unavailable.to_string();
        assert!(line.starts_with("driver uring is not available: io_uring_setup: "), "{line}");
        assert!(line.ends_with("remedy: sysctl kernel.io_uring_disabled=0"), "{line}");
        assert!(!line.contains('\n'));
        assert_eq!(unavailable.code, Some(errno::EPERM));
    }
}
