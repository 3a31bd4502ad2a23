//! What is left to do once a lock is released. Foreign code (waking, dropping buffers and files) never runs under one.

use super::{Answer, cell::Cell};
use std::{
    cell::RefCell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Waker,
};

/// Collected under a shard's lock, run without it.
#[derive(Default)]
pub(crate) struct Aftermath {
    wakers: Vec<Waker>,
    answers: Vec<Answer>,
    /// Waiting ends of a shared sync; emptied within the lock.
    pub(crate) synced: Vec<Arc<Cell>>,
    /// The same with what they will be told.
    told: Vec<(Arc<Cell>, io::Result<usize>)>,
}

thread_local! {
    /// The last one of this thread, for its room: a steady state allocates nothing.
    static SPARE: RefCell<Aftermath> = RefCell::default();
}

impl Aftermath {
    /// An empty one, with the room of the thread's last one.
    pub(crate) fn new() -> Aftermath {
        SPARE
            .try_with(|spare| spare.try_borrow_mut().map(|mut spare| std::mem::take(&mut *spare)))
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default()
    }

    /// An answer for a cell. `false`: nobody waited for it.
    pub(crate) fn deliver(&mut self, cell: &Cell, answer: Answer) -> bool {
        match cell.finish(answer) {
            Ok(waker) => {
                self.wakers.extend(waker);
                true
            }
            Err(answer) => {
                self.answers.push(answer);
                false
            }
        }
    }

    /// An answer for each waiting end of a shared sync, once the sync itself is dropped: a waiting end may look before it is woken.
    pub(crate) fn deliver_shared(&mut self, result: &io::Result<usize>) {
        self.told.extend(self.synced.drain(..).map(|cell| (cell, copy_of(result))));
    }

    /// Dropped without the lock.
    pub(crate) fn discard(&mut self, answer: Answer) {
        self.answers.push(answer);
    }

    /// Wakes and drops.
    #[inline]
    pub(crate) fn run(mut self) {
        #[cfg(feature = "tracing")]
        crate::trace::tell();
        if self.wakers.is_empty() && self.answers.is_empty() && self.told.is_empty() {
            return self.keep();
        }
        // First what is dropped: who hears of the end of a sync may want to close the file, and be the only one who has it.
        self.answers.drain(..).for_each(|answer| guarded(|| drop(answer)));
        let mut told = std::mem::take(&mut self.told);
        for (cell, result) in told.drain(..) {
            self.deliver(&cell, Answer { op: None, result });
        }
        self.told = told;
        self.wakers.drain(..).for_each(|waker| guarded(|| waker.wake()));
        self.keep();
    }

    #[inline]
    fn keep(self) {
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                *spare = self;
            }
        });
    }
}

/// Runs foreign code for somebody who is not to blame for it. A panic in it is reported as every panic is, and ends neither the thread
/// that reaps for all nor the wakes of those behind it.
#[inline]
pub(crate) fn guarded(run: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(run));
}

/// The same result once more; an error that is not the system's must be [`SyncFailed`](crate::SyncFailed).
fn copy_of(result: &io::Result<usize>) -> io::Result<usize> {
    match result {
        Ok(n) => Ok(*n),
        Err(error) => Err(match (error.raw_os_error(), crate::SyncFailed::in_error(error)) {
            (Some(code), _) => io::Error::from_raw_os_error(code),
            (None, Some(failed)) => failed.into(),
            (None, None) => io::Error::new(error.kind(), error.to_string()),
        }),
    }
}
