//! The core: a driver, a slot table, and every operation between acceptance and completion.

use crate::{
    clock::Timers,
    death::Death,
    failure::SyncFailed,
    inode::{Inode, Mailbox},
    offload::{self, Offload},
    order::{self, Admission},
    retry::{self, Next, Seen},
    slots::Slots,
    stats::{InFlightOp, Stats, Where},
};
use io_core::{
    Armed, Clock, Completions, Driver, DriverName, FileHandle, FileId, Op, OpKind, OpSet, Output, RawOp, Readiness,
    Token, Unavailable, Wait, errno,
};
use std::{collections::VecDeque, fmt, io, mem::ManuallyDrop, sync::Arc, time::Duration};

/// Longest pause before the kernel is asked again to take what it pushed back.
const PUSHBACK_PAUSE: Duration = Duration::from_millis(2);

/// What may sit in a slot: something with an operation inside, and whatever else its owner wants back with it.
pub trait Carrier: Send + sealed::Sealed {
    /// The operation.
    fn op(&self) -> &Op;
    /// The operation, for the core.
    fn op_mut(&mut self) -> &mut Op;
}

pub(crate) mod sealed {
    /// Only this crate's types go into slots: a carrier that swapped its operation would free what the kernel writes to.
    pub trait Sealed {}
}

impl sealed::Sealed for Op {}
impl Carrier for Op {
    fn op(&self) -> &Op {
        self
    }
    fn op_mut(&mut self) -> &mut Op {
        self
    }
}

/// Settings of a core.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct InflightOptions {
    /// Most bytes that one staged transfer moves; larger ones are split, but for those whose flags forbid to continue them (`NOWAIT`,
    /// `ATOMIC`, appending writes). A multiple of 4096.
    pub transfer_max: u32,
}

impl Default for InflightOptions {
    fn default() -> Self {
        InflightOptions { transfer_max: RawOp::MAX_TRANSFER }
    }
}

/// An answered operation.
#[derive(Debug)]
pub struct Finished<S> {
    /// Its token; the slot behind it is free again.
    pub token: Token,
    /// What was accepted, with its buffer.
    pub carrier: S,
    /// Bytes transferred (0 for what transfers none), or the error. A read shorter than asked for met the end of the file.
    pub result: io::Result<usize>,
    /// From its acceptance to the submit that brought the answer.
    pub took: Duration,
    /// The offload pool did it, not the driver.
    pub offloaded: bool,
}

/// One operation in its slot.
pub(crate) struct Flight<S> {
    pub(crate) carrier: S,
    want: u64,
    done: u64,
    attempts: u8,
    cancelled: bool,
    /// The driver could not: the pool does it.
    to_pool: bool,
    pub(crate) at: Where,
    since: Duration,
    pub(crate) epoch: Option<u64>,
}

/// An answer that the core gives itself.
pub(crate) enum Verdict {
    Code(i32),
    Failed(SyncFailed),
}

/// A driver, the operations in flight on it, and what they need to come to their end.
///
/// One thread at a time drives it (`&mut self`). Accepted operations live in slots that never move; a slot is freed by its
/// completion and by nothing else. Dropping a core waits for the kernel to let go of the buffers, and leaks what it still holds
/// after ten seconds.
pub struct Inflight<S: Carrier> {
    pub(crate) driver: ManuallyDrop<Box<dyn Driver>>,
    pub(crate) offload: ManuallyDrop<Option<Offload>>,
    pub(crate) slots: ManuallyDrop<Slots<Flight<S>>>,
    supports: OpSet,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) clock: Arc<dyn Clock>,
    now: Duration,
    pub(crate) batch: Completions,
    cursor: usize,
    pub(crate) verdicts: VecDeque<(Token, Verdict)>,
    /// Staged again at the next submit.
    again: VecDeque<Token>,
    timers: Timers,
    mailbox: Arc<Mailbox>,
    staged: u32,
    /// The kernel did not take all that was staged at the last submit.
    pushed_back: bool,
    pub(crate) death: Death,
    options: InflightOptions,
    pub(crate) stats: Stats,
}

impl<S: Carrier> Inflight<S> {
    /// A core over `driver`, with as many slots as the driver has depth.
    ///
    /// # Errors
    /// If the offload pool that belongs to it cannot be made.
    pub fn new(driver: Box<dyn Driver>, options: InflightOptions) -> Result<Inflight<S>, Unavailable> {
        assert!(options.transfer_max >= 4096 && options.transfer_max <= RawOp::MAX_TRANSFER);
        let readiness = driver.readiness();
        let offload = Offload::beside(&*driver, &readiness)?;
        let clock = driver.clock();
        let depth = driver.depth();
        Ok(Inflight {
            supports: driver.supports(),
            offload: ManuallyDrop::new(offload),
            slots: ManuallyDrop::new(Slots::new(depth)),
            readiness,
            now: clock.now(),
            clock,
            // Room for every slot: a completion never has to wait for the next call.
            batch: Completions::with_limit(depth as usize),
            cursor: 0,
            verdicts: VecDeque::with_capacity(depth as usize),
            again: VecDeque::with_capacity(depth as usize),
            timers: Timers::with_room(depth),
            mailbox: Arc::default(),
            staged: 0,
            pushed_back: false,
            death: Death::default(),
            options,
            stats: Stats { depth, ..Stats::default() },
            driver: ManuallyDrop::new(driver),
        })
    }

    /// The driver's name.
    pub fn driver_name(&self) -> DriverName {
        self.driver.name()
    }

    /// Most operations in flight.
    pub fn depth(&self) -> u32 {
        self.slots.depth()
    }

    /// How many more operations can be accepted now.
    #[inline]
    pub fn room(&self) -> u32 {
        self.slots.free()
    }

    /// Operations that were accepted and not taken out by [`next_finished`](Inflight::next_finished), lost ones excepted.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.slots.used() - self.death.slots
    }

    /// Operations staged since the last submit.
    #[inline]
    pub fn staged(&self) -> u32 {
        self.staged
    }

    /// What ends a wait in [`submit`](Inflight::submit) from another thread.
    pub fn readiness(&self) -> Arc<dyn Readiness> {
        self.readiness.clone()
    }

    /// The time that deadlines are in, as of the last submit.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Looks at the clock, for operations that are accepted next. Who accepts long after the last submit does so before; otherwise they
    /// seem to have begun then.
    pub(crate) fn look_at_clock(&mut self) {
        self.now = self.clock.now();
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats { in_flight: self.in_flight(), ..self.stats }
    }

    /// What is in flight and for how long, longest first.
    pub fn dump(&self) -> Vec<InFlightOp> {
        let now = self.clock.now();
        let mut all: Vec<_> = self
            .slots
            .iter()
            .map(|(token, flight)| InFlightOp {
                token,
                kind: flight.carrier.op().kind(),
                offset: flight.carrier.op().offset(),
                len: flight.want,
                done: flight.done,
                age: now.saturating_sub(flight.since),
                at: flight.at,
            })
            .collect();
        all.sort_by_key(|op| std::cmp::Reverse(op.age));
        all
    }

    /// Where this core hears of syncs that may go; names it beside a token.
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// What is accepted under this token, for who has to note where its answer goes.
    pub(crate) fn carrier_mut(&mut self, token: Token) -> Option<&mut S> {
        self.slots.get_mut(token).map(|flight| &mut flight.carrier)
    }

    /// True if there is something to submit or to hand out that no completion will remind of.
    pub(crate) fn wants_submit(&self) -> bool {
        self.staged > 0 || !self.batch.is_empty() || !self.verdicts.is_empty() || self.mailbox.is_full()
    }

    /// In how long something is due that no completion will remind of: a pause that ends, a driver or a kernel that takes no more
    /// for the moment.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let dying = self.death.is_dead() && self.in_flight() > 0;
        let unfinished = !self.again.is_empty() || self.pushed_back || dying;
        let full = unfinished.then_some(PUSHBACK_PAUSE);
        let due = self.timers.next().map(|due| due.saturating_sub(self.clock.now()));
        due.into_iter().chain(full).min()
    }

    /// Arms or disarms the driver's readiness; see [`Driver::arm`].
    pub(crate) fn arm(&mut self, armed: bool) -> Armed {
        self.driver.arm(armed)
    }

    /// Registers a file with the driver; see [`Driver::register_file`].
    ///
    /// # Errors
    /// As there. The file works unregistered all the same.
    pub fn register_file(&mut self, file: &FileHandle) -> io::Result<()> {
        self.takes_registrations()?;
        self.driver.register_file(file)
    }

    /// Gives a file's registration back.
    pub fn unregister_file(&mut self, file: FileId) {
        self.driver.unregister_file(file);
    }

    /// Registers an arena's memory with the driver, which pins it once instead of at each transfer.
    ///
    /// # Errors
    /// As [`Driver::register_memory`]. The buffers work unregistered all the same.
    pub fn register_arena(&mut self, arena: &crate::Arena) -> io::Result<()> {
        self.takes_registrations()?;
        let (base, len) = arena.lend();
        // SAFETY: `lend` keeps the arena's memory for the life of the process.
        unsafe { self.driver.register_memory(base, len) }
    }

    /// Registers memory with the driver.
    ///
    /// # Errors
    /// As [`Driver::register_memory`].
    ///
    /// # Safety
    /// As there.
    pub(crate) unsafe fn register_memory(&mut self, base: std::ptr::NonNull<u8>, len: usize) -> io::Result<()> {
        self.takes_registrations()?;
        // SAFETY: passed on.
        unsafe { self.driver.register_memory(base, len) }
    }

    /// Gives a registration of memory back.
    pub(crate) fn unregister_memory(&mut self, base: std::ptr::NonNull<u8>) {
        self.driver.unregister_memory(base);
    }

    /// Accepts an operation: it is in flight from here on. Nothing enters the kernel before the next submit.
    ///
    /// # Errors
    /// The carrier back, if no slot is free.
    #[inline]
    pub fn accept(&mut self, carrier: S) -> Result<Token, S> {
        if self.slots.free() == 0 {
            return Err(carrier);
        }
        let since = self.now;
        let (token, flight) = self
            .slots
            .insert_with(|| Flight {
                want: carrier.op().len(),
                carrier,
                done: 0,
                attempts: 0,
                cancelled: false,
                to_pool: false,
                at: Where::Driver,
                since,
                epoch: None,
            })
            .expect("a slot is free");
        self.stats.accepted += 1;
        match order::admit(flight.carrier.op(), token, &self.mailbox, &self.readiness) {
            Admission::Go(epoch) => {
                flight.epoch = epoch;
                self.stage(token);
            }
            Admission::Wait => {
                flight.at = Where::Order;
                self.stats.ordered += 1;
            }
            Admission::Failed(failed) => {
                flight.at = Where::Pause;
                self.verdicts.push_back((token, Verdict::Failed(failed)));
            }
        }
        Ok(token)
    }

    /// Stages what is left of an operation, with the driver or with the pool.
    #[inline]
    fn stage(&mut self, token: Token) {
        if self.death.is_dead() && self.refuse(token) {
            return;
        }
        let flight = self.slots.get_mut(token).expect("staged by who holds it");
        let op = flight.carrier.op_mut();
        let pool = flight.to_pool
            || self.death.is_dead()
            || !self.supports.contains(op.kind(), op.class())
            || offload::blocks_on(self.driver.name(), op.file())
            || offload::is_wanted(op);
        // What nobody may continue is not cut either: of an atomic write that would leave a torn one, called a success.
        let most =
            if retry::may_continue(op.kind(), op.flags()) { self.options.transfer_max } else { RawOp::MAX_TRANSFER };
        let raw = op.raw(flight.done, most);
        let staged = match &mut *self.offload {
            Some(offload) if pool => {
                flight.at = Where::Offload;
                flight.to_pool = true;
                // SAFETY: as below.
                let staged = unsafe { offload.pool.prepare(token, &raw) };
                if staged.is_ok() {
                    offload.busy += 1;
                    self.stats.offloaded += 1;
                }
                staged
            }
            _ => {
                flight.at = Where::Driver;
                // SAFETY: the operation rests in its slot, which never moves (I5), until the completion of this token is delivered
                // (I1); its fields are private, so nobody swaps buffer or file; a slot has one staged RawOp at a time.
                unsafe { self.driver.prepare(token, &raw) }
            }
        };
        match staged {
            Ok(()) => self.staged += 1,
            Err(io_core::Full) => {
                // Cancels count in the depth: a slot may be free before the driver has room.
                flight.at = Where::Pause;
                self.again.push_back(token);
            }
        }
    }

    /// Submits what is staged, waits as told, and takes completions in; [`next_finished`](Inflight::next_finished) hands them out.
    ///
    /// Comes back from waiting on the first completion of the driver or the pool, on a wake, or in time. Does not wait if there
    /// is something to hand out already.
    pub fn submit(&mut self, wait: Wait) {
        self.restage();
        self.staged = 0;
        self.pushed_back = false;
        if let Some(offload) = &mut *self.offload {
            offload.turn(&mut self.batch);
        }
        let wait = self.wait_until_due(wait);
        self.stats.submits += 1;
        if self.death.is_dead() {
            self.submit_dead(wait);
        } else {
            match self.driver.submit(wait, &mut self.batch) {
                Ok(progress) if progress.staged > 0 => {
                    self.stats.pushed_back += 1;
                    self.pushed_back = true;
                    self.pause(wait);
                }
                Ok(_) => {}
                Err(error) => self.die(&error),
            }
        }
        if let Some(offload) = &mut *self.offload {
            offload.turn(&mut self.batch);
        }
        self.now = self.clock.now();
    }

    /// Stages what was released, is due, or found no room before.
    #[inline]
    fn restage(&mut self) {
        while let Some((token, failed)) = self.mailbox.take() {
            let Some(flight) = self.slots.get_mut(token).filter(|f| f.at == Where::Order) else { continue };
            match failed {
                Some(code) => {
                    flight.at = Where::Pause;
                    self.verdicts.push_back((token, Verdict::Code(code)));
                }
                None => self.release_sync(token),
            }
        }
        if !self.timers.is_empty() {
            let now = self.clock.now();
            while let Some(slot) = self.timers.pop_due(now) {
                let (token, _) = self.slots.at(slot).expect("its timer is cleared when a slot is freed");
                self.stage(token);
            }
        }
        for _ in 0..self.again.len() {
            let token = self.again.pop_front().expect("counted");
            self.stage(token);
        }
    }

    /// A sync whose writes are answered goes on, unless the inode failed while it waited.
    fn release_sync(&mut self, token: Token) {
        let flight = self.slots.get_mut(token).expect("looked up by the caller");
        let failed = flight.carrier.op().file().and_then(|file| Inode::of(file).failed());
        match failed {
            Some(failed) => {
                flight.at = Where::Pause;
                self.verdicts.push_back((token, Verdict::Failed(failed)));
            }
            None => self.stage(token),
        }
    }

    /// No longer than until the next timer, and not at all if there is something to hand out.
    #[inline]
    fn wait_until_due(&self, wait: Wait) -> Wait {
        if !self.batch.is_empty() || !self.verdicts.is_empty() {
            return Wait::No;
        }
        if self.again.is_empty() && self.timers.is_empty() {
            return wait;
        }
        let due = self.timers.next().map(|due| due.saturating_sub(self.clock.now()));
        // A driver that was full has room after its next completion. If it is full of something else, it is asked now and then.
        let full = if self.again.is_empty() { None } else { Some(PUSHBACK_PAUSE) };
        let most = due.into_iter().chain(full).min().expect("one of the two is there");
        match wait {
            Wait::No => Wait::No,
            Wait::AtMost(at_most) => Wait::AtMost(at_most.min(most)),
            Wait::Forever => Wait::AtMost(most),
        }
    }

    /// The kernel takes no more now: sleep a little, or until something completes.
    fn pause(&mut self, wait: Wait) {
        let most = match wait {
            Wait::No => return,
            Wait::AtMost(most) => most.min(PUSHBACK_PAUSE),
            Wait::Forever => PUSHBACK_PAUSE,
        };
        if !self.batch.is_empty() {
            return;
        }
        if self.driver.arm(true) == Armed::Waiting {
            self.readiness.wait(Some(most));
        }
        let _ = self.driver.arm(false);
    }

    /// Hands out one answered operation, or `None` if there is none before the next submit.
    #[inline]
    pub fn next_finished(&mut self) -> Option<Finished<S>> {
        loop {
            if let Some((token, verdict)) = self.verdicts.pop_front() {
                return Some(self.finish_by(token, verdict));
            }
            let Some(completion) = self.batch.as_slice().get(self.cursor).copied() else {
                self.batch.clear();
                self.cursor = 0;
                if self.death.slots > 0 {
                    self.renew_slots();
                }
                return None;
            };
            self.cursor += 1;
            if let Some(finished) = self.complete(completion.token, completion.result) {
                return Some(finished);
            }
        }
    }

    pub(crate) fn finish_by(&mut self, token: Token, verdict: Verdict) -> Finished<S> {
        match verdict {
            Verdict::Code(code) => {
                // What was moved before a cancel took effect is the answer, here as in `retry`.
                let done = self.slots.get_mut(token).map_or(0, |flight| flight.done);
                let cut_short = code == errno::ECANCELED && done > 0;
                self.finish(token, if cut_short { Ok(done) } else { Err(code) }, -code)
            }
            Verdict::Failed(failed) => {
                let mut finished = self.finish(token, Err(failed.code), -failed.code);
                finished.result = Err(failed.into());
                finished
            }
        }
    }

    /// One completion: the end, or one more step.
    #[inline]
    fn complete(&mut self, token: Token, result: i32) -> Option<Finished<S>> {
        let last_resort = self.offload.is_none();
        let Some(flight) = self.slots.get_mut(token).filter(|f| matches!(f.at, Where::Driver | Where::Offload)) else {
            // A lost operation may still answer: its slot was given up and its owner told, so the answer is void.
            let given_up = self.death.slots > 0 || self.death.is_dead();
            assert!(given_up, "{token:?} was answered twice, or nobody asked (I2)");
            return None;
        };
        let op = flight.carrier.op();
        let result = if result == -errno::EINVAL && ended_within_a_sector(op, flight.done) { 0 } else { result };
        let seen = Seen {
            kind: op.kind(),
            flags: op.flags(),
            want: flight.want,
            done: flight.done,
            attempts: flight.attempts,
            cancelled: flight.cancelled,
            last_resort: last_resort || flight.to_pool,
        };
        match retry::next(&seen, result) {
            Next::Finish(answer) => return Some(self.finish(token, answer, result)),
            Next::Continue(done) => {
                flight.done = done;
                flight.attempts = 0;
                self.stats.continued += 1;
                self.stage(token);
            }
            Next::Again => {
                flight.attempts += 1;
                self.stats.repeated += 1;
                self.stage(token);
            }
            Next::Offload => {
                flight.attempts += 1;
                flight.to_pool = true;
                self.stats.repeated += 1;
                self.stage(token);
            }
            Next::Later => {
                flight.attempts += 1;
                flight.at = Where::Pause;
                let pause = Duration::from_micros(50 << flight.attempts.min(10));
                self.stats.repeated += 1;
                self.timers.set(token.slot(), self.clock.now() + pause);
            }
        }
        None
    }

    /// Settles the operation and frees the slot.
    #[inline]
    fn finish(&mut self, token: Token, answer: Result<u64, i32>, raw: i32) -> Finished<S> {
        let flight = self.slots.get_mut(token).expect("looked up by the caller");
        let done = *answer.as_ref().unwrap_or(&flight.done);
        let op = flight.carrier.op_mut();
        let kind = op.kind();
        // SAFETY: this is the operation's last completion, or it was never staged; `done` bytes were moved in order (I2, I3).
        unsafe { op.settle(if kind.is_transfer() { done } else { 0 }, raw) };
        if kind == OpKind::Open && answer.is_ok() {
            learn_facts(op);
        }
        // A sync that the core answered itself never ran: it says nothing about the inode.
        let ran = flight.at != Where::Pause || flight.epoch.is_some();
        let ordered = if ran {
            order::answered(op, flight.epoch, answer.err())
        } else {
            order::never_ran(op);
            Ok(())
        };
        let result = match (answer, ordered) {
            (Ok(_), Err(failed)) => Err(failed.into()),
            (Ok(done), Ok(())) => Ok(done as usize),
            (Err(code), _) => Err(io::Error::from_raw_os_error(code)),
        };
        self.stats.answered += 1;
        self.stats.bytes_read += if kind.is_read() { done } else { 0 };
        self.stats.bytes_written += if kind.is_write() { done } else { 0 };
        self.stats.failed += u64::from(result.is_err());
        let Flight { carrier, since, to_pool, .. } = self.slots.remove(token).expect("looked up above");
        Finished { token, carrier, result, took: self.now.saturating_sub(since), offloaded: to_pool }
    }

    /// Wishes that an operation ended soon. What waits in the core ends at once, with `ECANCELED`; what is with the driver
    /// answers whatever it answers. No effect on an operation that was answered.
    pub fn cancel(&mut self, token: Token) {
        let Some(flight) = self.slots.get_mut(token) else { return };
        flight.cancelled = true;
        let ends_here = match flight.at {
            Where::Driver => {
                self.driver.cancel(token);
                false
            }
            Where::Offload => {
                if let Some(offload) = &mut *self.offload {
                    offload.pool.cancel(token);
                }
                false
            }
            Where::Order => flight.carrier.op().file().is_some_and(|f| Inode::of(f).forget_sync(token, &self.mailbox)),
            Where::Pause => {
                let again = self.again.iter().position(|&t| t == token);
                again.map(|i| self.again.remove(i)).is_some() || self.timers.clear(token.slot())
            }
            Where::Quarantine => false,
        };
        if ends_here {
            self.answer_here(token, errno::ECANCELED);
        }
    }
}

impl<S: Carrier> Inflight<S> {
    pub(crate) fn has_pool(&self) -> bool {
        self.offload.is_some()
    }

    /// The core itself answers an operation that nobody else holds.
    pub(crate) fn answer_here(&mut self, token: Token, code: i32) {
        self.slots.get_mut(token).expect("looked up by the caller").at = Where::Pause;
        self.verdicts.push_back((token, Verdict::Code(code)));
    }
}

/// True for a direct read whose first part ended where no direct read may start: it met the end of the file. To ask for the rest
/// is right, because not every short read is the last one; but where the system looks at the alignment first, or the file has
/// grown meanwhile, it answers `EINVAL` instead of 0 bytes (see also RocksDB#10368).
#[cold]
fn ended_within_a_sector(op: &Op, done: u64) -> bool {
    let sector = 512;
    let direct = op.file().is_some_and(|file| file.facts().direct);
    direct && op.kind().is_read() && done > 0 && (op.offset() + done) % sector != 0
}

/// A driver that opened a file by itself knows only its number; ordering and placement want to know more.
fn learn_facts(op: &mut Op) {
    let Some(output) = op.output_mut() else { return };
    let Output::File(file) = std::mem::take(output) else { return };
    let known = file.facts().inode.is_some();
    let facts = if known { None } else { io_threadpool::facts(&file).ok() };
    let file = match facts {
        Some(facts) => file.with_facts(facts).unwrap_or_else(|file| file),
        None => file,
    };
    crate::inode::attach(&file);
    *output = Output::File(file);
}

impl<S: Carrier> fmt::Debug for Inflight<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inflight({}, {} of {} in flight)", self.driver.name(), self.in_flight(), self.depth())
    }
}
