//! The ways of one company of writers: what they took, and when which one is tried.

use super::{Company, DurabilityRow, DurableRoute, LaneKey, Trip};
use std::time::Duration;

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

/// One company of writers, on files of one kind of one device.
#[derive(Debug)]
pub(super) struct Lane {
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
    pub(super) refused: bool,
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
    pub(super) fn new(key: LaneKey, pool: bool) -> Lane {
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

    pub(super) fn begin(&mut self, key: LaneKey, writers: u32, now: Duration) -> Trip {
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

    pub(super) fn done(&mut self, trip: Trip, took: Duration) {
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

    pub(super) fn refuse(&mut self) {
        if std::mem::replace(&mut self.refused, true) {
            return;
        }
        if self.choice == DurableRoute::Dsync {
            self.choice = DurableRoute::WriteThenSync;
        }
        self.stage = Stage::Steady;
        self.left = 0;
    }

    pub(super) fn row(&self, key: LaneKey) -> DurabilityRow {
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
