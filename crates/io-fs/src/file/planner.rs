//! Which way a durable write goes: the one that was measured to be faster.
//!
//! Measured are latencies, for each device, for direct and buffered files, and by the number of writers at once on the inode, doubling
//! from one: a single writer is best served by `RWF_DSYNC`, many share an fdatasync. A device that others use is slow for a while and
//! fast for a while, so two ways of a writer that is alone take turns, write by write, while they are compared. Those of several writers
//! cannot: a single `RWF_DSYNC` among writers that share an fdatasync looks fast, and all of them doing it are slow. Their ways have
//! phases, and the one that is taken is left only if it was slower before and after the other one's phase, three times.
//!
//! In a crowd an inode's lock is not fair: the same few writers may pass it again and again while the rest waits, and the latencies that
//! are seen within a phase of `RWF_DSYNC` are those of its luckiest writers. So of several writers it is counted how fast the writes of a
//! phase follow one another: in so many writers' time each is answered once.
//!
//! Nor does each `RWF_DSYNC` write of a crowd stand in that row by itself: those whose places follow one another are done together by the
//! engine (`together.rs` there), as one write for all. So a crowd of writers to one log may well be served best by `RWF_DSYNC`, and a crowd
//! that writes here and there by a shared fdatasync: which of them it is shows in the pace, and nothing here has to know.
//!
//! `lane` measures and decides for one kind of company; `row` is what is told of it.

mod lane;
mod row;
#[cfg(test)]
mod tests;

pub use row::DurabilityRow;

use lane::Lane;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A way to make a write durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DurableRoute {
    /// One write that is durable when it completes (`RWF_DSYNC`).
    Dsync,
    /// A write, and an fdatasync that concurrent writers share.
    WriteThenSync,
    /// The same, with the fdatasync done by the offload pool although the driver could do it. Who does it is a matter of the inode, because
    /// syncs are shared: [`sync_data`](crate::File::sync_data) calls of others go the way of the latest durable write, too.
    WriteThenPoolSync,
}

/// What is measured apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) device: u64,
    pub(super) direct: bool,
    pub(super) company: Company,
}

impl LaneKey {
    /// Files of one kind on one device, whoever writes.
    fn is_alike(self, other: LaneKey) -> bool {
        (self.device, self.direct) == (other.device, other.direct)
    }
}

/// How many writers there are at once, by powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Company(u32);

impl Company {
    pub(super) const ALONE: Company = Company(0);
    /// Thirty-two and more.
    const CROWD: u32 = 5;

    pub(super) fn of(writers: u32) -> Company {
        // The logarithm, rounded: sixteen of whom some are just beginning anew are still sixteen.
        let writers = u64::from(writers.clamp(1, 1 << 20));
        Company(((2 * writers * writers).ilog2() / 2).min(Company::CROWD))
    }
}

/// The lanes of one file system object.
#[derive(Debug, Default)]
pub(crate) struct Planner {
    lanes: Mutex<HashMap<LaneKey, Lane>>,
}

/// A write that was given its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    key: LaneKey,
    pub(super) route: DurableRoute,
    phase: u64,
    /// Writes that began in the phase before are still under way: this one is slowed by them.
    mixed: bool,
}

impl Planner {
    /// Most devices that are remembered; those beyond start anew.
    const LANES_MAX: usize = 256;

    /// The way of a write that begins, one of `writers` on its inode. `pool`: there is one for the syncs.
    pub(super) fn begin(&self, key: LaneKey, writers: u32, pool: bool, now: Duration) -> Trip {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get_mut(&key) {
            return lane.begin(key, writers, now);
        }
        if lanes.len() >= Planner::LANES_MAX {
            lanes.clear();
        }
        let refused = lanes.iter().any(|(other, lane)| other.is_alike(key) && lane.refused);
        let lane = lanes.entry(key).or_insert_with(|| Lane::new(key, pool));
        if refused {
            lane.refuse();
        }
        lane.begin(key, writers, now)
    }

    /// The write is durable, after so long.
    pub(super) fn done(&self, trip: Trip, took: Duration) {
        if let Some(lane) = self.lock().get_mut(&trip.key) {
            lane.done(trip, took);
        }
    }

    /// The system does not know `RWF_DSYNC` for files of this kind.
    pub(super) fn refused(&self, trip: Trip) {
        let mut lanes = self.lock();
        let alike = lanes.iter_mut().filter(|(key, _)| key.is_alike(trip.key));
        alike.for_each(|(_, lane)| lane.refuse());
    }

    /// What was measured, in order.
    pub(crate) fn table(&self) -> Vec<DurabilityRow> {
        let lanes = self.lock();
        let mut keys: Vec<_> = lanes.keys().copied().collect();
        keys.sort();
        keys.iter().map(|key| lanes[key].row(*key)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneKey, Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
