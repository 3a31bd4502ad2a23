//! An open file.

mod append;
mod append_lock;
mod close;
mod direct;
mod durable;
mod errors;
mod planner;
mod ranges;
mod space;
mod traits;
mod transfer;
mod untorn;

pub use append::AppendSteps;
pub(crate) use append_lock::opened_for_append;
pub use close::CloseFailed;
pub use direct::{DioGeometry, DioSource};
pub use durable::DurableSteps;
pub use errors::{AppendFailed, ShortWrite};
pub(crate) use planner::Planner;
pub use planner::{DurabilityRow, DurableRoute};
pub use ranges::{RangeBuf, RangeOptions};
pub use traits::{AsyncFile, BoxFuture, DynAsyncFile};
pub use transfer::TransferOptions;

use crate::{
    FileSystem,
    fs::{metadata_of, nothing_of},
};
use append_lock::AppendLock;
use direct::Direct;
use io_engine::{
    Answer, InDoubt, Operation,
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
    /// What is known about transfers past the page cache; not there for buffered files.
    direct: Option<Direct>,
    /// Of a file that was opened for appending: keeps other processes out.
    _append_lock: Option<AppendLock>,
    transfers: AtomicU32,
    registered: AtomicBool,
}

impl File {
    /// A file that was opened just now; if it is direct, its rules are asked for.
    pub(crate) async fn opened(fs: &FileSystem, handle: FileHandle) -> File {
        let direct = Direct::of(fs, &handle).await;
        File::assemble(fs, handle, direct, None)
    }

    /// A file that is known to be buffered.
    pub(crate) fn plain(fs: &FileSystem, handle: FileHandle) -> File {
        File::assemble(fs, handle, None, None)
    }

    fn assemble(fs: &FileSystem, handle: FileHandle, direct: Option<Direct>, append_lock: Option<AppendLock>) -> File {
        let (transfers, registered) = (AtomicU32::new(0), AtomicBool::new(false));
        File(Arc::new(Inner { fs: fs.clone(), handle, direct, _append_lock: append_lock, transfers, registered }))
    }

    /// Reads into the buffer's capacity at `offset`, and answers how many bytes: fewer than asked for only at the end of the file. The
    /// buffer comes back with that length on success, and comes back on an error, too.
    ///
    /// # Errors
    /// Those of pread(2). Of a direct file, `InvalidInput` that names what the file's [geometry](File::dio_geometry) does not allow.
    #[inline]
    pub fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> Operation<BufResult<usize, B>> {
        match &self.0.direct {
            None => self.0.fs.shards().read_at(&self.0.handle, buf, offset),
            Some(direct) => self.read_directly(direct, buf, offset),
        }
    }

    /// Writes the buffer's bytes at `offset`, all of them or an error (fewer only if it is cancelled in the middle); the buffer comes
    /// back either way. Nothing is durable before a sync.
    ///
    /// # Errors
    /// Those of pwrite(2); in the middle of the buffer a [`ShortWrite`], which says how much was written. Of a direct file as
    /// [`File::read_at`]; nothing is written then.
    #[inline]
    pub fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> Operation<BufResult<usize, B>> {
        match &self.0.direct {
            None => self.run(Op::write(&self.0.handle, buf, offset), written_of),
            Some(direct) => self.write_directly(direct, buf, offset),
        }
    }

    /// Makes durable what was written to the file, by whatever handle, and what is needed to read it back (fdatasync(2)). It waits for
    /// writes that were accepted before; calls at the same time share one sync that begins after all of them.
    ///
    /// # Errors
    /// Those of fdatasync(2). After a failure every later sync and durable write of the inode answers
    /// [`SyncFailed`](crate::SyncFailed), through every handle, until all of them are closed; [`File::in_doubt`] says which bytes are
    /// concerned. A write that fails while the sync waits for it fails the sync, with its own error and without that consequence.
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

    /// The bytes that may be lost, once a sync or a durable write of the inode has failed; `None` if none has. All that was written
    /// through this process since the last sync that succeeded is among them.
    pub fn in_doubt(&self) -> Option<InDoubt> {
        io_engine::in_doubt(&self.0.handle)
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

    fn refuse<T>(&self, op: Op, error: io::Error, make: fn(Answer) -> T) -> Operation<T> {
        self.0.fs.shards().refused(op, error, make)
    }
}

impl Inner {
    /// A transfer of a direct file, which is registered once it turns out to be busy.
    #[inline]
    fn note_transfer(&self) {
        if !self.registered.load(Ordering::Relaxed)
            && self.transfers.fetch_add(1, Ordering::Relaxed) >= REGISTER_AFTER
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

/// As [`transfer_of`], for a write: an error in the middle says how far it got.
fn written_of<B: 'static>(mut answer: Answer) -> BufResult<usize, B> {
    if answer.result.is_err() {
        answer = errors::with_written(answer);
    }
    transfer_of(answer)
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({:?}, {:?})", self.0.handle, self.0.fs)
    }
}
