//! The three-state flag that makes waking an awake sleeper free.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const NOTIFIED: u8 = 2;

/// One sleeper, any number of wakers; a wake is never lost and rings at most once per sleep.
///
/// The race it settles: a waker publishes work and calls [`wake`](WakeFlag::wake); the sleeper looks for work, finds none and
/// goes to sleep. Both sides make one atomic swap on the same byte, and the swaps have one order. If the waker's comes first,
/// the sleeper finds `NOTIFIED` in [`begin_sleep`](WakeFlag::begin_sleep) and does not sleep; if the sleeper's comes first,
/// the waker finds `ASLEEP` and must ring (write the eventfd, notify the condition variable). A wake while the sleeper is awake
/// costs one swap and no system call, and is *sticky*: it ends the next sleep before it begins.
///
/// Release on the waker's side and acquire on the sleeper's make what was published before `wake` visible after the sleep
/// that it ended.
#[derive(Debug)]
pub struct WakeFlag(AtomicU8);

impl WakeFlag {
    /// A flag of a sleeper that is awake.
    #[cfg(not(loom))]
    pub const fn new() -> WakeFlag {
        WakeFlag(AtomicU8::new(AWAKE))
    }

    /// A flag of a sleeper that is awake.
    #[cfg(loom)]
    pub fn new() -> WakeFlag {
        WakeFlag(AtomicU8::new(AWAKE))
    }

    /// The sleeper announces that it will sleep. `false`: it was notified and must not; the notice is consumed.
    #[must_use = "false means: do not sleep"]
    pub fn begin_sleep(&self) -> bool {
        if self.0.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        self.0.swap(AWAKE, Ordering::AcqRel);
        false
    }

    /// The sleeper is back, for whatever reason. `true`: a waker notified it, and has rung or is about to ring.
    pub fn end_sleep(&self) -> bool {
        self.0.swap(AWAKE, Ordering::AcqRel) == NOTIFIED
    }

    /// A waker's call. `true`: the sleeper sleeps (or is about to), so the caller must ring.
    #[must_use = "true means: ring"]
    pub fn wake(&self) -> bool {
        self.0.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP
    }
}

impl Default for WakeFlag {
    fn default() -> Self {
        WakeFlag::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_sleep_ends_it() {
        let flag = WakeFlag::new();
        assert!(!flag.wake(), "nobody sleeps: no ringing");
        assert!(!flag.wake(), "still nobody");
        assert!(!flag.begin_sleep(), "sticky");
        assert!(flag.begin_sleep(), "consumed");
        assert!(flag.wake(), "asleep: ring");
        assert!(!flag.wake(), "once per sleep");
        assert!(flag.end_sleep());
        assert!(flag.begin_sleep());
        assert!(!flag.end_sleep());
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// Work published before `wake` is seen by the sleeper, whatever the interleaving; no wake is lost (loom reports a
    /// deadlock if the sleeper sleeps for ever).
    #[test]
    fn loom_no_wake_is_lost() {
        // Two wakers without a bound take minutes; every race between two parties shows within three preemptions.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let flag = Arc::new(WakeFlag::new());
            let work = Arc::new(AtomicUsize::new(0));
            let bell = Arc::new((Mutex::new(0usize), Condvar::new()));
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (flag, work, bell) = (flag.clone(), work.clone(), bell.clone());
                    thread::spawn(move || {
                        work.fetch_add(1, Ordering::Relaxed);
                        if flag.wake() {
                            *bell.0.lock().unwrap() += 1;
                            bell.1.notify_one();
                        }
                    })
                })
                .collect();
            let mut seen = 0;
            while seen < 2 {
                seen = work.load(Ordering::Relaxed);
                if seen == 2 {
                    break;
                }
                if flag.begin_sleep() {
                    let mut rung = bell.0.lock().unwrap();
                    while *rung == 0 {
                        rung = bell.1.wait(rung).unwrap();
                    }
                    *rung -= 1;
                    drop(rung);
                    flag.end_sleep();
                }
            }
            for waker in wakers {
                waker.join().unwrap();
            }
        });
    }
}
