//! What statx(2) fills in. Two drivers ask for it, each in its own way.

use crate::{FileKind, Metadata};
use std::{
    mem::offset_of,
    time::{Duration, SystemTime},
};

/// `struct statx` as of Linux 6.16 (`linux/stat.h`), because the C libraries lag behind the kernel. The kernel writes all of it
/// whatever is asked for.
#[derive(Debug)]
#[repr(C)]
pub struct Statx {
    mask: u32,
    blksize: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    _spare0: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: Timestamp,
    btime: Timestamp,
    ctime: Timestamp,
    mtime: Timestamp,
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    mnt_id: u64,
    dio_mem_align: u32,
    dio_offset_align: u32,
    subvol: u64,
    atomic_write_unit_min: u32,
    atomic_write_unit_max: u32,
    atomic_write_segments_max: u32,
    dio_read_offset_align: u32,
    _spare: [u64; 9],
}

#[derive(Debug)]
#[repr(C)]
struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
    _reserved: i32,
}

const _: () = {
    assert!(size_of::<Statx>() == 256);
    assert!(offset_of!(Statx, atime) == 0x40);
    assert!(offset_of!(Statx, rdev_major) == 0x80);
    assert!(offset_of!(Statx, dio_mem_align) == 0x98);
    assert!(offset_of!(Statx, atomic_write_unit_min) == 0xa8);
    assert!(offset_of!(Statx, dio_read_offset_align) == 0xb4);
};

impl Statx {
    const BTIME: u32 = 0x800;
    /// Linux 6.1.
    const DIOALIGN: u32 = 0x2000;
    /// Linux 6.11.
    const WRITE_ATOMIC: u32 = 0x1_0000;
    /// Linux 6.14.
    const DIO_READ_ALIGN: u32 = 0x2_0000;
    /// What we ask for; kernels pass over what they do not know.
    pub const MASK: u32 = 0x7ff | Self::BTIME | Self::DIOALIGN | Self::WRITE_ATOMIC | Self::DIO_READ_ALIGN;

    /// `st_mode`: the type of the file, and its permissions.
    pub fn mode(&self) -> u32 {
        self.mode.into()
    }

    /// What it says.
    pub fn metadata(&self) -> Metadata {
        let told = |what| self.mask & what != 0;
        let mode = u32::from(self.mode);
        let kind = match mode & libc::S_IFMT {
            libc::S_IFREG => FileKind::File,
            libc::S_IFDIR => FileKind::Dir,
            libc::S_IFLNK => FileKind::Symlink,
            _ => FileKind::Other,
        };
        let mut metadata = Metadata::new(kind, self.size);
        metadata.mode = mode & 0o7777;
        metadata.links = self.nlink.into();
        metadata.uid = self.uid;
        metadata.gid = self.gid;
        metadata.dev = libc::makedev(self.dev_major, self.dev_minor);
        metadata.ino = self.ino;
        metadata.blocks = self.blocks;
        metadata.block_size = self.blksize;
        metadata.modified = self.mtime.time();
        metadata.accessed = self.atime.time();
        metadata.created = self.btime.time().filter(|_| told(Self::BTIME));
        if told(Self::DIOALIGN) {
            metadata.dio_mem_align = self.dio_mem_align;
            metadata.dio_offset_align = self.dio_offset_align;
            metadata.dio_read_offset_align = self.dio_offset_align;
        }
        if told(Self::DIO_READ_ALIGN) && self.dio_read_offset_align != 0 {
            metadata.dio_read_offset_align = self.dio_read_offset_align;
        }
        // The bit alone is not enough: file systems set it with a largest unit of 0.
        if told(Self::WRITE_ATOMIC) && self.atomic_write_unit_max > 0 {
            metadata.atomic_write_min = self.atomic_write_unit_min;
            metadata.atomic_write_max = self.atomic_write_unit_max;
        }
        metadata
    }
}

impl Timestamp {
    /// Seconds since 1970, before it too; `None` for what does not fit.
    fn time(&self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let base = if self.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        base?.checked_add(Duration::from_nanos(self.nanoseconds.into()))
    }
}
