//! Who sleeps on the pool, and what wakes them: the pool's own [`Readiness`].
//!
//! There are three kinds of sleepers, all behind the pool's one lock: threads in `submit` or `wait` (a condition variable),
//! watchers of the descriptor, and subscribed wakers. Two things end a sleep:
//!
//! - *A completion*, where there was none before. This is a level: who looks while completions are there does not sleep, so
//!   nothing needs to be remembered for them. The descriptor follows the level while it is armed.
//! - *A wake.* This is an event. If a thread sleeps, the wake ends that sleep and is used up. If none does, it is kept (once,
//!   however often it came) for the next one that would: `wake` is sticky. The descriptor and the subscribers hear of it
//!   too, each once; a thread that uses it up takes it from them.

use crate::pool::{Guard, Shared};
use io_core::Readiness;
use std::{
    task::Waker,
    time::{Duration, Instant},
};

/// More wakers than this are woken early: they subscribe again if they still care.
const SUBSCRIBERS_MAX: usize = 1024;

/// The sleepers' side of the pool's state.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Threads on the condition variable.
    sleepers: u32,
    /// Counts the wakes that ended the sleep of threads; a sleeper that sees it changed was woken.
    epoch: u64,
    /// A wake that no thread has used up.
    wake: Option<Unheard>,
    /// The descriptor follows the completions.
    armed: bool,
    /// The descriptor was raised since it was last lowered. (Its watcher may have read it meanwhile.)
    raised: bool,
    subscribers: Vec<Waker>,
}

/// A wake that is kept, and who else has heard of it.
#[derive(Debug)]
struct Unheard {
    by_descriptor: bool,
    by_subscribers: bool,
}

/// Whom to wake once the lock is released. Foreign code never runs under it.
#[derive(Debug, Default)]
#[must_use = "somebody sleeps"]
pub(crate) struct Due {
    sleepers: u32,
    /// The pool stands in for another driver, whose readiness is to ring.
    other: bool,
}

impl Due {
    pub(crate) fn is_nobody(&self) -> bool {
        self.sleepers == 0 && !self.other
    }

    /// All of both.
    pub(crate) fn and(self, more: Due) -> Due {
        Due { sleepers: self.sleepers.max(more.sleepers), other: self.other || more.other }
    }
}

impl Shared {
    /// Notes that a completion was pushed; collects the wakers of those who subscribed.
    pub(crate) fn completed(&self, bell: &mut Bell, was_empty: bool, wakers: &mut Vec<Waker>) -> Due {
        wakers.append(&mut bell.subscribers);
        let mut due = Due { sleepers: 0, other: self.other.is_some() };
        if was_empty {
            due.sleepers = bell.sleepers;
            if bell.armed {
                self.raise(bell);
            }
        }
        due
    }

    /// Wakes whom [`Due`] and the wakers name. Not under the lock.
    pub(crate) fn ring(&self, due: Due, wakers: &mut Vec<Waker>) {
        match due.sleepers {
            0 => {}
            1 => self.sleepers.notify_one(),
            _ => self.sleepers.notify_all(),
        }
        if let Some(other) = self.other.as_ref().filter(|_| due.other) {
            other.wake();
        }
        wakers.drain(..).for_each(Waker::wake);
    }

    /// Uses up a wake that is kept. `true`: there was one, do not sleep.
    pub(crate) fn use_wake(&self, state: &mut Guard<'_>) -> bool {
        let kept = state.bell.wake.take().is_some();
        if kept {
            self.level(state);
        }
        kept
    }

    /// Lowers the descriptor, unless it is armed and completions are left that did not fit the caller's batch: for those it
    /// rings once more, because its watcher may have read it already.
    pub(crate) fn level(&self, state: &mut Guard<'_>) {
        if state.bell.armed && !state.done.is_empty() {
            self.raise(&mut state.bell);
        } else if state.bell.raised {
            state.bell.raised = false;
            #[cfg(unix)]
            if let Some(signal) = &self.signal {
                signal.lower();
            }
        }
    }

    /// Arms or disarms the descriptor; a wake that it has not shown yet it shows now.
    pub(crate) fn arm_descriptor(&self, state: &mut Guard<'_>, armed: bool) {
        state.bell.armed = armed;
        let unshown = state.bell.wake.as_mut().is_some_and(|wake| !wake.by_descriptor);
        if armed && unshown {
            state.bell.wake.as_mut().expect("just seen").by_descriptor = true;
            self.raise(&mut state.bell);
        }
    }

    fn raise(&self, bell: &mut Bell) {
        bell.raised = true;
        #[cfg(unix)]
        if let Some(signal) = &self.signal {
            signal.raise();
        }
    }

    /// Sleeps once on the condition variable. `true`: woken, or the time is over; `false`: look again.
    pub(crate) fn sleep<'a>(&'a self, mut state: Guard<'a>, until: Option<Instant>) -> (Guard<'a>, bool) {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return (state, true);
        }
        let epoch = state.bell.epoch;
        state.bell.sleepers += 1;
        let mut state = self.wait_on(&self.sleepers, state, left);
        state.bell.sleepers -= 1;
        let woken = state.bell.epoch != epoch;
        (state, woken)
    }
}

/// When a wait that begins now is over; never, if that is beyond what the clock can count.
pub(crate) fn deadline(at_most: Option<Duration>) -> Option<Instant> {
    at_most.and_then(|most| Instant::now().checked_add(most))
}

impl Readiness for Shared {
    #[cfg(unix)]
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.signal.as_ref().map(crate::signal::Signal::fd)
    }

    fn wait(&self, at_most: Option<Duration>) {
        let until = deadline(at_most);
        let mut state = self.lock();
        let mut over = false;
        while !over && state.done.is_empty() && !self.use_wake(&mut state) {
            (state, over) = self.sleep(state, until);
        }
    }

    fn wake(&self) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let bell = &mut state.bell;
        let due = Due { sleepers: bell.sleepers, other: false };
        wakers.append(&mut bell.subscribers);
        if bell.armed {
            self.raise(bell);
        }
        if bell.sleepers > 0 {
            bell.epoch += 1;
        } else {
            // The subscribers that were there may be those of futures long gone: whoever comes next hears of it, too.
            bell.wake = Some(Unheard { by_descriptor: bell.armed, by_subscribers: false });
        }
        drop(state);
        self.ring(due, &mut wakers);
    }

    fn subscribe(&self, when_ready: Waker) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        let unheard = state.bell.wake.as_mut().is_some_and(|wake| !std::mem::replace(&mut wake.by_subscribers, true));
        if unheard || !state.done.is_empty() {
            wakers.push(when_ready);
        } else if !state.bell.subscribers.iter().any(|waker| waker.will_wake(&when_ready)) {
            if state.bell.subscribers.len() == SUBSCRIBERS_MAX {
                wakers.append(&mut state.bell.subscribers);
            }
            state.bell.subscribers.push(when_ready);
        }
        drop(state);
        self.ring(Due::default(), &mut wakers);
    }
}
