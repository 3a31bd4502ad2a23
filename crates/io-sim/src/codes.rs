//! Error codes that io-core does not name.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod values {
    pub(crate) const ELOOP: i32 = 40;
    pub(crate) const ENAMETOOLONG: i32 = 36;
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
mod values {
    pub(crate) const ELOOP: i32 = 62;
    pub(crate) const ENAMETOOLONG: i32 = 63;
}

#[cfg(windows)]
mod values {
    pub(crate) const ELOOP: i32 = 1921; // ERROR_CANT_RESOLVE_FILENAME
    pub(crate) const ENAMETOOLONG: i32 = 206; // ERROR_FILENAME_EXCED_RANGE
}

pub(crate) use values::*;

/// What a step of the simulated file system answers: a value, or the code of an OS error.
pub(crate) type Answer<T> = Result<T, i32>;

/// The error that `std` makes of a code.
pub(crate) fn to_io(code: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(code)
}
