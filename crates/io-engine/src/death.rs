//! What becomes of a core whose driver died.
//!
//! New operations go to the thread pool. What is in flight is neither freed nor handed back (I7): its ring is read for a grace
//! period, and what never came is quarantined: its slot, buffer and file stay for the life of the process, counted and named.

use crate::{
    inflight::{Carrier, Inflight},
    order,
    stats::Where,
};
use io_core::{Driver, DriverName, Token, Wait, errno};
use std::{
    fmt, io,
    mem::ManuallyDrop,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How long a dead driver's ring is still read before what is missing counts as lost.
const GRACE: Duration = Duration::from_secs(1);
/// A driver may take its clock with it: virtual time that does not pass any more brings nothing any more, either.
const STALLED_MAX: u32 = 100;

/// A driver that died, and what became of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Died {
    /// The driver.
    pub driver: DriverName,
    /// The system's code for what broke its channel.
    pub code: i32,
    /// Who does new operations since; `None`: nobody, they answer that error.
    pub successor: Option<DriverName>,
}

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} died ({}), ", self.driver, io::Error::from_raw_os_error(self.code))?;
        match self.successor {
            Some(successor) => write!(f, "{successor} runs in its place"),
            None => write!(f, "and nothing runs in its place"),
        }
    }
}

/// Where those who do not hold the core read that its driver died.
pub(crate) type Note = Arc<OnceLock<Died>>;

#[derive(Debug, Default)]
pub(crate) struct Death {
    pub(crate) note: Note,
    /// Why, and until when completions may still come.
    died: Option<(i32, Duration)>,
    /// Waits in a row that took no time at all.
    stalled: u32,
    /// Nothing may begin any more, wherever.
    closed: bool,
    /// Lost operations whose owner was not told yet.
    names: Vec<Token>,
    /// Slots that are lost in the current table.
    pub(crate) slots: u32,
}

impl Death {
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.died.is_some()
    }

    /// What an operation answers that would have to begin now, if it may not: there is nobody to do it.
    fn refuses(&self, pool: bool) -> Option<i32> {
        let (reason, _) = self.died?;
        if self.closed {
            return Some(errno::ECANCELED);
        }
        (!pool).then_some(reason)
    }

    fn is_over(&self, now: Duration) -> bool {
        self.stalled >= STALLED_MAX || self.died.is_some_and(|(_, until)| now >= until)
    }
}

impl<S: Carrier> Inflight<S> {
    /// The channel broke: new operations go to the pool; what is in flight gets a grace period, its memory stays where it is.
    #[cold]
    pub(crate) fn die(&mut self, error: &io::Error) {
        let reason = error.raw_os_error().unwrap_or(errno::EIO);
        let successor = self.has_pool().then_some(DriverName::ThreadPool);
        let died = Died { driver: self.driver.name(), code: reason, successor };
        #[cfg(feature = "tracing")]
        crate::trace::later(crate::trace::Later::Died(died));
        let _ = self.death.note.set(died);
        self.death.died = Some((reason, self.clock.now() + GRACE));
    }

    /// An error if the driver is dead: what is registered with it serves nobody, and its successor takes no registrations.
    pub(crate) fn takes_registrations(&self) -> io::Result<()> {
        if self.death.is_dead() { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
    }

    /// One turn with a dead driver: its ring is still read, the pool goes on, and what never came is given up in the end (I7).
    #[cold]
    pub(crate) fn submit_dead(&mut self, wait: Wait) {
        let _ = self.driver.submit(Wait::No, &mut self.batch);
        let before = self.clock.now();
        let over = self.death.is_over(before);
        let missing = self.batch.is_empty() && self.slots.iter().any(|(_, f)| f.at == Where::Driver);
        if missing && over {
            self.quarantine(|at| at == Where::Driver);
        }
        let poll = Duration::from_millis(if missing { 2 } else { 1000 });
        match wait {
            _ if !self.batch.is_empty() || !self.death.names.is_empty() => return,
            Wait::No => return,
            Wait::AtMost(most) => self.readiness.wait(Some(most.min(poll))),
            Wait::Forever => self.readiness.wait(Some(poll)),
        }
        let stood_still = missing && self.clock.now() == before;
        self.death.stalled = if stood_still { self.death.stalled + 1 } else { 0 };
    }

    /// Gives up on what somebody holds: the slots keep it for ever, [`next_lost`](Inflight::next_lost) names it.
    pub(crate) fn quarantine(&mut self, lost: impl Fn(Where) -> bool) {
        let missing: Vec<_> = self.slots.iter().filter(|(_, f)| lost(f.at)).map(|(token, _)| token).collect();
        for token in missing {
            let flight = self.slots.get_mut(token).expect("listed");
            flight.at = Where::Quarantine;
            order::lost(flight.carrier.op(), flight.epoch.take());
            self.stats.quarantined += 1;
            self.death.slots += 1;
            self.death.names.push(token);
        }
    }

    /// Gives up on everything at once: for a shutdown that must not wait. What the driver or the pool holds is lost as if the
    /// driver had died. What they have not begun answers `ECANCELED`, like everything that is accepted from here on.
    pub fn abandon(&mut self) {
        if !self.death.is_dead() {
            self.die(&io::Error::from_raw_os_error(errno::ECANCELED));
        }
        self.death.closed = true;
        self.quarantine(|at| matches!(at, Where::Driver | Where::Offload));
        self.cancel_what_waits_here();
    }

    /// Answers an operation that nobody is left to do; `false`: somebody is.
    #[cold]
    pub(crate) fn refuse(&mut self, token: Token) -> bool {
        let Some(code) = self.death.refuses(self.has_pool()) else { return false };
        self.answer_here(token, code);
        true
    }

    /// Names one operation whose completion will never come, and the reason. Its memory is not given back.
    pub fn next_lost(&mut self) -> Option<(&S, io::Error)> {
        self.next_lost_mut().map(|(carrier, reason)| (&*carrier, reason))
    }

    /// As [`Inflight::next_lost`], for who has to change what goes with the operation, which stays as it is.
    pub(crate) fn next_lost_mut(&mut self) -> Option<(&mut S, io::Error)> {
        let Some(token) = self.death.names.pop() else {
            // All of them are named: their places can be had again.
            self.renew_slots();
            return None;
        };
        let reason = self.death.died.map_or(errno::EIO, |(reason, _)| reason);
        let flight = self.slots.get_mut(token).expect("quarantined slots are never freed");
        Some((&mut flight.carrier, io::Error::from_raw_os_error(reason)))
    }

    /// If nothing but lost operations is left in the table, a new table takes over and the old one is leaked: otherwise a dead
    /// driver would use the depth up for ever.
    pub(crate) fn renew_slots(&mut self) {
        if self.death.slots > 0 && self.death.names.is_empty() && self.slots.used() == self.death.slots {
            let next = self.slots.successor();
            self.slots = ManuallyDrop::new(next); // the old one is not dropped
            self.death.slots = 0;
        }
    }
}
