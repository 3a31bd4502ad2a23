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

mod clock;
mod death;
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

#[allow(unsafe_code)] // memory that the kernel writes, shared out as buffers
mod arena;

pub mod event_loop;

pub use arena::{Arena, ArenaBuf};
pub use event_loop::{
    AIO, AIOClient, AIOEventListener, AIOEventLoop, AIOKey, AIOKind, AIOMessage, AIOStats, AnySubmission, IOQueue,
    IOSubmission, LoopOptions, Refused, TrySendError, UnsafeAIO,
};
pub use inflight::{Carrier, Finished, Inflight, InflightOptions};
pub use inode::SyncFailed;
pub use io_core as core;
pub use io_threadpool::{adopt, open};
pub use select::{DriverOptions, Selected, select};
pub use stats::{InFlightOp, Stats, Where};
