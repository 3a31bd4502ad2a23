//! A runtime's own reactor watches a shard: a completion wakes the thread that would run the task anyway.
//!
//! The first operation that stays pending inside a runtime starts a task there, which watches the shard's descriptor. When the runtime
//! is dropped, so is the task, and the reaper thread takes over; the next pending operation inside another runtime starts anew.

#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "tokio")]
#[allow(unsafe_code)] // a descriptor is registered with the runtime
mod tokio;

use super::{core::Shard, watch::Watcher};
use std::{
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
};

/// Sees to it that a runtime watches this shard, if there is one and nobody watches already: tokio's where the calling thread is inside
/// one, else smol's global executor.
#[inline]
pub(crate) fn watch(shard: &Arc<Shard>) {
    if !shard.watch.has_others() && !shard.watch.reactor.load(Ordering::Relaxed) {
        begin(shard);
    }
}

fn begin(shard: &Arc<Shard>) {
    #[cfg(feature = "tokio")]
    if tokio::begin(shard) {
        return;
    }
    #[cfg(feature = "smol")]
    smol::begin(shard);
    #[cfg(not(feature = "smol"))]
    let _ = shard;
}

/// The part of watcher and a descriptor to watch; `None` if there is none, or somebody else has the part.
fn take_part(shard: &Arc<Shard>) -> Option<(Watcher, OwnedFd)> {
    let fd = shard.readiness.fd()?.try_clone_to_owned().ok()?;
    if shard.watch.reactor.swap(true, Ordering::SeqCst) {
        return None;
    }
    Some((Watcher::reactor(shard.clone()), fd))
}
