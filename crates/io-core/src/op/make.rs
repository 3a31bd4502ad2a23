//! How operations are made: one constructor a kind.

use super::{Extra, Many, Op, What};
use crate::{
    AccessMode, Advice, AnyBuf, FileHandle, IoBuf, IoBufMut, IoVec, Lifetime, OpPath, OpenOptions, RenameMode, RwFlags,
};
use std::{io, path::Path};

impl Op {
    fn of_file(what: What, file: &FileHandle) -> Op {
        Op { what, file: Some(file.clone()), buf: None, extra: None }
    }

    fn of_path(what: What, path: impl AsRef<Path>) -> io::Result<Op> {
        let extra = Extra { path: Some(OpPath::new(path)?), ..Extra::default() };
        Ok(Op { what, file: None, buf: None, extra: Some(Box::new(extra)) })
    }

    /// Reads into the buffer's capacity at `offset`.
    #[inline]
    pub fn read<B: IoBufMut>(file: &FileHandle, buf: B, offset: u64) -> Op {
        Op {
            what: What::Read { offset, done: 0, flags: RwFlags::NONE, ioprio: 0 },
            file: Some(file.clone()),
            buf: Some(AnyBuf::reading(buf)),
            extra: None,
        }
    }

    /// Writes the buffer's initialized bytes at `offset`.
    #[inline]
    pub fn write<B: IoBuf>(file: &FileHandle, buf: B, offset: u64) -> Op {
        Op {
            what: What::Write { offset, done: 0, flags: RwFlags::NONE, ioprio: 0 },
            file: Some(file.clone()),
            buf: Some(AnyBuf::writing(buf)),
            extra: None,
        }
    }

    /// Reads into the capacity of several buffers, one after the other, starting at `offset`.
    pub fn read_vectored<B: IoBufMut>(file: &FileHandle, mut bufs: Vec<B>, offset: u64) -> Op {
        let pieces = bufs.iter_mut().map(|b| IoVec { len: b.capacity(), base: b.as_mut_ptr() }).collect();
        Op {
            what: What::ReadVectored { offset, done: 0, flags: RwFlags::NONE, ioprio: 0 },
            file: Some(file.clone()),
            buf: Some(AnyBuf::reading(Many(bufs))),
            extra: Some(Box::new(Extra { pieces, ..Extra::default() })),
        }
    }

    /// Writes the initialized bytes of several buffers, one after the other, starting at `offset`.
    pub fn write_vectored<B: IoBuf>(file: &FileHandle, bufs: Vec<B>, offset: u64) -> Op {
        let pieces = bufs.iter().map(|b| IoVec { base: b.as_ptr().cast_mut(), len: b.len() }).collect();
        Op {
            what: What::WriteVectored { offset, done: 0, flags: RwFlags::NONE, ioprio: 0 },
            file: Some(file.clone()),
            buf: Some(AnyBuf::writing(Many(bufs))),
            extra: Some(Box::new(Extra { pieces, ..Extra::default() })),
        }
    }

    /// The same transfer with these flags; no effect on other kinds.
    #[must_use]
    pub fn with_flags(mut self, new: RwFlags) -> Op {
        match &mut self.what {
            What::Read { flags, .. }
            | What::ReadVectored { flags, .. }
            | What::Write { flags, .. }
            | What::WriteVectored { flags, .. } => *flags = new,
            _ => {}
        }
        self
    }

    /// The same transfer with this I/O priority (ioprio_set(2), class and level as the kernel packs them).
    #[must_use]
    pub fn with_ioprio(mut self, new: u16) -> Op {
        match &mut self.what {
            What::Read { ioprio, .. }
            | What::ReadVectored { ioprio, .. }
            | What::Write { ioprio, .. }
            | What::WriteVectored { ioprio, .. } => *ioprio = new,
            _ => {}
        }
        self
    }

    /// fdatasync(2): content and what is needed to read it back is durable.
    pub fn sync_data(file: &FileHandle) -> Op {
        Op::of_file(What::SyncData, file)
    }

    /// fsync(2): content and all metadata is durable.
    pub fn sync_all(file: &FileHandle) -> Op {
        Op::of_file(What::SyncAll, file)
    }

    /// sync_file_range(2): starts write-back of the range. Nothing is durable afterwards.
    pub fn sync_range(file: &FileHandle, offset: u64, len: u64) -> Op {
        Op::of_file(What::SyncRange { offset, len }, file)
    }

    /// fallocate(2): space for the range; grows the file unless `keep_size`.
    pub fn allocate(file: &FileHandle, offset: u64, len: u64, keep_size: bool) -> Op {
        Op::of_file(What::Allocate { offset, len, keep_size }, file)
    }

    /// Gives the space of the range back; it reads as zeros, the size stays.
    pub fn punch_hole(file: &FileHandle, offset: u64, len: u64) -> Op {
        Op::of_file(What::PunchHole { offset, len }, file)
    }

    /// Makes the range read as zeros, its space stays allocated.
    pub fn zero_range(file: &FileHandle, offset: u64, len: u64, keep_size: bool) -> Op {
        Op::of_file(What::ZeroRange { offset, len, keep_size }, file)
    }

    /// Cuts or grows the file to `len` bytes.
    pub fn truncate(file: &FileHandle, len: u64) -> Op {
        Op::of_file(What::Truncate { len }, file)
    }

    /// posix_fadvise(2).
    pub fn advise(file: &FileHandle, offset: u64, len: u64, advice: Advice) -> Op {
        Op::of_file(What::Advise { offset, len, advice }, file)
    }

    /// fcntl(2) `F_SET_RW_HINT`.
    pub fn write_hint(file: &FileHandle, lifetime: Lifetime) -> Op {
        Op::of_file(What::WriteHint { lifetime }, file)
    }

    /// Locks a byte range of the open file if it can be had at once, else `EAGAIN`. `len` 0: to the end.
    pub fn try_lock(file: &FileHandle, offset: u64, len: u64, exclusive: bool) -> Op {
        Op::of_file(What::TryLock { offset, len, exclusive }, file)
    }

    /// Gives a byte range back.
    pub fn unlock(file: &FileHandle, offset: u64, len: u64) -> Op {
        Op::of_file(What::Unlock { offset, len }, file)
    }

    /// Asks for a lock in the way; answers [`Output::Lock`](crate::Output::Lock).
    pub fn query_lock(file: &FileHandle, offset: u64, len: u64, exclusive: bool) -> Op {
        Op { extra: Some(Box::default()), ..Op::of_file(What::QueryLock { offset, len, exclusive }, file) }
    }

    /// Opens a file; answers [`Output::File`](crate::Output::File).
    ///
    /// # Errors
    /// As [`OpPath::new`], like all operations on paths.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> io::Result<Op> {
        Op::of_path(What::Open { options }, path)
    }

    /// Closes the file and reports what the system says about it.
    ///
    /// # Errors
    /// The handle back, if it has clones alive: closing it would close theirs.
    pub fn close(file: FileHandle) -> Result<Op, FileHandle> {
        if !file.is_unique() {
            return Err(file);
        }
        Ok(Op { what: What::Close, file: Some(file), buf: None, extra: None })
    }

    /// Metadata of an open file; answers [`Output::Metadata`](crate::Output::Metadata).
    pub fn stat(file: &FileHandle) -> Op {
        Op { extra: Some(Box::default()), ..Op::of_file(What::StatFile, file) }
    }

    /// Metadata of what a path leads to; answers [`Output::Metadata`](crate::Output::Metadata).
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn stat_path(path: impl AsRef<Path>, follow: bool) -> io::Result<Op> {
        Op::of_path(What::StatPath { follow }, path)
    }

    /// The file system of a path; answers [`Output::StatFs`](crate::Output::StatFs).
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn stat_fs(path: impl AsRef<Path>) -> io::Result<Op> {
        Op::of_path(What::StatFs, path)
    }

    /// Whether the caller may do this to a path.
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn access(path: impl AsRef<Path>, mode: AccessMode) -> io::Result<Op> {
        Op::of_path(What::Access { mode }, path)
    }

    /// The absolute path without links; answers [`Output::Path`](crate::Output::Path).
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn real_path(path: impl AsRef<Path>) -> io::Result<Op> {
        Op::of_path(What::RealPath, path)
    }

    /// chmod(2).
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn set_permissions(path: impl AsRef<Path>, mode: u32) -> io::Result<Op> {
        Op::of_path(What::SetPermissions { mode }, path)
    }

    /// Gives a file another name.
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>, mode: RenameMode) -> io::Result<Op> {
        let mut op = Op::of_path(What::Rename { mode }, from)?;
        op.extra.get_or_insert_default().to_path = Some(OpPath::new(to)?);
        Ok(op)
    }

    /// Removes a name of a file.
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn unlink(path: impl AsRef<Path>) -> io::Result<Op> {
        Op::of_path(What::Unlink, path)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn make_dir(path: impl AsRef<Path>, mode: u32) -> io::Result<Op> {
        Op::of_path(What::MakeDir { mode }, path)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn remove_dir(path: impl AsRef<Path>) -> io::Result<Op> {
        Op::of_path(What::RemoveDir, path)
    }

    /// All entries of a directory; answers [`Output::Entries`](crate::Output::Entries).
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn read_dir(path: impl AsRef<Path>) -> io::Result<Op> {
        Op::of_path(What::ReadDir, path)
    }

    /// Makes the entries of a directory durable: what was created, renamed or removed in it.
    ///
    /// # Errors
    /// As [`OpPath::new`].
    pub fn sync_dir(path: impl AsRef<Path>) -> io::Result<Op> {
        Op::of_path(What::SyncDir, path)
    }

    /// copy_file_range(2): at most `len` bytes, within the kernel.
    pub fn copy_range(from: &FileHandle, from_offset: u64, to: &FileHandle, to_offset: u64, len: u64) -> Op {
        let extra = Extra { to_file: Some(to.clone()), ..Extra::default() };
        Op { extra: Some(Box::new(extra)), ..Op::of_file(What::CopyRange { from_offset, to_offset, len }, from) }
    }

    /// Shares the extents of a range with another file (reflink). `len` 0: to the end of the source.
    pub fn clone_range(from: &FileHandle, from_offset: u64, to: &FileHandle, to_offset: u64, len: u64) -> Op {
        let extra = Extra { to_file: Some(to.clone()), ..Extra::default() };
        Op { extra: Some(Box::new(extra)), ..Op::of_file(What::Clone { from_offset, to_offset, len }, from) }
    }
}
