//! What operations answer that does not fit 32 bits.

use crate::FileHandle;
use std::{ffi::OsString, path::PathBuf, time::SystemTime};

/// The typed answer of an operation; the operation owns the place, the driver fills it before it pushes the completion.
///
/// A file that was opened for nobody (its future was dropped) is closed with the operation that owns this.
#[derive(Debug, Default)]
pub enum Output {
    /// Nothing was answered (yet).
    #[default]
    None,
    /// The file that `Open` opened.
    File(FileHandle),
    /// Answer of `Stat`.
    Metadata(Metadata),
    /// Answer of `StatFs`.
    StatFs(StatFs),
    /// Answer of `ReadDir`: all entries but `.` and `..`, in no order.
    Entries(Vec<DirEntry>),
    /// Answer of `RealPath`.
    Path(PathBuf),
    /// Answer of `QueryLock`: a lock in the way, if there is one.
    Lock(Option<LockHolder>),
}

/// What kind of thing a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A device, a socket, a pipe, or what the file system does not tell.
    Other,
}

/// What the system knows of a file (statx(2), `GetFileInformationByHandle`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Kind of file.
    pub kind: FileKind,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits (Unix); 0 where there are none.
    pub mode: u32,
    /// Number of hard links.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Allocated space in units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of a transfer, in bytes.
    pub block_size: u32,
    /// Last change of the content.
    pub modified: Option<SystemTime>,
    /// Last access.
    pub accessed: Option<SystemTime>,
    /// Birth, where the file system keeps it.
    pub created: Option<SystemTime>,
    /// Alignment of memory for direct I/O in bytes; 0 if unknown or not possible (STATX_DIOALIGN, Linux 6.1).
    pub dio_mem_align: u32,
    /// Alignment of offset and length for direct I/O in bytes; 0 if unknown or not possible.
    pub dio_offset_align: u32,
    /// As above for reads only, where the file system tells (STATX_DIO_READ_ALIGN, Linux 6.14); else equal to it.
    pub dio_read_offset_align: u32,
    /// Largest write that is never torn, in bytes; 0 if there is none (STATX_WRITE_ATOMIC, Linux 6.11).
    pub atomic_write_max: u32,
    /// Smallest such write.
    pub atomic_write_min: u32,
}

impl Metadata {
    /// Metadata of this kind and size, all else zero or unknown.
    pub const fn new(kind: FileKind, size: u64) -> Metadata {
        Metadata {
            kind,
            size,
            mode: 0,
            links: 1,
            uid: 0,
            gid: 0,
            dev: 0,
            ino: 0,
            blocks: 0,
            block_size: 0,
            modified: None,
            accessed: None,
            created: None,
            dio_mem_align: 0,
            dio_offset_align: 0,
            dio_read_offset_align: 0,
            atomic_write_max: 0,
            atomic_write_min: 0,
        }
    }
}

/// What the system knows of a file system (statfs(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatFs {
    /// Type magic (`EXT4_SUPER_MAGIC` …), 0 if the system has none.
    pub magic: i64,
    /// Size of a block in bytes.
    pub block_size: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks for an unprivileged user.
    pub available: u64,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name, without the directory.
    pub name: OsString,
    /// Its kind, as far as the directory itself tells.
    pub kind: FileKind,
    /// Its inode number.
    pub ino: u64,
}

/// A lock that stands in the way of a queried one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Exclusive or shared.
    pub exclusive: bool,
    /// First locked byte.
    pub offset: u64,
    /// Number of locked bytes, 0: to the end of the file.
    pub len: u64,
    /// The holding process; `None` where the system does not tell (open-file-description locks).
    pub pid: Option<u32>,
}
