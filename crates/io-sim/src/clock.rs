//! Time that moves only when somebody waits.

use io_core::Clock;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The virtual clock of a simulated disk, shared by its drivers. It starts at zero.
///
/// It moves when a driver waits: to the next event, or to the end of the wait if nothing happens before. Nobody sleeps for that:
/// an hour of virtual time takes as long as the work that happens in it.
#[derive(Clone, Default)]
pub struct SimClock(Arc<AtomicU64>);

impl SimClock {
    pub(crate) fn starting_at(nanos: u64) -> SimClock {
        SimClock(Arc::new(AtomicU64::new(nanos)))
    }

    /// Nanoseconds since the start.
    pub(crate) fn nanos(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves to this moment, never back. Only who holds the disk's lock calls it.
    pub(crate) fn move_to(&self, nanos: u64) {
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }
}

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimClock({:?})", self.now())
    }
}
