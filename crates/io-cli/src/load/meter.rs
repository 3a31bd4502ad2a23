//! What the timed part costs: wall clock, CPU time, context switches.

use crate::rusage::{self, Usage};
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Meter {
    busy: f64,
    usage: Usage,
    started: Instant,
}

/// The cost of one timed part.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Wall clock.
    pub(crate) seconds: f64,
    /// Of this process.
    pub(crate) usage: Usage,
    /// CPU seconds of the whole machine.
    pub(crate) busy: f64,
}

impl Meter {
    pub(crate) fn start() -> Meter {
        Meter { busy: rusage::machine_busy(), usage: Usage::now(), started: Instant::now() }
    }

    pub(crate) fn stop(&self) -> Cost {
        Cost {
            seconds: self.started.elapsed().as_secs_f64(),
            usage: Usage::now() - self.usage,
            busy: rusage::machine_busy() - self.busy,
        }
    }
}
