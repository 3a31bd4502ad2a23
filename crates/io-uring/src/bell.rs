//! Who sleeps, and whether somebody wants them awake: one atomic word.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering};

/// A wake is there that ended no wait yet.
const NOTICE: u32 = 1;
/// ... and that was not taken by who watches the descriptor. Never without `NOTICE`.
const CALL: u32 = 2;
/// The driver's thread sleeps in a submit.
const INSIDE: u32 = 4;
/// The driver armed the descriptor: for all that it knows, somebody watches.
const WATCHED: u32 = 8;
/// One of the threads that sleep outside.
const OUTSIDE: u32 = 16;

/// Which of the two eventfds a waker must write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// The driver sleeps inside a submit.
    pub(crate) inside: bool,
    /// Somebody sleeps outside: in `Readiness::wait`, or (for all that the driver knows) on the descriptor that it armed.
    pub(crate) outside: bool,
}

/// How a thread comes back from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Back {
    /// There was a notice, and it is consumed.
    pub(crate) woken: bool,
    /// No other thread sleeps outside any more: it may silence the descriptor. Before that the others need its ring to come back
    /// themselves, whoever has consumed the notice.
    pub(crate) last: bool,
}

/// One sleeper inside, any number outside, any number of wakers; a wake is sticky and rings at most once until it is consumed.
///
/// [`io_core::WakeFlag`] has one sleeper, and here there are several: the thread in `submit`, threads in `Readiness::wait`, and
/// reactors watching the descriptor. The race is the same. A waker publishes work and calls [`wake`](Bell::wake); a sleeper looks
/// for work, finds none and goes to sleep. Both sides change the same word, and its changes have one order. If the waker's comes
/// first, the sleeper finds the notice when it announces itself, and does not sleep; if the sleeper's comes first, the waker finds
/// it and must ring. A second waker that finds a notice rings nobody: whoever sleeps was rung for by the first, whoever comes
/// later finds it too. Who consumes a notice looks for work *afterwards*, and so finds the second waker's.
///
/// A reactor's sleep has no end that the driver sees: it comes back by a submit that does not wait. That answers the *call* on the
/// descriptor, so that it becomes quiet, and leaves the *notice* for the next wait, which may be somebody else's.
#[derive(Debug)]
pub(crate) struct Bell(AtomicU32);

impl Bell {
    pub(crate) fn new() -> Bell {
        Bell(AtomicU32::new(0))
    }

    /// A waker's call: what to ring.
    #[must_use]
    pub(crate) fn wake(&self) -> Ring {
        let before = self.0.fetch_or(NOTICE | CALL, Ordering::AcqRel);
        Ring { inside: before & NOTICE == 0 && before & INSIDE != 0, outside: before & CALL == 0 && before >= WATCHED }
    }

    /// The driver's thread announces that it will sleep in a submit. `false`: it must not; the notice is consumed.
    #[must_use]
    pub(crate) fn begin_inside(&self) -> bool {
        let before = self.0.fetch_or(INSIDE, Ordering::AcqRel);
        if before & NOTICE == 0 {
            return true;
        }
        self.end_inside();
        false
    }

    /// It is back. `true`: there was a notice, and it is consumed.
    pub(crate) fn end_inside(&self) -> bool {
        self.0.fetch_and(!(INSIDE | NOTICE | CALL), Ordering::AcqRel) & NOTICE != 0
    }

    /// A thread outside announces that it will sleep. `Some`: it must not; the notice is consumed.
    #[must_use]
    pub(crate) fn begin_outside(&self) -> Option<Back> {
        let before = self.0.fetch_add(OUTSIDE, Ordering::AcqRel);
        (before & NOTICE != 0).then(|| self.end_outside())
    }

    /// It is back.
    pub(crate) fn end_outside(&self) -> Back {
        // One step: a notice that is consumed here is the one that was there when this thread left. Were it two, a wake between
        // them, for somebody who lies down between them too, would be consumed with it, and its ring silenced.
        let mut before = self.0.load(Ordering::Relaxed);
        loop {
            let woken = before & NOTICE != 0;
            let after = (before - OUTSIDE) & if woken { !(NOTICE | CALL) } else { !0 };
            match self.0.compare_exchange_weak(before, after, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Back { woken, last: after < OUTSIDE },
                Err(now) => before = now,
            }
        }
    }

    /// The descriptor is watched from now on. `true`: a call is there; it stays, and the caller must ring for it.
    #[must_use]
    pub(crate) fn watch(&self) -> bool {
        self.0.fetch_or(WATCHED, Ordering::AcqRel) & CALL != 0
    }

    /// The descriptor is not watched any more. Calls and notices stay.
    pub(crate) fn unwatch(&self) {
        self.0.fetch_and(!WATCHED, Ordering::AcqRel);
    }

    /// True if there is a call that nobody has answered.
    pub(crate) fn is_called(&self) -> bool {
        self.0.load(Ordering::Acquire) & CALL != 0
    }

    /// True if a thread sleeps outside: the descriptor's ring may be for it, and it silences the descriptor when it leaves.
    pub(crate) fn has_sleepers(&self) -> bool {
        self.0.load(Ordering::Acquire) >= OUTSIDE
    }

    /// After silencing the descriptor: true if it may have rung for a thread that still sleeps, so that it has to be rung again.
    pub(crate) fn relies_on_ring(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & NOTICE != 0 && word >= OUTSIDE
    }

    /// Who watches the descriptor has come. The notice stays for the next wait.
    pub(crate) fn answer(&self) {
        self.0.fetch_and(!CALL, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const NOBODY: Ring = Ring { inside: false, outside: false };

    #[test]
    fn a_wake_before_the_sleep_ends_one_sleep() {
        let bell = Bell::new();
        assert_eq!(bell.wake(), NOBODY);
        assert_eq!(bell.wake(), NOBODY);
        assert!(!bell.begin_inside());
        assert!(bell.begin_inside());
        assert_eq!(bell.wake(), Ring { inside: true, outside: false });
        assert_eq!(bell.wake(), NOBODY, "once per sleep");
        assert!(bell.end_inside());
        assert_eq!(bell.begin_outside(), None);
        assert_eq!(bell.wake(), Ring { inside: false, outside: true });
        assert_eq!(bell.end_outside(), Back { woken: true, last: true });
        assert!(bell.begin_inside() && !bell.end_inside());
    }

    #[test]
    fn a_notice_outlives_the_watch() {
        let bell = Bell::new();
        assert_eq!(bell.wake(), NOBODY);
        assert!(bell.watch(), "the caller rings");
        assert_eq!(bell.wake(), NOBODY, "it was rung for");
        bell.unwatch();
        assert!(bell.is_called());
        assert_eq!(bell.begin_outside(), Some(Back { woken: true, last: true }), "still sticky");
        assert!(!bell.is_called() && bell.begin_inside());
    }

    #[test]
    fn an_answered_call_is_quiet_and_still_a_notice() {
        let bell = Bell::new();
        assert!(!bell.watch());
        assert!(bell.wake().outside);
        bell.answer();
        assert!(!bell.is_called());
        assert!(bell.wake().outside, "called anew");
        bell.answer();
        assert!(!bell.begin_inside(), "the look used the wake up");
        assert!(bell.begin_inside());
    }

    /// The first one back once silenced the descriptor before the others had seen it ring.
    #[test]
    fn the_last_one_silences_the_descriptor() {
        let bell = Bell::new();
        assert!(!bell.watch());
        assert_eq!((bell.begin_outside(), bell.begin_outside()), (None, None));
        assert!(bell.wake().outside);
        assert_eq!(bell.end_outside(), Back { woken: true, last: false });
        assert_eq!(bell.end_outside(), Back { woken: false, last: true }, "woken by the ring all the same");
    }

    #[test]
    fn the_ring_for_a_sleeper_stays_after_the_call_is_answered() {
        let bell = Bell::new();
        assert!(!bell.watch() && !bell.has_sleepers());
        assert_eq!(bell.begin_outside(), None);
        assert!(bell.has_sleepers() && !bell.relies_on_ring());
        assert!(bell.wake().outside);
        bell.answer();
        assert!(bell.relies_on_ring(), "whatever the driver did meanwhile");
        assert!(bell.end_outside().woken && !bell.relies_on_ring());
    }

    #[test]
    fn everybody_who_sleeps_is_rung_for() {
        let bell = Bell::new();
        assert!(bell.begin_inside() && bell.begin_outside().is_none() && !bell.watch());
        assert_eq!(bell.wake(), Ring { inside: true, outside: true });
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// An eventfd as the sleepers see it: a count, read to zero.
    struct Eventfd(Mutex<u64>, Condvar);

    impl Eventfd {
        fn new() -> Eventfd {
            Eventfd(Mutex::new(0), Condvar::new())
        }
        fn write(&self) {
            *self.0.lock().unwrap() += 1;
            self.1.notify_all();
        }
        fn poll(&self) {
            let mut count = self.0.lock().unwrap();
            while *count == 0 {
                count = self.1.wait(count).unwrap();
            }
        }
        fn drain(&self) {
            *self.0.lock().unwrap() = 0;
        }
        fn read(&self) {
            self.poll();
            self.drain();
        }
        /// As `Signals::silence`.
        fn silence(&self, bell: &Bell) {
            self.drain();
            if bell.is_called() {
                self.write();
            }
        }
    }

    /// Each of two sleepers that share nothing but the bell is woken when it is alone at the time of the wake; loom reports
    /// a deadlock if one sleeps for ever.
    #[test]
    fn loom_a_sleeper_inside_and_one_outside_lose_no_wake() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let bell = Arc::new(Bell::new());
            let work = Arc::new(AtomicU32::new(0));
            let (inside, outside) = (Arc::new(Eventfd::new()), Arc::new(Eventfd::new()));
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (bell, work) = (bell.clone(), work.clone());
                    let (inside, outside) = (inside.clone(), outside.clone());
                    thread::spawn(move || {
                        work.fetch_add(1, Ordering::Relaxed);
                        let ring = bell.wake();
                        if ring.inside {
                            inside.write();
                        }
                        if ring.outside {
                            outside.write();
                        }
                    })
                })
                .collect();
            // The sleeper sleeps in turn inside a submit and outside of it.
            let mut turn = 0;
            while work.load(Ordering::Relaxed) < 2 {
                turn += 1;
                if turn % 2 == 0 {
                    if bell.begin_inside() {
                        inside.read();
                        bell.end_inside();
                    }
                } else {
                    let back = bell.begin_outside().unwrap_or_else(|| {
                        outside.poll();
                        bell.end_outside()
                    });
                    if back.last {
                        outside.silence(&bell);
                    }
                }
            }
            for waker in wakers {
                waker.join().unwrap();
            }
        });
    }

    /// Two threads sleep outside: one wake ends both waits, and none that comes while they leave is lost.
    #[test]
    fn loom_a_wake_ends_every_wait() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let (bell, outside) = (Arc::new(Bell::new()), Arc::new(Eventfd::new()));
            let sleepers: Vec<_> = (0..2)
                .map(|_| {
                    let (bell, outside) = (bell.clone(), outside.clone());
                    thread::spawn(move || {
                        let back = bell.begin_outside().unwrap_or_else(|| {
                            outside.poll();
                            bell.end_outside()
                        });
                        if back.last {
                            outside.silence(&bell);
                        }
                    })
                })
                .collect();
            while bell.0.load(Ordering::Relaxed) < 2 * OUTSIDE {
                thread::yield_now();
            }
            if bell.wake().outside {
                outside.write();
            }
            for sleeper in sleepers {
                sleeper.join().unwrap();
            }
        });
    }

    /// A reactor that watches the descriptor: armed, asleep, visited by a submit that consumes the notice, armed again.
    #[test]
    fn loom_a_watched_descriptor_loses_no_wake() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let bell = Arc::new(Bell::new());
            let work = Arc::new(AtomicU32::new(0));
            let outside = Arc::new(Eventfd::new());
            let wakers: Vec<_> = (0..2)
                .map(|_| {
                    let (bell, work, outside) = (bell.clone(), work.clone(), outside.clone());
                    thread::spawn(move || {
                        work.fetch_add(1, Ordering::Relaxed);
                        if bell.wake().outside {
                            outside.write();
                        }
                    })
                })
                .collect();
            loop {
                if bell.watch() {
                    outside.write();
                }
                // Armed first, then looked: the order that `Driver::arm` asks for.
                if work.load(Ordering::Acquire) == 2 {
                    break;
                }
                outside.read();
                bell.unwatch();
                bell.answer();
            }
            for waker in wakers {
                waker.join().unwrap();
            }
        });
    }
}
