//! The engine: one core over every driver, and the event loop in front of it.
//!
//! [`Inflight`] is the core: it owns every operation from its acceptance to its completion, continues short transfers, repeats
//! what may be repeated, keeps a sync behind the writes it covers, and hands what the driver cannot do to the thread pool. It is
//! the only caller of [`Driver::prepare`](io_core::Driver::prepare). [`AIOEventLoop`] drives one core on one thread for a
//! listener; it repeats nothing of what the core does.
//!
//! Runs wherever a driver does: io_uring and AIO on Linux, the thread pool everywhere. The engine knows nothing of futures,
//! paths or file systems, and [`select`](mod@select) is its only line of sight to the drivers.
#![deny(unsafe_code)]

mod append;
mod clock;
mod death;
mod doubt;
mod failure;
mod hits;
mod inode;
mod offload;
mod order;
mod retry;
pub mod select;
mod slots;
mod stats;
mod trace;

#[allow(unsafe_code)] // the only caller of `Driver::prepare` and `Op::settle`
mod inflight;

#[allow(unsafe_code)] // drops what a core keeps from being dropped while the kernel may touch it
mod ending;

#[allow(unsafe_code)] // mmap(2)
mod mapping;

#[allow(unsafe_code)] // memory that the kernel writes, shared out as buffers
mod arena;

mod pool;

pub mod event_loop;
mod shard;

pub use append::{NoPlace, Place, append_by_kernel, inode_state, learn_append_size};
pub use arena::{Arena, ArenaBuf};
pub use death::Died;
pub use doubt::InDoubt;
pub use event_loop::{
    AIO, AIOClient, AIOEventListener, AIOEventLoop, AIOKey, AIOKind, AIOMessage, AIOStats, AnySubmission, IOQueue,
    IOSubmission, LoopOptions, Refused, TrySendError, UnsafeAIO,
};
pub use failure::{SyncFailed, in_doubt};
pub use inflight::{Carrier, Finished, Inflight, InflightOptions};
pub use io_core as core;
pub use offload::sync_on_pool;
pub use pool::{Acquire, BufferPool, ClassStats, PoolBuf, PoolOptions, PoolStats, SizeClass, WhenExhausted};
pub use select::{DriverOptions, Selected, select};
pub use shard::{
    Answer, Deadline, Latency, LatencyBucket, OpBox, OpMetrics, Operation, ShardOptions, Shards, SubmitFrom, Ticket,
    Timed, TimedOut, Via,
};
pub use stats::{InFlightOp, Stats, Where};

use io_core::{FileHandle, OpenOptions};

/// Opens a file on the calling thread, with what the system knows of it.
///
/// # Errors
/// As [`io_threadpool::open`].
pub fn open(path: impl AsRef<std::path::Path>, options: OpenOptions) -> std::io::Result<FileHandle> {
    let file = io_threadpool::open(path, options)?;
    inode::attach(&file);
    Ok(file)
}

/// Takes a `std` file and asks the system what it knows of it.
///
/// A handle should come from here, from [`open`] or from an open operation: one that is made otherwise hears of failed syncs of
/// its inode from its first operation on only, see [`SyncFailed`].
///
/// # Errors
/// As [`io_threadpool::adopt`].
pub fn adopt(file: std::fs::File) -> std::io::Result<FileHandle> {
    let file = io_threadpool::adopt(file)?;
    inode::attach(&file);
    Ok(file)
}
