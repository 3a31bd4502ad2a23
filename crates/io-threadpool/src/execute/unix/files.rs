//! Opening and closing, and what is known of an open file.

use super::{check, wide};
use crate::execute::Answer;
use io_core::{FileFacts, FileHandle, InodeKey, OpPath, OpenOptions, RawFile, errno};
use std::{
    ffi::c_int,
    fs::File,
    mem::MaybeUninit,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

/// open(2), always with `O_CLOEXEC`.
///
/// `EINVAL` for options that ask for no access, or that cut a file without the right to write it.
pub(crate) fn open(path: &OpPath, options: OpenOptions) -> Answer<FileHandle> {
    let flags = open_flags(&options)?;
    // SAFETY: the path is NUL-terminated.
    let fd = check(unsafe { libc::open(path.as_c_str().as_ptr(), flags, options.mode as libc::c_uint) })?;
    // SAFETY: just opened, nobody else's; an early return closes it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    #[cfg(target_vendor = "apple")]
    if options.direct {
        // SAFETY: takes numbers only.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_NOCACHE, 1) })?;
    }
    let facts = facts(RawFile::new(i64::from(fd.as_raw_fd())), options.direct)?;
    Ok(FileHandle::from_std(File::from(fd), facts))
}

fn open_flags(options: &OpenOptions) -> Answer<c_int> {
    let mut flags = match (options.read, options.write) {
        (true, false) => libc::O_RDONLY,
        (false, true) => libc::O_WRONLY,
        (true, true) => libc::O_RDWR,
        (false, false) => return Err(errno::EINVAL),
    };
    if options.truncate && !options.write {
        // Linux would cut the file, POSIX leaves it undefined.
        return Err(errno::EINVAL);
    }
    flags |= libc::O_CLOEXEC;
    for (asked, flag) in [
        (options.create || options.create_new, libc::O_CREAT),
        (options.create_new, libc::O_EXCL),
        (options.truncate && !options.create_new, libc::O_TRUNC),
        (options.no_follow, libc::O_NOFOLLOW),
    ] {
        flags |= if asked { flag } else { 0 };
    }
    #[cfg(target_os = "linux")]
    {
        flags |= libc::O_LARGEFILE;
    }
    if options.direct {
        flags |= direct_flag()?;
    }
    Ok(flags)
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn direct_flag() -> Answer<c_int> {
    Ok(libc::O_DIRECT)
}

/// macOS is told after the open.
#[cfg(target_vendor = "apple")]
fn direct_flag() -> Answer<c_int> {
    Ok(0)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple")))]
fn direct_flag() -> Answer<c_int> {
    Err(errno::EOPNOTSUPP)
}

/// close(2). Never made twice: the number is free again whatever it says, and may be somebody else's by now.
pub(crate) fn close(file: RawFile) -> Answer<()> {
    // SAFETY: the slot owns the file and gives it up with this operation (I1); a number that is not open is EBADF.
    check(unsafe { libc::close(file.fd()) }).map(drop)
}

pub(super) fn stat_of(file: RawFile) -> Answer<wide::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: room for one structure, which is filled on success.
    unsafe {
        check(wide::fstat(file.fd(), stat.as_mut_ptr()))?;
        Ok(stat.assume_init())
    }
}

/// What fstat(2) and fstatfs(2) say of an open file.
#[allow(clippy::unnecessary_cast)] // the fields' types differ from system to system
pub(crate) fn facts(file: RawFile, direct: bool) -> Answer<FileFacts> {
    let stat = stat_of(file)?;
    let kind = stat.st_mode & libc::S_IFMT;
    let (size, allocated) = (stat.st_size as u64, (stat.st_blocks as u64).saturating_mul(512));
    let filled = match kind {
        // A device has all its blocks; past its end a write fails and allocates nothing.
        libc::S_IFBLK => u64::MAX,
        libc::S_IFREG if allocated >= size => size,
        _ => 0,
    };
    Ok(FileFacts {
        direct,
        seekable: matches!(kind, libc::S_IFREG | libc::S_IFBLK),
        inode: Some(InodeKey { dev: stat.st_dev as u64, ino: stat.st_ino as u64 }),
        filled,
        fs_magic: magic(file),
    })
}

/// 0 where the file system does not tell; nobody should fail to open a file for that.
#[cfg(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd"))]
#[allow(clippy::unnecessary_cast)]
fn magic(file: RawFile) -> i64 {
    let mut stat = MaybeUninit::<wide::statfs>::uninit();
    // SAFETY: room for one structure, which is filled on success.
    unsafe {
        match check(wide::fstatfs(file.fd(), stat.as_mut_ptr())) {
            Ok(_) => (*stat.as_ptr()).f_type as i64,
            Err(_) => 0,
        }
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
fn magic(_file: RawFile) -> i64 {
    0
}

/// Whether an open file bypasses the page cache, as far as the system can be asked (`fallback` where it cannot: macOS).
pub(crate) fn is_direct(file: RawFile, fallback: bool) -> Answer<bool> {
    // SAFETY: takes numbers only.
    let flags = check(unsafe { libc::fcntl(file.fd(), libc::F_GETFL) })?;
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    {
        let _ = fallback;
        Ok(flags & libc::O_DIRECT != 0)
    }
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    {
        let _ = flags;
        Ok(fallback)
    }
}
