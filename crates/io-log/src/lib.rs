//! A write-ahead log and a segment store over [`io_fs`].
//!
//! The log is driven by its callers: it starts no thread and knows no runtime. It runs wherever `io_fs` does, the simulator included, and
//! knows nothing of drivers. What is in its files is said by [`mod@format`] and, in words, by `docs/log-format.md`.

#![forbid(unsafe_code)]

pub mod format;
#[cfg(feature = "planted")]
#[doc(hidden)]
pub mod planted;
pub mod store;

/// Number of a record: consecutive, the first one of a new log is 1.
pub type Lsn = u64;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub lsn: Lsn,
    /// What is in it.
    pub data: bytes::Bytes,
}
