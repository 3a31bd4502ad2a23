//! An operation that owns its buffer and its file.

mod make;
mod many;
mod reach;

use crate::{
    AccessMode, Advice, AnyBuf, FileHandle, IoBuf, IoVec, Lifetime, OpClass, OpKind, OpPath, OpenOptions, Output,
    RawOp, RenameMode, RwFlags, StatTarget, errno,
};
use many::Many;
pub use reach::Reach;
use std::fmt;

/// One operation with everything the kernel may touch on its behalf: buffer, file handles, paths, place for the answer.
///
/// The fields are private, so that safe code cannot swap them while a [`RawOp`] made of them is in flight. Whoever owns an
/// operation in flight keeps it where it is (I1, I5) until its completion, then calls [`Op::settle`] and takes the buffer out.
pub struct Op {
    what: What,
    file: Option<FileHandle>,
    buf: Option<AnyBuf>,
    extra: Option<Box<Extra>>,
}

/// The arguments of each kind, as far as they are neither file, buffer nor path.
#[derive(Clone, Copy, Debug)]
enum What {
    Read { offset: u64, done: u64, flags: RwFlags, ioprio: u16 },
    ReadVectored { offset: u64, done: u64, flags: RwFlags, ioprio: u16 },
    Write { offset: u64, done: u64, flags: RwFlags, ioprio: u16 },
    WriteVectored { offset: u64, done: u64, flags: RwFlags, ioprio: u16 },
    SyncData,
    SyncAll,
    SyncRange { offset: u64, len: u64 },
    Allocate { offset: u64, len: u64, keep_size: bool },
    PunchHole { offset: u64, len: u64 },
    ZeroRange { offset: u64, len: u64, keep_size: bool },
    Truncate { len: u64 },
    Advise { offset: u64, len: u64, advice: Advice },
    WriteHint { lifetime: Lifetime },
    TryLock { offset: u64, len: u64, exclusive: bool },
    Unlock { offset: u64, len: u64 },
    QueryLock { offset: u64, len: u64, exclusive: bool },
    Open { options: OpenOptions },
    Close,
    StatFile,
    StatPath { follow: bool },
    StatFs,
    Access { mode: AccessMode },
    RealPath,
    SetPermissions { mode: u32 },
    Rename { mode: RenameMode },
    Unlink,
    MakeDir { mode: u32 },
    RemoveDir,
    ReadDir,
    SyncDir,
    CopyRange { from_offset: u64, to_offset: u64, len: u64 },
    Clone { from_offset: u64, to_offset: u64, len: u64 },
}

/// What only some kinds have, out of the way of those that have not.
#[derive(Default)]
struct Extra {
    path: Option<OpPath>,
    to_path: Option<OpPath>,
    to_file: Option<FileHandle>,
    output: Output,
    /// The pieces of a vectored transfer as they were given, and what is left of them now.
    pieces: Vec<IoVec>,
    left: Vec<IoVec>,
}

// SAFETY: the pieces point into the buffers that the same operation owns, and those are `Send`.
unsafe impl Send for Extra {}

impl Op {
    /// The kind of the operation.
    #[inline]
    pub fn kind(&self) -> OpKind {
        match self.what {
            What::Read { .. } => OpKind::Read,
            What::ReadVectored { .. } => OpKind::ReadVectored,
            What::Write { .. } => OpKind::Write,
            What::WriteVectored { .. } => OpKind::WriteVectored,
            What::SyncData => OpKind::SyncData,
            What::SyncAll => OpKind::SyncAll,
            What::SyncRange { .. } => OpKind::SyncRange,
            What::Allocate { .. } => OpKind::Allocate,
            What::PunchHole { .. } => OpKind::PunchHole,
            What::ZeroRange { .. } => OpKind::ZeroRange,
            What::Truncate { .. } => OpKind::Truncate,
            What::Advise { .. } => OpKind::Advise,
            What::WriteHint { .. } => OpKind::WriteHint,
            What::TryLock { .. } => OpKind::TryLock,
            What::Unlock { .. } => OpKind::Unlock,
            What::QueryLock { .. } => OpKind::QueryLock,
            What::Open { .. } => OpKind::Open,
            What::Close => OpKind::Close,
            What::StatFile | What::StatPath { .. } => OpKind::Stat,
            What::StatFs => OpKind::StatFs,
            What::Access { .. } => OpKind::Access,
            What::RealPath => OpKind::RealPath,
            What::SetPermissions { .. } => OpKind::SetPermissions,
            What::Rename { .. } => OpKind::Rename,
            What::Unlink => OpKind::Unlink,
            What::MakeDir { .. } => OpKind::MakeDir,
            What::RemoveDir => OpKind::RemoveDir,
            What::ReadDir => OpKind::ReadDir,
            What::SyncDir => OpKind::SyncDir,
            What::CopyRange { .. } => OpKind::CopyRange,
            What::Clone { .. } => OpKind::Clone,
        }
    }

    /// How the operation meets its file, as far as is known now.
    #[inline]
    pub fn class(&self) -> OpClass {
        let Some(file) = &self.file else { return OpClass::Buffered };
        if !file.facts().direct {
            return OpClass::Buffered;
        }
        match self.what {
            What::Write { offset, flags, .. } | What::WriteVectored { offset, flags, .. } => {
                let end = offset.saturating_add(self.len());
                let allocates = end > file.filled() || flags.contains(RwFlags::APPEND);
                if allocates { OpClass::Allocating } else { OpClass::Direct }
            }
            _ => OpClass::Direct,
        }
    }

    /// Bytes that the operation would transfer; 0 for what transfers none.
    #[inline]
    pub fn len(&self) -> u64 {
        match self.what {
            What::Read { .. } => self.buf.as_ref().map_or(0, |b| b.capacity()) as u64,
            What::Write { .. } => self.buf.as_ref().map_or(0, |b| b.source().1) as u64,
            What::ReadVectored { .. } | What::WriteVectored { .. } => {
                self.extra.as_ref().map_or(0, |e| e.pieces.iter().map(|p| p.len as u64).sum())
            }
            What::CopyRange { len, .. } => len,
            _ => 0,
        }
    }

    /// Address and length of what a write that is not vectored writes from. The address holds while the operation stays where it is.
    pub fn source(&self) -> Option<(*const u8, usize)> {
        match self.what {
            What::Write { .. } => self.buf.as_ref().map(AnyBuf::source),
            _ => None,
        }
    }

    /// True if there is nothing to transfer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the operation starts in its (first) file; 0 for what has no place there.
    pub fn offset(&self) -> u64 {
        match self.what {
            What::Read { offset, .. }
            | What::ReadVectored { offset, .. }
            | What::Write { offset, .. }
            | What::WriteVectored { offset, .. }
            | What::SyncRange { offset, .. }
            | What::Allocate { offset, .. }
            | What::PunchHole { offset, .. }
            | What::ZeroRange { offset, .. }
            | What::Advise { offset, .. }
            | What::TryLock { offset, .. }
            | What::Unlock { offset, .. }
            | What::QueryLock { offset, .. } => offset,
            What::CopyRange { from_offset, .. } | What::Clone { from_offset, .. } => from_offset,
            _ => 0,
        }
    }

    /// The flags of a transfer.
    #[inline]
    pub fn flags(&self) -> RwFlags {
        match self.what {
            What::Read { flags, .. }
            | What::ReadVectored { flags, .. }
            | What::Write { flags, .. }
            | What::WriteVectored { flags, .. } => flags,
            _ => RwFlags::NONE,
        }
    }

    /// The file that the operation works on (the source of a copy). None for a close: a clone taken here would name a number that
    /// is somebody else's file afterwards.
    #[inline]
    pub fn file(&self) -> Option<&FileHandle> {
        self.file.as_ref().filter(|_| !matches!(self.what, What::Close))
    }

    /// The file whose content or size the operation changes, if it does that to one.
    #[inline]
    pub fn changes(&self) -> Option<&FileHandle> {
        match self.what {
            What::Write { .. }
            | What::WriteVectored { .. }
            | What::Allocate { .. }
            | What::PunchHole { .. }
            | What::ZeroRange { .. }
            | What::Truncate { .. } => self.file.as_ref(),
            What::CopyRange { .. } | What::Clone { .. } => self.extra.as_ref().and_then(|e| e.to_file.as_ref()),
            _ => None,
        }
    }

    /// Describes what is left of the operation when `done` bytes of it are transferred, at most `most` bytes of it (and at
    /// most [`RawOp::MAX_PIECES`] pieces). The addresses hold while the operation stays where it is.
    ///
    /// # Panics
    /// If `most` is 0 or above [`RawOp::MAX_TRANSFER`].
    pub fn raw(&mut self, done: u64, most: u32) -> RawOp {
        assert!(most > 0 && most <= RawOp::MAX_TRANSFER);
        let capped = |len: u64| len.min(most as u64) as u32;
        let at = self.file.as_ref().map(FileHandle::at);
        let file = || at.expect("constructed with a file");
        match self.what {
            What::Read { offset, flags, ioprio, .. } => {
                let (base, len) = self.buf.as_mut().and_then(AnyBuf::target).expect("constructed with a target");
                let skip = done.min(len as u64) as usize;
                RawOp::Read {
                    file: file(),
                    buf: base.wrapping_add(skip),
                    len: capped((len - skip) as u64),
                    offset: offset.saturating_add(done),
                    flags,
                    ioprio,
                }
            }
            What::Write { offset, flags, ioprio, .. } => {
                let (base, len) = self.buf.as_ref().expect("constructed with a source").source();
                let skip = done.min(len as u64) as usize;
                RawOp::Write {
                    file: file(),
                    buf: base.wrapping_add(skip),
                    len: capped((len - skip) as u64),
                    offset: offset.saturating_add(done),
                    flags,
                    ioprio,
                }
            }
            What::ReadVectored { offset, flags, ioprio, .. } => {
                let (iov, count) = self.extra().rest_of_pieces(done, most);
                RawOp::ReadVectored { file: file(), iov, count, offset: offset.saturating_add(done), flags, ioprio }
            }
            What::WriteVectored { offset, flags, ioprio, .. } => {
                let (iov, count) = self.extra().rest_of_pieces(done, most);
                RawOp::WriteVectored { file: file(), iov, count, offset: offset.saturating_add(done), flags, ioprio }
            }
            What::SyncData => RawOp::SyncData { file: file() },
            What::SyncAll => RawOp::SyncAll { file: file() },
            What::SyncRange { offset, len } => RawOp::SyncRange { file: file(), offset, len },
            What::Allocate { offset, len, keep_size } => RawOp::Allocate { file: file(), offset, len, keep_size },
            What::PunchHole { offset, len } => RawOp::PunchHole { file: file(), offset, len },
            What::ZeroRange { offset, len, keep_size } => RawOp::ZeroRange { file: file(), offset, len, keep_size },
            What::Truncate { len } => RawOp::Truncate { file: file(), len },
            What::Advise { offset, len, advice } => RawOp::Advise { file: file(), offset, len, advice },
            What::WriteHint { lifetime } => RawOp::WriteHint { file: file(), lifetime },
            What::TryLock { offset, len, exclusive } => RawOp::TryLock { file: file(), offset, len, exclusive },
            What::Unlock { offset, len } => RawOp::Unlock { file: file(), offset, len },
            What::QueryLock { offset, len, exclusive } => {
                RawOp::QueryLock { file: file(), offset, len, exclusive, out: self.extra().out() }
            }
            What::Open { options } => RawOp::Open { path: self.extra().path(), options, out: self.extra().out() },
            What::Close => {
                RawOp::Close { file: self.file.as_ref().expect("constructed with a file").at_unless_closed() }
            }
            What::StatFile => RawOp::Stat { target: StatTarget::File(file()), out: self.extra().out() },
            What::StatPath { follow } => {
                let target = StatTarget::Path { path: self.extra().path(), follow };
                RawOp::Stat { target, out: self.extra().out() }
            }
            What::StatFs => RawOp::StatFs { path: self.extra().path(), out: self.extra().out() },
            What::Access { mode } => RawOp::Access { path: self.extra().path(), mode },
            What::RealPath => RawOp::RealPath { path: self.extra().path(), out: self.extra().out() },
            What::SetPermissions { mode } => RawOp::SetPermissions { path: self.extra().path(), mode },
            What::Rename { mode } => {
                let extra = self.extra();
                let to = extra.to_path.as_ref().expect("constructed with two paths");
                RawOp::Rename { from: extra.path(), to, mode }
            }
            What::Unlink => RawOp::Unlink { path: self.extra().path() },
            What::MakeDir { mode } => RawOp::MakeDir { path: self.extra().path(), mode },
            What::RemoveDir => RawOp::RemoveDir { path: self.extra().path() },
            What::ReadDir => RawOp::ReadDir { path: self.extra().path(), out: self.extra().out() },
            What::SyncDir => RawOp::SyncDir { path: self.extra().path() },
            What::CopyRange { from_offset, to_offset, len } => RawOp::CopyRange {
                from: file(),
                from_offset: from_offset.saturating_add(done),
                to: self.extra().to_file(),
                to_offset: to_offset.saturating_add(done),
                len: capped(len.saturating_sub(done)),
            },
            What::Clone { from_offset, to_offset, len } => {
                RawOp::Clone { from: file(), from_offset, to: self.extra().to_file(), to_offset, len }
            }
        }
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.as_mut().expect("constructed with extra room")
    }

    /// Called once by the owner when the last completion is there: tells the buffer how much was read into it, notes a closed
    /// file as closed, and keeps the file's facts up to date.
    ///
    /// # Safety
    /// The driver has completed all that was staged of this operation, transferred the first `done` bytes, and answered
    /// `result` last; the addresses of its `RawOp`s are used by nobody any more (I3).
    pub unsafe fn settle(&mut self, done: u64, result: i32) {
        if let What::Read { done: moved, .. }
        | What::ReadVectored { done: moved, .. }
        | What::Write { done: moved, .. }
        | What::WriteVectored { done: moved, .. } = &mut self.what
        {
            *moved = done;
        }
        match self.what {
            What::Read { .. } | What::ReadVectored { .. } => {
                if let Some(buf) = &mut self.buf {
                    // SAFETY: the caller says that `done` bytes were read, and no more than the capacity was ever asked for.
                    unsafe { buf.set_len(done as usize) }
                }
            }
            What::Write { offset, flags, .. } | What::WriteVectored { offset, flags, .. } => {
                if let Some(file) = self.file.as_ref().filter(|_| !flags.contains(RwFlags::APPEND)) {
                    file.note_filled(offset, done);
                }
            }
            What::Allocate { offset, len, .. } if result >= 0 => {
                if let Some(file) = &self.file {
                    file.note_filled(offset, len);
                }
            }
            What::PunchHole { offset, .. } | What::Truncate { len: offset } => {
                if let Some(file) = &self.file {
                    file.note_unfilled(offset);
                }
            }
            What::Close if result != -errno::ECANCELED && result != -errno::EOPNOTSUPP => {
                if let Some(file) = &self.file {
                    file.mark_closed();
                }
            }
            _ => {}
        }
    }

    /// Bytes that a transfer moved, once it is settled: an error in the middle does not undo them.
    #[inline]
    pub fn done(&self) -> u64 {
        match self.what {
            What::Read { done, .. }
            | What::ReadVectored { done, .. }
            | What::Write { done, .. }
            | What::WriteVectored { done, .. } => done,
            _ => 0,
        }
    }

    /// Takes the typed answer.
    pub fn take_output(&mut self) -> Output {
        self.extra.as_mut().map_or(Output::None, |extra| std::mem::take(&mut extra.output))
    }

    /// The place of the typed answer, for who completes it after the fact.
    pub fn output_mut(&mut self) -> Option<&mut Output> {
        self.extra.as_mut().map(|extra| &mut extra.output)
    }

    /// The buffer back.
    ///
    /// # Errors
    /// The operation unchanged, if its buffer is of another type or it has none.
    pub fn into_buf<B: 'static>(mut self) -> Result<B, Op> {
        let Some(buf) = self.buf.take() else { return Err(self) };
        match buf.downcast() {
            Ok(buf) => Ok(buf),
            Err(buf) => Err(Op { buf: Some(buf), ..self }),
        }
    }

    /// The buffer back without its type, if the operation has one.
    pub fn into_any_buf(self) -> Option<AnyBuf> {
        self.buf
    }

    /// The buffers of a vectored transfer back.
    ///
    /// # Errors
    /// As [`Op::into_buf`].
    pub fn into_bufs<B: IoBuf>(self) -> Result<Vec<B>, Op> {
        self.into_buf::<Many<B>>().map(|many| many.0)
    }
}

impl Extra {
    fn path(&self) -> *const OpPath {
        self.path.as_ref().expect("constructed with a path")
    }

    fn out(&mut self) -> *mut Output {
        &mut self.output
    }

    fn to_file(&self) -> crate::FileRef {
        self.to_file.as_ref().expect("constructed with two files").at()
    }

    /// The pieces without their first `done` bytes, at most `most` bytes of them.
    fn rest_of_pieces(&mut self, done: u64, most: u32) -> (*const IoVec, u32) {
        let (mut skip, mut room) = (done, most as usize);
        self.left.clear();
        for piece in &self.pieces {
            if skip >= piece.len as u64 {
                skip -= piece.len as u64;
                continue;
            }
            let len = (piece.len - skip as usize).min(room);
            self.left.push(IoVec { base: piece.base.wrapping_add(skip as usize), len });
            (skip, room) = (0, room - len);
            if room == 0 || self.left.len() == RawOp::MAX_PIECES as usize {
                break;
            }
        }
        (self.left.as_ptr(), self.left.len() as u32)
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.what)?;
        if let Some(file) = &self.file {
            write!(f, " of {file:?}")?;
        }
        if let Some(path) = self.extra.as_ref().and_then(|extra| extra.path.as_ref()) {
            write!(f, " of {path:?}")?;
        }
        if let Some(buf) = &self.buf {
            write!(f, " with {buf:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileFacts, RawFile};

    fn file(direct: bool) -> FileHandle {
        let facts = FileFacts { direct, filled: 8192, ..FileFacts::default() };
        // SAFETY: the number is outside the range of descriptors.
        unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), facts) }
    }

    #[test]
    fn a_continuation_moves_pointer_offset_and_length() {
        let mut op = Op::read(&file(false), vec![0u8; 100], 1000);
        let RawOp::Read { buf: start, len: 100, offset: 1000, .. } = op.raw(0, RawOp::MAX_TRANSFER) else { panic!() };
        let RawOp::Read { buf, len: 20, offset: 1030, .. } = op.raw(30, 20) else { panic!() };
        assert_eq!(buf as usize - start as usize, 30);
        let RawOp::Read { len: 0, .. } = op.raw(100, 20) else { panic!() };
    }

    #[test]
    fn a_vectored_continuation_starts_inside_a_piece() {
        let mut op = Op::write_vectored(&file(false), vec![b"abc".to_vec(), vec![], b"defgh".to_vec()], 10);
        assert_eq!(op.len(), 8);
        let RawOp::WriteVectored { iov, count: 1, offset: 14, .. } = op.raw(4, 3) else { panic!() };
        // SAFETY: the operation keeps its pieces and buffers.
        let rest = unsafe { std::slice::from_raw_parts((*iov).base, (*iov).len) };
        assert_eq!(rest, b"efg");
        assert_eq!(op.into_bufs::<Vec<u8>>().unwrap()[2], b"defgh");
    }

    #[test]
    fn vectored_reads_fill_buffer_after_buffer() {
        let mut op = Op::read_vectored(&file(false), vec![vec![1u8; 4], vec![1u8; 4], vec![1u8; 4]], 0);
        // SAFETY: nothing is in flight, and all twelve bytes are initialized.
        unsafe { op.settle(6, 6) };
        let lens: Vec<_> = op.into_bufs::<Vec<u8>>().unwrap().iter().map(Vec::len).collect();
        assert_eq!(lens, [4, 2, 0]);
    }

    #[test]
    fn classes_follow_what_is_known_of_the_file() {
        let direct = file(true);
        assert_eq!(Op::write(&file(false), vec![0; 10], 0).class(), OpClass::Buffered);
        assert_eq!(Op::read(&direct, vec![0; 10], 1 << 20).class(), OpClass::Direct);
        assert_eq!(Op::write(&direct, vec![0; 4096], 4096).class(), OpClass::Direct);
        assert_eq!(Op::write(&direct, vec![0; 4096], 8192).class(), OpClass::Allocating);
        let append = Op::write(&direct, vec![0; 1], 0).with_flags(RwFlags::APPEND);
        assert_eq!(append.class(), OpClass::Allocating);
    }

    #[test]
    fn close_wants_the_only_handle_and_closes_once() {
        struct Owner(std::sync::Arc<()>);
        let alive = std::sync::Arc::new(());
        let open = || {
            let owner = Box::new(Owner(alive.clone()));
            // SAFETY: the number is outside the range of descriptors.
            unsafe { FileHandle::from_raw(RawFile::new(1 << 40), owner, FileFacts::default()) }
        };
        let file = open();
        let clone = file.clone();
        assert!(clone.owner::<Owner>().is_some_and(|o| std::sync::Arc::strong_count(&o.0) == 2));
        let file = Op::close(file).unwrap_err();
        drop(clone);
        let mut op = Op::close(file).unwrap();
        // SAFETY: nothing is in flight.
        unsafe { op.settle(0, -errno::ECANCELED) };
        drop(op);
        assert_eq!(std::sync::Arc::strong_count(&alive), 1, "never started: the owner closes");
        let mut op = Op::close(open()).unwrap();
        assert!(op.file().is_none(), "nobody gets at the handle of a close");
        // SAFETY: nothing is in flight.
        unsafe { op.settle(0, -errno::EIO) };
        let RawOp::Close { file } = op.raw(0, 1) else { panic!() };
        assert_eq!(file.raw.fd(), -1, "run again, it closes nobody's file");
        drop(op);
        assert_eq!(std::sync::Arc::strong_count(&alive), 2, "closed by the system: the owner must not");
    }

    #[test]
    fn a_buffer_of_another_type_leaves_the_operation_whole() {
        let op = Op::read(&file(false), vec![0u8; 3], 0);
        let op = op.into_buf::<String>().unwrap_err();
        assert_eq!(op.into_buf::<Vec<u8>>().unwrap().len(), 3);
    }
}
