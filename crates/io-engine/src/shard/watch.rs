//! Who reaps what completes later, and the thread that does where nobody else does.
//!
//! A completion that nobody sees inline is reaped by whoever knows first: a runtime's reactor, a thread inside `block_on`, or the
//! shard's reaper thread. The thread is always the backstop, because runtimes are dropped and tasks compute for long. While somebody
//! else watches it sleeps apart from the readiness, so that completions do not wake two, and looks in now and then; while nobody does
//! it sleeps on the readiness itself; with nothing in flight for a while it sleeps for good, and costs nothing.

use super::{core::Shard, owner};
use io_core::Readiness;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

/// The reaper's first nap while somebody else watches, and its longest.
const NAP_MIN: Duration = Duration::from_millis(1);
const NAP_MAX: Duration = Duration::from_millis(8);
/// How long nothing is in flight before the reaper sleeps for good.
const IDLE: Duration = Duration::from_millis(50);

/// How long an engine that ends waits for what is in flight, in naps. What is wedged longer than that is left to the core.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// There is no thread yet.
const NONE: u8 = 0;
/// It sleeps until it is told.
const PARKED: u8 = 1;
/// It naps, because somebody else watches.
const STANDBY: u8 = 2;
/// It watches.
const WATCHING: u8 = 3;

/// The watch over one shard.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    mode: AtomicU8,
    /// Reactors, and the thread on the seat.
    others: AtomicU32,
    /// The thread that sleeps on the readiness and is woken through it, 0: none. One at a time, for a wake ends one wait.
    seat: AtomicU64,
    /// A runtime's reactor watches, or is being asked to.
    pub(crate) reactor: AtomicBool,
    /// Turns of others; a watcher that takes none is asleep, busy or gone.
    turns: AtomicU32,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
}

/// One who watches; the reaper takes over when it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    shard: Arc<Shard>,
    seated: bool,
}

impl Watcher {
    /// A reactor watches from now on.
    #[cfg(all(unix, any(feature = "tokio", feature = "smol")))]
    pub(crate) fn reactor(shard: Arc<Shard>) -> Watcher {
        shard.watch.others.fetch_add(1, Ordering::SeqCst);
        Watcher { shard, seated: false }
    }

    /// The calling thread takes the seat; `None` if somebody has it.
    pub(crate) fn seated(shard: &Arc<Shard>) -> Option<Watcher> {
        shard.watch.seat.compare_exchange(0, owner::me(), Ordering::SeqCst, Ordering::SeqCst).ok()?;
        shard.watch.others.fetch_add(1, Ordering::SeqCst);
        Some(Watcher { shard: shard.clone(), seated: true })
    }

    /// Submits and reaps. A reactor has no clock for what is due and rings for nobody: the reaper has. True: it is to let the woken
    /// tasks run, and take another turn.
    #[cfg(all(unix, any(feature = "tokio", feature = "smol")))]
    pub(crate) fn turn_of_reactor(&self) -> bool {
        let turned = self.shard.watch.turn_for_others(&self.shard);
        if turned.due.is_some() {
            self.shard.watch.tell_due(&self.shard.readiness);
        }
        turned.rests
    }

    /// Makes the descriptor readable.
    #[cfg(feature = "smol")]
    pub(crate) fn ring(&self) {
        self.shard.readiness.wake();
    }

    /// True if the engine has ended: nothing new will come.
    #[cfg(all(unix, any(feature = "tokio", feature = "smol")))]
    pub(crate) fn is_over(&self) -> bool {
        self.shard.watch.stop.load(Ordering::SeqCst)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let watch = &self.shard.watch;
        if self.seated {
            watch.seat.store(0, Ordering::SeqCst);
        } else {
            watch.reactor.store(false, Ordering::SeqCst);
        }
        watch.others.fetch_sub(1, Ordering::SeqCst);
        if self.shard.busy() > 0 && self.shard.has_reaper() {
            watch.attend(&self.shard);
            watch.tell_due(&self.shard.readiness);
        }
    }
}

impl Watch {
    /// True if a reactor or a thread in `block_on` watches.
    #[inline]
    pub(crate) fn has_others(&self) -> bool {
        self.others.load(Ordering::SeqCst) > 0
    }

    /// True if the calling thread has the seat, here or further out on its stack.
    pub(crate) fn is_seat_mine(&self) -> bool {
        self.seat.load(Ordering::SeqCst) == owner::me()
    }

    /// True if there is a reaper thread.
    #[inline]
    pub(crate) fn has_reaper(&self) -> bool {
        self.mode.load(Ordering::SeqCst) != NONE
    }

    /// A turn of somebody who watches: the reaper sees that he does.
    pub(crate) fn turn_for_others(&self, shard: &Shard) -> super::core::Turned {
        self.turns.fetch_add(1, Ordering::Relaxed);
        shard.turn()
    }

    /// Something is in flight: sees to it that somebody watches. What is in flight has been noted (`Shard::busy`) before: either
    /// the reaper finds it when it looks for the last time before it sleeps, or we find it asleep.
    #[inline]
    pub(crate) fn attend(&self, shard: &Arc<Shard>) {
        match self.mode.load(Ordering::SeqCst) {
            WATCHING => {}
            STANDBY if self.has_others() => {}
            NONE => self.start(shard),
            _ => self.unpark(),
        }
    }

    /// A turn is due that nothing will ring for.
    #[cold]
    pub(crate) fn hurry(&self, readiness: &Arc<dyn Readiness>) {
        readiness.wake();
        self.unpark();
    }

    /// True if the reaper may sleep on the readiness: what rings for nobody it does not hear of by itself.
    #[inline]
    pub(crate) fn is_watching(&self) -> bool {
        self.mode.load(Ordering::SeqCst) == WATCHING
    }

    /// The reaper, if it sleeps on the readiness, is to ask anew in how long a turn is due: it went to sleep before that was known.
    pub(crate) fn tell_due(&self, readiness: &Arc<dyn Readiness>) {
        if self.is_watching() {
            readiness.wake();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    #[cold]
    fn start(&self, shard: &Arc<Shard>) {
        if self.mode.compare_exchange(NONE, STANDBY, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        let (shard, name) = (shard.clone(), format!("iofs-reaper-{}", shard.index()));
        let again = shard.clone();
        let started = thread::Builder::new().name(name).spawn(move || {
            let _ = shard.watch.thread.set(thread::current());
            reap(&shard);
        });
        if started.is_err() {
            // No thread can be had now. Whoever begins the next operation tries again, and until then callers reap for one another.
            again.watch.mode.store(NONE, Ordering::SeqCst);
        }
    }

    /// The engine ends: the reaper, if there is one, takes care of what is still in flight, and reactors go.
    pub(crate) fn stop(&self, readiness: &Arc<dyn Readiness>) {
        self.stop.store(true, Ordering::SeqCst);
        self.hurry(readiness);
    }
}

/// The reaper thread of one shard. When the engine ends it goes on until nothing is in flight, and drops its handle of the shard.
fn reap(shard: &Arc<Shard>) {
    let watch = &shard.watch;
    let (mut nap, mut idle) = (NAP_MIN, Duration::ZERO);
    while !watch.stop.load(Ordering::SeqCst) {
        if shard.busy() == 0 && !shard.has_waiting() && idle >= IDLE {
            watch.mode.store(PARKED, Ordering::SeqCst);
            if shard.busy() == 0 && !shard.has_waiting() && !watch.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            (nap, idle) = (NAP_MIN, Duration::ZERO);
        } else if watch.has_others() {
            let before = watch.turns.load(Ordering::Relaxed);
            watch.mode.store(STANDBY, Ordering::SeqCst);
            if watch.has_others() {
                thread::park_timeout(nap);
            }
            idle = if shard.busy() == 0 { idle + nap } else { Duration::ZERO };
            nap = (nap * 2).min(NAP_MAX);
            if shard.busy() > 0 && watch.turns.load(Ordering::Relaxed) == before {
                let turned = shard.turn();
                let missed = turned.delivered > 0;
                nap = turned.due.unwrap_or(nap).min(if missed { NAP_MIN } else { nap }).max(NAP_MIN);
            }
        } else {
            watch.mode.store(WATCHING, Ordering::SeqCst);
            let turned = shard.turn();
            if turned.busy > 0 {
                idle = Duration::ZERO;
                shard.readiness.wait(turned.due);
            } else {
                shard.readiness.wait(Some(IDLE));
                idle = if shard.busy() == 0 { idle + IDLE } else { Duration::ZERO };
            }
            if watch.has_others() {
                // The wake may have been meant for who took the seat meanwhile.
                shard.readiness.wake();
            }
        }
    }
    let mut left = LAST_WAIT;
    while shard.turn().busy > 0 && !left.is_zero() {
        shard.readiness.wait(Some(NAP_MAX));
        left = left.saturating_sub(NAP_MAX);
    }
    // A runtime's reactor goes when its descriptor calls it. It may be busy, and our own turns above may have answered the call.
    while watch.reactor.load(Ordering::SeqCst) && !left.is_zero() {
        shard.call_reactor();
        thread::park_timeout(NAP_MAX);
        left = left.saturating_sub(NAP_MAX);
    }
}
