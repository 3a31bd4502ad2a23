//! Who waits for a buffer of a class, in the order of coming.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
    task::Waker,
};

/// The line. Who is in it is first in turn: nobody takes from the free slots while it is not empty.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Length of `Queue::waiting`, to be read without the lock.
    len: AtomicUsize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    waiting: BTreeMap<u64, Waker>,
    /// Slots that belong to those who have not come for them yet.
    given: BTreeMap<u64, u32>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Goes to the end of the line. The caller then has to [`serve`](Line::serve) it: a slot may have come back just before.
    pub(super) fn join(&self, waker: &Waker) -> u64 {
        let waker = waker.clone();
        let mut queue = self.lock();
        let ticket = queue.next;
        queue.next += 1;
        queue.waiting.insert(ticket, waker);
        self.len.fetch_add(1, Ordering::SeqCst);
        ticket
    }

    /// The slot of this ticket, if it was served; else it waits on, with this waker.
    pub(super) fn claim(&self, ticket: u64, waker: &Waker) -> Option<u32> {
        let waker = waker.clone();
        let mut queue = self.lock();
        if let Some(slot) = queue.given.remove(&ticket) {
            return Some(slot);
        }
        let before = queue.waiting.insert(ticket, waker);
        drop(queue);
        // Foreign code, as `clone`: outside of the lock.
        drop(before);
        None
    }

    /// Leaves the line; the slot that was already this ticket's, if there is one.
    pub(super) fn leave(&self, ticket: u64) -> Option<u32> {
        let mut queue = self.lock();
        let slot = queue.given.remove(&ticket);
        let waker = queue.waiting.remove(&ticket);
        if waker.is_some() {
            self.len.fetch_sub(1, Ordering::SeqCst);
        }
        drop(queue);
        drop(waker);
        slot
    }

    /// True if somebody waits whom the caller, who has just pushed a free slot, has to serve.
    ///
    /// The fence pairs with the one in [`serve`](Line::serve): either who pushes sees the newcomer here, or the newcomer, who joined
    /// before it served, sees the slot.
    pub(super) fn is_waited_in(&self) -> bool {
        fence(Ordering::SeqCst);
        self.len.load(Ordering::SeqCst) > 0
    }

    /// Gives slots out to those in front, as long as `take` has any.
    pub(super) fn serve(&self, take: impl Fn() -> Option<u32>) {
        fence(Ordering::SeqCst);
        let mut served = Vec::new();
        let mut queue = self.lock();
        while !queue.waiting.is_empty() {
            let Some(slot) = take() else { break };
            let (ticket, waker) = queue.waiting.pop_first().expect("it is not empty");
            queue.given.insert(ticket, slot);
            self.len.fetch_sub(1, Ordering::SeqCst);
            served.push(waker);
        }
        drop(queue);
        served.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
