//! What can go wrong, by name.

use crate::{ConfigError, Lsn};
use std::{error, fmt, io, path::PathBuf, sync::Arc};

/// Why a log does not do what it was asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WalError {
    /// The system refused something that was not a durable write: the log is as it was.
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system says.
        cause: Arc<io::Error>,
    },
    /// Something is missing that was acknowledged as durable. Nothing was changed; [`salvage`](crate::salvage) copies out the rest.
    Damaged(Damage),
    /// A segment is of a version of the format that is not known here.
    UnknownVersion {
        /// The segment.
        segment: u64,
        /// Its version.
        version: u32,
    },
    /// Somebody else has the log open for writing.
    InUse {
        /// The process that has it, as far as it has said so.
        pid: Option<u32>,
    },
    /// A durable write or a sync has failed, so nobody knows what is on the disk. The log takes no records any more; open it again.
    ReadOnly {
        /// What was being done.
        what: &'static str,
        /// What the system said then.
        cause: Arc<io::Error>,
    },
    /// The record does not fit a segment. It was not queued.
    RecordTooLarge {
        /// Its length in bytes.
        len: u64,
        /// The most bytes of a record.
        max: u64,
    },
    /// There is no space for another segment. What was asked for was not queued; it works again when there is space.
    NoSpace {
        /// What the system says.
        cause: Arc<io::Error>,
    },
    /// The log was closed.
    Closed,
    /// Records were asked for that [`truncate_before`](crate::Wal::truncate_before) has removed.
    Truncated {
        /// The first record that is there.
        first_lsn: Lsn,
    },
    /// Settings that make no sense.
    Config(ConfigError),
}

/// Something that is missing or bad, though it was acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub segment: u64,
    /// Where in its file, in bytes.
    pub offset: u64,
    /// The first record that is missing.
    pub lsn: Lsn,
    /// What is wrong there.
    pub what: String,
}

impl WalError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, cause: io::Error) -> WalError {
        WalError::Io { what, path: path.into(), cause: Arc::new(cause) }
    }

    /// The kind of I/O error that it is closest to.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            WalError::Io { cause, .. } | WalError::NoSpace { cause } => cause.kind(),
            WalError::Damaged(_) => io::ErrorKind::InvalidData,
            WalError::UnknownVersion { .. } => io::ErrorKind::Unsupported,
            WalError::InUse { .. } => io::ErrorKind::ResourceBusy,
            WalError::ReadOnly { .. } => io::ErrorKind::ReadOnlyFilesystem,
            WalError::RecordTooLarge { .. } | WalError::Config(_) => io::ErrorKind::InvalidInput,
            WalError::Closed => io::ErrorKind::BrokenPipe,
            WalError::Truncated { .. } => io::ErrorKind::NotFound,
        }
    }
}

impl fmt::Display for WalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalError::Io { what, path, cause } => write!(f, "{what} {}: {cause}", path.display()),
            WalError::Damaged(damage) => write!(f, "the log is damaged: {damage}"),
            WalError::UnknownVersion { segment, version } => {
                write!(f, "segment {segment} is of version {version} of the format, which is not known here")
            }
            WalError::InUse { pid: Some(pid) } => write!(f, "the log is open for writing in process {pid}"),
            WalError::InUse { pid: None } => f.write_str("the log is open for writing in another process"),
            WalError::ReadOnly { what, cause } => {
                write!(f, "the log is read-only since {what} failed: {cause}")
            }
            WalError::RecordTooLarge { len, max } => write!(f, "a record of {len} bytes; at most {max} fit a segment"),
            WalError::NoSpace { cause } => write!(f, "no space for another segment: {cause}"),
            WalError::Closed => f.write_str("the log is closed"),
            WalError::Truncated { first_lsn } => write!(f, "records before {first_lsn} were removed"),
            WalError::Config(error) => error.fmt(f),
        }
    }
}

impl error::Error for WalError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            WalError::Io { cause, .. } | WalError::NoSpace { cause } | WalError::ReadOnly { cause, .. } => Some(cause),
            WalError::Config(error) => Some(error),
            _ => None,
        }
    }
}

impl From<WalError> for io::Error {
    fn from(error: WalError) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

impl From<ConfigError> for WalError {
    fn from(error: ConfigError) -> WalError {
        WalError::Config(error)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {}, offset {}, record {}: {}", self.segment, self.offset, self.lsn, self.what)
    }
}
