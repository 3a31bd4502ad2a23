//! What was acknowledged, and when.

use crate::disk::SimDisk;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// What a workload, or a check, tells about what its store has acknowledged. Clones note to the same list.
///
/// Any value will do. To tell a check more than acknowledgements (what was begun and may be there, say), note that as another
/// variant of an enum.
pub struct Acks<A> {
    shared: Arc<Shared<A>>,
}

struct Shared<A> {
    seed: u64,
    disk: SimDisk,
    given: Given<A>,
    noted: Mutex<Noted<A>>,
}

/// Values with the moments at which they were noted, in order.
pub(super) struct Noted<A> {
    pub(super) moments: Vec<u64>,
    pub(super) values: Vec<A>,
}

impl<A> Default for Noted<A> {
    fn default() -> Noted<A> {
        Noted { moments: Vec::new(), values: Vec::new() }
    }
}

/// How many of these moments were not after this one.
pub(super) fn until(moments: &[u64], moment: u64) -> usize {
    moments.partition_point(|&at| at <= moment)
}

/// The beginning of a list that many checks share.
pub(super) struct Given<A> {
    pub(super) all: Arc<Vec<A>>,
    pub(super) len: usize,
}

impl<A> Clone for Given<A> {
    fn clone(&self) -> Given<A> {
        Given { all: self.all.clone(), len: self.len }
    }
}

impl<A: Clone> Given<A> {
    pub(super) fn none() -> Given<A> {
        Given { all: Arc::default(), len: 0 }
    }

    pub(super) fn slice(&self) -> &[A] {
        &self.all[..self.len]
    }

    /// The same, and what a check has noted by a moment.
    pub(super) fn and(&self, noted: &Noted<A>, moment: u64) -> Given<A> {
        match until(&noted.moments, moment) {
            0 => self.clone(),
            more => {
                let all: Vec<A> = self.slice().iter().chain(&noted.values[..more]).cloned().collect();
                Given { len: all.len(), all: Arc::new(all) }
            }
        }
    }
}

impl<A> Acks<A> {
    pub(super) fn new(seed: u64, disk: &SimDisk, given: Given<A>) -> Acks<A> {
        Acks { shared: Arc::new(Shared { seed, disk: disk.clone(), given, noted: Mutex::default() }) }
    }

    /// Notes that this was acknowledged now: checks of every crash from here on are given it, in this order.
    pub fn note(&self, value: A) {
        let mut noted = self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.moments.push(self.shared.disk.moment());
        noted.values.push(value);
    }

    /// What had been acknowledged when the power was cut, in order. Nothing in a workload.
    pub fn given(&self) -> &[A] {
        &self.shared.given.all[..self.shared.given.len]
    }

    /// The seed of this run of the workload: in a workload to draw from, in its checks to draw the same.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// What has been noted so far. What is noted by clones later is lost.
    pub(super) fn take(&self) -> Noted<A> {
        std::mem::take(&mut *self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<A> Clone for Acks<A> {
    fn clone(&self) -> Acks<A> {
        Acks { shared: self.shared.clone() }
    }
}

impl<A> fmt::Debug for Acks<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acks(seed {}, {} given)", self.shared.seed, self.shared.given.len)
    }
}
