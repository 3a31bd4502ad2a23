//! Counters of a core, and a look at what is in flight.

use io_core::{OpKind, Token};
use std::{fmt, time::Duration};

/// What one core has done so far. Counters only grow; the last three are levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Operations accepted.
    pub accepted: u64,
    /// Operations answered, well or badly.
    pub answered: u64,
    /// Answered with an error.
    pub failed: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Short transfers that were continued.
    pub continued: u64,
    /// Operations staged again after `EINTR`, `EAGAIN` or an unasked cancel.
    pub repeated: u64,
    /// Operations handed to the offload pool.
    pub offloaded: u64,
    /// Syncs that waited for earlier writes of their inode.
    pub ordered: u64,
    /// Calls of the driver's submit.
    pub submits: u64,
    /// Times the kernel pushed staged operations back.
    pub pushed_back: u64,
    /// Operations whose completion will never come; their memory is kept for ever.
    pub quarantined: u64,
    /// Operations in flight now.
    pub in_flight: u32,
    /// Most operations that may be in flight.
    pub depth: u32,
}

/// Where an operation in flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// With the driver: staged or in the kernel.
    Driver,
    /// With the offload pool.
    Offload,
    /// Waiting for earlier writes of its inode.
    Order,
    /// Waiting before it is staged again.
    Pause,
    /// With a driver that died: never to come back.
    Quarantine,
}

/// One operation in flight, for a dump.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InFlightOp {
    /// Its token.
    pub token: Token,
    /// Its kind.
    pub kind: OpKind,
    /// Where it starts in its file.
    pub offset: u64,
    /// Bytes it was asked to transfer.
    pub len: u64,
    /// Bytes transferred so far.
    pub done: u64,
    /// How long it is in flight, as of the core's last look at its clock.
    pub age: Duration,
    /// Where it is.
    pub at: Where,
}

impl fmt::Display for InFlightOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} {}+{} ({} done) for {:?} at {:?}",
            self.token, self.kind, self.offset, self.len, self.done, self.age, self.at
        )
    }
}
