//! What can go wrong with a store.

use crate::{Lsn, format::SegmentFault};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why a store could not be opened or read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// What the system said.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The system's answer.
        error: Arc<io::Error>,
    },
    /// Something is not as it was written, or is missing.
    Damaged {
        /// Number of the segment.
        segment: u64,
        /// Where in its file.
        offset: u64,
        /// The first record that is concerned, as far as it is known; else 0.
        lsn: Lsn,
        /// What is wrong.
        what: String,
    },
    /// A segment of a version of the format that is not known here.
    UnknownVersion {
        /// Number of the segment.
        segment: u64,
        /// Its version.
        version: u32,
    },
    /// The record was there once: its segment was removed.
    Gone {
        /// The record that was asked for.
        lsn: Lsn,
        /// The first one that there is.
        first: Lsn,
    },
    /// A setting makes no sense.
    Config(&'static str),
}

impl StoreError {
    pub(super) fn io(doing: &'static str, path: &Path, error: io::Error) -> StoreError {
        StoreError::Io { doing, path: path.to_owned(), error: Arc::new(error) }
    }

    pub(super) fn damaged(segment: u64, offset: u64, lsn: Lsn, what: impl fmt::Display) -> StoreError {
        StoreError::Damaged { segment, offset, lsn, what: what.to_string() }
    }

    pub(super) fn header(segment: u64, fault: SegmentFault) -> StoreError {
        match fault {
            SegmentFault::Version(version) => StoreError::UnknownVersion { segment, version },
            fault => StoreError::damaged(segment, 0, 0, fault),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { doing, path, error } => write!(f, "{doing} {}: {error}", path.display()),
            StoreError::Damaged { segment, offset, lsn, what } => {
                write!(f, "segment {segment} is damaged at byte {offset}")?;
                if *lsn > 0 {
                    write!(f, " (record {lsn})")?;
                }
                write!(f, ": {what}")
            }
            StoreError::UnknownVersion { segment, version } => {
                write!(f, "segment {segment} has version {version} of the format, which is not known here")
            }
            StoreError::Gone { lsn, first } => write!(f, "record {lsn} was removed; the first one is {first}"),
            StoreError::Config(what) => write!(f, "a setting of the store is out of range: {what}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> io::Error {
        let kind = match &error {
            StoreError::Io { error, .. } => error.kind(),
            StoreError::Damaged { .. } => io::ErrorKind::InvalidData,
            StoreError::UnknownVersion { .. } => io::ErrorKind::Unsupported,
            StoreError::Gone { .. } => io::ErrorKind::NotFound,
            StoreError::Config(_) => io::ErrorKind::InvalidInput,
        };
        io::Error::new(kind, error)
    }
}
