//! Opening what the user names, and plain positional reads and writes.

use crate::exit::Failure;
use io_fs::{FileHandle, OpenOptions};
use std::{
    fs::{self, File},
    io::{self, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The unit of direct I/O that every common device takes.
pub(crate) const SECTOR: u64 = 4096;

/// An existing file that is only read: what it is, found out before it is opened (opening a pipe would wait for its writer).
#[derive(Debug)]
pub(crate) struct Source {
    /// Buffered, read only.
    pub(crate) handle: FileHandle,
    /// Its size in bytes.
    pub(crate) len: u64,
    /// A block device, not a regular file.
    pub(crate) is_device: bool,
}

/// Opens a regular file or a block device for reading, and for nothing else.
pub(crate) fn source(path: &Path) -> Result<Source, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::opening(path, &error))?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("{}: is a directory; name a file", path.display())));
    }
    let is_device = is_block_device(&metadata);
    if !metadata.is_file() && !is_device {
        return Err(Failure::usage(format!("{}: is neither a regular file nor a block device", path.display())));
    }
    let handle = io_fs::open(path, OpenOptions::READ).map_err(|error| Failure::opening(path, &error))?;
    let len = length(std_file(&handle)).map_err(|error| Failure::opening(path, &error))?;
    Ok(Source { handle, len, is_device })
}

/// Length of an open file or block device.
pub(crate) fn length(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    // Of a device the end says it. The position belongs to nobody: all transfers here name their offset.
    let mut file = file;
    file.seek(SeekFrom::End(0))
}

/// The `std` file inside a handle that `io_fs::open` made.
pub(crate) fn std_file(handle: &FileHandle) -> &File {
    handle.owner::<File>().expect("io_fs::open keeps a std file")
}

/// The directory that a path is in.
pub(crate) fn dir_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(unix)]
fn is_block_device(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_block_device(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_block_device(_metadata: &fs::Metadata) -> bool {
    false
}

/// pread(2), as often as it takes; fewer bytes than asked for at the end of the file only.
pub(crate) fn read_full_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match read_at(file, &mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// pwrite(2), as often as it takes.
pub(crate) fn write_full_at(file: &File, buf: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match write_at(file, &buf[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
#[inline]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(unix)]
#[inline]
fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, buf, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buf, offset)
}

#[cfg(windows)]
fn write_at(file: &File, buf: &[u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, buf, offset)
}

/// Whether a file can be opened past the page cache and read so, found out by doing it. The file is at least one sector long.
pub(crate) fn takes_direct(path: &Path, options: OpenOptions) -> io::Result<FileHandle> {
    let handle = io_fs::open(path, options.direct())?;
    let mut buf = io_fs::AlignedBuf::zeroed(SECTOR as usize);
    read_at(std_file(&handle), &mut buf, 0)?;
    Ok(handle)
}
