//! The facade: the one crate that storage layers import.
//!
//! It re-exports the engine's event loop and the vocabulary of operations and buffers, so that nothing below this floor has to be
//! named downstream. Runs on every platform; all unsafe code is below.
//!
//! ```
//! use io_fs::{AIO, AIOEventListener, AIOEventLoop, AIOKind, DriverOptions, IOQueue, LoopOptions, OpenOptions};
//!
//! /// Answers each request, an offset, with the five bytes there.
//! struct Reader { file: io_fs::FileHandle, answers: std::sync::mpsc::Sender<std::io::Result<Vec<u8>>> }
//!
//! impl AIOEventListener for Reader {
//!     type Request = u64;
//!     type Submission = AIO<Vec<u8>>;
//!     fn on_request(&mut self, at: u64, queue: &mut IOQueue<AIO<Vec<u8>>>) -> Result<(), u64> {
//!         queue.push(AIO::read(0, &self.file, Vec::with_capacity(5), at)).map_err(|_| at)
//!     }
//!     fn on_complete(&mut self, read: AIO<Vec<u8>>, result: std::io::Result<usize>, _: &mut IOQueue<AIO<Vec<u8>>>) -> AIOKind {
//!         let _ = self.answers.send(result.map(|_| read.into_buf()));
//!         AIOKind::Read
//!     }
//! }
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("hello");
//! std::fs::write(&path, "hello world")?;
//! let file = io_fs::open(&path, OpenOptions::READ)?;
//! let driver = io_fs::select(&DriverOptions::default().with_env()?)?.driver;
//! let (event_loop, client) = AIOEventLoop::new(driver, LoopOptions::default())?;
//! let (answers, answer) = std::sync::mpsc::channel();
//! let thread = event_loop.start_thread(Reader { file, answers });
//! client.send(6).unwrap();
//! assert_eq!(answer.recv()??, b"world");
//! client.shutdown();
//! thread.join().unwrap();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod adapters;
mod async_fs;
mod backend;
mod backpressure;
mod buffers;
mod config;
mod file;
mod fs;
mod local;
mod options;
mod worker;

pub use adapters::{Chunks, Cursor, CursorOptions, WriteFailed};
pub use async_fs::{AsyncFileSystem, DynAsyncFileSystem};
pub use backend::Backend;
pub use backpressure::{AcquirePermit, BackpressureController, BackpressurePermit};
pub use buffers::IoBufferPool;
pub use config::{ConfigError, IoConfig, IoConfigBuilder};
pub use file::{
    AppendFailed, AsyncFile, BoxFuture, CloseFailed, DioGeometry, DioSource, DurabilityRow, DurableRoute, DynAsyncFile,
    File, RangeBuf, RangeOptions, ShortWrite, TransferOptions,
};
pub use fs::{Copied, CopyOptions, CopyWay, FileSystem, Snapshot};
pub use local::{LocalFile, LocalFs};
pub use options::{FileOptions, OpenMode};
pub use worker::{IoRequest, IoResult, IoWorker};

pub use io_engine::{Acquire, BufferPool, ClassStats, PoolBuf, PoolOptions, PoolStats, SizeClass, WhenExhausted};

pub use io_engine::{InDoubt, Operation, ShardOptions, Shards, SubmitFrom, Ticket, Timed, TimedOut};

pub use io_engine::{
    AIO, AIOClient, AIOEventListener, AIOEventLoop, AIOKey, AIOKind, AIOMessage, AIOStats, AnySubmission, Arena,
    ArenaBuf, Carrier, DriverOptions, Finished, IOQueue, IOSubmission, InFlightOp, Inflight, InflightOptions,
    LoopOptions, Refused, Selected, Stats, SyncFailed, TrySendError, Where, adopt, open, select,
};

pub use io_engine::core::{
    AccessMode, Advice, AlignedBuf, AnyBuf, BufResult, Clock, DirEntry, Driver, DriverName, FileFacts, FileHandle,
    FileId, FileKind, InodeKey, IoBuf, IoBufMut, Lifetime, LockHolder, Metadata, MonotonicClock, Op, OpKind,
    OpenOptions, Output, Readiness, RenameMode, RwFlags, Slice, StatFs, Token, Unavailable, UnknownDriver, Wait, errno,
};

// What a driver of one's own is written with, for `FileSystem::with_driver`.
pub use io_engine::core::{Armed, Completion, Completions, Full, OpSet, Progress, RawOp};

/// Every real driver with `None`, or the reason why it cannot run here.
pub use io_engine::select::survey;

/// The README's quickstart, as a test.
#[cfg(all(doctest, target_os = "linux"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
