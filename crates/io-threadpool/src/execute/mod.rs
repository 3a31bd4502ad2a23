//! What each operation means, in terms of the platform's own blocking calls.
//!
//! [`execute`] is the reference: a driver that answers an operation differently is wrong. The table below has no wildcard, so a
//! new operation does not compile until it has a meaning here. What a platform module must provide is exactly the list of
//! functions that the table calls; each answers a value or the positive OS error code.

use io_core::{Output, RawFile, RawOp, StatTarget};

#[cfg(unix)]
pub(crate) mod unix;
#[cfg(unix)]
pub(crate) use unix as sys;

#[cfg(windows)]
pub(crate) mod windows;
#[cfg(windows)]
pub(crate) use windows as sys;

#[cfg(not(any(unix, windows)))]
compile_error!("io-threadpool knows Unix and Windows");

/// A value, or the positive OS error code.
pub(crate) type Answer<T = i32> = Result<T, i32>;

/// Does one operation on the calling thread and answers its result: bytes, or 0, or `-errno`.
///
/// Transfers move what one call of the system moves, which may be short, and at most [`RawOp::MAX_TRANSFER`] bytes. An
/// interrupted transfer that moved nothing is begun again, a few times; an interrupted sync never is, its answer is `EINTR`.
/// What the platform does not have is `EOPNOTSUPP`. Typed answers go to the operation's `out` before this returns.
///
/// Per platform: locks belong to the open file on Linux, macOS and Windows, to the process on other systems (fcntl(2)); syncs
/// on macOS are `F_FULLFSYNC`; `RWF_DSYNC` is a write and an fdatasync where the kernel has no such flag, the other flags are
/// `EOPNOTSUPP` outside Linux (but for `RWF_APPEND` on Windows); an I/O priority is applied on Linux and ignored elsewhere.
///
/// # Safety
/// The memory, paths, output and files that `op` names are valid until this returns, nobody mutates a write's memory or touches
/// a read's or the output meanwhile.
pub unsafe fn execute(op: &RawOp) -> i32 {
    // SAFETY: the caller's promises are the ones that `answer` asks for.
    match unsafe { answer(op) } {
        Ok(value) => value,
        Err(code) => -code,
    }
}

/// Reads on the calling thread what is in memory, and nothing that is not: `len` bytes, fewer, or `-EAGAIN` (preadv2(2) with
/// `RWF_NOWAIT`, Linux 4.14). `-EOPNOTSUPP` where the system or the file system has no such call.
///
/// # Safety
/// `len` bytes at `buf` are writable and nobody else's until this returns.
#[inline]
pub unsafe fn read_now(file: RawFile, buf: *mut u8, len: u32, offset: u64) -> i32 {
    #[cfg(unix)]
    // SAFETY: the caller's promise.
    let answer = unsafe { sys::read_now(file, buf, len, offset) };
    #[cfg(not(unix))]
    let answer: Answer = {
        let _ = (file, buf, len, offset);
        Err(io_core::errno::EOPNOTSUPP)
    };
    answer.unwrap_or_else(|code| -code)
}

/// # Safety
/// As [`execute`].
unsafe fn answer(op: &RawOp) -> Answer {
    // SAFETY: for all dereferences and calls below: the caller of `execute` says that the addresses in `op` are valid and lent to
    // this operation until it returns (I1: the slot owns them); a file number that is not open is an answer, not a danger.
    unsafe {
        match *op {
            RawOp::Read { file, buf, len, offset, flags, ioprio } => {
                sys::read(file.raw, buf, len, offset, flags, ioprio)
            }
            RawOp::ReadVectored { file, iov, count, offset, flags, ioprio } => {
                sys::read_vectored(file.raw, iov, count, offset, flags, ioprio)
            }
            RawOp::Write { file, buf, len, offset, flags, ioprio } => {
                sys::write(file.raw, buf, len, offset, flags, ioprio)
            }
            RawOp::WriteVectored { file, iov, count, offset, flags, ioprio } => {
                sys::write_vectored(file.raw, iov, count, offset, flags, ioprio)
            }
            RawOp::SyncData { file } => done(sys::sync_data(file.raw)),
            RawOp::SyncAll { file } => done(sys::sync_all(file.raw)),
            RawOp::SyncRange { file, offset, len } => done(sys::sync_range(file.raw, offset, len)),
            RawOp::Allocate { file, offset, len, keep_size } => done(sys::allocate(file.raw, offset, len, keep_size)),
            RawOp::PunchHole { file, offset, len } => done(sys::punch_hole(file.raw, offset, len)),
            RawOp::ZeroRange { file, offset, len, keep_size } => {
                done(sys::zero_range(file.raw, offset, len, keep_size))
            }
            RawOp::Truncate { file, len } => done(sys::truncate(file.raw, len)),
            RawOp::Advise { file, offset, len, advice } => done(sys::advise(file.raw, offset, len, advice)),
            RawOp::WriteHint { file, lifetime } => done(sys::write_hint(file.raw, lifetime)),
            RawOp::TryLock { file, offset, len, exclusive } => done(sys::try_lock(file.raw, offset, len, exclusive)),
            RawOp::Unlock { file, offset, len } => done(sys::unlock(file.raw, offset, len)),
            RawOp::QueryLock { file, offset, len, exclusive, out } => {
                put(out, sys::query_lock(file.raw, offset, len, exclusive).map(Output::Lock))
            }
            RawOp::Open { path, options, out } => put(out, sys::open(&*path, options).map(Output::File)),
            RawOp::Close { file } => done(sys::close(file.raw)),
            RawOp::Stat { target: StatTarget::File(file), out } => {
                put(out, sys::stat_file(file.raw).map(Output::Metadata))
            }
            RawOp::Stat { target: StatTarget::Path { path, follow }, out } => {
                put(out, sys::stat_path(&*path, follow).map(Output::Metadata))
            }
            RawOp::StatFs { path, out } => put(out, sys::stat_fs(&*path).map(Output::StatFs)),
            RawOp::Access { path, mode } => done(sys::access(&*path, mode)),
            RawOp::RealPath { path, out } => put(out, sys::real_path(&*path).map(Output::Path)),
            RawOp::SetPermissions { path, mode } => done(sys::set_permissions(&*path, mode)),
            RawOp::Rename { from, to, mode } => done(sys::rename(&*from, &*to, mode)),
            RawOp::Unlink { path } => done(sys::unlink(&*path)),
            RawOp::MakeDir { path, mode } => done(sys::make_dir(&*path, mode)),
            RawOp::RemoveDir { path } => done(sys::remove_dir(&*path)),
            RawOp::ReadDir { path, out } => put(out, sys::read_dir(&*path).map(Output::Entries)),
            RawOp::SyncDir { path } => done(sys::sync_dir(&*path)),
            RawOp::CopyRange { from, from_offset, to, to_offset, len } => {
                sys::copy_range(from.raw, from_offset, to.raw, to_offset, len)
            }
            RawOp::Clone { from, from_offset, to, to_offset, len } => {
                done(sys::clone_range(from.raw, from_offset, to.raw, to_offset, len))
            }
        }
    }
}

fn done(answer: Answer<()>) -> Answer {
    answer.map(|()| 0)
}

/// Puts a typed answer in its place; an error leaves the place alone.
///
/// # Safety
/// `out` is valid and nobody else's.
unsafe fn put(out: *mut Output, answer: Answer<Output>) -> Answer {
    let output = answer?;
    // SAFETY: the caller's promise.
    unsafe { *out = output };
    Ok(0)
}

/// Entries of a directory as `std` lists them, without `.` and `..`. All names are read before this returns.
fn list(path: &io_core::OpPath, ino: impl Fn(&std::fs::DirEntry) -> u64) -> Answer<Vec<io_core::DirEntry>> {
    use io_core::{DirEntry, FileKind};
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path.as_path()).map_err(code_of)? {
        let entry = entry.map_err(code_of)?;
        let kind = match entry.file_type() {
            Ok(kind) if kind.is_file() => FileKind::File,
            Ok(kind) if kind.is_dir() => FileKind::Dir,
            Ok(kind) if kind.is_symlink() => FileKind::Symlink,
            // A name that was removed while we read on is still a name that was there.
            Ok(_) | Err(_) => FileKind::Other,
        };
        entries.push(DirEntry { ino: ino(&entry), name: entry.file_name(), kind });
    }
    Ok(entries)
}

/// The positive code of a `std` error.
fn code_of(error: std::io::Error) -> i32 {
    -io_core::encode(&error)
}
