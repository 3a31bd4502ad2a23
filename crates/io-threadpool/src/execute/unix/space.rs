//! What a file occupies, how long it is, and what the kernel is told about its use.

use super::{check, position, wide};
use crate::execute::Answer;
#[cfg(not(target_os = "linux"))]
use io_core::errno;
use io_core::{Advice, Lifetime, RawFile};

/// ftruncate(2).
pub(crate) fn truncate(file: RawFile, len: u64) -> Answer<()> {
    let len = position(len)?;
    // SAFETY: takes numbers only.
    check(unsafe { wide::ftruncate(file.fd(), len) }).map(drop)
}

/// fallocate(2).
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: RawFile, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
    fallocate(file, if keep_size { libc::FALLOC_FL_KEEP_SIZE } else { 0 }, offset, len)
}

/// fallocate(2), `FALLOC_FL_PUNCH_HOLE` (Linux 2.6.38).
#[cfg(target_os = "linux")]
pub(crate) fn punch_hole(file: RawFile, offset: u64, len: u64) -> Answer<()> {
    fallocate(file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, len)
}

/// fallocate(2), `FALLOC_FL_ZERO_RANGE` (Linux 3.15).
#[cfg(target_os = "linux")]
pub(crate) fn zero_range(file: RawFile, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
    let keep = if keep_size { libc::FALLOC_FL_KEEP_SIZE } else { 0 };
    fallocate(file, libc::FALLOC_FL_ZERO_RANGE | keep, offset, len)
}

#[cfg(target_os = "linux")]
fn fallocate(file: RawFile, mode: std::ffi::c_int, offset: u64, len: u64) -> Answer<()> {
    let (at, len) = (position(offset)?, position(len)?);
    // SAFETY: takes numbers only.
    check(unsafe { libc::fallocate64(file.fd(), mode, at, len) }).map(drop)
}

/// `F_PREALLOCATE` behind the end of the file, then ftruncate(2). It cannot fill the holes of a sparse file: there it is
/// `EOPNOTSUPP` rather than a promise that does not hold.
#[cfg(target_vendor = "apple")]
pub(crate) fn allocate(file: RawFile, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
    let (at, len) = (position(offset)?, position(len)?);
    let end = at.checked_add(len).filter(|_| len > 0).ok_or(errno::EINVAL)?;
    let stat = super::files::stat_of(file)?;
    let allocated = stat.st_blocks.saturating_mul(512);
    if allocated < stat.st_size.min(end) {
        return Err(errno::EOPNOTSUPP);
    }
    if allocated < end {
        let mut store = libc::fstore_t {
            fst_flags: libc::F_ALLOCATEALL,
            fst_posmode: libc::F_PEOFPOSMODE,
            fst_offset: 0,
            fst_length: end - allocated,
            fst_bytesalloc: 0,
        };
        // SAFETY: the structure is the one that this command reads and writes.
        check(unsafe { libc::fcntl(file.fd(), libc::F_PREALLOCATE, &mut store) })?;
    }
    if !keep_size && stat.st_size < end {
        return truncate(file, end as u64);
    }
    Ok(())
}

/// posix_fallocate(2), which knows no `keep_size`.
#[cfg(target_os = "freebsd")]
pub(crate) fn allocate(file: RawFile, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
    if keep_size {
        return Err(errno::EOPNOTSUPP);
    }
    let (at, len) = (position(offset)?, position(len)?);
    // SAFETY: takes numbers only. The code is the return value.
    match unsafe { libc::posix_fallocate(file.fd(), at, len) } {
        0 => Ok(()),
        code => Err(code),
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple", target_os = "freebsd")))]
pub(crate) fn allocate(_file: RawFile, _offset: u64, _len: u64, _keep_size: bool) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

/// `F_PUNCHHOLE` (macOS 10.13); offset and length have to be multiples of the file system's block.
#[cfg(target_vendor = "apple")]
pub(crate) fn punch_hole(file: RawFile, offset: u64, len: u64) -> Answer<()> {
    let hole = libc::fpunchhole_t { fp_flags: 0, reserved: 0, fp_offset: position(offset)?, fp_length: position(len)? };
    // SAFETY: the structure is the one that this command reads.
    check(unsafe { libc::fcntl(file.fd(), libc::F_PUNCHHOLE, &hole) }).map(drop)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
pub(crate) fn punch_hole(_file: RawFile, _offset: u64, _len: u64) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn zero_range(_file: RawFile, _offset: u64, _len: u64, _keep_size: bool) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

/// posix_fadvise(2). `len` 0: to the end.
#[cfg(any(target_os = "linux", target_os = "freebsd"))]
pub(crate) fn advise(file: RawFile, offset: u64, len: u64, advice: Advice) -> Answer<()> {
    #[cfg(not(target_os = "linux"))]
    use libc::posix_fadvise;
    #[cfg(target_os = "linux")]
    use libc::posix_fadvise64 as posix_fadvise;
    let (at, len) = (position(offset)?, position(len)?);
    let advice = match advice {
        Advice::Normal => libc::POSIX_FADV_NORMAL,
        Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
        Advice::Random => libc::POSIX_FADV_RANDOM,
        Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
        Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
        Advice::NoReuse => libc::POSIX_FADV_NOREUSE,
    };
    // SAFETY: takes numbers only. The code is the return value.
    match unsafe { posix_fadvise(file.fd(), at, len, advice) } {
        0 => Ok(()),
        code => Err(code),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
pub(crate) fn advise(_file: RawFile, _offset: u64, _len: u64, _advice: Advice) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

/// fcntl(2), `F_SET_RW_HINT` (Linux 4.13).
#[cfg(target_os = "linux")]
pub(crate) fn write_hint(file: RawFile, lifetime: Lifetime) -> Answer<()> {
    const F_SET_RW_HINT: std::ffi::c_int = 1024 + 12;
    let hint: u64 = match lifetime {
        Lifetime::NotSet => 0,
        Lifetime::None => 1,
        Lifetime::Short => 2,
        Lifetime::Medium => 3,
        Lifetime::Long => 4,
        Lifetime::Extreme => 5,
    };
    // SAFETY: the command reads 64 bits at the address.
    check(unsafe { libc::fcntl(file.fd(), F_SET_RW_HINT, &hint) }).map(drop)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn write_hint(_file: RawFile, _lifetime: Lifetime) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}
