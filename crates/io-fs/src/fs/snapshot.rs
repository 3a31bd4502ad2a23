//! What goes on behind a file system, in numbers.

use super::FileSystem;
use io_engine::{Died, InFlightOp, OpMetrics, PoolStats, Stats, core::DriverName};

/// Levels and counters of a file system at one moment. Its parts are looked at one after the other, so under load they may be some
/// operations apart.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The driver behind the file system, as it is now ([`Backend::driver`](crate::Backend::driver)).
    pub driver: DriverName,
    /// Drivers that died, one for each shard that lost its own.
    pub died: Vec<Died>,
    /// Operations admitted and not answered.
    pub admitted: u32,
    /// Their bytes.
    pub admitted_bytes: u64,
    /// Operations that wait for admission, in order.
    pub waiting: usize,
    /// Operations in flight: with a driver, with the offload pool, or held back by the core.
    pub in_flight: u32,
    /// Most operations that the drivers have in flight at once, all shards together.
    pub depth: u32,
    /// Operations in flight that nobody waits for any more.
    pub orphans: u32,
    /// Bytes of their buffers.
    pub orphan_bytes: u64,
    /// Most operations that are admitted at once.
    pub ops_max: u32,
    /// Most bytes that are admitted at once.
    pub bytes_max: u64,
    /// The counters of each shard.
    pub shards: Vec<Stats>,
    /// What was done, by kind and by who did it, with how long it took.
    pub operations: Vec<OpMetrics>,
    /// The file system's own buffers, once somebody has asked for them.
    pub pool: Option<PoolStats>,
}

impl FileSystem {
    /// Levels and counters, now. Of a [`LocalFs`](crate::LocalFs) the owner is asked on its own thread; another one that has a clone of a
    /// file does not wait for it, and gets zeros for the shard while the owner sleeps in its ring.
    pub fn snapshot(&self) -> Snapshot {
        let engine = &self.0.shards;
        let (admitted, admitted_bytes, waiting) = engine.load();
        let (orphans, orphan_bytes) = engine.orphans();
        let (ops_max, bytes_max) = engine.limits();
        let shards = engine.stats();
        Snapshot {
            driver: self.0.backend.driver(),
            died: self.0.backend.died(),
            admitted,
            admitted_bytes,
            waiting,
            in_flight: shards.iter().map(|shard| shard.in_flight).sum(),
            depth: shards.iter().map(|shard| shard.depth).sum(),
            orphans,
            orphan_bytes,
            ops_max,
            bytes_max,
            shards,
            operations: engine.metrics(),
            pool: self.0.buffers.get().map(|pool| pool.stats()),
        }
    }

    /// What is in flight and for how long, longest first.
    pub fn dump(&self) -> Vec<InFlightOp> {
        self.0.shards.dump()
    }
}

impl Snapshot {
    /// Operations answered, well or badly. Reads that were served at once from memory are not among them: they never get to a shard.
    pub fn answered(&self) -> u64 {
        self.sum(|shard| shard.answered)
    }

    /// Operations answered with an error.
    pub fn failed(&self) -> u64 {
        self.sum(|shard| shard.failed)
    }

    /// Bytes read and bytes written.
    pub fn bytes(&self) -> (u64, u64) {
        (self.sum(|shard| shard.bytes_read), self.sum(|shard| shard.bytes_written))
    }

    /// Operations whose completion will never come; their memory is kept for ever.
    pub fn quarantined(&self) -> u64 {
        self.sum(|shard| shard.quarantined)
    }

    fn sum(&self, of: impl Fn(&Stats) -> u64) -> u64 {
        self.shards.iter().map(of).sum()
    }
}
