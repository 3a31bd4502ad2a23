//! Who may go next: operations beyond the limits wait in one queue, first come first served, for all shards.
//!
//! An operation waits in its result cell and the queue holds the cell only, so that a hundred thousand that wait cost little, and
//! one that is given up leaves at once. Whoever brings completions takes from the queue, for the shard that he holds: a future
//! that is never polled again keeps nobody waiting.

use super::{Answer, OpBox, aftermath::Aftermath, cell::Cell, shared::SyncTurn, together::Batch};
use io_core::Op;
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// Bytes are counted in units of this, so that operations and bytes fit one word: 2^40 units are enough for any limit.
const OP: u64 = 1 << 40;

/// Fewer that were given up are left where they are.
const GONE_MIN: usize = 64;

/// The admission of one engine.
pub(crate) struct Admission {
    ops_max: u64,
    bytes_max: u64,
    /// Admitted operations in the upper 24 bits, their bytes in the lower 40.
    used: AtomicU64,
    waiting: AtomicUsize,
    /// How many of them were given up, or so: swept out before they are the most.
    gone: AtomicUsize,
    queue: Mutex<VecDeque<Queued>>,
    /// As `used`, for operations in flight that nobody waits for.
    orphans: AtomicU64,
}

/// What waits.
pub(crate) enum Queued {
    /// An operation, in its cell.
    Cell(Arc<Cell>),
    /// A sync that several wait for; the waiting ends are with the inode.
    Sync(SyncTurn),
    /// Durable writes that are done together.
    Batch(Batch),
}

/// What an operation counts for; given back when it is answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight(u64);

impl Weight {
    pub(crate) fn of(op: &Op) -> Weight {
        Weight(OP + op.len().min(OP / 2))
    }

    pub(crate) fn bytes(self) -> u64 {
        self.0 & (OP - 1)
    }
}

impl Admission {
    pub(crate) fn new(ops_max: u32, bytes_max: u64) -> Admission {
        Admission {
            ops_max: u64::from(ops_max.clamp(1, (1 << 23) - 1)),
            bytes_max: bytes_max.clamp(1, OP / 4),
            used: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            queue: Mutex::default(),
            orphans: AtomicU64::new(0),
        }
    }

    /// Admits an operation if the limits allow it and nobody waits. One that is alone is always admitted, however large.
    #[inline]
    pub(crate) fn enter(&self, weight: Weight) -> bool {
        // SeqCst, here and in `leave` and `push`: who queues looks at the limits afterwards, who gives back looks at the queue
        // afterwards, and one of the two sees the other.
        self.waiting.load(Ordering::SeqCst) == 0 && self.reserve(weight)
    }

    #[inline]
    fn reserve(&self, weight: Weight) -> bool {
        let fits = |used: u64| {
            let (ops, bytes) = (used / OP, used % OP);
            let fits = ops == 0 || (ops < self.ops_max && bytes + weight.bytes() <= self.bytes_max);
            fits.then_some(used + weight.0)
        };
        // Not added first and taken back: others would see more than the limits allow.
        self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits).is_ok()
    }

    /// Gives back what an answered operation counted for.
    #[inline]
    pub(crate) fn leave(&self, weight: Weight) {
        self.used.fetch_sub(weight.0, Ordering::SeqCst);
    }

    pub(crate) fn push(&self, queued: Queued) {
        let mut queue = self.lock();
        queue.push_back(queued);
        self.waiting.store(queue.len(), Ordering::SeqCst);
    }

    /// True if somebody waits.
    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Hands the first that waits to `accept`, if the limits allow it now; false if not. Nobody takes the next one before that has come
    /// back: a sync must not be accepted by one shard while another one has a write in its hands that was before it.
    pub(crate) fn pop(&self, accept: impl FnOnce(Queued, OpBox, Weight)) -> bool {
        let mut gone = Vec::new();
        let mut queue = self.lock();
        let next = loop {
            let Some(first) = queue.front() else { break None };
            let weight = match first {
                Queued::Cell(cell) => cell.weigh(Weight::of),
                Queued::Sync(..) => Some(Weight(OP)),
                Queued::Batch(batch) => Some(Weight::of(batch.op())),
            };
            let Some(weight) = weight else {
                gone.extend(queue.pop_front());
                continue;
            };
            if !self.reserve(weight) {
                break None;
            }
            let mut first = queue.pop_front().expect("looked at above");
            let op = match &mut first {
                Queued::Cell(cell) => cell.admit(),
                Queued::Sync(turn) => Some(turn.op()),
                Queued::Batch(batch) => Some(batch.take_op()),
            };
            match op {
                Some(op) => break Some((first, op, weight)),
                None => {
                    self.leave(weight);
                    gone.push(first);
                }
            }
        };
        let taken = next.is_some();
        if let Some((first, op, weight)) = next {
            accept(first, op, weight);
        }
        self.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        drop(gone);
        taken
    }

    /// An answer for who waits for this operation; it was an orphan if nobody does.
    pub(crate) fn deliver(&self, after: &mut Aftermath, cell: &Cell, op: OpBox, result: io::Result<usize>) {
        let weight = Weight::of(&op);
        if !after.deliver(cell, Answer { op: Some(op), result }) {
            self.forget_orphan(weight);
        }
    }

    /// An operation that was under way has to wait for its turn again, unless nobody waits for it.
    pub(crate) fn once_more(&self, after: &mut Aftermath, cell: Arc<Cell>, op: OpBox) {
        let weight = Weight::of(&op);
        match cell.requeue(op) {
            Ok(()) => self.push(Queued::Cell(cell)),
            Err(op) => {
                self.forget_orphan(weight);
                after.discard(Answer { op: Some(op), result: Ok(0) });
            }
        }
    }

    /// One that waited was given up.
    pub(crate) fn note_gone(&self) {
        let gone = self.gone.fetch_add(1, Ordering::Relaxed) + 1;
        if gone >= GONE_MIN && gone > self.waiting.load(Ordering::Relaxed) / 2 {
            self.sweep();
        }
    }

    /// Takes out who was given up. What they hold is dropped without the lock.
    #[cold]
    fn sweep(&self) {
        let mut queue = self.lock();
        self.gone.store(0, Ordering::Relaxed);
        let waits = |queued: &Queued| match queued {
            Queued::Cell(cell) => cell.weigh(|_| ()).is_some(),
            Queued::Sync(..) | Queued::Batch(..) => true,
        };
        let (stay, gone): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut *queue).into_iter().partition(waits);
        *queue = stay;
        self.waiting.store(queue.len(), Ordering::SeqCst);
        drop(queue);
        drop(gone);
    }

    /// An operation may have nobody who waits for it from now on.
    pub(crate) fn note_orphan(&self, weight: Weight) {
        self.orphans.fetch_add(weight.0, Ordering::Relaxed);
    }

    /// It has ended, or somebody waits after all.
    pub(crate) fn forget_orphan(&self, weight: Weight) {
        self.orphans.fetch_sub(weight.0, Ordering::Relaxed);
    }

    /// Operations in flight that nobody waits for, and their bytes.
    pub(crate) fn orphans(&self) -> (u32, u64) {
        let orphans = self.orphans.load(Ordering::Relaxed);
        ((orphans / OP) as u32, orphans % OP)
    }

    /// Operations admitted, their bytes, and operations that wait.
    pub(crate) fn levels(&self) -> (u32, u64, usize) {
        let used = self.used.load(Ordering::SeqCst);
        ((used / OP) as u32, used % OP, self.waiting.load(Ordering::SeqCst))
    }

    /// The limits: operations and bytes.
    pub(crate) fn limits(&self) -> (u32, u64) {
        (self.ops_max as u32, self.bytes_max)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
