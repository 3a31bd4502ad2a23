//! Who sleeps, and what a waker has to write to end that sleep.
//!
//! `io_core::WakeFlag` settles one sleeper against many wakers. Here there may be three kinds of sleepers at once: the
//! driver's thread in io_getevents(2), threads in `Readiness::wait`, and a reactor that watches the descriptor, which does
//! not tell when it sleeps. So it is the same idea with one bit each, in one word: every step is one atomic read-modify-write
//! of that word, and such steps have one order.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering};

/// A wake that has ended no sleep yet.
const NOTIFIED: u32 = 1;
/// The bell was rung for it, or is about to be.
const RUNG: u32 = 2;
/// Somebody watches the bell.
const ARMED: u32 = 4;
/// The driver's thread sleeps in io_getevents, which the bell does not end: it wants to be poked.
const IN_SUBMIT: u32 = 8;
/// One thread in `Readiness::wait`; the bits from here on count them.
const WAITER: u32 = 16;

/// The word. See the module.
///
/// *Sticky:* NOTIFIED stays until a sleep takes it: one that begins then, or one that it ends. *No system call if nobody
/// sleeps:* a waker writes only what the word names at the moment of its own step, and only if it is the first one to notify.
/// *None lost:* if the waker's step comes first, the sleeper's finds NOTIFIED and does not sleep (or, arming, has the bell rung
/// for it); if the sleeper's comes first, the waker's finds who sleeps. A waker that finds NOTIFIED set already makes its step
/// all the same, so that whoever takes the notice sees what was published before it.
#[derive(Debug)]
pub(crate) struct Sleepers(AtomicU32);

/// What a waker has to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rings {
    /// The bell: threads in `wait`, and who watches it.
    pub(crate) bell: bool,
    /// The poke: the thread in io_getevents.
    pub(crate) poke: bool,
}

/// What arming found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arming {
    /// No wake is pending.
    Quiet,
    /// One is pending, and the bell has to be rung for it.
    Ring,
    /// One was pending for which the bell had been rung before; it is taken. The caller has to look around again, because
    /// what it looked at may be older than that wake.
    Taken,
}

impl Sleepers {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Sleepers {
        Sleepers(AtomicU32::new(0))
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Sleepers {
        Sleepers(AtomicU32::new(0))
    }

    /// One step: `f` says what becomes of the word and what the caller is told.
    fn step<T>(&self, f: impl Fn(u32) -> (u32, T)) -> T {
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let (new, told) = f(old);
            match self.0.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return told,
                Err(now) => old = now,
            }
        }
    }

    /// A waker's step.
    #[must_use = "it says what to write"]
    pub(crate) fn wake(&self) -> Rings {
        self.step(|word| {
            if word & NOTIFIED != 0 {
                return (word, Rings { bell: false, poke: false });
            }
            let bell = word & ARMED != 0 || word >= WAITER;
            let rung = if bell { RUNG } else { 0 };
            (word | NOTIFIED | rung, Rings { bell, poke: word & IN_SUBMIT != 0 })
        })
    }

    /// The driver's thread is about to sleep in io_getevents. `false`: a wake was pending, is taken, and it must not.
    #[must_use = "false means: do not sleep"]
    pub(crate) fn begin_submit(&self) -> bool {
        self.step(
            |word| {
                if word & NOTIFIED != 0 { (word & !(NOTIFIED | RUNG), false) } else { (word | IN_SUBMIT, true) }
            },
        )
    }

    /// The driver's thread is back. `true`: there was a wake, and it is taken.
    pub(crate) fn end_submit(&self) -> bool {
        self.step(|word| (word & !(IN_SUBMIT | NOTIFIED | RUNG), word & NOTIFIED != 0))
    }

    /// True if a wake is pending.
    pub(crate) fn is_notified(&self) -> bool {
        self.0.load(Ordering::Acquire) & NOTIFIED != 0
    }

    /// A thread is about to sleep on the bell. `None`: it may. `Some`: a wake was pending, is taken, and it must not; `true`
    /// in it: the bell was rung for that wake, and nobody else sleeps on it.
    pub(crate) fn begin_wait(&self) -> Option<bool> {
        self.step(|word| {
            if word & NOTIFIED != 0 {
                (word & !(NOTIFIED | RUNG), Some(word & RUNG != 0 && word < WAITER))
            } else {
                (word + WAITER, None)
            }
        })
    }

    /// A thread is back from sleeping on the bell, and takes a pending wake with it. `true`: it was the last one.
    pub(crate) fn end_wait(&self) -> bool {
        self.step(|word| {
            let new = (word - WAITER) & !(NOTIFIED | RUNG);
            (new, new < WAITER)
        })
    }

    /// Somebody watches the bell from now on. To be called *after* silencing it: a wake between the two rings it again.
    pub(crate) fn arm(&self) -> Arming {
        self.step(|word| match word & (NOTIFIED | RUNG) {
            0 => (word | ARMED, Arming::Quiet),
            // A thread that still sleeps on the bell has the older right to this wake, and silencing may have stolen it.
            both if both & RUNG == 0 || word >= WAITER => (word | ARMED | RUNG, Arming::Ring),
            _ => ((word | ARMED) & !(NOTIFIED | RUNG), Arming::Taken),
        })
    }

    /// Nobody watches the bell any more.
    pub(crate) fn disarm(&self) {
        self.step(|word| (word & !ARMED, ()))
    }

    /// After silencing the bell: true if a wake is pending that relies on it, so that it has to be rung again.
    pub(crate) fn relies_on_bell(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & (NOTIFIED | RUNG) == NOTIFIED | RUNG
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NOTHING: Rings = Rings { bell: false, poke: false };
    const BELL: Rings = Rings { bell: true, poke: false };
    const POKE: Rings = Rings { bell: false, poke: true };

    #[test]
    fn a_wake_of_nobody_is_free_and_sticky() {
        let sleepers = Sleepers::new();
        assert_eq!(sleepers.wake(), NOTHING);
        assert_eq!(sleepers.wake(), NOTHING);
        assert!(!sleepers.begin_submit(), "the next sleep does not begin");
        assert!(sleepers.begin_submit(), "and takes the wake with it");
    }

    #[test]
    fn one_wake_ends_one_sleep_of_either_kind() {
        let sleepers = Sleepers::new();
        assert_eq!(sleepers.wake(), NOTHING);
        assert_eq!(sleepers.begin_wait(), Some(false));
        assert!(sleepers.begin_submit());
        assert_eq!(sleepers.wake(), POKE);
        assert_eq!(sleepers.wake(), NOTHING, "once per sleep");
        assert!(sleepers.end_submit());
        assert_eq!(sleepers.begin_wait(), None);
        assert_eq!(sleepers.wake(), BELL);
        assert!(sleepers.end_wait());
        assert_eq!(sleepers.begin_wait(), None, "taken");
        assert!(sleepers.end_wait());
    }

    #[test]
    fn whoever_sleeps_is_rung() {
        let sleepers = Sleepers::new();
        assert!(sleepers.begin_submit());
        assert_eq!(sleepers.begin_wait(), None);
        assert_eq!(sleepers.wake(), Rings { bell: true, poke: true });
    }

    #[test]
    fn the_last_one_silences_the_bell() {
        let sleepers = Sleepers::new();
        assert_eq!(sleepers.begin_wait(), None);
        assert_eq!(sleepers.begin_wait(), None);
        assert!(!sleepers.end_wait());
        assert!(sleepers.end_wait());
    }

    #[test]
    fn a_pending_wake_is_handed_to_who_arms() {
        let sleepers = Sleepers::new();
        assert_eq!(sleepers.arm(), Arming::Quiet);
        sleepers.disarm();
        assert_eq!(sleepers.wake(), NOTHING, "nobody watches");
        assert_eq!(sleepers.arm(), Arming::Ring);
        assert!(sleepers.relies_on_bell());
        assert_eq!(sleepers.arm(), Arming::Taken, "it has been rung for already");
        assert_eq!(sleepers.arm(), Arming::Quiet);
        assert_eq!(sleepers.wake(), BELL);
    }

    #[test]
    fn a_wait_takes_the_wake_that_arming_rang_for() {
        let sleepers = Sleepers::new();
        assert_eq!(sleepers.wake(), NOTHING);
        assert_eq!(sleepers.arm(), Arming::Ring);
        assert_eq!(sleepers.begin_wait(), Some(true), "and the bell is to be silenced");
        assert_eq!(sleepers.arm(), Arming::Quiet);
    }

    #[test]
    fn arming_leaves_a_wake_to_the_thread_that_waits() {
        let sleepers = Sleepers::new();
        assert_eq!(sleepers.begin_wait(), None);
        assert_eq!(sleepers.wake(), BELL);
        assert_eq!(sleepers.arm(), Arming::Ring, "silencing may have stolen it");
        assert!(sleepers.end_wait());
        assert_eq!(sleepers.arm(), Arming::Quiet);
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// An eventfd: a counter, writes that add, reads that take all, sleeps that end while it is not 0.
    struct EventFd(Mutex<u64>, Condvar);

    impl EventFd {
        fn new() -> EventFd {
            EventFd(Mutex::new(0), Condvar::new())
        }
        fn write(&self) {
            *self.0.lock().unwrap() += 1;
            self.1.notify_all();
        }
        fn read(&self) {
            *self.0.lock().unwrap() = 0;
        }
        fn poll(&self) {
            let mut count = self.0.lock().unwrap();
            while *count == 0 {
                count = self.1.wait(count).unwrap();
            }
        }
    }

    /// The bell of `bell.rs` with modelled descriptors, a completion count in the place of the ring's tail.
    struct Model {
        sleepers: Sleepers,
        bell: EventFd,
        poke: EventFd,
        tail: AtomicUsize,
        work: AtomicUsize,
    }

    impl Model {
        fn new() -> Arc<Model> {
            Arc::new(Model {
                sleepers: Sleepers::new(),
                bell: EventFd::new(),
                poke: EventFd::new(),
                tail: AtomicUsize::new(0),
                work: AtomicUsize::new(0),
            })
        }

        fn publish_and_wake(&self) {
            self.work.fetch_add(1, Ordering::Relaxed);
            let rings = self.sleepers.wake();
            if rings.bell {
                self.bell.write();
            }
            if rings.poke {
                self.poke.write();
            }
        }

        /// The kernel: first the event and the tail, then the eventfd.
        fn complete(&self) {
            self.tail.fetch_add(1, Ordering::Release);
            self.bell.write();
        }

        fn silence(&self) {
            self.bell.read();
            if self.sleepers.relies_on_bell() {
                self.bell.write();
            }
        }

        fn wait(&self) {
            match self.sleepers.begin_wait() {
                Some(true) => self.silence(),
                Some(false) => {}
                None => {
                    self.bell.poll();
                    if self.sleepers.end_wait() {
                        self.silence();
                    }
                }
            }
        }

        /// `true`: look again before sleeping.
        fn arm(&self, seen: usize) -> bool {
            self.bell.read();
            let arming = self.sleepers.arm();
            if arming == Arming::Ring {
                self.bell.write();
            }
            loom::sync::atomic::fence(Ordering::SeqCst);
            arming == Arming::Taken || self.tail.load(Ordering::Acquire) != seen
        }
    }

    fn check(f: impl Fn() + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(f);
    }

    /// A thread in io_getevents and two wakers: it sees the work of both (loom reports who sleeps for ever).
    #[test]
    fn loom_no_wake_of_the_driver_s_thread_is_lost() {
        check(|| {
            let model = Model::new();
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let model = model.clone();
                    thread::spawn(move || model.publish_and_wake())
                })
                .collect();
            while model.work.load(Ordering::Relaxed) < 2 {
                if model.sleepers.begin_submit() {
                    // The armed poll stays until it fires; a poke that comes late only costs a round.
                    model.poke.poll();
                    model.poke.read();
                    model.sleepers.end_submit();
                }
            }
            for waker in wakers {
                waker.join().unwrap();
            }
        });
    }

    /// A thread that arms and waits, a completion and a waker: neither is lost.
    #[test]
    fn loom_neither_completion_nor_wake_is_lost_while_arming() {
        check(|| {
            let model = Model::new();
            let waker = {
                let model = model.clone();
                thread::spawn(move || model.publish_and_wake())
            };
            let kernel = {
                let model = model.clone();
                thread::spawn(move || model.complete())
            };
            loop {
                let seen = model.tail.load(Ordering::Acquire);
                if seen == 1 && model.work.load(Ordering::Relaxed) == 1 {
                    break;
                }
                if !model.arm(seen) {
                    model.wait();
                }
            }
            waker.join().unwrap();
            kernel.join().unwrap();
        });
    }

    /// A reactor that only watches the descriptor, as level-triggered pollers do, and two wakers.
    #[test]
    fn loom_a_reactor_misses_no_wake() {
        check(|| {
            let model = Model::new();
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let model = model.clone();
                    thread::spawn(move || model.publish_and_wake())
                })
                .collect();
            while model.work.load(Ordering::Relaxed) < 2 {
                if !model.arm(0) {
                    model.bell.poll();
                }
            }
            for waker in wakers {
                waker.join().unwrap();
            }
        });
    }

    fn two_that_wait(model: &Arc<Model>) -> Vec<thread::JoinHandle<()>> {
        (0..2)
            .map(|_| {
                let model = model.clone();
                thread::spawn(move || model.wait())
            })
            .collect()
    }

    /// One thread is on its way out, and silences the bell, while another lies down and is woken: that ring is not lost.
    #[test]
    fn loom_who_leaves_takes_no_ring_away() {
        check(|| {
            let model = Model::new();
            let sleepers = two_that_wait(&model);
            model.publish_and_wake();
            while model.sleepers.is_notified() {
                thread::yield_now();
            }
            // The first wake has ended a wait, so there is a thread left at most, and this one is for it.
            model.publish_and_wake();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
    }

    /// Two threads sleep on the bell: one wake ends both.
    #[test]
    fn loom_a_wake_ends_every_wait() {
        check(|| {
            let model = Model::new();
            let sleepers = two_that_wait(&model);
            while model.sleepers.0.load(Ordering::Relaxed) != 2 * WAITER {
                thread::yield_now();
            }
            model.publish_and_wake();
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
    }
}
