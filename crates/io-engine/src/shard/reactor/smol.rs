//! The reactor below smol's global executor, whose threads poll it when they have nothing else to do.

use super::take_part;
use crate::shard::{core::Shard, watch::Watcher};
use smol::Async;
use std::{io, os::fd::OwnedFd, sync::Arc};

pub(super) fn begin(shard: &Arc<Shard>) {
    let Some((watcher, fd)) = take_part(shard) else { return };
    smol::spawn(async move {
        let _ = reap(watcher, fd).await;
    })
    .detach();
}

async fn reap(watcher: Watcher, fd: OwnedFd) -> io::Result<()> {
    let fd = Async::new_nonblocking(fd)?;
    while !watcher.is_over() {
        fd.readable().await?;
        while watcher.turn_of_reactor() {
            smol::future::yield_now().await;
        }
    }
    Ok(())
}
