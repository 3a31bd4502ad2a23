//! Durable writes that go on where the last one ends, done together.
//!
//! A buffered write with `RWF_DSYNC` holds its inode's lock until the device has answered: sixteen writers stand in a row and wait
//! sixteen times. Here the first one begins at once; those that come while it is under way and go on behind it wait, and what came
//! meanwhile is the next round: one vectored write (several, where there are gaps). Each gets a result of its own: when a write of
//! several does not succeed as a whole, those that it did not reach are done once more, each by itself.
//!
//! Between two rounds is a rest. Those who were answered come back with their next write a few microseconds later: a round that began
//! before would be half as large, and so would every one after it. It ends when as many have come as were answered, or when whoever
//! brought the answers has let the woken tasks run and takes his next turn.

use super::{
    Answer, OpBox,
    admission::{Admission, Weight},
    aftermath::Aftermath,
    cell::{Cell, Way},
};
use crate::{SyncFailed, inode::Inode};
use io_core::{IoBuf, Op, OpKind, errno};
use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// How far behind the last one a write may begin and wait with the others: writers do not arrive in the order of their places.
const WINDOW: u64 = 4 << 20;
/// Most that wait; more go by themselves.
const WAITING_MAX: usize = 1024;
/// Most bytes and pieces of one write.
const RUN_BYTES: u64 = 1 << 20;
const RUN_PIECES: usize = 256;

/// Whose durable writes of an inode are under way, and what waits for them.
#[derive(Default)]
pub(crate) struct Together(Mutex<State>);

#[derive(Default)]
struct State {
    /// The number of the engine that the writes belong to; 0: none is under way.
    engine: u64,
    /// Batches under way.
    batches: u32,
    /// Writes that they are made of.
    members: usize,
    /// With so many that wait the rest is over; 0: there is none.
    full: usize,
    /// Where what is under way ends, and where the last one that waits does.
    floor: u64,
    top: u64,
    next: Vec<Arc<Cell>>,
}

/// What a write was told when it came.
pub(crate) enum Joined {
    /// These have to be begun, it is in one of them.
    Begins(Vec<Batch>, Arc<Cell>),
    /// Those before it take it along.
    Waits(Arc<Cell>),
    /// It has nothing to do with those that are under way.
    Alone(OpBox),
}

/// One or several writes that the system sees as one.
pub(crate) struct Batch {
    inode: Arc<Inode>,
    /// Until a core has it.
    op: Option<OpBox>,
    members: Vec<Member>,
    over: bool,
}

/// Who waits for a write, and what it weighs.
type Member = (Arc<Cell>, Weight);

/// A write inside a larger one.
struct Part(OpBox);

// SAFETY: the bytes belong to the operation in the box, which rests on the heap while the part moves (I1), and nothing changes them:
// the operation is not touched before the larger one is answered.
unsafe impl IoBuf for Part {
    fn as_ptr(&self) -> *const u8 {
        self.0.source().map_or(std::ptr::dangling(), |(start, _)| start)
    }
    fn len(&self) -> usize {
        self.0.source().map_or(0, |(_, len)| len)
    }
}

impl Together {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A durable write of the inode by this engine begins.
pub(crate) fn join(inode: &Arc<Inode>, engine: u64, op: OpBox) -> Joined {
    debug_assert!(op.kind() == OpKind::Write);
    let (start, end) = (op.offset(), op.offset().saturating_add(op.len()));
    let mut state = inode.together.lock();
    if state.engine == 0 {
        *state =
            State { engine, batches: 1, members: 1, full: 0, floor: end, top: end, next: mem::take(&mut state.next) };
        drop(state);
        let cell = Cell::under(Way::Admitted, None);
        let member = (cell.clone(), Weight::of(&op));
        return Joined::Begins(vec![Batch::new(inode, op, vec![member])], cell);
    }
    if state.full > 0 && state.next.is_empty() {
        // Nothing is under way that it would have to be behind.
        (state.floor, state.top) = (start.saturating_sub(WINDOW), start);
    }
    let near = start >= state.floor && start <= state.top.saturating_add(WINDOW);
    if state.engine != engine || !near || state.next.len() >= WAITING_MAX {
        return Joined::Alone(op);
    }
    state.top = state.top.max(end);
    let cell = Cell::queued(op, None);
    state.next.push(cell.clone());
    if state.full == 0 || state.next.len() < state.full {
        return Joined::Waits(cell);
    }
    Joined::Begins(state.round(inode), cell)
}

/// The rest is over, if there is one: what has to be begun.
pub(crate) fn wake(inode: &Arc<Inode>) -> Vec<Batch> {
    let mut state = inode.together.lock();
    if state.full == 0 { Vec::new() } else { state.round(inode) }
}

/// All of the engine's writes that wait are to be begun at once: a sync was asked for, and covers what came before it.
pub(crate) fn flush(inode: &Arc<Inode>, engine: u64) -> Vec<Batch> {
    let mut state = inode.together.lock();
    if state.engine != engine || state.next.is_empty() { Vec::new() } else { state.round(inode) }
}

impl State {
    /// All that waits is under way from here on.
    fn round(&mut self, inode: &Arc<Inode>) -> Vec<Batch> {
        self.full = 0;
        let mut next: Vec<_> = self.next.drain(..).filter_map(|cell| Some((cell.admit()?, cell))).collect();
        next.sort_by_key(|(op, _)| op.offset());
        self.floor = next.iter().map(|(op, _)| op.offset().saturating_add(op.len())).max().unwrap_or_default();
        self.top = self.floor;
        self.members = next.len() + if self.batches > 0 { self.members } else { 0 };
        let batches = runs(inode, next);
        self.batches += batches.len() as u32;
        if self.batches == 0 {
            self.engine = 0;
        }
        batches
    }
}

/// Writes in the order of their places, each run without gaps as one.
fn runs(inode: &Arc<Inode>, writes: Vec<(OpBox, Arc<Cell>)>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut run: Vec<(OpBox, Arc<Cell>)> = Vec::new();
    let mut bytes = 0;
    for (op, cell) in writes {
        let goes_on = run.last().is_some_and(|(last, _)| {
            last.offset().saturating_add(last.len()) == op.offset()
                && last.flags() == op.flags()
                && last.file().map(|f| f.id()) == op.file().map(|f| f.id())
                && bytes + op.len() <= RUN_BYTES
                && run.len() < RUN_PIECES
        });
        if !goes_on && !run.is_empty() {
            batches.push(one_of(inode, mem::take(&mut run)));
            bytes = 0;
        }
        bytes += op.len();
        run.push((op, cell));
    }
    if !run.is_empty() {
        batches.push(one_of(inode, run));
    }
    batches
}

fn one_of(inode: &Arc<Inode>, mut run: Vec<(OpBox, Arc<Cell>)>) -> Batch {
    if run.len() == 1 {
        let (op, cell) = run.pop().expect("there is one");
        let member = (cell, Weight::of(&op));
        return Batch::new(inode, op, vec![member]);
    }
    let (offset, flags) = (run[0].0.offset(), run[0].0.flags());
    let file = run[0].0.file().expect("a write has a file").clone();
    let member = |(op, cell): (OpBox, Arc<Cell>)| {
        let weight = Weight::of(&op);
        (Part(op), (cell, weight))
    };
    let (parts, members): (Vec<_>, Vec<_>) = run.into_iter().map(member).unzip();
    Batch::new(inode, OpBox::new(Op::write_vectored(&file, parts, offset).with_flags(flags)), members)
}

impl Batch {
    fn new(inode: &Arc<Inode>, op: OpBox, members: Vec<Member>) -> Batch {
        Batch { inode: inode.clone(), op: Some(op), members, over: false }
    }

    /// The write, for its weight.
    pub(crate) fn op(&self) -> &Op {
        self.op.as_ref().expect("no core has it yet")
    }

    /// The write, for a core.
    pub(crate) fn take_op(&mut self) -> OpBox {
        self.op.take().expect("a core takes it once")
    }

    /// The write is answered: each member gets its answer, or waits for admission once more. The inode, if it rests now.
    pub(crate) fn answered(
        mut self,
        op: OpBox,
        result: io::Result<usize>,
        admission: &Admission,
        after: &mut Aftermath,
    ) -> Option<Arc<Inode>> {
        let members = mem::take(&mut self.members);
        let rests = self.end().then(|| self.inode.clone());
        let mut done = match &result {
            Ok(n) => *n as u64,
            // The bytes before the error were durable when the system counted them, unless it was somebody else's.
            Err(error) if SyncFailed::in_error(error).is_none() => op.done(),
            Err(_) => 0,
        };
        let parts = match op.kind() {
            OpKind::Write => {
                let (cell, _) = members.first().expect("a write has a member");
                admission.deliver(after, cell, op, result);
                return rests;
            }
            _ => op.into_bufs::<Part>().unwrap_or_else(|_| unreachable!("made of parts")),
        };
        for (Part(op), (cell, _)) in parts.into_iter().zip(members) {
            let len = op.len();
            if done >= len {
                done -= len;
                admission.deliver(after, &cell, op, Ok(len as usize));
            } else {
                done = 0;
                admission.once_more(after, cell, op);
            }
        }
        rests
    }

    /// The write died with its driver, and its members will not be answered. They, and the inode if it rests now.
    pub(crate) fn lost(mut self) -> (Option<Arc<Inode>>, Vec<Member>) {
        let members = mem::take(&mut self.members);
        (self.end().then(|| self.inode.clone()), members)
    }

    /// One batch less is under way. True: it was the last one of several writes, and the inode rests.
    fn end(&mut self) -> bool {
        self.over = true;
        let mut state = self.inode.together.lock();
        state.batches -= 1;
        if state.batches > 0 {
            return false;
        }
        state.full = state.next.len() + state.members;
        if state.full == 1 {
            // One that is alone comes back alone.
            (state.full, state.engine) = (0, 0);
        }
        state.full > 0
    }
}

/// Never begun, or gone with its engine: who waits hears of it.
impl Drop for Batch {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut left = vec![(self.op.take(), mem::take(&mut self.members))];
        let next = if self.end() { wake(&self.inode) } else { Vec::new() };
        if !next.is_empty() {
            // Counted as under way, and dropped here.
            self.inode.together.lock().engine = 0;
        }
        for mut batch in next {
            batch.over = true;
            left.push((batch.op.take(), mem::take(&mut batch.members)));
        }
        let mut after = Aftermath::new();
        for (op, members) in left {
            let ops = match op {
                None => Vec::new(),
                Some(op) if op.kind() == OpKind::Write => vec![op],
                Some(op) => op.into_bufs::<Part>().into_iter().flatten().map(|part| part.0).collect(),
            };
            let mut ops = ops.into_iter();
            for (cell, _) in members {
                match ops.next() {
                    Some(op) => {
                        let result = Err(io::Error::from_raw_os_error(errno::ECANCELED));
                        after.deliver(&cell, Answer { op: Some(op), result });
                    }
                    None => {
                        cell.lose();
                    }
                }
            }
        }
        after.run();
    }
}
