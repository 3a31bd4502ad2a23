//! What is left to do for calls that were given up, and nobody waits for.

use crate::BoxFuture;
use std::{
    fmt, mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// How often one look polls the jobs, where they ask for the next poll themselves: an engine of one thread that nobody runs would keep
/// the caller here until they are over.
const ROUNDS_MAX: u32 = 64;

type Job = BoxFuture<'static, ()>;

/// Polls jobs when they are woken, on whatever thread wakes them.
#[derive(Default)]
pub(super) struct Janitor {
    jobs: Mutex<Vec<Job>>,
    /// Looks asked for; not 0: somebody is at it, and looks again for those who came meanwhile.
    calls: AtomicU32,
}

impl Janitor {
    /// Begins a job.
    pub(super) fn add(self: &Arc<Self>, job: Job) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        self.look();
    }

    /// Polls what there is.
    pub(super) fn look(self: &Arc<Self>) {
        if self.calls.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        let lock = || self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        for round in 1.. {
            let seen = self.calls.load(Ordering::SeqCst);
            let mut jobs = mem::take(&mut *lock());
            jobs.retain_mut(|job| job.as_mut().poll(&mut cx).is_pending());
            lock().append(&mut jobs);
            if self.calls.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return;
            }
            if round == ROUNDS_MAX {
                self.calls.store(0, Ordering::SeqCst);
                return;
            }
        }
    }
}

impl Wake for Janitor {
    fn wake(self: Arc<Self>) {
        self.look();
    }
}

impl fmt::Debug for Janitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Janitor")
    }
}
