//! Writes that nobody waits for, and that are to be done all the same.

use super::writer::Write;
use crate::File;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

static LOST: AtomicU64 = AtomicU64::new(0);

/// Detached writes of this process that failed.
pub(super) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// A look without an outcome that wakes itself is repeated so often, and then left to who turns the engine next. Only the simulator
/// does that, whose time each look moves on.
const LOOKS_MAX: u32 = 1000;

/// Sees to it that these writes are done. (An operation that still waits for its turn when it is dropped is not done.) They are
/// polled by whoever wakes them: no thread and no runtime is needed.
///
/// Not so on an engine of one thread alone: that one finishes what is in flight before it ends, and must not be kept from its end.
pub(super) fn run(file: &File, writes: Vec<Write>) {
    if file.file_system().shards().is_owned() {
        return;
    }
    for write in writes {
        Arc::new(Detached { write: Mutex::new(Some(write)), wakes: AtomicUsize::new(0) }).wake();
    }
}

#[derive(Debug)]
struct Detached {
    /// Until it is over.
    write: Mutex<Option<Write>>,
    /// Wakes since the last look; above 0 while somebody looks, and when it is over.
    wakes: AtomicUsize,
}

impl Wake for Detached {
    fn wake(self: Arc<Self>) {
        if self.wakes.fetch_add(1, Ordering::AcqRel) > 0 {
            // Whoever looks, looks again.
            return;
        }
        let waker = Waker::from(self.clone());
        for _ in 0..LOOKS_MAX {
            let seen = self.wakes.load(Ordering::Acquire);
            if self.poll(&mut Context::from_waker(&waker)).is_ready() {
                return;
            }
            if self.wakes.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
        // Its completion wakes it again. (If that came with the very last look, only the count of failures misses it.)
        self.wakes.store(0, Ordering::Release);
    }
}

impl Detached {
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Only one thread looks at a time, and nothing else takes this lock.
        let mut write = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(polled) = write.as_mut().map(|write| write.poll(cx)) else { return Poll::Ready(()) };
        polled.map(|outcome| {
            *write = None;
            if outcome.is_err() {
                LOST.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}
