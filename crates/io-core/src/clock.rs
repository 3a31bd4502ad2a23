//! Time as the core sees it.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Where deadlines, back-off and delays come from.
///
/// Real drivers use [`MonotonicClock`]; the simulator brings a virtual clock that moves only when somebody waits, so that a
/// run with timeouts repeats exactly. Nobody sleeps on a clock: sleeping is [`Driver::submit`](crate::Driver::submit) or
/// [`Readiness::wait`](crate::Readiness::wait).
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since an origin of the clock's own; never goes back.
    fn now(&self) -> Duration;
}

/// The system's monotonic clock; its origin is the clock's creation.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(Instant);

impl MonotonicClock {
    /// A clock that starts at zero now.
    pub fn new() -> MonotonicClock {
        MonotonicClock(Instant::now())
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        MonotonicClock::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
