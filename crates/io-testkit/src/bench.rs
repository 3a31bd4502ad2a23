//! A core in small: owns a driver and the operations in flight on it.

use crate::skip::skip_case;
use io_core::{Completions, Driver, Op, Progress, RawOp, Token, Wait};
use std::{
    collections::VecDeque,
    fmt, io,
    mem::ManuallyDrop,
    time::{Duration, Instant},
};

/// How long a bench waits for a completion before it says that it is lost, if it is not told otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thread's bench for a driver: it keeps the law that the engine keeps (a slot is freed by its completion and by nothing
/// else), and asserts what the driver promises: exactly one completion per operation, under its own token.
///
/// Dropped with operations in flight it drains them; what does not come within a bound is leaked, driver and all.
pub struct Bench {
    driver: ManuallyDrop<Box<dyn Driver>>,
    slots: Vec<Slot>,
    /// First-in first-out, so that a late answer meets a generation long past.
    free: VecDeque<u32>,
    batch: Completions,
    done: VecDeque<Done>,
    in_flight: usize,
    skip_unsupported: bool,
    patience: Duration,
}

struct Slot {
    generation: u64,
    /// Boxed, so that the operation rests while the table grows (I5).
    flying: Option<Box<Flying>>,
}

struct Flying {
    op: Op,
    /// Bytes that earlier parts of the operation have transferred.
    before: u64,
}

/// An operation that has completed.
#[derive(Debug)]
pub struct Done {
    /// The token that it flew under.
    pub token: Token,
    /// What the driver answered.
    pub result: i32,
    /// The operation, settled: its buffer knows what was read into it.
    pub op: Op,
}

impl Bench {
    /// A bench for this driver, with room for a full depth of completions in each batch.
    pub fn new(driver: Box<dyn Driver>) -> Bench {
        let room = driver.depth().max(1) as usize;
        Bench::with_room(driver, room)
    }

    /// A bench whose batches take at most `room` completions.
    ///
    /// # Panics
    /// If `room` is 0.
    pub fn with_room(driver: Box<dyn Driver>, room: usize) -> Bench {
        Bench {
            driver: ManuallyDrop::new(driver),
            slots: Vec::new(),
            free: VecDeque::new(),
            batch: Completions::with_limit(room),
            done: VecDeque::new(),
            in_flight: 0,
            skip_unsupported: false,
            patience: PATIENCE,
        }
    }

    /// The same bench, which waits only so long for a completion before it says that it is lost.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Bench {
        self.patience = patience;
        self
    }

    /// From now on, starting an operation that the driver does not support ends the running case as skipped.
    pub(crate) fn skip_unsupported(mut self) -> Bench {
        self.skip_unsupported = true;
        self
    }

    /// From now on, operations that the driver does not support are started all the same: the case insists on an answer.
    pub fn insist(&mut self) {
        self.skip_unsupported = false;
    }

    /// The driver.
    pub fn driver(&mut self) -> &mut dyn Driver {
        &mut **self.driver
    }

    /// Number of operations that were started and have not completed.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Number of completions that were not taken yet.
    pub fn ready(&self) -> usize {
        self.done.len()
    }

    /// Stages an operation.
    ///
    /// # Panics
    /// If the driver is full.
    #[track_caller]
    pub fn start(&mut self, op: Op) -> Token {
        match self.try_start(op) {
            Ok(token) => token,
            Err(op) => {
                panic!("the driver is full with {} of {} in flight: {op:?}", self.in_flight, self.driver.depth())
            }
        }
    }

    /// Stages an operation, if the driver is not full.
    ///
    /// # Errors
    /// The operation back: the driver is full.
    pub fn try_start(&mut self, op: Op) -> Result<Token, Op> {
        self.start_rest(op, 0, RawOp::MAX_TRANSFER)
    }

    /// Stages what is left of an operation when `done` bytes of it are transferred, at most `most` bytes of it.
    ///
    /// # Errors
    /// The operation back: the driver is full.
    pub fn start_rest(&mut self, op: Op, done: u64, most: u32) -> Result<Token, Op> {
        if self.skip_unsupported && !self.driver.supports().contains(op.kind(), op.class()) {
            skip_case(format!("the driver does not take {:?} ({:?})", op.kind(), op.class()));
        }
        let index = self.free.pop_front().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, flying: None });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        slot.generation += 1;
        let token = Token::new(index, slot.generation);
        // First into the slot, then described: the addresses hold from here on (I1).
        let flying = slot.flying.insert(Box::new(Flying { op, before: done }));
        let raw = flying.op.raw(done, most);
        // SAFETY: the slot keeps the operation, its buffer and its files, unmoved and untouched until `absorb` meets this
        // token's completion (I1, I5); the generation makes the token new (I4).
        match unsafe { self.driver.prepare(token, &raw) } {
            Ok(()) => {
                self.in_flight += 1;
                Ok(token)
            }
            Err(io_core::Full) => {
                self.free.push_back(index);
                Err(slot.flying.take().expect("inserted above").op)
            }
        }
    }

    /// Submits and waits once; what completes is kept until it is taken.
    ///
    /// # Panics
    /// If the channel is broken, and if the driver breaks its word: a completion of nobody, or a second one.
    #[track_caller]
    pub fn reap(&mut self, wait: Wait) -> Progress {
        self.try_reap(wait).expect("the driver's channel is broken")
    }

    /// As [`Bench::reap`].
    ///
    /// # Errors
    /// The driver's, if its channel is broken.
    ///
    /// # Panics
    /// If the driver breaks its word.
    #[track_caller]
    pub fn try_reap(&mut self, wait: Wait) -> io::Result<Progress> {
        let progress = self.driver.submit(wait, &mut self.batch);
        if let Err(broken_word) = self.absorb() {
            panic!("{broken_word}");
        }
        progress
    }

    /// Submits until `count` completions are there to be taken.
    ///
    /// # Panics
    /// If they do not come, and as [`Bench::reap`].
    #[track_caller]
    pub fn wait_for(&mut self, count: usize) {
        let clock = self.driver.clock();
        let (begun, real) = (clock.now(), Instant::now());
        while self.done.len() < count {
            assert!(
                clock.now() - begun < self.patience && real.elapsed() < self.patience,
                "{} of {count} completions came, {} operations are in flight: {:?}",
                self.done.len(),
                self.in_flight,
                self.slots.iter().filter_map(|slot| slot.flying.as_ref()).map(|f| &f.op).take(8).collect::<Vec<_>>()
            );
            let progress = self.reap(Wait::AtMost(Duration::from_secs(1)));
            if progress.staged > 0 {
                std::thread::yield_now();
            }
        }
    }

    /// Submits until nothing is in flight.
    ///
    /// # Panics
    /// As [`Bench::wait_for`].
    #[track_caller]
    pub fn wait_all(&mut self) {
        self.wait_for(self.done.len() + self.in_flight);
    }

    /// The oldest completion that was not taken yet.
    pub fn take_any(&mut self) -> Option<Done> {
        self.done.pop_front()
    }

    /// All completions that were not taken yet, oldest first.
    pub fn take_done(&mut self) -> Vec<Done> {
        self.done.drain(..).collect()
    }

    /// The completion of this token, if it has come.
    pub fn take(&mut self, token: Token) -> Option<Done> {
        let at = self.done.iter().position(|done| done.token == token)?;
        self.done.remove(at)
    }

    /// Waits for the completion of this token and takes it.
    ///
    /// # Panics
    /// As [`Bench::wait_for`].
    #[track_caller]
    pub fn finish(&mut self, token: Token) -> Done {
        loop {
            if let Some(done) = self.take(token) {
                return done;
            }
            self.wait_for(self.done.len() + 1);
        }
    }

    /// Starts an operation and waits for its completion.
    ///
    /// # Panics
    /// As [`Bench::start`] and [`Bench::wait_for`].
    #[track_caller]
    pub fn run(&mut self, op: Op) -> (i32, Op) {
        let token = self.start(op);
        let done = self.finish(token);
        (done.result, done.op)
    }

    /// Starts a transfer, continues it where it was short, and answers the bytes in all, or the error of the part that failed.
    ///
    /// # Panics
    /// As [`Bench::run`].
    #[track_caller]
    pub fn run_whole(&mut self, mut op: Op) -> (i64, Op) {
        let mut moved = 0;
        loop {
            let left = op.len() - moved;
            let most = left.clamp(1, RawOp::MAX_TRANSFER as u64) as u32;
            let token = match self.start_rest(op, moved, most) {
                Ok(token) => token,
                Err(op) => panic!("the driver is full: {op:?}"),
            };
            let done = self.finish(token);
            op = done.op;
            if done.result < 0 {
                return (done.result as i64, op);
            }
            moved += done.result as u64;
            if done.result == 0 || moved >= op.len() {
                return (moved as i64, op);
            }
        }
    }

    /// Wishes that the operation ended soon.
    pub fn cancel(&mut self, token: Token) {
        self.driver.cancel(token);
    }

    /// The driver back.
    ///
    /// # Panics
    /// If operations are in flight: they would be freed under the driver.
    pub fn into_driver(mut self) -> Box<dyn Driver> {
        assert_eq!(self.in_flight, 0, "operations are in flight");
        // SAFETY: `self` is forgotten below, so nobody takes or drops the driver a second time.
        let driver = unsafe { ManuallyDrop::take(&mut self.driver) };
        self.slots = Vec::new();
        self.done = VecDeque::new();
        std::mem::forget(self);
        driver
    }

    /// Drops the driver now, with operations in flight, and keeps what they own for ever: the test of what a driver leaves in
    /// place.
    pub fn abandon(mut self) {
        // SAFETY: `self` is forgotten below; the slots and with them all memory and files in flight are leaked, so what the
        // system still touches stays valid (I7).
        unsafe { ManuallyDrop::drop(&mut self.driver) };
        std::mem::forget(self);
    }

    /// Matches the batch with the slots. Says what the driver did wrong instead of panicking, because a bench that is dropped
    /// in a panic drains too.
    fn absorb(&mut self) -> Result<(), String> {
        let mut broken_word = Ok(());
        for completion in self.batch.drain() {
            let token = completion.token;
            let slot = self.slots.get_mut(token.slot() as usize).filter(|slot| slot.generation == token.generation());
            let Some(flying) = slot.and_then(|slot| slot.flying.take()) else {
                broken_word = Err(format!(
                    "{completion:?} answers no operation in flight: a second completion, or nobody's token"
                ));
                continue;
            };
            let Flying { mut op, before } = *flying;
            let transfers = op.kind().is_transfer() && completion.result > 0;
            let moved = before + if transfers { completion.result as u64 } else { 0 };
            if transfers && moved > op.len() {
                broken_word = Err(format!("{completion:?} moved {moved} of {} bytes: {op:?}", op.len()));
                // Its buffer knows nothing of so many bytes; settle what can be settled.
            } else {
                // SAFETY: this is the operation's only completion (the slot is empty now), and `moved` is what the driver says
                // it transferred, at most the buffer's size (I2, I3).
                unsafe { op.settle(moved, completion.result) };
            }
            self.free.push_back(token.slot());
            self.in_flight -= 1;
            self.done.push_back(Done { token, result: completion.result, op });
        }
        broken_word
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let bound = Instant::now() + self.patience / if std::thread::panicking() { 30 } else { 3 };
        while self.in_flight > 0 && Instant::now() < bound {
            if self.driver.submit(Wait::AtMost(Duration::from_millis(100)), &mut self.batch).is_err() {
                break;
            }
            let _ = self.absorb();
        }
        if self.in_flight == 0 {
            // SAFETY: dropped here and nowhere else; nothing is in flight.
            unsafe { ManuallyDrop::drop(&mut self.driver) };
        } else {
            // What is in flight is never freed (I7).
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bench({}, {} in flight, {} done)", self.driver.name(), self.in_flight, self.done.len())
    }
}
