//! tokio's reactor.

use super::take_part;
use crate::shard::{core::Shard, watch::Watcher};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::{Handle, Id},
};

/// Runtimes that were built without their I/O driver: registering panics there, which is reported once a runtime and not asked for
/// again. The last few; a runtime is rarely built so, and rarer still often.
static WITHOUT_IO: Mutex<Vec<Id>> = Mutex::new(Vec::new());
const WITHOUT_IO_MAX: usize = 16;

/// True if the calling thread is inside a tokio runtime, whether that one can watch or not.
pub(super) fn begin(shard: &Arc<Shard>) -> bool {
    let Ok(runtime) = Handle::try_current() else { return false };
    let id = runtime.id();
    if without_io(|ids| ids.contains(&id)) {
        return true;
    }
    let Some((watcher, fd)) = take_part(shard) else { return true };
    runtime.spawn(async move {
        let _ = reap(watcher, fd, Doubt(id)).await;
    });
    true
}

/// Unless it is resolved, the runtime has no I/O driver.
struct Doubt(Id);

impl Drop for Doubt {
    fn drop(&mut self) {
        if std::thread::panicking() {
            without_io(|ids| {
                ids.truncate(WITHOUT_IO_MAX - 1);
                ids.insert(0, self.0);
            });
        }
    }
}

async fn reap(watcher: Watcher, fd: OwnedFd, doubt: Doubt) -> io::Result<()> {
    // SAFETY: the `AsyncFd` owns this duplicate of the descriptor, and nobody else closes it while it is registered.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    drop(doubt);
    while !watcher.is_over() {
        let mut ready = fd.readable().await?;
        ready.clear_ready();
        while watcher.turn_of_reactor() {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

fn without_io<T>(look: impl FnOnce(&mut Vec<Id>) -> T) -> T {
    look(&mut WITHOUT_IO.lock().unwrap_or_else(PoisonError::into_inner))
}
