//! A write-ahead log and a segment store over [`io_fs`].
//!
//! The log is driven by its callers: it starts no thread and knows no runtime. It runs wherever `io_fs` does, the simulator included, and
//! knows nothing of drivers. What is in its files is said by [`mod@format`] and, in words, by `docs/log-format.md`.

#![forbid(unsafe_code)]

mod check;
mod config;
mod disk;
mod error;
pub mod format;
mod host;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
mod reader;
mod scan;
pub mod store;
mod wal;

pub use check::{LogReader, Salvaged, Verified, salvage, verify};
pub use config::{ConfigError, Sync, WalConfig};
pub use error::{Damage, WalError};
pub use reader::Reader;
pub use wal::{Append, AppendMany, Enqueue, Flush, Recovery, Wal};

/// Number of a record: consecutive, the first one of a new log is 1.
pub type Lsn = u64;

/// A record. Its data are a part of a larger buffer, which stays as long as any part of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub lsn: Lsn,
    /// What is in it.
    pub data: bytes::Bytes,
}
