//! One shard: a core behind a mutex. Any thread stages, submits and reaps; nobody waits under the lock.

use super::{
    Answer, OpBox, Reaping, SubmitFrom,
    admission::{Admission, Queued, Weight},
    aftermath::Aftermath,
    block_on,
    cell::{Cell, Way},
    metrics::{Meter, OpMetrics, Seen},
    owner::Owner,
    shared::SyncTurn,
    together::{self, Batch},
    watch::Watch,
};
use crate::{
    Inflight, InflightOptions,
    death::Note,
    inflight::{Carrier, Finished, sealed::Sealed},
    inode::Inode,
    stats::{InFlightOp, Stats},
};
use io_core::{Armed, Driver, Op, OpClass, Readiness, Token, Unavailable, Wait};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// Completions that one hold of the lock delivers; what is more waits for the next.
const BATCH: u32 = 64;
/// How long a sleeper lets writes rest that others may join; see `together.rs`.
const REST: Duration = Duration::from_micros(30);
/// Operations that a thread that will submit before it sleeps may stage first. To hold back a whole round leaves a device idle.
const STAGE_MAX: u32 = 4;

/// An operation with where its answer goes.
pub(crate) struct Errand {
    op: OpBox,
    to: To,
    weight: Weight,
}

pub(crate) enum To {
    /// Who holds the lock at this moment.
    Caller,
    Cell(Arc<Cell>),
    /// Everybody who waits for a sync of an inode.
    Sync(SyncTurn),
    /// Those whose writes it is made of.
    Batch(Batch),
}

impl Sealed for Errand {}
impl Carrier for Errand {
    #[inline]
    fn op(&self) -> &Op {
        &self.op
    }
    #[inline]
    fn op_mut(&mut self) -> &mut Op {
        &mut self.op
    }
}

/// One of an engine's shards.
pub(crate) struct Shard {
    index: usize,
    state: Mutex<State>,
    admission: Arc<Admission>,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) watch: Watch,
    pub(crate) death: Note,
    /// In flight or at rest as of the last hold of the lock, for those who do not take it.
    busy: AtomicU32,
    /// Whether sleepers outside have to be told: not where the owner waits inside.
    arms: bool,
    reaper: bool,
    /// The one thread that may use the shard, where there is such a one.
    owner: Option<Owner>,
}

struct State {
    core: Inflight<Errand>,
    meter: Meter,
    armed: bool,
    /// Inodes whose writes the next turn begins: those who were answered in this one may join them until then.
    resting: Vec<Arc<Inode>>,
}

impl State {
    /// In flight, or at rest: somebody has to come back.
    fn busy(&self) -> u32 {
        self.core.in_flight() + self.resting.len() as u32
    }

    fn due_in(&self) -> Option<Duration> {
        let rest = if self.resting.is_empty() { None } else { Some(REST) };
        self.core.due_in().into_iter().chain(rest).min()
    }
}

/// How an operation began.
pub(crate) enum Begun {
    /// It is answered already.
    Done(Answer),
    Under(Arc<Cell>),
    /// There is no slot: it has to wait.
    Full(OpBox),
}

/// What one turn has brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turned {
    pub(crate) delivered: u32,
    /// In flight or at rest now.
    pub(crate) busy: u32,
    /// What rested was begun.
    came_back: bool,
    /// Something rests until the next turn.
    pub(crate) rests: bool,
    /// In how long another turn is due that nothing will ring for.
    pub(crate) due: Option<Duration>,
}

impl Shard {
    pub(crate) fn new(
        index: usize,
        driver: Box<dyn Driver>,
        options: InflightOptions,
        admission: Arc<Admission>,
        reaping: Reaping,
    ) -> Result<Shard, Unavailable> {
        let core = Inflight::new(driver, options)?;
        Ok(Shard {
            index,
            readiness: core.readiness(),
            death: core.death.note.clone(),
            state: Mutex::new(State { core, meter: Meter::new(), armed: false, resting: Vec::new() }),
            admission,
            watch: Watch::default(),
            busy: AtomicU32::new(0),
            arms: reaping != Reaping::Owner,
            reaper: reaping == Reaping::Threads,
            owner: (reaping == Reaping::Owner).then(Owner::new),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, State>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Begins an admitted operation: accepts, submits, and reaps what completed meanwhile, its own answer included. With
    /// `may_defer` the caller promises to take a turn before he sleeps.
    ///
    /// # Errors
    /// The operation back, if somebody else holds the lock and `try_only`.
    pub(crate) fn begin(&self, op: OpBox, weight: Weight, try_only: bool, may_defer: bool) -> Result<Begun, OpBox> {
        let mut state = if try_only {
            match self.try_lock() {
                Some(state) => state,
                None => return Err(op),
            }
        } else {
            self.lock()
        };
        self.do_errands(&mut state);
        if state.core.room() == 0 {
            return Ok(Begun::Full(op));
        }
        // One look at the clock for all that is staged together.
        if state.core.staged() == 0 {
            state.core.look_at_clock();
        }
        let direct = op.class() != OpClass::Buffered;
        let accepted = state.core.accept(Errand { op, to: To::Caller, weight });
        let token = accepted.unwrap_or_else(|_| unreachable!("there was room"));
        // A reaper that sleeps on the readiness would not hear of it, if the caller went on to compute, or to wait for somebody else.
        if may_defer && direct && state.core.staged() < STAGE_MAX && !self.watch.is_watching() {
            let cell = self.attach(&mut state, token);
            self.busy.store(state.busy(), Ordering::SeqCst);
            return Ok(Begun::Under(cell));
        }
        let mut after = Aftermath::new();
        let mut answer = None;
        let mut cell = None;
        loop {
            state.core.submit(Wait::No);
            let more = self.reap(&mut state, token, &mut answer, &mut after);
            if answer.is_none() && cell.is_none() {
                cell = Some(self.attach(&mut state, token));
            }
            if !more && self.settle(&mut state, false) {
                break;
            }
        }
        // A thread that has the seat comes back by itself for what rests.
        let due = state.core.due_in().is_some() || (!may_defer && !state.resting.is_empty());
        drop(state);
        if due {
            self.watch.hurry(&self.readiness);
        }
        after.run();
        Ok(match (answer, cell) {
            (Some(answer), _) => Begun::Done(answer),
            (None, Some(cell)) => Begun::Under(cell),
            (None, None) => unreachable!("without an answer there is a cell"),
        })
    }

    /// Lets go of the caller: the answer goes to a cell from here on.
    fn attach(&self, state: &mut State, token: Token) -> Arc<Cell> {
        let cell = Cell::under(Way::Shard(self.index, token), None);
        state.core.carrier_mut(token).expect("accepted, not answered").to = To::Cell(cell.clone());
        cell
    }

    /// Submits what is staged, and delivers what has completed.
    pub(crate) fn turn(&self) -> Turned {
        self.turn_waiting(Wait::No, || {})
    }

    /// As [`Shard::turn`], by who does not watch and will not be there when the next one is due.
    pub(crate) fn turn_in_passing(&self) {
        let turned = self.turn();
        let comes_back = turned.rests && block_on::is_seated(self);
        if turned.due.is_some() && !comes_back && self.reaper {
            self.watch.hurry(&self.readiness);
        }
    }

    /// As [`Shard::turn`], waiting under the lock, and telling `up` when that is over. Only for shards that one thread alone uses.
    pub(crate) fn turn_waiting(&self, mut wait: Wait, up: impl Fn()) -> Turned {
        let mut turned = Turned::default();
        if self.is_foreign() {
            return turned;
        }
        loop {
            let mut after = Aftermath::new();
            let mut state = self.lock();
            self.do_errands(&mut state);
            if !turned.came_back {
                self.end_rest(&mut state);
                turned.came_back = true;
            }
            let before = state.core.stats().answered;
            state.core.submit(wait);
            up();
            wait = Wait::No;
            let more = self.reap(&mut state, Token::NONE, &mut None, &mut after);
            let settled = !more && self.settle(&mut state, true);
            turned.delivered += (state.core.stats().answered - before) as u32;
            turned.busy = state.busy();
            turned.due = state.due_in();
            turned.rests = !state.resting.is_empty();
            drop(state);
            after.run();
            if settled {
                return turned;
            }
        }
    }

    /// Hands out what is answered; true if there may be more.
    fn reap(&self, state: &mut State, mine: Token, answer: &mut Option<Answer>, after: &mut Aftermath) -> bool {
        for _ in 0..BATCH {
            let Some(finished) = state.core.next_finished() else {
                self.name_lost(state, after);
                return false;
            };
            self.deliver(state, finished, mine, answer, after);
        }
        true
    }

    fn deliver(
        &self,
        state: &mut State,
        finished: Finished<Errand>,
        mine: Token,
        own: &mut Option<Answer>,
        after: &mut Aftermath,
    ) {
        let Finished { token, carrier: Errand { op, to, weight }, result, took, offloaded } = finished;
        let inline = token == mine && matches!(to, To::Caller);
        let (kind, want) = (op.kind(), weight.bytes());
        state.meter.note(&Seen { kind, want, result: &result, took, offloaded, inline });
        #[cfg(feature = "tracing")]
        crate::trace::slow(&op, took, offloaded);
        self.admission.leave(weight);
        match to {
            To::Caller => {
                let answer = Answer { op: Some(op), result };
                if token == mine { *own = Some(answer) } else { after.discard(answer) }
            }
            To::Cell(cell) => {
                if !after.deliver(&cell, Answer { op: Some(op), result }) {
                    self.admission.forget_orphan(weight);
                }
            }
            To::Sync(turn) => {
                if let Some(next) = turn.finish(&result, after) {
                    self.accept_or_queue(state, next);
                }
                after.discard(Answer { op: Some(op), result });
            }
            To::Batch(batch) => {
                state.resting.extend(batch.answered(op, result, &self.admission, after));
            }
        }
    }

    /// Those whose operation died with its driver keep waiting, like the memory that is not coming back; but a sync has no
    /// memory, and its waiting ends are told.
    fn name_lost(&self, state: &mut State, after: &mut Aftermath) {
        while let Some((errand, reason)) = state.core.next_lost_mut() {
            self.admission.leave(errand.weight);
            match std::mem::replace(&mut errand.to, To::Caller) {
                To::Sync(turn) => {
                    if let Some(next) = turn.finish(&Err(reason), after) {
                        self.admission.push(Queued::Sync(next));
                    }
                }
                To::Batch(batch) => {
                    let (rests, members) = batch.lost();
                    let begun = rests.iter().flat_map(together::wake);
                    begun.for_each(|batch| self.admission.push(Queued::Batch(batch)));
                    for (_, weight) in members.iter().filter(|(cell, _)| cell.lose()) {
                        self.admission.forget_orphan(*weight);
                    }
                }
                // From here on it is quarantined, and no orphan.
                To::Cell(cell) if cell.lose() => self.admission.forget_orphan(errand.weight),
                To::Cell(_) | To::Caller => {}
            }
        }
    }

    /// Begins what others may have joined since the last turn.
    #[inline]
    fn end_rest(&self, state: &mut State) {
        while let Some(inode) = state.resting.pop() {
            for batch in together::wake(&inode) {
                self.accept_batch_or_queue(state, batch);
            }
        }
    }

    /// A shared sync goes on in the slot that its predecessor has just left.
    fn accept_or_queue(&self, state: &mut State, turn: SyncTurn) {
        let op = turn.op();
        let weight = Weight::of(&op);
        if state.core.room() > 0 && self.admission.enter(weight) {
            accept_sync(&mut state.core, op, turn, weight);
        } else {
            self.admission.push(Queued::Sync(turn));
        }
    }

    /// What came while others were under way follows them at once.
    fn accept_batch_or_queue(&self, state: &mut State, mut batch: Batch) {
        let weight = Weight::of(batch.op());
        if state.core.room() > 0 && self.admission.enter(weight) {
            let op = batch.take_op();
            let accepted = state.core.accept(Errand { op, to: To::Batch(batch), weight });
            debug_assert!(accepted.is_ok(), "there was room");
        } else {
            self.admission.push(Queued::Batch(batch));
        }
    }

    /// Takes from the queue what has room now, and arms the readiness for what is in flight. False: there is more to submit or to
    /// reap.
    fn settle(&self, state: &mut State, anew: bool) -> bool {
        while self.admission.has_waiting() && state.core.room() > 0 {
            let taken = self.admission.pop(|queued, op, weight| {
                let cell = match queued {
                    Queued::Cell(cell) => cell,
                    Queued::Sync(turn) => return accept_sync(&mut state.core, op, turn, weight),
                    Queued::Batch(batch) => {
                        let accepted = state.core.accept(Errand { op, to: To::Batch(batch), weight });
                        debug_assert!(accepted.is_ok(), "there was room");
                        return;
                    }
                };
                let accepted = state.core.accept(Errand { op, to: To::Cell(cell.clone()), weight });
                let token = accepted.unwrap_or_else(|_| unreachable!("there was room"));
                cell.set_way(Way::Shard(self.index, token));
            });
            if !taken {
                break;
            }
        }
        if state.core.wants_submit() {
            return false;
        }
        let busy = state.busy();
        self.busy.store(busy, Ordering::SeqCst);
        if busy == 0 {
            let armed = std::mem::take(&mut state.armed);
            if anew && self.watch.reactor.load(Ordering::Relaxed) {
                // Arming silences what rang: a reactor that goes by levels would be called again at once, and for ever.
                let _ = state.core.arm(true);
                let _ = state.core.arm(false);
            } else if armed {
                let _ = state.core.arm(false);
            }
            return true;
        }
        // Who was rung for arms anew, which silences what rang; others leave the arming as it is.
        if !self.arms || (state.armed && !anew) {
            return true;
        }
        state.armed = true;
        match state.core.arm(true) {
            Armed::Waiting => true,
            Armed::ReadyNow => {
                state.armed = false;
                false
            }
        }
    }

    /// Wishes that an operation ended soon.
    pub(crate) fn cancel(self: &Arc<Shard>, token: Token, submit_from: SubmitFrom) {
        if self.is_foreign() {
            return;
        }
        self.lock().core.cancel(token);
        match submit_from {
            SubmitFrom::Caller => self.turn_in_passing(),
            SubmitFrom::EngineThread => self.call_engine_thread(),
        }
    }

    /// There is something to submit that the caller is not to submit himself.
    pub(crate) fn call_engine_thread(self: &Arc<Shard>) {
        self.watch.attend(self);
        self.readiness.wake();
    }

    /// In flight as of the last hold of the lock.
    #[inline]
    pub(crate) fn busy(&self) -> u32 {
        self.busy.load(Ordering::SeqCst)
    }

    /// Makes the descriptor readable, which is silent while nothing is in flight.
    pub(crate) fn call_reactor(&self) {
        let _ = self.lock().core.arm(true);
        self.readiness.wake();
    }

    /// The engine ends.
    pub(crate) fn stop(&self) {
        self.watch.stop(&self.readiness);
    }

    /// True if somebody waits for admission, here or elsewhere.
    pub(crate) fn has_waiting(&self) -> bool {
        self.admission.has_waiting()
    }

    /// True if a reaper thread may be started for this shard.
    pub(crate) fn has_reaper(&self) -> bool {
        self.reaper
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// None of a shard that another thread alone uses, while that one sleeps with the lock.
    pub(crate) fn stats(&self) -> Stats {
        self.look(|state| state.core.stats())
    }

    fn look<T: Default>(&self, look: impl FnOnce(&State) -> T) -> T {
        if self.owner.is_none() {
            return look(&self.lock());
        }
        self.try_lock().map(|state| look(&state)).unwrap_or_default()
    }

    /// Adds what the shard has counted.
    pub(crate) fn add_metrics(&self, all: &mut Vec<OpMetrics>) {
        self.look(|state| state.meter.add_to(all, state.core.driver_name()));
    }

    pub(crate) fn dump(&self) -> Vec<InFlightOp> {
        self.look(|state| state.core.dump())
    }

    /// Something that concerns the driver alone (registrations); `None` on another thread than the one that it belongs to.
    pub(crate) fn with_core<T>(&self, f: impl FnOnce(&mut Inflight<Errand>) -> T) -> Option<T> {
        if self.is_foreign() {
            return None;
        }
        Some(f(&mut self.lock().core))
    }

    /// As [`Shard::with_core`], for what has to be done: from another thread than the owner, by that one before it does anything else.
    pub(crate) fn have_done(&self, f: impl FnOnce(&mut Inflight<Errand>) + Send + 'static) {
        match &self.owner {
            Some(owner) if owner.is_foreign() => owner.leave_errand(Box::new(f)),
            _ => f(&mut self.lock().core),
        }
    }

    /// True if the shard belongs to another thread.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.owner.as_ref().is_some_and(Owner::is_foreign)
    }

    /// A number of the engine, if it belongs to one thread; else 0.
    pub(crate) fn owner_number(&self) -> u64 {
        self.owner.as_ref().map_or(0, |owner| owner.number)
    }

    #[inline]
    fn do_errands(&self, state: &mut State) {
        if let Some(owner) = self.owner.as_ref().filter(|owner| owner.has_errands()) {
            owner.take_errands().into_iter().for_each(|errand| errand(&mut state.core));
        }
    }
}

/// Into a core that has room.
fn accept_sync(core: &mut Inflight<Errand>, op: OpBox, turn: SyncTurn, weight: Weight) {
    let accepted = core.accept(Errand { op, to: To::Sync(turn), weight });
    let token = accepted.unwrap_or_else(|_| unreachable!("there was room"));
    let mailbox = core.mailbox().clone();
    if let Some(Errand { to: To::Sync(turn), .. }) = core.carrier_mut(token) {
        turn.accepted(token, &mailbox);
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({}, {} in flight)", self.index, self.busy())
    }
}
