//! Writes that nobody waits for, and that are to be done all the same.

use super::writer::Write;
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

/// Sees to it that these writes are done. (An operation that still waits for its turn when it is dropped is not done.) They are
/// polled by whoever wakes them: no thread and no runtime is needed.
pub(super) fn run(writes: Vec<Write>) {
    if !writes.is_empty() {
        Arc::new(Detached { writes: Mutex::new(writes), wakes: AtomicUsize::new(0) }).wake();
    }
}

#[derive(Debug)]
struct Detached {
    writes: Mutex<Vec<Write>>,
    /// Wakes since the last look; above 0 while somebody looks.
    wakes: AtomicUsize,
}

impl Wake for Detached {
    fn wake(self: Arc<Self>) {
        if self.wakes.fetch_add(1, Ordering::AcqRel) > 0 {
            // Whoever looks, looks again.
            return;
        }
        let waker = Waker::from(self.clone());
        loop {
            let seen = self.wakes.load(Ordering::Acquire);
            self.poll(&mut Context::from_waker(&waker));
            if self.wakes.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }
}

impl Detached {
    fn poll(&self, cx: &mut Context<'_>) {
        // Only one thread looks at a time, and nothing else takes this lock.
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).retain_mut(|write| match write.poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(_)) => false,
            Poll::Ready(Err(_)) => {
                LOST.fetch_add(1, Ordering::Relaxed);
                false
            }
        });
    }
}
