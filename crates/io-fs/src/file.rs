//! An open file.

use crate::{
    FileSystem,
    fs::{metadata_of, nothing_of},
};
use io_engine::{
    Answer, Operation,
    core::{BufResult, FileHandle, IoBuf, IoBufMut, Metadata, Op},
};
use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

/// After so many transfers a direct file is registered with the rings, which saves its look-up in the kernel.
const REGISTER_AFTER: u32 = 128;

/// An open file, shared by its clones. It is closed when the last one and the last operation on it are gone; dropping never waits and
/// loses nothing that was reported written.
#[derive(Clone)]
pub struct File(Arc<Inner>);

struct Inner {
    fs: FileSystem,
    handle: FileHandle,
    transfers: AtomicU32,
    registered: AtomicBool,
}

impl File {
    pub(crate) fn new(fs: &FileSystem, handle: FileHandle) -> File {
        let (transfers, registered) = (AtomicU32::new(0), AtomicBool::new(false));
        File(Arc::new(Inner { fs: fs.clone(), handle, transfers, registered }))
    }

    /// Reads into the buffer's capacity at `offset`, and answers how many bytes: fewer than asked for only at the end of the file. The
    /// buffer comes back with that length on success, and comes back on an error, too.
    #[inline]
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> Operation<BufResult<usize, B>> {
        self.note_transfer();
        self.run(Op::read(&self.0.handle, buf, offset), transfer_of)
    }

    /// Writes the buffer's bytes at `offset`, all of them or an error; the buffer comes back either way. Nothing is durable before a
    /// sync.
    #[inline]
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> Operation<BufResult<usize, B>> {
        self.note_transfer();
        self.run(Op::write(&self.0.handle, buf, offset), transfer_of)
    }

    /// Makes durable what was written to the file, by whatever handle, and what is needed to read it back (fdatasync(2)). It waits for
    /// writes that were accepted before; calls at the same time share one sync that begins after all of them.
    ///
    /// # Errors
    /// Those of fdatasync(2). After a failure every later sync and durable write of the inode answers
    /// [`SyncFailed`](crate::SyncFailed), through every handle, until all of them are closed.
    pub fn sync_data(&self) -> Operation<io::Result<()>> {
        self.run(Op::sync_data(&self.0.handle), nothing_of)
    }

    /// As [`File::sync_data`], with all metadata (fsync(2)).
    ///
    /// # Errors
    /// As [`File::sync_data`].
    pub fn sync_all(&self) -> Operation<io::Result<()>> {
        self.run(Op::sync_all(&self.0.handle), nothing_of)
    }

    /// What the system knows of the file.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn metadata(&self) -> Operation<io::Result<Metadata>> {
        self.run(Op::stat(&self.0.handle), metadata_of)
    }

    /// The file system that it was opened by.
    pub fn file_system(&self) -> &FileSystem {
        &self.0.fs
    }

    /// The handle, for operations of the engine.
    pub fn handle(&self) -> &FileHandle {
        &self.0.handle
    }

    pub(crate) fn run<T>(&self, op: Op, make: fn(Answer) -> T) -> Operation<T> {
        self.0.fs.run(op, make)
    }

    #[inline]
    fn note_transfer(&self) {
        if self.0.handle.facts().direct && !self.0.registered.load(Ordering::Relaxed) {
            self.0.count();
        }
    }
}

impl Inner {
    fn count(&self) {
        if self.transfers.fetch_add(1, Ordering::Relaxed) >= REGISTER_AFTER
            && !self.registered.swap(true, Ordering::Relaxed)
        {
            self.fs.shards().register_file(&self.handle);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.registered.get_mut() {
            self.fs.shards().unregister_file(self.handle.id());
        }
    }
}

/// The bytes moved, and the buffer.
fn transfer_of<B: 'static>(answer: Answer) -> BufResult<usize, B> {
    let op = answer.op.expect("a transfer's answer brings its operation");
    let buf = op.into_buf().unwrap_or_else(|_| unreachable!("the operation was made with this buffer"));
    (answer.result, buf)
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({:?}, {:?})", self.0.handle, self.0.fs)
    }
}
