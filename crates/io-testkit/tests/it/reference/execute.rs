//! Each operation as the system call, or the call of `std`, that it is named after.

use io_core::{
    AccessMode, Advice, DirEntry, FileFacts, FileHandle, FileKind, FileRef, InodeKey, Lifetime, LockHolder, Metadata,
    OpPath, OpenOptions, Output, RawOp, RenameMode, StatFs, StatTarget, encode,
};
use std::{
    fs, io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::{DirEntryExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::Path,
};

/// <linux/fcntl.h>; missing in libc.
const F_SET_RW_HINT: i32 = 1024 + 12;

type Answer = io::Result<i64>;

/// # Safety
/// Memory and paths that `op` names are valid, its outputs are nobody else's.
pub(super) unsafe fn execute(op: &RawOp) -> i32 {
    // SAFETY: passed on.
    match unsafe { answer(op) } {
        Ok(bytes) => bytes as i32,
        Err(error) => encode(&error),
    }
}

fn check(answer: i64) -> Answer {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn done(answer: io::Result<()>) -> Answer {
    answer.map(|()| 0)
}

/// Offsets above `i64::MAX` become the lowest negative number, which the kernel refuses; not -1, which to it is the file's own
/// position.
fn off(offset: u64) -> libc::off_t {
    libc::off_t::try_from(offset).unwrap_or(libc::off_t::MIN)
}

fn name(path: &OpPath) -> *const libc::c_char {
    path.as_c_str().as_ptr()
}

/// # Safety
/// As [`execute`].
unsafe fn answer(op: &RawOp) -> Answer {
    // SAFETY: the caller vouches for memory, paths and outputs; descriptors are numbers that the kernel checks.
    unsafe {
        match *op {
            RawOp::Read { file, buf, len, offset, flags, .. } => {
                let iov = libc::iovec { iov_base: buf.cast(), iov_len: len as usize };
                check(libc::preadv2(file.raw.fd(), &iov, 1, off(offset), flags.bits() as i32) as i64)
            }
            RawOp::ReadVectored { file, iov, count, offset, flags, .. } => {
                check(libc::preadv2(file.raw.fd(), iov.cast(), count as i32, off(offset), flags.bits() as i32) as i64)
            }
            RawOp::Write { file, buf, len, offset, flags, .. } => {
                let iov = libc::iovec { iov_base: buf.cast_mut().cast(), iov_len: len as usize };
                check(libc::pwritev2(file.raw.fd(), &iov, 1, off(offset), flags.bits() as i32) as i64)
            }
            RawOp::WriteVectored { file, iov, count, offset, flags, .. } => {
                check(libc::pwritev2(file.raw.fd(), iov.cast(), count as i32, off(offset), flags.bits() as i32) as i64)
            }
            RawOp::SyncData { file } => check(libc::fdatasync(file.raw.fd()) as i64),
            RawOp::SyncAll { file } => check(libc::fsync(file.raw.fd()) as i64),
            RawOp::SyncRange { file, offset, len } => {
                check(libc::sync_file_range(file.raw.fd(), off(offset), off(len), libc::SYNC_FILE_RANGE_WRITE) as i64)
            }
            RawOp::Allocate { file, offset, len, keep_size } => {
                fallocate(file, if keep_size { libc::FALLOC_FL_KEEP_SIZE } else { 0 }, offset, len)
            }
            RawOp::PunchHole { file, offset, len } => {
                fallocate(file, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, len)
            }
            RawOp::ZeroRange { file, offset, len, keep_size } => {
                let keep = if keep_size { libc::FALLOC_FL_KEEP_SIZE } else { 0 };
                fallocate(file, libc::FALLOC_FL_ZERO_RANGE | keep, offset, len)
            }
            RawOp::Truncate { file, len } => check(libc::ftruncate(file.raw.fd(), off(len)) as i64),
            RawOp::Advise { file, offset, len, advice } => {
                let advice = match advice {
                    Advice::Normal => libc::POSIX_FADV_NORMAL,
                    Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
                    Advice::Random => libc::POSIX_FADV_RANDOM,
                    Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
                    Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
                    Advice::NoReuse => libc::POSIX_FADV_NOREUSE,
                };
                match libc::posix_fadvise(file.raw.fd(), off(offset), off(len), advice) {
                    0 => Ok(0),
                    code => Err(io::Error::from_raw_os_error(code)),
                }
            }
            RawOp::WriteHint { file, lifetime } => {
                let hint: u64 = match lifetime {
                    Lifetime::NotSet => 0,
                    Lifetime::None => 1,
                    Lifetime::Short => 2,
                    Lifetime::Medium => 3,
                    Lifetime::Long => 4,
                    Lifetime::Extreme => 5,
                };
                check(libc::fcntl(file.raw.fd(), F_SET_RW_HINT, &hint) as i64)
            }
            RawOp::TryLock { file, offset, len, exclusive } => {
                lock(file, libc::F_OFD_SETLK, kind(exclusive), offset, len).map(|_| 0)
            }
            RawOp::Unlock { file, offset, len } => {
                lock(file, libc::F_OFD_SETLK, libc::F_UNLCK as libc::c_short, offset, len).map(|_| 0)
            }
            RawOp::QueryLock { file, offset, len, exclusive, out } => {
                let found = lock(file, libc::F_OFD_GETLK, kind(exclusive), offset, len)?;
                *out = Output::Lock((found.l_type != libc::F_UNLCK as libc::c_short).then(|| LockHolder {
                    exclusive: found.l_type == libc::F_WRLCK as libc::c_short,
                    offset: found.l_start as u64,
                    len: found.l_len as u64,
                    pid: u32::try_from(found.l_pid).ok(),
                }));
                Ok(0)
            }
            RawOp::Open { path, options, out } => {
                *out = Output::File(open(&*path, options)?);
                Ok(0)
            }
            RawOp::Close { file } => check(libc::close(file.raw.fd()) as i64),
            RawOp::Stat { target, out } => {
                *out = Output::Metadata(stat(target)?);
                Ok(0)
            }
            RawOp::StatFs { path, out } => {
                let mut found = MaybeUninit::<libc::statfs>::zeroed();
                check(libc::statfs(name(&*path), found.as_mut_ptr()) as i64)?;
                *out = Output::StatFs(stat_fs(&found.assume_init()));
                Ok(0)
            }
            RawOp::Access { path, mode } => {
                let mode = match mode {
                    AccessMode::Exists => libc::F_OK,
                    AccessMode::Read => libc::R_OK,
                    AccessMode::ReadWrite => libc::R_OK | libc::W_OK,
                };
                check(libc::access(name(&*path), mode) as i64)
            }
            RawOp::RealPath { path, out } => {
                *out = Output::Path(fs::canonicalize((*path).as_path())?);
                Ok(0)
            }
            RawOp::SetPermissions { path, mode } => {
                done(fs::set_permissions((*path).as_path(), fs::Permissions::from_mode(mode)))
            }
            RawOp::Rename { from, to, mode } => {
                let flags = match mode {
                    RenameMode::Replace => 0,
                    RenameMode::NoReplace => libc::RENAME_NOREPLACE,
                    RenameMode::Exchange => libc::RENAME_EXCHANGE,
                };
                check(libc::renameat2(libc::AT_FDCWD, name(&*from), libc::AT_FDCWD, name(&*to), flags) as i64)
            }
            RawOp::Unlink { path } => done(fs::remove_file((*path).as_path())),
            RawOp::MakeDir { path, mode } => check(libc::mkdir(name(&*path), mode) as i64),
            RawOp::RemoveDir { path } => done(fs::remove_dir((*path).as_path())),
            RawOp::ReadDir { path, out } => {
                let entries = fs::read_dir((*path).as_path())?.map(|entry| entry.and_then(|e| entry_of(&e)));
                *out = Output::Entries(entries.collect::<io::Result<_>>()?);
                Ok(0)
            }
            RawOp::SyncDir { path } => {
                let mut how = fs::OpenOptions::new();
                let dir = how.read(true).custom_flags(libc::O_DIRECTORY).open((*path).as_path());
                done(dir.and_then(|dir| dir.sync_all()))
            }
            RawOp::CopyRange { from, from_offset, to, to_offset, len } => {
                let (mut source, mut target) = (off(from_offset), off(to_offset));
                let (from, to) = (from.raw.fd(), to.raw.fd());
                check(libc::copy_file_range(from, &mut source, to, &mut target, len as usize, 0) as i64)
            }
            RawOp::Clone { from, from_offset, to, to_offset, len } => {
                let range = libc::file_clone_range {
                    src_fd: from.raw.fd() as i64,
                    src_offset: from_offset,
                    src_length: len,
                    dest_offset: to_offset,
                };
                check(libc::ioctl(to.raw.fd(), libc::FICLONERANGE, &range) as i64)
            }
        }
    }
}

fn fallocate(file: FileRef, how: i32, offset: u64, len: u64) -> Answer {
    // SAFETY: the call takes no memory.
    check(unsafe { libc::fallocate(file.raw.fd(), how, off(offset), off(len)) } as i64)
}

fn kind(exclusive: bool) -> libc::c_short {
    (if exclusive { libc::F_WRLCK } else { libc::F_RDLCK }) as libc::c_short
}

fn lock(file: FileRef, what: i32, kind: libc::c_short, offset: u64, len: u64) -> io::Result<libc::flock> {
    // SAFETY: all zeros is a valid flock.
    let mut range: libc::flock = unsafe { MaybeUninit::zeroed().assume_init() };
    (range.l_type, range.l_whence) = (kind, libc::SEEK_SET as libc::c_short);
    (range.l_start, range.l_len) = (off(offset), off(len));
    // SAFETY: `range` is what the call takes.
    check(unsafe { libc::fcntl(file.raw.fd(), what, &mut range) } as i64)?;
    Ok(range)
}

fn open(path: &OpPath, options: OpenOptions) -> io::Result<FileHandle> {
    let mut how = fs::OpenOptions::new();
    // `std` demands write access for what makes and cuts files, and so do the cases.
    how.read(options.read).write(options.write).truncate(options.truncate);
    how.create(options.create).create_new(options.create_new).mode(options.mode);
    let direct = if options.direct { libc::O_DIRECT } else { 0 };
    how.custom_flags(direct | if options.no_follow { libc::O_NOFOLLOW } else { 0 });
    let file = how.open(path.as_path())?;
    let meta = file.metadata()?;
    let inode = Some(InodeKey { dev: meta.dev(), ino: meta.ino() });
    let facts = FileFacts { direct: options.direct, seekable: meta.is_file(), inode, ..FileFacts::default() };
    Ok(FileHandle::from_std(file, facts))
}

fn stat(target: StatTarget) -> io::Result<Metadata> {
    let found = match target {
        StatTarget::File(file) => {
            // SAFETY: the call takes no memory; its answer is a new descriptor that nobody else owns.
            let copy = check(unsafe { libc::fcntl(file.raw.fd(), libc::F_DUPFD_CLOEXEC, 0) } as i64)?;
            // SAFETY: see above.
            let copy = unsafe { OwnedFd::from_raw_fd(copy as i32) };
            debug_assert!(copy.as_raw_fd() >= 0);
            fs::File::from(copy).metadata()?
        }
        StatTarget::Path { path, follow } => {
            // SAFETY: the caller of `execute` vouches for paths.
            let path: &Path = unsafe { &*path }.as_path();
            if follow { fs::metadata(path)? } else { fs::symlink_metadata(path)? }
        }
    };
    let mut meta = Metadata::new(file_kind(found.file_type()), found.len());
    (meta.mode, meta.links, meta.uid, meta.gid) = (found.mode() & 0o7777, found.nlink(), found.uid(), found.gid());
    (meta.dev, meta.ino, meta.blocks) = (found.dev(), found.ino(), found.blocks());
    meta.block_size = found.blksize() as u32;
    (meta.modified, meta.accessed, meta.created) = (found.modified().ok(), found.accessed().ok(), found.created().ok());
    Ok(meta)
}

fn file_kind(kind: fs::FileType) -> FileKind {
    match kind {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Dir,
        kind if kind.is_symlink() => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

#[allow(clippy::unnecessary_cast)] // the widths differ between targets
fn stat_fs(found: &libc::statfs) -> StatFs {
    let mut answer = StatFs::default();
    (answer.magic, answer.block_size) = (found.f_type as i64, found.f_bsize as u64);
    (answer.blocks, answer.free, answer.available) = (found.f_blocks, found.f_bfree, found.f_bavail);
    answer
}

fn entry_of(entry: &fs::DirEntry) -> io::Result<DirEntry> {
    let kind = entry.file_type().map_or(FileKind::Other, file_kind);
    Ok(DirEntry { name: entry.file_name(), kind, ino: entry.ino() })
}
