//! The one table from our operations to the kernel's requests.

use crate::{answers::Answers, files::FileTable, memory::MemoryTable};
use io_core::{Advice, FileRef, OpPath, OpenOptions, RawOp, RenameMode, StatTarget, Statx, Token, errno};
use io_uring::{opcode, squeue, types};
use std::ffi::c_char;

/// What becomes of an operation.
pub(crate) enum Request {
    /// The kernel is asked.
    Entry(squeue::Entry),
    /// It is its own completion, with this code: the kernel has no such request, or would take it for another one.
    Refused(i32),
}

/// What the table looks things up in.
pub(crate) struct Context<'a> {
    pub(crate) files: &'a FileTable,
    pub(crate) memory: &'a MemoryTable,
    pub(crate) answers: &'a mut Answers,
}

const HERE: types::Fd = types::Fd(libc::AT_FDCWD);
const UNSUPPORTED: Request = Request::Refused(errno::EOPNOTSUPP);
const INVALID: Request = Request::Refused(errno::EINVAL);

/// Describes one operation to the kernel. Exhaustive: a new operation is a compile error here.
///
/// # Safety
/// The addresses in `op` are valid until the completion for `token` is delivered.
#[inline]
pub(crate) unsafe fn request(token: Token, op: &RawOp, cx: Context<'_>) -> Request {
    let entry = match *op {
        RawOp::Read { file, buf, len, offset, flags, ioprio } => {
            if is_beyond(offset) {
                return INVALID;
            }
            let ((fd, fixed), rw) = (cx.target(file), flags.bits() as i32);
            match cx.memory.place(buf, len) {
                Some(place) => {
                    opcode::ReadFixed::new(fd, buf, len, place).offset(offset).rw_flags(rw).ioprio(ioprio).build()
                }
                None => opcode::Read::new(fd, buf, len).offset(offset).rw_flags(rw).ioprio(ioprio).build(),
            }
            .flags(fixed)
        }
        RawOp::Write { file, buf, len, offset, flags, ioprio } => {
            if is_beyond(offset) {
                return INVALID;
            }
            let ((fd, fixed), rw) = (cx.target(file), flags.bits() as i32);
            match cx.memory.place(buf, len) {
                Some(place) => {
                    opcode::WriteFixed::new(fd, buf, len, place).offset(offset).rw_flags(rw).ioprio(ioprio).build()
                }
                None => opcode::Write::new(fd, buf, len).offset(offset).rw_flags(rw).ioprio(ioprio).build(),
            }
            .flags(fixed)
        }
        RawOp::ReadVectored { file, iov, count, offset, flags, ioprio } => {
            if is_beyond(offset) {
                return INVALID;
            }
            let ((fd, fixed), rw) = (cx.target(file), flags.bits() as i32);
            let readv = opcode::Readv::new(fd, iov.cast(), count).offset(offset).rw_flags(rw).ioprio(ioprio);
            readv.build().flags(fixed)
        }
        RawOp::WriteVectored { file, iov, count, offset, flags, ioprio } => {
            if is_beyond(offset) {
                return INVALID;
            }
            let ((fd, fixed), rw) = (cx.target(file), flags.bits() as i32);
            let writev = opcode::Writev::new(fd, iov.cast(), count).offset(offset).rw_flags(rw).ioprio(ioprio);
            writev.build().flags(fixed)
        }
        RawOp::SyncData { file } => {
            let (fd, fixed) = cx.target(file);
            opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build().flags(fixed)
        }
        RawOp::SyncAll { file } => {
            let (fd, fixed) = cx.target(file);
            opcode::Fsync::new(fd).build().flags(fixed)
        }
        RawOp::SyncRange { file, offset, len } => {
            if is_beyond(offset) || is_beyond(len) {
                return INVALID;
            }
            // The request has 32 bits for the length. 0 is "to the end": more than asked for, which costs time, not data.
            let len = u32::try_from(len).unwrap_or(0);
            let (fd, fixed) = cx.target(file);
            let sync = opcode::SyncFileRange::new(fd, len).offset(offset).flags(libc::SYNC_FILE_RANGE_WRITE);
            sync.build().flags(fixed)
        }
        RawOp::Allocate { file, offset, len, keep_size } => {
            let mode = if keep_size { libc::FALLOC_FL_KEEP_SIZE } else { 0 };
            return cx.fallocate(token, file, offset, len, mode);
        }
        RawOp::PunchHole { file, offset, len } => {
            return cx.fallocate(token, file, offset, len, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE);
        }
        RawOp::ZeroRange { file, offset, len, keep_size } => {
            let keep = if keep_size { libc::FALLOC_FL_KEEP_SIZE } else { 0 };
            return cx.fallocate(token, file, offset, len, libc::FALLOC_FL_ZERO_RANGE | keep);
        }
        RawOp::Truncate { file, len } => {
            if is_beyond(len) {
                return INVALID;
            }
            let (fd, fixed) = cx.target(file);
            opcode::Ftruncate::new(fd, len).build().flags(fixed)
        }
        RawOp::Advise { file, offset, len, advice } => {
            if is_beyond(offset) || is_beyond(len) {
                return INVALID;
            }
            // 32 bits again (until 6.11). Advice for the first 4 GiB is still advice; a length of 0 would be about all the rest.
            let len = len.min(u32::MAX.into()) as libc::off_t;
            let (fd, fixed) = cx.target(file);
            opcode::Fadvise::new(fd, len, advice_number(advice)).offset(offset).build().flags(fixed)
        }
        RawOp::Open { path, options, out } => {
            let Some(flags) = open_flags(&options) else { return INVALID };
            // SAFETY: the caller keeps the path valid.
            let path = unsafe { c_path(path) };
            let open = opcode::OpenAt::new(HERE, path).flags(flags).mode(options.mode as libc::mode_t).build();
            return Request::Entry(open.user_data(cx.answers.expect_file(token, options.direct, out).as_u64()));
        }
        RawOp::Close { file } => opcode::Close::new(types::Fd(file.raw.fd())).build(),
        RawOp::Stat { target, out } => {
            let (dir, path, flags) = match target {
                StatTarget::File(file) => (types::Fd(file.raw.fd()), c"".as_ptr(), libc::AT_EMPTY_PATH),
                // SAFETY: the caller keeps the path valid.
                StatTarget::Path { path, follow: true } => (HERE, unsafe { c_path(path) }, 0),
                // SAFETY: as above.
                StatTarget::Path { path, follow: false } => (HERE, unsafe { c_path(path) }, libc::AT_SYMLINK_NOFOLLOW),
            };
            let (token, room) = cx.answers.expect_metadata(token, out);
            let statx = opcode::Statx::new(dir, path, room.cast()).flags(flags).mask(Statx::MASK).build();
            return Request::Entry(statx.user_data(token.as_u64()));
        }
        RawOp::Rename { from, to, mode } => {
            let flags = match mode {
                RenameMode::Replace => 0,
                RenameMode::NoReplace => libc::RENAME_NOREPLACE,
                RenameMode::Exchange => libc::RENAME_EXCHANGE,
            };
            // SAFETY: the caller keeps both paths valid.
            let (from, to) = unsafe { (c_path(from), c_path(to)) };
            opcode::RenameAt::new(HERE, from, HERE, to).flags(flags).build()
        }
        // SAFETY: the caller keeps the path valid, here and below.
        RawOp::Unlink { path } => opcode::UnlinkAt::new(HERE, unsafe { c_path(path) }).build(),
        RawOp::MakeDir { path, mode } => {
            // SAFETY: as above.
            opcode::MkDirAt::new(HERE, unsafe { c_path(path) }).mode(mode as libc::mode_t).build()
        }
        RawOp::RemoveDir { path } => {
            // SAFETY: as above.
            opcode::UnlinkAt::new(HERE, unsafe { c_path(path) }).flags(libc::AT_REMOVEDIR).build()
        }
        RawOp::WriteHint { .. }
        | RawOp::TryLock { .. }
        | RawOp::Unlock { .. }
        | RawOp::QueryLock { .. }
        | RawOp::StatFs { .. }
        | RawOp::Access { .. }
        | RawOp::RealPath { .. }
        | RawOp::SetPermissions { .. }
        | RawOp::ReadDir { .. }
        | RawOp::SyncDir { .. }
        | RawOp::CopyRange { .. }
        | RawOp::Clone { .. } => return UNSUPPORTED,
    };
    Request::Entry(entry.user_data(token.as_u64()))
}

impl Context<'_> {
    /// What to name the file by, its place in the ring's table or its descriptor, and the flag that says which of the two.
    #[inline]
    fn target(&self, file: FileRef) -> (types::Fd, squeue::Flags) {
        match self.files.place(file.id) {
            Some(place) => (types::Fd(place as i32), squeue::Flags::FIXED_FILE),
            None => (types::Fd(file.raw.fd()), squeue::Flags::empty()),
        }
    }

    fn fallocate(&self, token: Token, file: FileRef, offset: u64, len: u64, mode: i32) -> Request {
        if is_beyond(offset) || is_beyond(len) {
            return INVALID;
        }
        let (fd, fixed) = self.target(file);
        let fallocate = opcode::Fallocate::new(fd, len).offset(offset).mode(mode).build();
        Request::Entry(fallocate.flags(fixed).user_data(token.as_u64()))
    }
}

/// Above the range of the kernel's signed offsets. The calls answer `EINVAL` there; a request with all bits set would instead
/// mean "at the file's own position" (`RW_CUR_POS`).
#[inline]
const fn is_beyond(offset: u64) -> bool {
    offset > i64::MAX as u64
}

/// # Safety
/// `path` is valid until the completion.
unsafe fn c_path(path: *const OpPath) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { (*path).as_c_str().as_ptr() }
}

/// The flags of openat(2); `None` for options that ask for no access, or that cut a file without the right to write it.
fn open_flags(options: &OpenOptions) -> Option<i32> {
    let mut flags = libc::O_CLOEXEC
        | match (options.read, options.write) {
            (true, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
            (false, false) => return None,
        };
    if options.truncate && !options.write {
        return None;
    }
    for (asked, flag) in [
        (options.create || options.create_new, libc::O_CREAT),
        (options.create_new, libc::O_EXCL),
        (options.truncate && !options.create_new, libc::O_TRUNC),
        (options.no_follow, libc::O_NOFOLLOW),
        (options.direct, libc::O_DIRECT),
    ] {
        flags |= if asked { flag } else { 0 };
    }
    Some(flags)
}

fn advice_number(advice: Advice) -> i32 {
    match advice {
        Advice::Normal => libc::POSIX_FADV_NORMAL,
        Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
        Advice::Random => libc::POSIX_FADV_RANDOM,
        Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
        Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
        Advice::NoReuse => libc::POSIX_FADV_NOREUSE,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use io_core::{FileFacts, FileHandle, RawFile, RwFlags};

    fn ask(op: &RawOp) -> Request {
        let (files, memory, mut answers) = (FileTable::new(0), MemoryTable::new(0), Answers::new(1));
        let cx = Context { files: &files, memory: &memory, answers: &mut answers };
        // SAFETY: nothing is submitted, and none of the operations below has an address.
        unsafe { request(Token::new(5, 6), op, cx) }
    }

    fn file() -> FileRef {
        // SAFETY: the number is outside the range of descriptors.
        unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), FileFacts::default()) }.at()
    }

    #[test]
    fn the_token_travels_with_the_request() {
        let Request::Entry(entry) = ask(&RawOp::SyncData { file: file() }) else { panic!("refused") };
        assert_eq!(entry.get_user_data(), Token::new(5, 6).as_u64());
        assert_eq!(entry.get_opcode(), u32::from(opcode::Fsync::CODE));
    }

    #[test]
    fn the_offset_that_means_the_files_own_position_is_refused() {
        let (buf, flags) = (std::ptr::dangling_mut(), RwFlags::NONE);
        let read = RawOp::Read { file: file(), buf, len: 1, offset: u64::MAX, flags, ioprio: 0 };
        assert!(matches!(ask(&read), Request::Refused(errno::EINVAL)));
        assert!(matches!(ask(&RawOp::Truncate { file: file(), len: 1 << 63 }), Request::Refused(errno::EINVAL)));
    }

    #[test]
    fn what_rings_cannot_do_is_refused_as_itself() {
        let lock = RawOp::TryLock { file: file(), offset: 0, len: 0, exclusive: true };
        assert!(matches!(ask(&lock), Request::Refused(errno::EOPNOTSUPP)));
    }

    #[test]
    fn opening_asks_for_some_access() {
        let none = OpenOptions { read: false, ..OpenOptions::READ };
        assert_eq!(open_flags(&none), None);
        assert_eq!(open_flags(&OpenOptions { truncate: true, ..OpenOptions::READ }), None);
        let new = OpenOptions { truncate: true, ..OpenOptions::CREATE_NEW }.direct();
        let flags = libc::O_CLOEXEC | libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_DIRECT;
        assert_eq!(open_flags(&new), Some(flags));
    }
}
