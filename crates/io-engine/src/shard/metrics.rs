//! What operations did and how long they took, by kind and by who did them.
//!
//! A shard counts under its lock, which is held anyway when a completion is delivered; reads served at once from memory never take a
//! lock and are counted apart (see `at_once`). All room is made when a kind is seen for the first time.

mod at_once;
mod latency;

pub(crate) use at_once::{AtOnceMeter, is_due};
use latency::Tally;
pub use latency::{Latency, LatencyBucket};

use io_core::{DriverName, OpKind};
use std::{fmt, io, time::Duration};

/// Who did an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// The shards' driver, or the core in front of it where an operation was refused or cancelled before it began.
    Driver(DriverName),
    /// The offload pool beside the driver.
    Offload,
    /// The caller's own thread, from memory.
    AtOnce,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Via::Driver(driver) => driver.as_str(),
            Via::Offload => "offload",
            Via::AtOnce => "at-once",
        })
    }
}

/// What the operations of one kind have done, as far as the same hands did them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpMetrics {
    /// The kind. A sync that several waited for is one operation.
    pub kind: OpKind,
    /// Who did them.
    pub via: Via,
    /// Operations answered, well or badly.
    pub count: u64,
    /// Answered with an error.
    pub failed: u64,
    /// Transfers that succeeded with fewer bytes than asked for: reads that met the end of their file, for the most part. Parts that
    /// came back short and were continued are counted in [`Stats::continued`](crate::Stats::continued).
    pub short: u64,
    /// Answered before their future was first put to sleep.
    pub inline: u64,
    /// Bytes that the successful ones moved.
    pub bytes: u64,
    /// From acceptance to the moment the shard saw the completion. Of reads at once it is sampled, of all others complete.
    pub latency: Latency,
}

impl OpMetrics {
    fn new(kind: OpKind, via: Via) -> OpMetrics {
        OpMetrics { kind, via, count: 0, failed: 0, short: 0, inline: 0, bytes: 0, latency: Latency::new() }
    }

    fn add(&mut self, row: &Row) {
        self.failed += row.failed;
        self.short += row.short;
        self.inline += row.inline;
        self.bytes += row.bytes;
        self.latency.add(&row.latency);
        self.count = self.latency.samples();
    }
}

/// An answered operation, as far as it is counted.
pub(crate) struct Seen<'a> {
    pub(crate) kind: OpKind,
    /// Bytes asked for.
    pub(crate) want: u64,
    pub(crate) result: &'a io::Result<usize>,
    pub(crate) took: Duration,
    pub(crate) offloaded: bool,
    pub(crate) inline: bool,
}

/// The counters of one shard.
pub(crate) struct Meter {
    /// By who did it, then by kind.
    rows: Box<[Option<Box<Row>>]>,
}

struct Row {
    failed: u64,
    short: u64,
    inline: u64,
    bytes: u64,
    latency: Tally,
}

const KINDS: usize = OpKind::ALL.len();

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter { rows: (0..2 * KINDS).map(|_| None).collect() }
    }

    #[inline]
    pub(crate) fn note(&mut self, seen: &Seen<'_>) {
        let at = seen.kind as usize + if seen.offloaded { KINDS } else { 0 };
        let row = match &mut self.rows[at] {
            Some(row) => row,
            empty => first(empty),
        };
        row.latency.record(seen.took);
        if seen.inline {
            row.inline += 1;
        }
        match seen.result {
            Ok(n) => {
                let n = *n as u64;
                row.bytes += n;
                if n < seen.want && seen.kind.is_transfer() {
                    row.short += 1;
                }
            }
            Err(_) => row.failed += 1,
        }
    }

    /// Adds what this shard has counted to what others have.
    pub(crate) fn add_to(&self, all: &mut Vec<OpMetrics>, driver: DriverName) {
        for (at, row) in self.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let kind = OpKind::ALL[at % KINDS];
            let via = if at < KINDS { Via::Driver(driver) } else { Via::Offload };
            let known = all.iter().position(|one| (one.kind, one.via) == (kind, via));
            let known = known.unwrap_or_else(|| {
                all.push(OpMetrics::new(kind, via));
                all.len() - 1
            });
            all[known].add(row);
        }
    }
}

/// The room for one more kind.
#[cold]
#[inline(never)]
fn first(empty: &mut Option<Box<Row>>) -> &mut Row {
    empty.insert(Box::new(Row { failed: 0, short: 0, inline: 0, bytes: 0, latency: Tally::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: OpKind, result: &io::Result<usize>, offloaded: bool) -> Seen<'_> {
        Seen { kind, want: 100, result, took: Duration::from_micros(10), offloaded, inline: offloaded }
    }

    #[test]
    fn kinds_and_hands_are_kept_apart_and_shards_are_added_up() {
        let (mut one, mut two) = (Meter::new(), Meter::new());
        one.note(&seen(OpKind::Read, &Ok(100), false));
        one.note(&seen(OpKind::Read, &Ok(40), false));
        one.note(&seen(OpKind::Read, &Err(io::ErrorKind::Other.into()), false));
        one.note(&seen(OpKind::Read, &Ok(100), true));
        two.note(&seen(OpKind::Read, &Ok(100), false));
        two.note(&seen(OpKind::Clone, &Ok(0), false));
        let mut all = Vec::new();
        one.add_to(&mut all, DriverName::Uring);
        two.add_to(&mut all, DriverName::Uring);
        let of = |kind, via| all.iter().find(|row| (row.kind, row.via) == (kind, via)).unwrap();
        let reads = of(OpKind::Read, Via::Driver(DriverName::Uring));
        assert_eq!((reads.count, reads.failed, reads.short, reads.inline, reads.bytes), (4, 1, 1, 0, 240));
        assert_eq!(reads.latency.samples(), 4);
        let moved = of(OpKind::Read, Via::Offload);
        assert_eq!((moved.count, moved.inline, moved.bytes), (1, 1, 100));
        let cloned = of(OpKind::Clone, Via::Driver(DriverName::Uring));
        assert_eq!((cloned.count, cloned.short), (1, 0), "what transfers nothing is not short");
        assert_eq!(all.len(), 3);
    }
}
