//! The end of a core: what becomes of the operations that are still in it.

use crate::{
    inflight::{Carrier, Inflight},
    stats::Where,
    trace::{event_info, event_warn},
};
use io_core::{Driver, DriverName, Wait};
use std::{mem::ManuallyDrop, time::Duration};

/// How long dropping a core waits for the kernel to let go of its memory before it leaks it.
const DROP_GRACE: Duration = Duration::from_secs(10);

impl<S: Carrier> Drop for Inflight<S> {
    fn drop(&mut self) {
        let held = |this: &Self| this.slots.iter().any(|(_, f)| matches!(f.at, Where::Driver | Where::Offload));
        let until = self.clock.now() + DROP_GRACE;
        while held(self) && self.clock.now() < until {
            self.submit(Wait::AtMost(Duration::from_millis(100)));
            while let Some(finished) = self.next_finished() {
                drop(finished.carrier);
            }
            if self.driver.name() == DriverName::Sim && self.death.is_dead() {
                break;
            }
        }
        self.end_what_waits_here();
        self.quarantine(|at| matches!(at, Where::Driver | Where::Offload));
        if self.stats.quarantined > 0 {
            // I7: what is in flight is never freed. Driver, pool and slots stay as they are until the process ends.
            event_warn!(driver = %self.driver.name(), "a core was dropped with operations that never completed; its memory is kept");
            return;
        }
        event_info!(driver = %self.driver.name(), "a core ended");
        // SAFETY: dropped here only, and nothing is in flight: driver before slots, pool before the readiness it rings.
        unsafe {
            ManuallyDrop::drop(&mut self.driver);
            ManuallyDrop::drop(&mut self.offload);
            ManuallyDrop::drop(&mut self.slots);
        }
    }
}

impl<S: Carrier> Inflight<S> {
    /// Cancels what is neither with the driver nor with the pool.
    pub(crate) fn cancel_what_waits_here(&mut self) {
        let waits = |at| matches!(at, Where::Order | Where::Pause);
        let waiting: Vec<_> = self.slots.iter().filter(|(_, f)| waits(f.at)).map(|(token, _)| token).collect();
        for token in waiting {
            self.cancel(token);
        }
    }

    /// Ends what is neither with the driver nor with the pool, without telling anybody here. Changes among it were not done, or
    /// not all of them: whoever waits for them, on whatever core, has to hear that.
    fn end_what_waits_here(&mut self) {
        self.cancel_what_waits_here();
        while let Some((token, verdict)) = self.verdicts.pop_front() {
            drop(self.finish_by(token, verdict));
        }
    }
}
