//! tokio's own reactor watches a shard: a completion wakes the worker that would wake the task anyway.
//!
//! The first operation that stays pending inside a runtime starts a task there, which watches the shard's descriptor. When the runtime
//! is dropped, so is the task, and the reaper thread takes over; the next pending operation inside another runtime starts anew.

use super::{core::Shard, watch::Watcher};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    runtime::Handle,
};

/// Sees to it that the runtime of the calling thread, if there is one, watches this shard, unless somebody does already.
#[inline]
pub(crate) fn watch(shard: &Arc<Shard>) {
    if !shard.watch.has_others() && !shard.watch.reactor.load(Ordering::Relaxed) {
        begin(shard);
    }
}

fn begin(shard: &Arc<Shard>) {
    let Ok(runtime) = Handle::try_current() else { return };
    let Some(fd) = shard.readiness.fd().and_then(|fd| fd.try_clone_to_owned().ok()) else { return };
    if shard.watch.reactor.swap(true, Ordering::SeqCst) {
        return;
    }
    let watcher = Watcher::reactor(shard.clone());
    runtime.spawn(async move {
        // The runtime may have been built without its I/O driver; then the reaper thread stays.
        let _ = reap(watcher, fd).await;
    });
}

async fn reap(watcher: Watcher, fd: OwnedFd) -> io::Result<()> {
    // SAFETY: the `AsyncFd` owns this duplicate of the descriptor, and nobody else closes it while it is registered.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE)? };
    while !watcher.is_over() {
        let mut ready = fd.readable().await?;
        ready.clear_ready();
        watcher.turn();
    }
    Ok(())
}
