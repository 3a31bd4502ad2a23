//! Deadlines of operations that somebody waits for no longer than that.
//!
//! A thread sleeps until the next deadline and wakes who waits; it exists from the first deadline on, and sleeps for good without
//! one. Where time is virtual there is no thread: whoever waits moves time no further than the next deadline.

use super::aftermath::guarded;
use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    task::Waker,
    thread,
    time::Duration,
};

use io_core::Clock;

/// A deadline's name: its time, and a number that makes it unique.
pub(crate) type Key = (Duration, u64);

pub(crate) struct Deadlines {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    earlier: Condvar,
    has_thread: bool,
}

#[derive(Default)]
struct State {
    next: u64,
    wakers: BTreeMap<Key, Waker>,
    running: bool,
}

impl Deadlines {
    pub(crate) fn new(clock: Arc<dyn Clock>, has_thread: bool) -> Arc<Deadlines> {
        Arc::new(Deadlines { clock, state: Mutex::default(), earlier: Condvar::new(), has_thread })
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Wakes `waker` at `at`.
    pub(crate) fn set(self: &Arc<Deadlines>, at: Duration, waker: Waker) -> Key {
        let mut state = self.lock();
        state.next += 1;
        let key = (at, state.next);
        state.wakers.insert(key, waker);
        let first = state.wakers.first_key_value().is_some_and(|(&first, _)| first == key);
        if self.has_thread && !state.running {
            let weak = Arc::downgrade(self);
            // Without a thread nobody is woken: the next deadline tries again.
            state.running = thread::Builder::new().name("iofs-deadlines".into()).spawn(move || keep(&weak)).is_ok();
        }
        drop(state);
        if first {
            self.earlier.notify_one();
        }
        key
    }

    /// The same deadline wakes somebody else.
    pub(crate) fn replace(&self, key: Key, waker: &Waker) {
        let mut state = self.lock();
        let old = match state.wakers.get_mut(&key) {
            Some(old) if !old.will_wake(waker) => Some(std::mem::replace(old, waker.clone())),
            _ => None,
        };
        drop(state);
        drop(old);
    }

    /// Forgets a deadline.
    pub(crate) fn clear(&self, key: Key) {
        let waker = self.lock().wakers.remove(&key);
        drop(waker);
    }

    /// In how long the next deadline is.
    pub(crate) fn next_in(&self) -> Option<Duration> {
        let next = self.lock().wakers.first_key_value().map(|(&(at, _), _)| at)?;
        Some(next.saturating_sub(self.now()))
    }

    /// Wakes those whose deadline is over.
    pub(crate) fn fire(&self) {
        let now = self.now();
        loop {
            let mut state = self.lock();
            let due = state.wakers.first_entry().filter(|first| first.key().0 <= now).map(|first| first.remove());
            drop(state);
            match due {
                Some(waker) => guarded(|| waker.wake()),
                None => return,
            }
        }
    }

    /// True while the thread runs.
    pub(crate) fn has_thread_now(&self) -> bool {
        self.lock().running
    }

    /// The engine ends.
    pub(crate) fn stop(&self) {
        self.earlier.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread: lives as long as the engine.
fn keep(weak: &Weak<Deadlines>) {
    /// How long the thread sleeps at most before it looks whether the engine is still there: only while deadlines are set.
    const LOOK: Duration = Duration::from_millis(500);
    while let Some(deadlines) = weak.upgrade() {
        deadlines.fire();
        let state = deadlines.lock();
        let next = state.wakers.first_key_value().map(|(&(at, _), _)| at.saturating_sub(deadlines.now()));
        match next {
            Some(Duration::ZERO) => {}
            Some(next) => drop(deadlines.earlier.wait_timeout(state, next.min(LOOK))),
            None => {
                // Nobody waits: the thread ends, and the next deadline starts it anew.
                let mut state = state;
                let (after, _) = deadlines
                    .earlier
                    .wait_timeout_while(state, Duration::from_secs(1), |state| state.wakers.is_empty())
                    .unwrap_or_else(PoisonError::into_inner);
                state = after;
                if state.wakers.is_empty() {
                    state.running = false;
                    return;
                }
            }
        }
    }
}
