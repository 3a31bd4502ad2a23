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
mod wal;

pub use check::{LogReader, Salvaged, Verified, salvage, verify};
pub use config::{ConfigError, Sync, WalConfig};
pub use error::{Damage, WalError};
pub use reader::{Reader, Record};
pub use wal::{Append, AppendMany, Enqueue, Flush, Recovery, Wal};

/// Number of a record: consecutive, the first one of a new log is 1.
pub type Lsn = u64;
