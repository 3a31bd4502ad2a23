//! The one thread that an engine belongs to, and what others do instead of touching its driver.
//!
//! That thread sleeps with the lock in its hand, and its ring answers nobody else. So whoever is not it never takes the lock: operations
//! are refused, wishes are dropped, and what has to be done is left for the owner.

use super::core::Errand;
use crate::Inflight;
use std::{
    cell::Cell,
    io, mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

type Left = Box<dyn FnOnce(&mut Inflight<Errand>) + Send>;

/// The owner is the thread that first does something.
pub(crate) struct Owner {
    /// Of the engine: no other one ever has it, and it is not 0.
    pub(crate) number: u64,
    /// 0: nobody yet.
    thread: AtomicU64,
    has_errands: AtomicBool,
    errands: Mutex<Vec<Left>>,
}

impl Owner {
    pub(crate) fn new() -> Owner {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Owner {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            thread: AtomicU64::new(0),
            has_errands: AtomicBool::new(false),
            errands: Mutex::default(),
        }
    }

    /// True if the shard belongs to another thread; if it belonged to nobody, it is the calling thread's now.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        let me = me();
        let owner = self.thread.load(Ordering::Relaxed);
        owner != me && (owner != 0 || self.claim(me))
    }

    #[cold]
    fn claim(&self, me: u64) -> bool {
        self.thread.compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    pub(crate) fn leave_errand(&self, errand: Left) {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner).push(errand);
        self.has_errands.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn has_errands(&self) -> bool {
        self.has_errands.load(Ordering::Acquire)
    }

    #[cold]
    pub(crate) fn take_errands(&self) -> Vec<Left> {
        let mut errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_errands.store(false, Ordering::Release);
        mem::take(&mut errands)
    }
}

/// What an operation answers that was begun on another thread.
#[cold]
pub(crate) fn refusal() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "the file belongs to an engine of one thread, and this is another one")
}

/// A number of the calling thread that no other one ever has.
#[inline]
pub(crate) fn me() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static ME: Cell<u64> = const { Cell::new(0) };
    }
    let me = ME.get();
    if me != 0 {
        return me;
    }
    let me = NEXT.fetch_add(1, Ordering::Relaxed);
    ME.set(me);
    me
}
