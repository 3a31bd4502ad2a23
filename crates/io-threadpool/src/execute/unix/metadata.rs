//! stat and statfs.

use super::{check, wide};
use crate::execute::Answer;
#[cfg(not(target_os = "linux"))]
use io_core::RawFile;
use io_core::{FileKind, Metadata, OpPath, StatFs};
use std::{
    mem::MaybeUninit,
    time::{Duration, SystemTime},
};

#[cfg(target_os = "linux")]
pub(crate) use super::statx::{stat_file, stat_path};

#[cfg(not(target_os = "linux"))]
pub(crate) fn stat_file(file: RawFile) -> Answer<Metadata> {
    super::files::stat_of(file).map(|stat| metadata(&stat))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn stat_path(path: &OpPath, follow: bool) -> Answer<Metadata> {
    stat_path_classic(path, follow)
}

/// stat(2) or lstat(2).
pub(super) fn stat_path_classic(path: &OpPath, follow: bool) -> Answer<Metadata> {
    #[cfg(not(target_os = "linux"))]
    use libc::fstatat;
    #[cfg(target_os = "linux")]
    use libc::fstatat64 as fstatat;
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut stat = MaybeUninit::<wide::stat>::uninit();
    // SAFETY: the path is NUL-terminated, and there is room for one structure, which is filled on success.
    unsafe {
        check(fstatat(libc::AT_FDCWD, path.as_c_str().as_ptr(), stat.as_mut_ptr(), flags))?;
        Ok(metadata(&stat.assume_init()))
    }
}

#[allow(clippy::unnecessary_cast)] // the fields' types differ from system to system
pub(super) fn metadata(stat: &wide::stat) -> Metadata {
    let mut metadata = Metadata::new(kind(stat.st_mode as u32), stat.st_size as u64);
    metadata.mode = stat.st_mode as u32 & 0o7777;
    metadata.links = stat.st_nlink as u64;
    metadata.uid = stat.st_uid;
    metadata.gid = stat.st_gid;
    metadata.dev = stat.st_dev as u64;
    metadata.ino = stat.st_ino as u64;
    metadata.blocks = stat.st_blocks as u64;
    metadata.block_size = stat.st_blksize as u32;
    metadata.modified = time(stat.st_mtime as i64, stat.st_mtime_nsec as u32);
    metadata.accessed = time(stat.st_atime as i64, stat.st_atime_nsec as u32);
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    {
        metadata.created = time(stat.st_birthtime as i64, stat.st_birthtime_nsec as u32);
    }
    metadata
}

pub(super) fn kind(mode: u32) -> FileKind {
    #[allow(clippy::unnecessary_cast)]
    match mode & libc::S_IFMT as u32 {
        bits if bits == libc::S_IFREG as u32 => FileKind::File,
        bits if bits == libc::S_IFDIR as u32 => FileKind::Dir,
        bits if bits == libc::S_IFLNK as u32 => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

/// Seconds since 1970, before it too; `None` for what does not fit.
pub(super) fn time(seconds: i64, nanoseconds: u32) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base =
        if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(whole) } else { SystemTime::UNIX_EPOCH.checked_add(whole) };
    base?.checked_add(Duration::from_nanos(u64::from(nanoseconds)))
}

/// statfs(2). Blocks are counted in fragments where the system tells their size.
#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // as above
pub(crate) fn stat_fs(path: &OpPath) -> Answer<StatFs> {
    #[cfg(not(target_os = "linux"))]
    use libc::statfs;
    #[cfg(target_os = "linux")]
    use libc::statfs64 as statfs;
    let mut stat = MaybeUninit::<wide::statfs>::uninit();
    // SAFETY: the path is NUL-terminated, and there is room for one structure, which is filled on success.
    let stat = unsafe {
        check(statfs(path.as_c_str().as_ptr(), stat.as_mut_ptr()))?;
        stat.assume_init()
    };
    #[cfg(target_os = "linux")]
    let unit = if stat.f_frsize > 0 { stat.f_frsize as u64 } else { stat.f_bsize as u64 };
    #[cfg(not(target_os = "linux"))]
    let unit = stat.f_bsize as u64;
    let mut answer = StatFs::default();
    answer.magic = stat.f_type as i64;
    answer.block_size = unit;
    answer.blocks = stat.f_blocks as u64;
    answer.free = stat.f_bfree as u64;
    // FreeBSD counts below zero once the reserve is in use.
    answer.available = u64::try_from(stat.f_bavail).unwrap_or(0);
    Ok(answer)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
pub(crate) fn stat_fs(_path: &OpPath) -> Answer<StatFs> {
    Err(io_core::errno::EOPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_count_backwards() {
        let half = Duration::from_millis(500);
        assert_eq!(time(2, 500_000_000), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(2) + half));
        assert_eq!(time(-2, 500_000_000), Some(SystemTime::UNIX_EPOCH - Duration::from_secs(2) + half));
        assert_eq!(
            time(i64::MIN, 0).is_none(),
            SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(1 << 63)).is_none()
        );
    }
}
