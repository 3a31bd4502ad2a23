//! What can go wrong, in the log's words.

use crate::{Damage, Lsn, WalError, format::SegmentFault};
use std::fmt;

pub(super) fn damaged(segment: u64, offset: u64, lsn: Lsn, what: impl fmt::Display) -> WalError {
    WalError::Damaged(Damage { segment, offset, lsn, what: what.to_string() })
}

/// A segment that does not begin like one.
pub(super) fn header_fault(segment: u64, fault: SegmentFault) -> WalError {
    match fault {
        SegmentFault::Version(version) => WalError::UnknownVersion { segment, version },
        fault => damaged(segment, 0, 0, fault),
    }
}
