//! Opening and closing, and what is known of an open file.

use super::{check, code_of, handle, metadata};
use crate::execute::Answer;
use io_core::{FileFacts, FileHandle, FileKind, InodeKey, OpPath, OpenOptions, RawFile, errno};
use std::os::windows::{fs::OpenOptionsExt, io::AsRawHandle};
use windows_sys::Win32::{
    Foundation::{CloseHandle, ERROR_CANT_RESOLVE_FILENAME},
    Storage::FileSystem::{FILE_FLAG_NO_BUFFERING, FILE_FLAG_OPEN_REPARSE_POINT},
};

/// `CreateFileW` as `std` makes it, with all share modes. Directories are not opened.
pub(crate) fn open(path: &OpPath, options: OpenOptions) -> Answer<FileHandle> {
    // No access at all, or cutting a file without the right to write it.
    if !options.write && (!options.read || options.truncate) {
        return Err(errno::EINVAL);
    }
    let mut flags = 0;
    flags |= if options.direct { FILE_FLAG_NO_BUFFERING } else { 0 };
    flags |= if options.no_follow { FILE_FLAG_OPEN_REPARSE_POINT } else { 0 };
    let file = std::fs::OpenOptions::new()
        .read(options.read)
        .write(options.write)
        .create(options.create)
        .create_new(options.create_new)
        .truncate(options.truncate)
        .custom_flags(flags)
        .open(path.as_path())
        .map_err(code_of)?;
    let raw = RawFile::new(file.as_raw_handle() as i64);
    if options.no_follow && metadata::stat_file(raw)?.kind == FileKind::Symlink {
        // What `std` calls a loop of links, as ELOOP is.
        return Err(ERROR_CANT_RESOLVE_FILENAME as i32);
    }
    let facts = facts(raw, options.direct)?;
    Ok(FileHandle::from_std(file, facts))
}

pub(crate) fn close(file: RawFile) -> Answer<()> {
    // SAFETY: the slot owns the file and gives it up with this operation (I1).
    check(unsafe { CloseHandle(handle(file)) })
}

/// Volume and file index stand for the inode; there is no magic number.
pub(crate) fn facts(file: RawFile, direct: bool) -> Answer<FileFacts> {
    let stat = metadata::stat_file(file)?;
    let regular = stat.kind == FileKind::File;
    Ok(FileFacts {
        direct,
        seekable: regular,
        inode: Some(InodeKey { dev: stat.dev, ino: stat.ino }),
        filled: if regular && stat.blocks.saturating_mul(512) >= stat.size { stat.size } else { 0 },
        fs_magic: 0,
    })
}

/// An open handle does not tell whether it bypasses the cache.
pub(crate) fn is_direct(_file: RawFile, fallback: bool) -> Answer<bool> {
    Ok(fallback)
}
