//! statx(2), with what it tells of direct I/O and of atomic writes.

use super::metadata::{kind, metadata, stat_path_classic, time};
use crate::execute::Answer;
use io_core::{Metadata, OpPath, RawFile, errno};
use std::{
    ffi::{CStr, c_int, c_uint},
    mem::{MaybeUninit, offset_of},
};

/// `struct statx` as of Linux 6.16 (`linux/stat.h`); the C libraries lag behind the kernel.
#[repr(C)]
struct Statx {
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

const BASIC_STATS: c_uint = 0x7ff;
const BTIME: c_uint = 0x800;
/// Linux 6.1.
const DIOALIGN: c_uint = 0x2000;
/// Linux 6.11.
const WRITE_ATOMIC: c_uint = 0x1_0000;
/// Linux 6.14.
const DIO_READ_ALIGN: c_uint = 0x2_0000;

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
    let mask = BASIC_STATS | BTIME | DIOALIGN | WRITE_ATOMIC | DIO_READ_ALIGN;
    let mut room = MaybeUninit::<Statx>::zeroed();
    // SAFETY: the path is NUL-terminated, and the kernel writes at most these 256 bytes.
    let returned = unsafe { libc::syscall(libc::SYS_statx, dir, path.as_ptr(), flags, mask, room.as_mut_ptr()) };
    if returned == -1 {
        return Err(super::last());
    }
    // SAFETY: zeroed before and filled by the kernel; every pattern of bits is a value.
    let stat = unsafe { room.assume_init() };
    let told = |what: c_uint| stat.mask & what == what;
    let mut metadata = Metadata::new(kind(u32::from(stat.mode)), stat.size);
    metadata.mode = u32::from(stat.mode) & 0o7777;
    metadata.links = u64::from(stat.nlink);
    metadata.uid = stat.uid;
    metadata.gid = stat.gid;
    metadata.dev = libc::makedev(stat.dev_major, stat.dev_minor);
    metadata.ino = stat.ino;
    metadata.blocks = stat.blocks;
    metadata.block_size = stat.blksize;
    metadata.modified = stat.mtime.time();
    metadata.accessed = stat.atime.time();
    metadata.created = stat.btime.time().filter(|_| told(BTIME));
    if told(DIOALIGN) {
        metadata.dio_mem_align = stat.dio_mem_align;
        metadata.dio_offset_align = stat.dio_offset_align;
        metadata.dio_read_offset_align = stat.dio_offset_align;
    }
    if told(DIO_READ_ALIGN) && stat.dio_read_offset_align != 0 {
        metadata.dio_read_offset_align = stat.dio_read_offset_align;
    }
    // The bit in the mask is not enough: file systems set it with a largest unit of 0.
    if told(WRITE_ATOMIC) && stat.atomic_write_unit_max > 0 {
        metadata.atomic_write_min = stat.atomic_write_unit_min;
        metadata.atomic_write_max = stat.atomic_write_unit_max;
    }
    Ok(metadata)
}

impl Timestamp {
    fn time(&self) -> Option<std::time::SystemTime> {
        time(self.seconds, self.nanoseconds)
    }
}
