//! Running a future on the calling thread, which watches over its shard while it sleeps.

use super::{Reaping, Shards, SubmitFrom, core::Shard, watch::Watcher};
use io_core::{Readiness, Wait};
use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

thread_local! {
    /// The shard (by address) whose seat this thread has: it takes a turn there before it sleeps.
    static SEAT: Cell<*const Shard> = const { Cell::new(std::ptr::null()) };
}

/// True if the calling thread has the seat of this shard, but in an outer `block_on`: until that one goes on nobody takes a turn there.
#[cold]
pub(crate) fn is_away(shard: &Shard) -> bool {
    shard.watch.is_seat_mine() && !is_seated(shard)
}

/// True if the calling thread will take a turn on this shard before it sleeps.
#[inline]
pub(crate) fn is_seated(shard: &Shard) -> bool {
    std::ptr::eq(SEAT.get(), shard)
}

/// The thread polls, or is about to.
const AWAKE: u8 = 0;
/// It sleeps, or is about to: who wakes it has to ring.
const ASLEEP: u8 = 1;
/// It was woken. Most wakes come from its own reaping, and cost nothing more than this.
const WOKEN: u8 = 2;

/// What wakes the thread: through its shard's readiness where it has the seat, else by itself.
struct Sleeper {
    state: AtomicU8,
    bed: Bed,
}

impl Sleeper {
    fn is_woken(&self) -> bool {
        self.state.load(Ordering::SeqCst) == WOKEN
    }

    /// The thread will sleep. `false`: it was woken already.
    fn lie_down(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// It has slept, for whatever reason it is awake now.
    fn get_up(&self) {
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::SeqCst, Ordering::SeqCst);
    }
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
        if self.state.swap(WOKEN, Ordering::SeqCst) != ASLEEP {
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
    /// `None`: the next outer call of this thread has it, and lends it.
    _own: Option<Seated>,
}

/// The seat, marked as this thread's until it is dropped, also by a panic.
struct Seated {
    shard: Arc<Shard>,
    /// `None`: an outer call has it, with one of another engine in between.
    _watcher: Option<Watcher>,
    before: *const Shard,
}

impl Seated {
    fn take(shard: &Arc<Shard>) -> Option<Seated> {
        let watcher = Watcher::seated(shard)?;
        Some(Seated::on(shard, Some(watcher)))
    }

    fn on(shard: &Arc<Shard>, watcher: Option<Watcher>) -> Seated {
        let before = SEAT.replace(Arc::as_ptr(shard));
        Seated { shard: shard.clone(), _watcher: watcher, before }
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        SEAT.set(self.before);
        // What is staged and not submitted must not wait for somebody else's turn.
        self.shard.watch.turn_for_others(&self.shard);
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
        let sleeper = Arc::new(Sleeper { state: AtomicU8::new(AWAKE), bed });
        let waker = Waker::from(sleeper.clone());
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            sleeper.state.store(AWAKE, Ordering::SeqCst);
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
        if self.submit_from() == SubmitFrom::EngineThread || self.is_foreign() {
            return None;
        }
        let (shards, home) = (self.shards(), self.home());
        if let Some(lent) = shards.iter().find(|shard| is_seated(shard)) {
            return Some(Seat { shard: lent.clone(), _own: None });
        }
        if let Some(lent) = shards.iter().find(|shard| shard.watch.is_seat_mine()) {
            return Some(Seat { shard: lent.clone(), _own: Some(Seated::on(lent, None)) });
        }
        let mut in_turn = shards[home..].iter().chain(&shards[..home]);
        in_turn.find_map(|shard| Seated::take(shard).map(|own| Seat { shard: shard.clone(), _own: Some(own) }))
    }

    /// Submits, sleeps and reaps until the future is woken.
    fn sleep_seated(&self, sleeper: &Sleeper, shard: &Arc<Shard>) {
        if self.reaping() == Reaping::Owner {
            while !sleeper.is_woken() {
                self.deadlines().fire();
                let wait = self.deadlines().next_in().map_or(Wait::Forever, Wait::AtMost);
                // The driver's wait ends with the first completion; those who are woken by it ring in vain, which costs nothing as the
                // thread is up again by then.
                let sleeps = sleeper.lie_down();
                shard.turn_waiting(if sleeps { wait } else { Wait::No }, || sleeper.get_up());
            }
            return;
        }
        loop {
            let turned = shard.watch.turn_for_others(shard);
            if self.reaping() == Reaping::Polls {
                self.deadlines().fire();
            }
            if sleeper.is_woken() {
                return;
            }
            let deadline = if self.reaping() == Reaping::Polls { self.deadlines().next_in() } else { None };
            let at_most = turned.due.into_iter().chain(deadline).min();
            if !sleeper.lie_down() {
                return;
            }
            shard.readiness.wait(at_most);
            sleeper.get_up();
        }
    }

    /// Sleeps until the future is woken. Without reaper threads whoever has the seat reaps for all; when it becomes free meanwhile, this
    /// thread does for a moment.
    fn sleep_apart(&self, sleeper: &Sleeper) {
        const MOMENT: Duration = Duration::from_millis(1);
        while !sleeper.is_woken() {
            if self.reaping() == Reaping::Threads {
                if sleeper.lie_down() {
                    thread::park();
                    sleeper.get_up();
                }
                continue;
            }
            let shard = &self.shards()[0];
            if shard.is_foreign() {
                // What is begun here is refused, and what began on the other thread is told by it.
                self.deadlines().fire();
                if sleeper.lie_down() {
                    thread::park_timeout(self.deadlines().next_in().unwrap_or(Duration::MAX));
                    sleeper.get_up();
                }
                continue;
            }
            match Seated::take(shard) {
                Some(_seated) => {
                    shard.turn();
                    self.deadlines().fire();
                    if !sleeper.is_woken() {
                        shard.readiness.wait(Some(MOMENT));
                    }
                }
                None => thread::park_timeout(MOMENT),
            }
        }
    }
}
