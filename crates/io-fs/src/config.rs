//! Settings of a file system.

use io_engine::{ShardOptions, SubmitFrom, core::DriverName};
use std::thread;

/// Most shards that are made without being asked for.
const SHARDS_MAX: usize = 8;

/// Settings of a file system.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IoConfig {
    /// This driver and no other; `None`: the best that works here, or the one that `IOFS_DRIVER` names.
    pub driver: Option<DriverName>,
    /// Depth of each shard's driver: operations that the kernel has at once.
    pub sq_depth: u32,
    /// Operations admitted at once, over all shards; more wait in turn.
    pub queue_depth: u32,
    /// Bytes of operations admitted at once.
    pub queue_bytes: u64,
    /// Number of shards, each with a driver and (while it is needed) a reaper thread; 0: one for each CPU, at most 8.
    pub io_workers: usize,
    /// On which thread operations enter the kernel.
    pub submit_from: SubmitFrom,
}

impl Default for IoConfig {
    fn default() -> Self {
        let shards = ShardOptions::default();
        IoConfig {
            driver: None,
            sq_depth: 256,
            queue_depth: 1024,
            queue_bytes: shards.bytes_max,
            io_workers: 0,
            submit_from: SubmitFrom::Caller,
        }
    }
}

impl IoConfig {
    pub(crate) fn shard_count(&self) -> usize {
        match self.io_workers {
            0 => thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
            n => n,
        }
    }

    pub(crate) fn shards(&self) -> ShardOptions {
        let mut options = ShardOptions::default();
        options.ops_max = self.queue_depth;
        options.bytes_max = self.queue_bytes;
        options.submit_from = self.submit_from;
        options
    }
}
