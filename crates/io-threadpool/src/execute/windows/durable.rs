//! What makes writes durable: `FlushFileBuffers`, made once and never again after a failure.

use super::{check, code_of, handle};
use crate::execute::Answer;
use io_core::{OpPath, RawFile, errno};
use std::{
    fs::OpenOptions,
    os::windows::{fs::OpenOptionsExt, io::AsRawHandle},
};
use windows_sys::Win32::Storage::FileSystem::{FILE_FLAG_BACKUP_SEMANTICS, FlushFileBuffers};

pub(crate) fn sync_data(file: RawFile) -> Answer<()> {
    sync_all(file)
}

pub(crate) fn sync_all(file: RawFile) -> Answer<()> {
    // SAFETY: takes a handle; one that is not open is an error.
    check(unsafe { FlushFileBuffers(handle(file)) })
}

pub(crate) fn sync_range(_file: RawFile, _offset: u64, _len: u64) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

/// Flushes a directory, which takes a handle with the right to write it.
pub(crate) fn sync_dir(path: &OpPath) -> Answer<()> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    let dir = options.open(path.as_path()).map_err(code_of)?;
    if !dir.metadata().map_err(code_of)?.is_dir() {
        return Err(errno::ENOTDIR);
    }
    // SAFETY: the handle is open.
    check(unsafe { FlushFileBuffers(dir.as_raw_handle()) })
}
