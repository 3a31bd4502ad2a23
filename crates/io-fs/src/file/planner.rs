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
    /// The same, with the fdatasync done by the offload pool although the driver could do it.
    WriteThenPoolSync,
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
    /// About how many writers on the inode at once, by powers of two; 32: as many or more.
    pub writers: u32,
    /// The way that writes go now, unless the other one is being measured.
    pub route: DurableRoute,
    /// What a write took lately by [`DurableRoute::Dsync`]; `None`: not tried.
    pub dsync: Option<Duration>,
    /// What a write took lately by [`DurableRoute::WriteThenSync`]; `None`: not tried.
    pub write_then_sync: Option<Duration>,
    /// What a write took lately by [`DurableRoute::WriteThenPoolSync`]; `None`: not tried.
    pub write_then_pool_sync: Option<Duration>,
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
            "device {:#x}, {}, {} at once: {:?} (dsync {}, write then sync {}, on the pool {}, {} writes, {} comparisons)",
            self.device,
            if self.direct { "direct" } else { "buffered" },
            self.writers,
            self.route,
            if self.refused { "refused".to_owned() } else { took(self.dsync) },
            took(self.write_then_sync),
            took(self.write_then_pool_sync),
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

/// What one route took.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    ewma_ns: f64,
    /// In the last phase in which the route was measured.
    samples: u32,
    /// Of several writers: what a write takes if each of them has one under way, as they followed one another in the last phase.
    paced_ns: f64,
}

impl Measured {
    fn cost_ns(&self) -> f64 {
        if self.paced_ns > 0.0 { self.paced_ns } else { self.ewma_ns }
    }
}

/// How fast writes follow one another.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    last: Option<Duration>,
    spent_ns: f64,
    gaps: u32,
}

impl Pace {
    /// A write begins. Nobody waits longer for the next one than a write takes: what is beyond is time in which nobody wrote.
    fn follow(&mut self, now: Duration, write_ns: f64) {
        if let Some(last) = self.last.replace(now) {
            let most = if write_ns > 0.0 { OUTLIER * write_ns } else { f64::INFINITY };
            self.spent_ns += (now.saturating_sub(last).as_nanos() as f64).min(most);
            self.gaps += 1;
        }
    }
}

#[derive(Debug)]
struct Lane {
    choice: DurableRoute,
    stage: Stage,
    /// What the choice took before the other one's turn.
    before_ns: f64,
    /// How often the other one has won by now.
    wins: u32,
    /// How fast the writes of this phase follow one another.
    pace: Pace,
    /// The one that the choice is compared with, now or next.
    other: DurableRoute,
    measured: [Measured; 3],
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
    /// The pool can do the syncs.
    pool: bool,
}

/// What a phase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Steady,
    /// Two routes in turn, for a writer that is alone.
    Turns,
    /// Another route than the choice is taken.
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
    fn new(key: LaneKey, pool: bool) -> Lane {
        let (dsync, sync) = (DurableRoute::Dsync, DurableRoute::WriteThenSync);
        let (choice, other) = if key.company == Company::ALONE { (dsync, sync) } else { (sync, dsync) };
        Lane {
            choice,
            other,
            pool,
            stage: Stage::Steady,
            before_ns: 0.0,
            wins: 0,
            pace: Pace::default(),
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

    fn begin(&mut self, key: LaneKey, writers: u32, now: Duration) -> Trip {
        if self.left == 0 {
            self.note_pace(key, writers);
            self.next_phase(writers);
        }
        self.left -= 1;
        self.writes += 1;
        let mixed = self.mixed > 0;
        self.mixed = self.mixed.saturating_sub(1);
        let other = self.stage == Stage::Other || (self.stage == Stage::Turns && self.left % 2 == 0);
        let route = if other { self.other } else { self.choice };
        if !mixed {
            self.pace.follow(now, self.measured[route as usize].ewma_ns);
        }
        Trip { key, route, phase: self.phase, mixed }
    }

    fn done(&mut self, trip: Trip, took: Duration) {
        // One of the phase before comes late, and is the slower for it: it counts as long as its route is not measured anew.
        if trip.phase + 1 < self.phase || trip.mixed {
            return;
        }
        let alone = trip.key.company == Company::ALONE;
        let measured = &mut self.measured[trip.route as usize];
        measured.samples = measured.samples.saturating_add(1);
        // The first sixteen count alike, and none of an earlier phase counts as much as they do. Of a writer that is alone, one that
        // took very long says more about its moment than about its route.
        let weight = 1.0 / f64::from(measured.samples.min(16));
        let most = if alone && measured.samples > 4 { OUTLIER * measured.ewma_ns } else { f64::INFINITY };
        measured.ewma_ns += ((took.as_nanos() as f64).min(most) - measured.ewma_ns) * weight;
    }

    /// A phase ends.
    fn note_pace(&mut self, key: LaneKey, writers: u32) {
        let pace = std::mem::take(&mut self.pace);
        if key.company != Company::ALONE && pace.gaps >= SAMPLES_MIN {
            let route = if self.stage == Stage::Other { self.other } else { self.choice };
            self.measured[route as usize].paced_ns = pace.spent_ns / f64::from(pace.gaps) * f64::from(writers);
        }
    }

    fn next_phase(&mut self, writers: u32) {
        // Too few measured: the writers come and go between the lanes.
        if self.stage == Stage::Steady && self.measured[self.choice as usize].samples < SAMPLES_MIN {
            self.left = FIRST.max(2 * writers);
            return;
        }
        self.phase += 1;
        self.mixed = writers;
        if !self.is_possible(self.other) || self.other == self.choice {
            let Some(other) = self.after(self.other) else {
                self.left = u32::MAX;
                return;
            };
            self.other = other;
        }
        let turn = 4 * writers + 2 * SAMPLES_MIN;
        (self.stage, self.left) = match self.stage {
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
        self.before_ns = self.measured[self.choice as usize].cost_ns();
        self.measured[self.other as usize].samples = 0;
        (Stage::Other, turn)
    }

    /// What follows a comparison: another one while the other route wins, then a steady phase.
    fn compare(&mut self, turn: u32) -> (Stage, u32) {
        let (mine, other) = (self.measured[self.choice as usize], self.measured[self.other as usize]);
        self.comparisons += 1;
        let enough = mine.samples.min(other.samples) >= SAMPLES_MIN;
        if !enough || other.cost_ns() >= BETTER * mine.cost_ns().min(self.before_ns) {
            self.patience = (self.patience + 1).min(PATIENCE_MAX);
            self.other = self.after(self.other).unwrap_or(self.other);
            return (Stage::Steady, STEADY << self.patience);
        }
        self.wins += 1;
        if self.wins < WINS {
            return self.other_begins(turn);
        }
        std::mem::swap(&mut self.choice, &mut self.other);
        self.other = self.after(self.other).unwrap_or(self.other);
        self.patience = 0;
        (Stage::Steady, STEADY)
    }

    fn is_possible(&self, route: DurableRoute) -> bool {
        match route {
            DurableRoute::Dsync => !self.refused,
            DurableRoute::WriteThenSync => true,
            DurableRoute::WriteThenPoolSync => self.pool,
        }
    }

    /// The next route that can be compared with the choice, if there is one.
    fn after(&self, route: DurableRoute) -> Option<DurableRoute> {
        const ALL: [DurableRoute; 3] =
            [DurableRoute::Dsync, DurableRoute::WriteThenSync, DurableRoute::WriteThenPoolSync];
        let in_turn = (1..=3).map(|n| ALL[(route as usize + n) % 3]);
        in_turn.into_iter().find(|&next| next != self.choice && self.is_possible(next))
    }

    fn refuse(&mut self) {
        if std::mem::replace(&mut self.refused, true) {
            return;
        }
        if self.choice == DurableRoute::Dsync {
            self.choice = DurableRoute::WriteThenSync;
        }
        self.stage = Stage::Steady;
        self.left = 0;
    }

    fn row(&self, key: LaneKey) -> DurabilityRow {
        let took = |route: DurableRoute| {
            let ns = self.measured[route as usize].cost_ns();
            (ns > 0.0).then(|| Duration::from_nanos(ns as u64))
        };
        DurabilityRow {
            device: key.device,
            direct: key.direct,
            concurrent: key.company != Company::ALONE,
            writers: 1 << key.company.0,
            route: self.choice,
            dsync: took(DurableRoute::Dsync),
            write_then_sync: took(DurableRoute::WriteThenSync),
            write_then_pool_sync: took(DurableRoute::WriteThenPoolSync),
            writes: self.writes,
            comparisons: self.comparisons,
            refused: self.refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const US: Duration = Duration::from_micros(1);

    fn key(writers: u32) -> LaneKey {
        LaneKey { device: 1, direct: false, company: Company::of(writers) }
    }

    /// `writers` that write one after the other in turn; what a write takes depends on how many by each route are under way.
    fn run(planner: &Planner, writers: u32, writes: u32, took: impl Fn(DurableRoute, u32) -> Duration) {
        let mut under_way = VecDeque::new();
        let mut now = Duration::ZERO;
        for _ in 0..writes {
            if under_way.len() as u32 == writers {
                let trip: Trip = under_way.pop_front().unwrap();
                let alike = 1 + under_way.iter().filter(|t: &&Trip| t.route == trip.route).count() as u32;
                let took = took(trip.route, alike);
                now += took / writers;
                planner.done(trip, took);
            }
            under_way.push_back(planner.begin(key(writers), writers, true, now));
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
            DurableRoute::WriteThenPoolSync => 280 * US,
        };
        run(&planner, 16, 20_000, took);
        let row = planner.table()[0];
        assert_eq!(row.route, DurableRoute::WriteThenSync, "{row}");
        assert!((2..=8).contains(&row.comparisons), "{row}");
        assert!(row.dsync.unwrap() > 1000 * US, "measured among its like: {row}");
    }

    #[test]
    fn sizes_of_crowds_are_rounded() {
        let sizes = [1, 2, 3, 5, 6, 11, 12, 16, 22, 23, 100, u32::MAX].map(|n| 1 << Company::of(n).0);
        assert_eq!(sizes, [1, 2, 4, 4, 8, 8, 16, 16, 16, 32, 32, 32]);
    }

    /// Each of the three is found, wherever one begins.
    #[test]
    fn the_fastest_of_three_is_found() {
        use DurableRoute::*;
        for fastest in [Dsync, WriteThenSync, WriteThenPoolSync] {
            for writers in [1, 2, 5, 16, 100] {
                let planner = Planner::default();
                run(&planner, writers, 20_000, |route, _| if route == fastest { 90 * US } else { 150 * US });
                let row = planner.table()[0];
                assert_eq!((row.route, row.writers), (fastest, 1 << Company::of(writers).0), "{row}");
            }
        }
    }

    /// Without a pool it is not tried.
    #[test]
    fn without_a_pool_two_are_left() {
        let planner = Planner::default();
        for _ in 0..5000 {
            let trip = planner.begin(key(1), 1, false, Duration::ZERO);
            assert_ne!(trip.route, DurableRoute::WriteThenPoolSync);
            planner.done(trip, US);
        }
    }

    /// An inode's lock is not fair. By `RWF_DSYNC` three of sixteen writers pass it again and again in 100 us while the others wait for
    /// 200 of their turns; by shared syncs each write takes 300 us. In one time of sixteen writers more is done by the syncs.
    #[test]
    fn the_lucky_few_do_not_decide_for_the_crowd() {
        let planner = Planner::default();
        let mut unlucky: VecDeque<(Trip, u32)> = VecDeque::new();
        let mut shared = VecDeque::new();
        let mut dsyncs = 0;
        let mut time = Duration::ZERO;
        for now in 0..60_000u32 {
            while unlucky.front().is_some_and(|(_, due)| *due <= now) {
                let (trip, _) = unlucky.pop_front().unwrap();
                planner.done(trip, 20_000 * US);
            }
            let trip = planner.begin(key(16), 16, false, time);
            if trip.route == DurableRoute::Dsync {
                dsyncs += 1;
                time += 33 * US;
                // The unlucky ones are seldom among those that begin, because they are seldom done.
                if unlucky.len() < 13 { unlucky.push_back((trip, now + 200)) } else { planner.done(trip, 100 * US) }
            } else {
                shared.push_back(trip);
                if shared.len() == 16 {
                    time += 300 * US;
                    shared.drain(..).for_each(|trip| planner.done(trip, 300 * US));
                }
            }
        }
        let row = planner.table()[0];
        assert_eq!(row.route, DurableRoute::WriteThenSync, "{row}");
        assert!(dsyncs < 6_000, "{dsyncs} of 60000 writes went the slow way: {row}");
    }

    /// What a writer took that was alone says nothing of a crowd, and the other way round.
    #[test]
    fn each_size_of_a_crowd_is_measured_for_itself() {
        let planner = Planner::default();
        let took = |route, alike| if route == DurableRoute::Dsync { 90 * US * alike } else { 250 * US };
        for writers in [1, 2, 16] {
            run(&planner, writers, 20_000, took);
        }
        let routes: Vec<_> =
            planner.table().iter().map(|row| (row.writers, row.route == DurableRoute::Dsync)).collect();
        assert_eq!(routes, [(1, true), (2, true), (16, false)], "{:?}", planner.table());
    }

    /// A device that is slow for 80 writes and fast for 80 favours whichever route has its turn at the right time.
    #[test]
    fn a_device_that_is_slow_now_and_then_does_not_mislead() {
        for length in [37, 80, 150] {
            let (planner, mut n) = (Planner::default(), 0);
            for _ in 0..4000 {
                let trip = planner.begin(key(1), 1, true, Duration::ZERO);
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
        let trip = planner.begin(key(1), 1, true, Duration::ZERO);
        assert_eq!(trip.route, DurableRoute::Dsync);
        planner.refused(trip);
        run(&planner, 1, 5000, |route, _| {
            assert_ne!(route, DurableRoute::Dsync);
            US
        });
        assert!(planner.table()[0].to_string().contains("dsync refused"));
    }
}
