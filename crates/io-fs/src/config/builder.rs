//! Settings made step by step.

use super::{ConfigError, IoConfig};
use crate::DurableRoute;
use io_engine::{SubmitFrom, core::DriverName};

/// Settings that are being made; see [`IoConfig`] for what each of them means.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct IoConfigBuilder(IoConfig);

impl IoConfigBuilder {
    /// This driver and no other.
    pub fn driver(mut self, driver: DriverName) -> Self {
        self.0.driver = Some(driver);
        self
    }

    /// Whether an automatic choice may be io_uring.
    pub fn enable_io_uring(mut self, enable: bool) -> Self {
        self.0.enable_io_uring = enable;
        self
    }

    /// Depth of each shard's driver.
    pub fn sq_depth(mut self, operations: u32) -> Self {
        self.0.sq_depth = operations;
        self
    }

    /// Operations admitted at once.
    pub fn queue_depth(mut self, operations: u32) -> Self {
        self.0.queue_depth = operations;
        self
    }

    /// Bytes of operations admitted at once.
    pub fn queue_bytes(mut self, bytes: u64) -> Self {
        self.0.queue_bytes = bytes;
        self
    }

    /// Number of shards.
    pub fn io_workers(mut self, shards: usize) -> Self {
        self.0.io_workers = shards;
        self
    }

    /// Most threads of each shard's thread pool.
    pub fn pool_threads(mut self, threads: usize) -> Self {
        self.0.pool_threads = threads;
        self
    }

    /// Where operations enter the kernel.
    pub fn submit_from(mut self, submit_from: SubmitFrom) -> Self {
        self.0.submit_from = submit_from;
        self
    }

    /// Largest read that is tried at once, in bytes.
    pub fn at_once_max(mut self, bytes: u32) -> Self {
        self.0.at_once_max = bytes;
        self
    }

    /// This way for durable writes, measured or not.
    pub fn durable_route(mut self, route: DurableRoute) -> Self {
        self.0.durable_route = Some(route);
        self
    }

    /// Most buffers of each size in the file system's own pool.
    pub fn buffer_pool_size(mut self, buffers: usize) -> Self {
        self.0.buffer_pool_size = buffers;
        self
    }

    /// Whether logs allocate their space ahead.
    pub fn preallocate_wal(mut self, preallocate: bool) -> Self {
        self.0.preallocate_wal = preallocate;
        self
    }

    /// How much of it at once, in bytes.
    pub fn preallocate_size(mut self, bytes: u64) -> Self {
        self.0.preallocate_size = bytes;
        self
    }

    /// The settings.
    ///
    /// # Errors
    /// As [`IoConfig::validate`].
    pub fn build(self) -> Result<IoConfig, ConfigError> {
        self.0.validate()?;
        Ok(self.0)
    }
}

impl From<IoConfig> for IoConfigBuilder {
    /// Starts from other settings than the defaults.
    fn from(config: IoConfig) -> IoConfigBuilder {
        IoConfigBuilder(config)
    }
}
