//! What happened, in order: for comparing runs, and for looking at the one that failed.

use io_core::{OpKind, Token};
use std::{collections::VecDeque, time::Duration};

/// One entry of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// Number of the entry; entries count up from 1.
    pub moment: u64,
    /// When, in virtual time.
    pub at: Duration,
    /// The driver that it happened to; drivers of a disk count up from 1. 0: the disk itself.
    pub driver: u32,
    /// The operation; operations of a disk count up from 1. 0: none.
    pub op: u64,
    /// What.
    pub what: TraceWhat,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceWhat {
    /// An operation went from staged to in flight.
    Accepted {
        /// Its token.
        token: Token,
        /// Its kind.
        kind: OpKind,
        /// The inode of its file, if it has one that is open.
        ino: Option<u64>,
        /// Where it starts.
        offset: u64,
        /// How long it is.
        len: u64,
    },
    /// An operation was pushed back.
    PushedBack {
        /// Its token.
        token: Token,
    },
    /// An operation had its effect: from here on others see it.
    TookEffect,
    /// A completion went to the driver's caller.
    Completed {
        /// Its token.
        token: Token,
        /// Its result.
        result: i32,
    },
    /// A cancel request came in time.
    Cancelled,
    /// The power was cut.
    PowerCut,
    /// The drivers were broken.
    Broken,
}

/// The trace: bounded entries, and a hash over all there ever were.
#[derive(Debug)]
pub(crate) struct Trace {
    events: VecDeque<TraceEvent>,
    max: usize,
    moment: u64,
    hash: u64,
}

impl Trace {
    pub(crate) fn new(max: usize) -> Trace {
        Trace { events: VecDeque::new(), max, moment: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }

    pub(crate) fn note(&mut self, at: Duration, driver: u32, op: u64, what: TraceWhat) {
        self.moment += 1;
        let event = TraceEvent { moment: self.moment, at, driver, op, what };
        let mut mix = |word: u64| {
            // FNV-1a by words, with a rotation so that high bits come down.
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        };
        mix(at.as_nanos() as u64);
        mix(driver as u64);
        mix(op);
        match what {
            TraceWhat::Accepted { token, kind, ino, offset, len } => {
                [1, token.as_u64(), kind as u64, ino.map_or(0, |ino| ino + 1), offset, len].into_iter().for_each(mix);
            }
            TraceWhat::PushedBack { token } => [2, token.as_u64()].into_iter().for_each(mix),
            TraceWhat::TookEffect => mix(3),
            TraceWhat::Completed { token, result } => [4, token.as_u64(), result as u64].into_iter().for_each(mix),
            TraceWhat::Cancelled => mix(5),
            TraceWhat::PowerCut => mix(6),
            TraceWhat::Broken => mix(7),
        }
        if self.max > 0 {
            if self.events.len() == self.max {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
    }

    pub(crate) fn events(&self) -> Vec<TraceEvent> {
        self.events.iter().copied().collect()
    }

    pub(crate) fn moment(&self) -> u64 {
        self.moment
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_entries_go_and_the_hash_remembers_them() {
        let mut trace = Trace::new(2);
        let mut other = Trace::new(2);
        for op in 1..=3 {
            trace.note(Duration::ZERO, 1, op, TraceWhat::TookEffect);
            other.note(Duration::ZERO, 1, op.max(2), TraceWhat::TookEffect);
        }
        assert_eq!(trace.events().iter().map(|event| event.moment).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(trace.events(), other.events());
        assert_ne!(trace.hash(), other.hash());
    }
}
