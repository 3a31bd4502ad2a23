//! The facade: the one crate that storage layers import.
//!
//! A [`FileSystem`] opens [`File`]s, whose operations are futures: for tokio, smol, any other executor, or
//! [`block_on`](FileSystem::block_on) without one. Buffers are owned while an operation is in flight, and come back with its answer. Who
//! polls submits and reaps; what is in memory is read at once, on the caller's thread.
//!
//! It runs on every platform: over io_uring and Linux AIO, over threads everywhere, over a simulated disk in tests. All unsafe code is
//! below, and nothing below has to be named. It knows no drivers (the engine chooses), no kernel interfaces, and no runtimes but where a
//! feature lends one a hand.
//!
//! ```
//! use io_fs::FileSystem;
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("log");
//! let fs = FileSystem::new()?;
//! fs.block_on(async {
//!     let file = fs.open_append(&path).await?;
//!     let (offset, record) = file.append(b"one record".to_vec()).await;
//!     assert_eq!((offset?, record.len()), (0, 10));
//!     file.sync_data().await?;
//!     let (read, bytes) = file.read_exact_at(Vec::with_capacity(6), 4).await;
//!     read?;
//!     assert_eq!(bytes, b"record");
//!     std::io::Result::Ok(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | for | see |
//! |---|---|
//! | names: renaming, replacing, copying, syncing directories | [`FileSystem`] |
//! | transfers, appends, durable and untorn writes, space, direct I/O | [`File`] |
//! | being generic over files, or having them as trait objects | [`AsyncFile`], [`AsyncFileSystem`] and their `Dyn` twins |
//! | a position, and the I/O traits of tokio and of the futures crates | [`Cursor`], [`Chunks`] |
//! | one thread with a ring of its own | [`LocalFs`] |
//! | cancelling, time-outs | [`Operation`], [`Timed`]; of calls that are several operations [`Composite`], [`TimedComposite`] |
//! | buffers that are used again | [`BufferPool`] |
//! | settings, and the environment | [`IoConfig`] |
//! | limits of one's own | [`BackpressureController`] |
//! | what goes on, in numbers | [`Snapshot`] |
//! | requests as messages | [`IoWorker`] |
//! | another driver, or none that is real | [`FileSystem::with_driver`], [`Driver`] |
//!
//! # An event loop with a listener
//!
//! The other front end of the engine, for programs with an I/O thread and a protocol of their own: the loop owns every operation, a listener
//! turns requests into operations and completions into answers.
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
mod composite;
mod config;
mod file;
mod fs;
mod local;
mod metrics;
mod options;
mod worker;

pub use adapters::{Chunks, Cursor, CursorOptions, WriteFailed};
pub use async_fs::{AsyncFileSystem, DynAsyncFileSystem};
pub use backend::Backend;
pub use backpressure::{AcquirePermit, BackpressureController, BackpressurePermit};
pub use buffers::IoBufferPool;
pub use composite::{BoxedSteps, Composite, CompositeTimedOut, Steps, TimedComposite};
pub use config::{ConfigError, IoConfig, IoConfigBuilder};
pub use file::{
    AppendFailed, AppendSteps, AsyncFile, BoxFuture, CloseFailed, DioGeometry, DioSource, DurabilityRow, DurableRoute,
    DurableSteps, DynAsyncFile, File, RangeBuf, RangeOptions, ShortWrite, TransferOptions,
};
pub use fs::{Copied, CopyOptions, CopyWay, FileSystem, Snapshot};
pub use local::{LocalFile, LocalFs};
pub use options::{FileOptions, OpenMode};
pub use worker::{IoRequest, IoResult, IoWorker};

pub use io_engine::{Acquire, BufferPool, ClassStats, PoolBuf, PoolOptions, PoolStats, SizeClass, WhenExhausted};

pub use io_engine::{
    Deadline, Died, InDoubt, Latency, LatencyBucket, OpMetrics, Operation, ShardOptions, Shards, SubmitFrom, Ticket,
    Timed, TimedOut, Via,
};

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
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
