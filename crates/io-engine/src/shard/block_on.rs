//! Running a future on the calling thread, which watches over its shard while it sleeps.

use super::{Reaping, Shards, core::Shard, watch::Watcher};
use io_core::{Readiness, Wait};
use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

thread_local! {
    /// The shard (by address) whose seat this thread has: it takes a turn there before it sleeps.
    static SEAT: Cell<*const Shard> = const { Cell::new(std::ptr::null()) };
}

/// True if the calling thread will take a turn on this shard before it sleeps.
#[inline]
pub(crate) fn is_seated(shard: &Shard) -> bool {
    std::ptr::eq(SEAT.get(), shard)
}

/// What wakes the thread: through its shard's readiness where it has the seat, else by itself.
struct Sleeper {
    woken: AtomicBool,
    bed: Bed,
}

enum Bed {
    Shard(Arc<dyn Readiness>),
    Thread(Thread),
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        match &self.bed {
            Bed::Shard(readiness) => readiness.wake(),
            Bed::Thread(thread) => thread.unpark(),
        }
    }
}

/// The seat, marked as this thread's until it is dropped, also by a panic.
struct Seated {
    watcher: Watcher,
    before: *const Shard,
}

impl Drop for Seated {
    fn drop(&mut self) {
        SEAT.set(self.before);
        // What is staged and not submitted must not wait for somebody else's turn.
        self.watcher.turn();
    }
}

impl Shards {
    /// Runs a future to its end on the calling thread. While it sleeps it reaps its shard's completions itself: no other thread is
    /// involved.
    ///
    /// Several threads may do so at once, and calls may be nested (the inner one then sleeps apart). A panic of the future is passed on;
    /// operations in flight go on.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let seat = self.shards().iter().cycle().skip(self.home()).take(self.shards().len()).find_map(Watcher::seated);
        let seated = seat.map(|watcher| {
            let before = SEAT.replace(Arc::as_ptr(watcher.shard()));
            Seated { watcher, before }
        });
        let bed = match &seated {
            Some(seated) => Bed::Shard(seated.watcher.shard().readiness.clone()),
            None => Bed::Thread(thread::current()),
        };
        let sleeper = Arc::new(Sleeper { woken: AtomicBool::new(false), bed });
        let waker = Waker::from(sleeper.clone());
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            sleeper.woken.store(false, Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            match &seated {
                Some(seated) => self.sleep_seated(&sleeper, &seated.watcher),
                None => {
                    while !sleeper.woken.load(Ordering::SeqCst) {
                        thread::park();
                    }
                }
            }
        }
    }

    /// Submits, sleeps and reaps until the future is woken.
    fn sleep_seated(&self, sleeper: &Sleeper, watcher: &Watcher) {
        let woken = || sleeper.woken.load(Ordering::SeqCst);
        if self.reaping() == Reaping::Owner {
            while !woken() {
                self.deadlines().fire();
                let wait = match self.deadlines().next_in() {
                    Some(left) => Wait::AtMost(left),
                    None => Wait::Forever,
                };
                watcher.shard().turn_waiting(if woken() { Wait::No } else { wait });
            }
            return;
        }
        loop {
            let turned = watcher.turn();
            if self.reaping() == Reaping::Polls {
                self.deadlines().fire();
            }
            if woken() {
                return;
            }
            let deadline = if self.reaping() == Reaping::Polls { self.deadlines().next_in() } else { None };
            let at_most = turned.due.into_iter().chain(deadline).min();
            watcher.shard().readiness.wait(at_most);
        }
    }
}
