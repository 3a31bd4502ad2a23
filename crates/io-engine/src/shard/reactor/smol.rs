//! The reactor below smol (async-io), which whichever thread is idle polls.
//!
//! No task stands between: what the reactor wakes when the shard's descriptor is readable reaps there and then, on the thread that
//! polled. A task would be one more switch of threads for each completion, because it has to run on some executor, and the only one known
//! here is the global one.

use super::take_part;
use crate::shard::{core::Shard, watch::Watcher};
use smol::Async;
use std::{
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

pub(super) fn begin(shard: &Arc<Shard>) {
    let Some((watcher, fd)) = take_part(shard) else { return };
    // Without room in the reactor the watcher is dropped, and the reaper thread goes on watching.
    let Ok(fd) = Async::new_nonblocking(fd) else { return };
    Arc::new(Reap { fd, watcher, rung: AtomicU32::new(0) }).wake();
}

/// Kept alive by the waker that the reactor has of it.
struct Reap {
    fd: Async<OwnedFd>,
    watcher: Watcher,
    /// Calls since somebody began to answer them; 0: nobody does.
    rung: AtomicU32,
}

impl Wake for Reap {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        let waker = Waker::from(self.clone());
        let mut cx = Context::from_waker(&waker);
        let mut answered = 1;
        loop {
            // The last poll, which is pending, leaves the waker with the reactor.
            while let Poll::Ready(readable) = self.fd.poll_readable(&mut cx) {
                if readable.is_err() || self.watcher.is_over() {
                    return;
                }
                if self.watcher.turn_of_reactor() {
                    // The tasks that were woken run first; the reactor calls again when it is polled next.
                    self.watcher.ring();
                }
            }
            match self.rung.compare_exchange(answered, 0, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return,
                Err(more) => answered = more,
            }
        }
    }
}
