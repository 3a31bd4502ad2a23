//! Running a future on the calling thread, which watches over its shard while it sleeps.

use super::{Reaping, Shards, SubmitFrom, core::Shard, watch::Watcher};
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
    time::Duration,
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

/// Where a thread sleeps and reaps.
struct Seat {
    shard: Arc<Shard>,
    /// `None`: an outer call of this thread has it, and lends it.
    _own: Option<Seated>,
}

/// The seat, marked as this thread's until it is dropped, also by a panic.
struct Seated {
    watcher: Watcher,
    before: *const Shard,
}

impl Seated {
    fn take(shard: &Arc<Shard>) -> Option<Seated> {
        let watcher = Watcher::seated(shard)?;
        let before = SEAT.replace(Arc::as_ptr(shard));
        Some(Seated { watcher, before })
    }
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
    /// Several threads may do so at once, and calls may be nested. A panic of the future is passed on; operations in flight go on.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let seat = self.take_seat();
        let bed = match &seat {
            Some(seat) => Bed::Shard(seat.shard.readiness.clone()),
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
            match &seat {
                Some(seat) => self.sleep_seated(&sleeper, &seat.shard),
                None => self.sleep_apart(&sleeper),
            }
        }
    }

    /// A seat for the calling thread, on its own shard if that is free. None where operations are to enter the kernel elsewhere.
    fn take_seat(&self) -> Option<Seat> {
        if self.submit_from() == SubmitFrom::EngineThread {
            return None;
        }
        let (shards, home) = (self.shards(), self.home());
        if let Some(lent) = shards.iter().find(|shard| is_seated(shard)) {
            return Some(Seat { shard: lent.clone(), _own: None });
        }
        let mut in_turn = shards[home..].iter().chain(&shards[..home]);
        in_turn.find_map(|shard| Seated::take(shard).map(|own| Seat { shard: shard.clone(), _own: Some(own) }))
    }

    /// Submits, sleeps and reaps until the future is woken.
    fn sleep_seated(&self, sleeper: &Sleeper, shard: &Arc<Shard>) {
        let woken = || sleeper.woken.load(Ordering::SeqCst);
        if self.reaping() == Reaping::Owner {
            while !woken() {
                self.deadlines().fire();
                let wait = match self.deadlines().next_in() {
                    Some(left) => Wait::AtMost(left),
                    None => Wait::Forever,
                };
                shard.turn_waiting(if woken() { Wait::No } else { wait });
            }
            return;
        }
        loop {
            let turned = shard.watch.turn_for_others(shard);
            if self.reaping() == Reaping::Polls {
                self.deadlines().fire();
            }
            if woken() {
                return;
            }
            let deadline = if self.reaping() == Reaping::Polls { self.deadlines().next_in() } else { None };
            let at_most = turned.due.into_iter().chain(deadline).min();
            shard.readiness.wait(at_most);
        }
    }

    /// Sleeps until the future is woken. Without reaper threads whoever has the seat reaps for all; when it becomes free meanwhile, this
    /// thread does for a moment.
    fn sleep_apart(&self, sleeper: &Sleeper) {
        const MOMENT: Duration = Duration::from_millis(1);
        while !sleeper.woken.load(Ordering::SeqCst) {
            if self.reaping() == Reaping::Threads {
                thread::park();
                continue;
            }
            let shard = &self.shards()[0];
            match Seated::take(shard) {
                Some(_seated) => {
                    shard.turn();
                    self.deadlines().fire();
                    if !sleeper.woken.load(Ordering::SeqCst) {
                        shard.readiness.wait(Some(MOMENT));
                    }
                }
                None => thread::park_timeout(MOMENT),
            }
        }
    }
}
