//! Settings of a file system.

mod builder;
mod env;
mod error;
#[cfg(feature = "serde")]
mod words;

pub use builder::IoConfigBuilder;
pub use error::ConfigError;

use crate::DurableRoute;
use io_engine::{ShardOptions, SubmitFrom, core::DriverName};
use std::{ops::RangeInclusive, thread};

/// Most shards that are made without being asked for.
const SHARDS_MAX: usize = 8;

const SQ_DEPTH: RangeInclusive<u64> = 1..=32_768;
const QUEUE_DEPTH: RangeInclusive<u64> = 1..=(1 << 23) - 1;
const QUEUE_BYTES: RangeInclusive<u64> = 1..=1 << 38;
const IO_WORKERS: RangeInclusive<u64> = 0..=1024;
const POOL_THREADS: RangeInclusive<u64> = 0..=4096;
const AT_ONCE_MAX: RangeInclusive<u64> = 0..=1 << 30;
const BUFFER_POOL_SIZE: RangeInclusive<u64> = 1..=1 << 20;
const PREALLOCATE_SIZE: RangeInclusive<u64> = 1..=i64::MAX as u64;

/// Settings of a file system.
///
/// | field | default | range | environment |
/// |---|---|---|---|
/// | `driver` | the best there is | `uring`, `aio`, `threadpool` | `IOFS_DRIVER` (`auto` for the default) |
/// | `enable_io_uring` | true | | `IOFS_ENABLE_IO_URING` |
/// | `sq_depth` | 256 | 1 to 32768 | `IOFS_SQ_DEPTH` |
/// | `queue_depth` | 1024 | 1 to 8388607 | `IOFS_QUEUE_DEPTH` |
/// | `queue_bytes` | 1 GiB | 1 to 256 GiB | `IOFS_QUEUE_BYTES` |
/// | `io_workers` | 0 | 0 to 1024 | `IOFS_IO_WORKERS` |
/// | `pool_threads` | 0 | 0 to 4096 | `IOFS_POOL_THREADS` |
/// | `submit_from` | caller | `caller`, `engine` | `IOFS_SUBMIT_FROM` |
/// | `at_once_max` | 64 KiB | 0 to 1 GiB | `IOFS_AT_ONCE_MAX` |
/// | `durable_route` | the faster one | `dsync`, `sync`, `pool-sync` | `IOFS_DURABLE_ROUTE` (`auto` for the default) |
/// | `buffer_pool_size` | 64 | 1 to 1048576 | `IOFS_BUFFER_POOL_SIZE` |
/// | `preallocate_wal` | true | | `IOFS_PREALLOCATE_WAL` |
/// | `preallocate_size` | 64 MiB | 1 to 2^63 - 1 | `IOFS_PREALLOCATE_SIZE` |
///
/// In the environment (and only there) bytes may be written with a unit: `512`, `64k`, `64KiB`, `1m`, `1GiB`, always powers of 1024.
/// Yes is `1`, `true`, `yes` or `on`; no is `0`, `false`, `no` or `off`. A variable that is empty counts as not set; one that makes no
/// sense is an error, never ignored.
///
/// ```
/// use io_fs::{FileSystem, IoConfig};
///
/// let config = IoConfig::builder().queue_depth(4096).io_workers(2).build()?;
/// let fs = FileSystem::with_config(config)?;
/// assert_eq!(fs.config().queue_depth, 4096);
/// assert!(IoConfig::builder().sq_depth(0).build().unwrap_err().to_string().starts_with("sq_depth = 0 is not within 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With feature `serde` it can be read and written; fields that are left out have their defaults, fields that there are not are errors.
/// What is read is not validated before [`IoConfig::validate`] or a file system does it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct IoConfig {
    /// This driver and no other; `None`: the best that works here, or the one that `IOFS_DRIVER` names.
    #[cfg_attr(feature = "serde", serde(with = "words::driver"))]
    pub driver: Option<DriverName>,
    /// Whether an automatic choice of driver may be io_uring.
    pub enable_io_uring: bool,
    /// Depth of each shard's driver: operations that the kernel has at once.
    pub sq_depth: u32,
    /// Operations admitted at once, over all shards: queued for a driver, in flight, or given up by whoever waited (orphans). More wait
    /// in turn, first come first served, and cost little.
    pub queue_depth: u32,
    /// Bytes of operations admitted at once: the most memory that orphans can hold on to. One operation alone is admitted however large
    /// it is.
    pub queue_bytes: u64,
    /// Number of shards, each with a driver and (while there is something to wait for and nobody else does) a thread that reaps;
    /// 0: one for each CPU, at most 8. No operation is bound to a shard: more of them help where many threads submit.
    pub io_workers: usize,
    /// Most threads of each shard's thread pool, where the pool is the driver; 0: as many as it finds right.
    pub pool_threads: usize,
    /// On which thread operations enter the kernel.
    #[cfg_attr(feature = "serde", serde(with = "words::submit_from"))]
    pub submit_from: SubmitFrom,
    /// Largest read of a buffered file that is tried on the caller's thread before anything else, in bytes; 0: none is.
    pub at_once_max: u32,
    /// Which way durable writes go ([`File::write_durable_at`](crate::File::write_durable_at)); `None`: the one that is measured to be
    /// faster. Where it is settled nothing is measured.
    #[cfg_attr(feature = "serde", serde(with = "words::durable_route"))]
    pub durable_route: Option<DurableRoute>,
    /// Most buffers of each size (4 KiB, 64 KiB, 1 MiB) in [`FileSystem::buffer_pool`](crate::FileSystem::buffer_pool).
    pub buffer_pool_size: usize,
    /// Whether logs on this file system allocate their space ahead. For those who write logs; the file system does not look at it.
    pub preallocate_wal: bool,
    /// How much of it at once, in bytes.
    pub preallocate_size: u64,
}

impl Default for IoConfig {
    fn default() -> Self {
        let shards = ShardOptions::default();
        IoConfig {
            driver: None,
            enable_io_uring: true,
            sq_depth: 256,
            queue_depth: 1024,
            queue_bytes: shards.bytes_max,
            io_workers: 0,
            pool_threads: 0,
            submit_from: SubmitFrom::Caller,
            at_once_max: shards.at_once_max,
            durable_route: None,
            buffer_pool_size: 64,
            preallocate_wal: true,
            preallocate_size: 64 << 20,
        }
    }
}

impl IoConfig {
    /// Settings to be changed one by one and validated at the end.
    pub fn builder() -> IoConfigBuilder {
        IoConfigBuilder::default()
    }

    /// Says whether the settings make sense. Every file system asks this before it begins.
    ///
    /// # Errors
    /// The first field that is out of range or contradicts another one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("sq_depth", self.sq_depth.into(), SQ_DEPTH)?;
        in_range("queue_depth", self.queue_depth.into(), QUEUE_DEPTH)?;
        in_range("queue_bytes", self.queue_bytes, QUEUE_BYTES)?;
        in_range("io_workers", self.io_workers as u64, IO_WORKERS)?;
        in_range("pool_threads", self.pool_threads as u64, POOL_THREADS)?;
        in_range("at_once_max", self.at_once_max.into(), AT_ONCE_MAX)?;
        in_range("buffer_pool_size", self.buffer_pool_size as u64, BUFFER_POOL_SIZE)?;
        in_range("preallocate_size", self.preallocate_size, PREALLOCATE_SIZE)?;
        if self.driver == Some(DriverName::Uring) && !self.enable_io_uring {
            return Err(ConfigError::Contradiction {
                field: "driver",
                value: DriverName::Uring.to_string(),
                other: "enable_io_uring",
                other_value: false.to_string(),
            });
        }
        Ok(())
    }

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
        options.at_once_max = self.at_once_max;
        options
    }
}

fn in_range(field: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<(), ConfigError> {
    if range.contains(&value) { Ok(()) } else { Err(ConfigError::OutOfRange { field, value, range }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        let config = IoConfig::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.sq_depth, config.queue_depth, config.buffer_pool_size), (256, 1024, 64));
        assert!(config.enable_io_uring && config.preallocate_wal && config.preallocate_size == 64 << 20);
    }

    #[test]
    fn every_field_is_looked_at() {
        type Spoil = fn(&mut IoConfig);
        let wrong: [(&str, Spoil); 9] = [
            ("sq_depth", |c| c.sq_depth = 0),
            ("sq_depth", |c| c.sq_depth = 32_769),
            ("queue_depth", |c| c.queue_depth = 1 << 23),
            ("queue_bytes", |c| c.queue_bytes = 0),
            ("io_workers", |c| c.io_workers = 1025),
            ("pool_threads", |c| c.pool_threads = 4097),
            ("at_once_max", |c| c.at_once_max = u32::MAX),
            ("buffer_pool_size", |c| c.buffer_pool_size = 0),
            ("preallocate_size", |c| c.preallocate_size = 0),
        ];
        for (field, spoil) in wrong {
            let mut config = IoConfig::default();
            spoil(&mut config);
            let error = config.validate().unwrap_err();
            assert!(matches!(error, ConfigError::OutOfRange { field: named, .. } if named == field), "{error}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }

    #[test]
    fn a_driver_that_is_switched_off_cannot_be_chosen() {
        let config = IoConfig { driver: Some(DriverName::Uring), enable_io_uring: false, ..IoConfig::default() };
        let error = config.validate().unwrap_err();
        assert_eq!(error.to_string(), "driver = uring contradicts enable_io_uring = false");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn serde_takes_what_it_gives_and_fills_in_the_rest() {
        let config =
            IoConfig { driver: Some(DriverName::Aio), submit_from: SubmitFrom::EngineThread, ..Default::default() };
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""driver":"aio""#) && text.contains(r#""submit_from":"engine""#), "{text}");
        assert_eq!(serde_json::from_str::<IoConfig>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<IoConfig>("{}").unwrap(), IoConfig::default());
        assert_eq!(serde_json::from_str::<IoConfig>(r#"{"driver":"auto"}"#).unwrap().driver, None);
        for wrong in [
            r#"{"sq_dept":1}"#,
            r#"{"driver":"disk"}"#,
            r#"{"submit_from":"me"}"#,
            r#"{"durable_route":"never"}"#,
            r#"{"sq_depth":-1}"#,
        ] {
            assert!(serde_json::from_str::<IoConfig>(wrong).is_err(), "{wrong}");
        }
    }
}
