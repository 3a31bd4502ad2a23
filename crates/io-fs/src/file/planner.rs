//! Which way a durable write goes: the one that was measured to be faster.
//!
//! Measured are latencies, for each device, for direct and buffered files, and for writers that are alone on their inode apart from
//! those that are not: one writer is best served by `RWF_DSYNC`, many share an fdatasync. A device that others use is slow for a while
//! and fast for a while, so the two ways of a writer that is alone take turns, write by write, while they are compared. Those of several
//! writers cannot: a single `RWF_DSYNC` among writers that share an fdatasync looks fast, and all of them doing it are slow. Their
//! ways have phases, and the one that is taken is left only if it was slower before and after the other one's phase, three times.

use std::{
    collections::HashMap,
    fmt,
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
}

/// One line of what was measured about durable writes; see
/// [`FileSystem::durability_table`](crate::FileSystem::durability_table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurabilityRow {
    /// The device (`st_dev`), 0 where files have none.
    pub device: u64,
    /// Files past the page cache, or buffered ones.
    pub direct: bool,
    /// Several writers on the inode at once, or one.
    pub concurrent: bool,
    /// The way that writes go now, unless the other one is being measured.
    pub route: DurableRoute,
    /// What a write took lately by [`DurableRoute::Dsync`]; `None`: not tried.
    pub dsync: Option<Duration>,
    /// What a write took lately by [`DurableRoute::WriteThenSync`]; `None`: not tried.
    pub write_then_sync: Option<Duration>,
    /// Durable writes so far.
    pub writes: u64,
    /// How often the ways were compared.
    pub comparisons: u64,
    /// The system refused `RWF_DSYNC`.
    pub refused: bool,
}

impl fmt::Display for DurabilityRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = |time: Option<Duration>| time.map_or("not tried".to_owned(), |t| format!("{} us", t.as_micros()));
        write!(
            f,
            "device {:#x}, {}, {}: {:?} (dsync {}, write then sync {}, {} writes, {} comparisons)",
            self.device,
            if self.direct { "direct" } else { "buffered" },
            if self.concurrent { "concurrent" } else { "alone" },
            self.route,
            if self.refused { "refused".to_owned() } else { took(self.dsync) },
            took(self.write_then_sync),
            self.writes,
            self.comparisons
        )
    }
}

/// What is measured apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) device: u64,
    pub(super) direct: bool,
    pub(super) concurrent: bool,
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

    /// The way of a write that begins, one of `writers` on its inode.
    pub(super) fn begin(&self, key: LaneKey, writers: u32) -> Trip {
        let mut lanes = self.lock();
        if lanes.len() >= Planner::LANES_MAX && !lanes.contains_key(&key) {
            lanes.clear();
        }
        lanes.entry(key).or_insert_with(|| Lane::new(key)).begin(key, writers)
    }

    /// The write is durable, after so long.
    pub(super) fn done(&self, trip: Trip, took: Duration) {
        if let Some(lane) = self.lock().get_mut(&trip.key) {
            lane.done(trip, took);
        }
    }

    /// The system does not know `RWF_DSYNC` for files of this kind.
    pub(super) fn refused(&self, trip: Trip) {
        if let Some(lane) = self.lock().get_mut(&trip.key) {
            lane.refuse();
        }
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

/// What one route took.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    ewma_ns: f64,
    /// In the last phase in which the route was measured.
    samples: u32,
}

#[derive(Debug)]
struct Lane {
    choice: DurableRoute,
    stage: Stage,
    /// What the choice took before the other one's turn.
    before_ns: f64,
    /// How often the other one has won by now.
    wins: u32,
    measured: [Measured; 2],
    phase: u64,
    /// Writes that may begin in this phase.
    left: u32,
    /// How many of them are mixed with those of the phase before.
    mixed: u32,
    /// Steady phases are 2^this times as long as the first.
    patience: u32,
    writes: u64,
    comparisons: u64,
    refused: bool,
}

/// What a phase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Steady,
    /// Both routes in turn, for a writer that is alone.
    Turns,
    /// The route that is not the choice is taken.
    Other,
    /// The choice again, to see whether it was the time and not the route.
    Again,
}

/// Writes before the first comparison.
const FIRST: u32 = 32;
/// Writes between comparisons, doubled each time that the choice stays.
const STEADY: u32 = 512;
const PATIENCE_MAX: u32 = 8;
/// Measured writes without which a comparison says nothing.
const SAMPLES_MIN: u32 = 8;
/// The other route has to be so much faster.
const BETTER: f64 = 0.9;
/// The other route has to win so often in a row.
const WINS: u32 = 3;
/// A write counts for no more than so many times what writes take.
const OUTLIER: f64 = 4.0;

impl Lane {
    fn new(key: LaneKey) -> Lane {
        let choice = if key.concurrent { DurableRoute::WriteThenSync } else { DurableRoute::Dsync };
        Lane {
            choice,
            stage: Stage::Steady,
            before_ns: 0.0,
            wins: 0,
            measured: Default::default(),
            phase: 0,
            left: FIRST,
            mixed: 0,
            patience: 0,
            writes: 0,
            comparisons: 0,
            refused: false,
        }
    }

    fn begin(&mut self, key: LaneKey, writers: u32) -> Trip {
        if self.left == 0 {
            self.next_phase(writers);
        }
        self.left -= 1;
        self.writes += 1;
        let mixed = self.mixed > 0;
        self.mixed = self.mixed.saturating_sub(1);
        let other = self.stage == Stage::Other || (self.stage == Stage::Turns && self.left % 2 == 0);
        let route = if other { self.choice.other() } else { self.choice };
        Trip { key, route, phase: self.phase, mixed }
    }

    fn done(&mut self, trip: Trip, took: Duration) {
        if trip.phase != self.phase || trip.mixed {
            return;
        }
        let measured = &mut self.measured[trip.route as usize];
        measured.samples = measured.samples.saturating_add(1);
        // The first sixteen count alike, and none of an earlier phase counts as much as they do. One that took very long says more
        // about its moment than about its route.
        let weight = 1.0 / f64::from(measured.samples.min(16));
        let most = if measured.samples > 4 { OUTLIER * measured.ewma_ns } else { f64::INFINITY };
        measured.ewma_ns += ((took.as_nanos() as f64).min(most) - measured.ewma_ns) * weight;
    }

    fn next_phase(&mut self, writers: u32) {
        self.phase += 1;
        self.mixed = writers;
        if self.refused {
            self.left = u32::MAX;
            return;
        }
        let turn = 4 * writers + 2 * SAMPLES_MIN;
        (self.stage, self.left) = match self.stage {
            // Too few measured: the writers come and go between the lanes.
            Stage::Steady if self.measured[self.choice as usize].samples < SAMPLES_MIN => (Stage::Steady, FIRST),
            Stage::Steady if writers == 1 => {
                (self.before_ns, self.wins) = (f64::INFINITY, WINS - 1);
                self.measured.iter_mut().for_each(|measured| measured.samples = 0);
                (Stage::Turns, 2 * turn)
            }
            Stage::Steady => {
                self.wins = 0;
                self.other_begins(turn)
            }
            Stage::Other => {
                self.measured[self.choice as usize].samples = 0;
                (Stage::Again, turn)
            }
            Stage::Again | Stage::Turns => self.compare(turn),
        };
    }

    fn other_begins(&mut self, turn: u32) -> (Stage, u32) {
        self.before_ns = self.measured[self.choice as usize].ewma_ns;
        self.measured[self.choice.other() as usize].samples = 0;
        (Stage::Other, turn)
    }

    /// What follows a comparison: another one while the other route wins, then a steady phase.
    fn compare(&mut self, turn: u32) -> (Stage, u32) {
        let (mine, other) = (self.measured[self.choice as usize], self.measured[self.choice.other() as usize]);
        self.comparisons += 1;
        let enough = mine.samples.min(other.samples) >= SAMPLES_MIN;
        if !enough || other.ewma_ns >= BETTER * mine.ewma_ns.min(self.before_ns) {
            self.patience = (self.patience + 1).min(PATIENCE_MAX);
            return (Stage::Steady, STEADY << self.patience);
        }
        self.wins += 1;
        if self.wins < WINS {
            return self.other_begins(turn);
        }
        self.choice = self.choice.other();
        self.patience = 0;
        (Stage::Steady, STEADY)
    }

    fn refuse(&mut self) {
        self.refused = true;
        self.choice = DurableRoute::WriteThenSync;
        self.stage = Stage::Steady;
        self.left = 0;
    }

    fn row(&self, key: LaneKey) -> DurabilityRow {
        let took = |route: DurableRoute| {
            let ns = self.measured[route as usize].ewma_ns;
            (ns > 0.0).then(|| Duration::from_nanos(ns as u64))
        };
        DurabilityRow {
            device: key.device,
            direct: key.direct,
            concurrent: key.concurrent,
            route: self.choice,
            dsync: took(DurableRoute::Dsync),
            write_then_sync: took(DurableRoute::WriteThenSync),
            writes: self.writes,
            comparisons: self.comparisons,
            refused: self.refused,
        }
    }
}

impl DurableRoute {
    fn other(self) -> DurableRoute {
        match self {
            DurableRoute::Dsync => DurableRoute::WriteThenSync,
            DurableRoute::WriteThenSync => DurableRoute::Dsync,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const US: Duration = Duration::from_micros(1);

    fn key(concurrent: bool) -> LaneKey {
        LaneKey { device: 1, direct: false, concurrent }
    }

    /// `writers` that write one after the other in turn; what a write takes depends on how many by each route are under way.
    fn run(planner: &Planner, writers: u32, writes: u32, took: impl Fn(DurableRoute, u32) -> Duration) {
        let mut under_way = VecDeque::new();
        for _ in 0..writes {
            if under_way.len() as u32 == writers {
                let trip: Trip = under_way.pop_front().unwrap();
                let alike = 1 + under_way.iter().filter(|t: &&Trip| t.route == trip.route).count() as u32;
                planner.done(trip, took(trip.route, alike));
            }
            under_way.push_back(planner.begin(key(writers > 1), writers));
        }
    }

    #[test]
    fn one_writer_ends_at_the_faster_route_whichever_it_is() {
        for (dsync, sync, wins) in [(90, 150, DurableRoute::Dsync), (150, 90, DurableRoute::WriteThenSync)] {
            let planner = Planner::default();
            run(&planner, 1, 5000, |route, _| if route == DurableRoute::Dsync { dsync * US } else { sync * US });
            let row = planner.table()[0];
            assert_eq!(row.route, wins, "{row}");
            assert!(row.comparisons > 1 && row.dsync.is_some() && row.write_then_sync.is_some(), "{row}");
        }
    }

    /// A single `RWF_DSYNC` write among others is fast, many of them queue at the inode.
    #[test]
    fn many_writers_end_at_the_shared_sync_and_seldom_leave_it() {
        let planner = Planner::default();
        let took = |route, alike| match route {
            DurableRoute::Dsync => 90 * US * alike,
            DurableRoute::WriteThenSync => 250 * US,
        };
        run(&planner, 16, 20_000, took);
        let row = planner.table()[0];
        assert_eq!(row.route, DurableRoute::WriteThenSync, "{row}");
        assert!((2..=8).contains(&row.comparisons), "{row}");
        assert!(row.dsync.unwrap() > 1000 * US, "measured among its like: {row}");
    }

    /// A device that is slow for 80 writes and fast for 80 favours whichever route has its turn at the right time.
    #[test]
    fn a_device_that_is_slow_now_and_then_does_not_mislead() {
        for length in [37, 80, 150] {
            let (planner, mut n) = (Planner::default(), 0);
            for _ in 0..4000 {
                let trip = planner.begin(key(false), 1);
                n += 1;
                let base = if trip.route == DurableRoute::Dsync { 90 * US } else { 150 * US };
                planner.done(trip, if n / length % 2 == 0 { base } else { 40 * base });
            }
            let row = planner.table()[0];
            assert_eq!(row.route, DurableRoute::Dsync, "{row}");
        }
    }

    #[test]
    fn a_device_that_changes_is_noticed() {
        let planner = Planner::default();
        run(&planner, 1, 2000, |route, _| if route == DurableRoute::Dsync { 90 * US } else { 150 * US });
        assert_eq!(planner.table()[0].route, DurableRoute::Dsync);
        run(&planner, 1, 300_000, |route, _| if route == DurableRoute::Dsync { 500 * US } else { 150 * US });
        assert_eq!(planner.table()[0].route, DurableRoute::WriteThenSync);
    }

    #[test]
    fn what_is_refused_is_not_tried_again() {
        let planner = Planner::default();
        let trip = planner.begin(key(false), 1);
        assert_eq!(trip.route, DurableRoute::Dsync);
        planner.refused(trip);
        run(&planner, 1, 5000, |route, _| {
            assert_eq!(route, DurableRoute::WriteThenSync);
            US
        });
        assert!(planner.table()[0].to_string().contains("dsync refused"));
    }
}
