//! File handles with what the system knows of the file.

use crate::execute::sys;
use io_core::{FileFacts, FileHandle, OpPath, OpenOptions};
use std::{fs::File, io, path::Path};

/// Takes a `std` file and asks the system for its facts.
///
/// The file is the handle's from here on. On macOS and Windows a file cannot be asked whether it bypasses the cache; it is
/// taken for one that does not.
///
/// # Errors
/// What fstat(2), or its like, says. The file is closed then.
pub fn adopt(file: File) -> io::Result<FileHandle> {
    let handle = FileHandle::from_std(file, FileFacts::default());
    let facts = facts(&handle)?;
    match handle.with_facts(facts) {
        Ok(handle) => Ok(handle),
        Err(_) => unreachable!("nobody else has seen the handle"),
    }
}

/// Asks the system for the facts of an open file as they are now: size and allocation may have changed since it was opened.
///
/// # Errors
/// What fstat(2), or its like, says; `EBADF` for a handle that is no file of this system (the simulator's).
pub fn facts(file: &FileHandle) -> io::Result<FileFacts> {
    let raw = file.at().raw;
    let direct = sys::is_direct(raw, file.facts().direct).map_err(io::Error::from_raw_os_error)?;
    sys::facts(raw, direct).map_err(io::Error::from_raw_os_error)
}

/// Opens a file on the calling thread, with its facts.
///
/// # Errors
/// What the operation `Open` answers ([`execute`](crate::execute)), and `InvalidInput` for a path with a NUL byte in it.
pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> io::Result<FileHandle> {
    sys::open(&OpPath::new(path)?, options).map_err(io::Error::from_raw_os_error)
}
