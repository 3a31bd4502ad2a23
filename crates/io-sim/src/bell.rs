//! What sleepers of one driver sleep on.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

/// A wake that sticks, a nudge ("look again"), and who wants to hear of either. Its lock is held for a few instructions only,
/// never while foreign code runs, and never while anybody waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    nudged: bool,
    sleepers: u32,
    subscribers: Vec<Waker>,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the current wait or the next one.
    pub(crate) fn wake(&self) {
        self.ring(|state| state.woken = true, true);
    }

    /// Lets sleepers look again; `ready`: there is something for subscribers, too.
    pub(crate) fn nudge(&self, ready: bool) {
        self.ring(|state| state.nudged = true, ready);
    }

    fn ring(&self, note: impl FnOnce(&mut State), subscribers: bool) {
        let mut state = self.state();
        note(&mut state);
        if state.sleepers > 0 {
            self.rung.notify_all();
        }
        let wakers = if subscribers { std::mem::take(&mut state.subscribers) } else { Vec::new() };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// True if there was a wake; it is consumed.
    pub(crate) fn take_wake(&self) -> bool {
        std::mem::take(&mut self.state().woken)
    }

    /// Sleeps until a wake or a nudge, at most so long. The nudge is consumed, the wake is not. `false`: the time is over.
    pub(crate) fn sleep(&self, at_most: Duration) -> bool {
        let begun = Instant::now();
        let mut state = self.state();
        state.sleepers += 1;
        while !state.woken && !state.nudged {
            let Some(left) = at_most.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else { break };
            state = self.rung.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.sleepers -= 1;
        std::mem::take(&mut state.nudged) || state.woken
    }

    /// Wakes this once at the next ring that concerns it; at once if a wake is there already.
    pub(crate) fn subscribe(&self, waker: Waker) {
        let mut state = self.state();
        if state.woken {
            drop(state);
            return waker.wake();
        }
        if !state.subscribers.iter().any(|other| other.will_wake(&waker)) {
            state.subscribers.push(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
        thread,
    };

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_stick_and_nudges_are_consumed() {
        let bell = Bell::default();
        bell.wake();
        assert!(bell.sleep(Duration::from_secs(60)));
        assert!(bell.take_wake() && !bell.take_wake());
        bell.nudge(false);
        assert!(bell.sleep(Duration::from_secs(60)));
        assert!(!bell.sleep(Duration::from_millis(1)), "nothing rings");
    }

    #[test]
    fn subscribers_hear_once() {
        let bell = Bell::default();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let heard = || count.0.load(Ordering::Relaxed);
        let waker = Waker::from(count.clone());
        bell.subscribe(waker.clone());
        bell.subscribe(waker.clone());
        bell.nudge(false);
        assert_eq!(heard(), 0, "nothing for them");
        bell.nudge(true);
        assert_eq!(heard(), 1, "the same one twice is one");
        bell.wake();
        assert_eq!(heard(), 1, "once per subscription");
        bell.subscribe(waker);
        assert_eq!(heard(), 2, "a wake was there already");
    }

    #[test]
    fn a_sleeper_is_woken_from_another_thread() {
        let bell = Bell::default();
        thread::scope(|scope| {
            let sleeper = scope.spawn(|| bell.sleep(Duration::from_secs(60)));
            thread::sleep(Duration::from_millis(5));
            bell.wake();
            assert!(sleeper.join().unwrap());
        });
    }
}
