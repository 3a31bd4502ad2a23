//! What may go.

use super::SegmentStore;
use crate::Lsn;
use std::time::{Duration, SystemTime};

/// How much of a log is kept, in whole segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// At most so many bytes of sealed segments.
    pub bytes_max: Option<u64>,
    /// Nothing that was last written to so long ago.
    pub age_max: Option<Duration>,
}

impl SegmentStore {
    /// The first record that is to stay, if some segments in front of it are to go: what to hand to
    /// [`Wal::truncate_before`](crate::Wal::truncate_before), which alone may remove segments, because a log says durably where it begins
    /// before anything of it goes. [`SegmentStore::refresh`] then sees that they are gone.
    ///
    /// Time is the caller's, so that a test can say what time it is. A segment whose time of writing is not known is not too old.
    pub fn expired(&self, retention: &Retention, now: SystemTime) -> Option<Lsn> {
        let sealed = self.sealed();
        let mut bytes: u64 = sealed.iter().map(|sealed| sealed.header.segment_size).sum();
        let mut keep = None;
        for segment in sealed.iter() {
            let too_many = retention.bytes_max.is_some_and(|most| bytes > most);
            let age = segment.modified.and_then(|modified| now.duration_since(modified).ok());
            let too_old = retention.age_max.is_some_and(|most| age.is_some_and(|age| age > most));
            if !too_many && !too_old {
                break;
            }
            bytes -= segment.header.segment_size;
            keep = Some(segment.next);
        }
        keep
    }
}
