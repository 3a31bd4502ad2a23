//! A scripted life that goes through everything in turn: rotation, group commit, truncation, segments used again, closing, opening.

use super::{Appender, Note, check, on, text, truncate};
use crate::kit::{DIR, with};
use futures_util::future::try_join_all;
use io_fs::FileSystem;
use io_log::{Sync, Wal, WalConfig, WalError};
use io_sim::{Acks, Explorer, SimOptions};

/// The seed decides on the kind of log, and nothing else.
fn config(seed: u64) -> WalConfig {
    with(|config| {
        (config.segment_size, config.group_bytes, config.buffer_bytes) = (8 << 10, 4 << 10, 8 << 10);
        config.sync = [Sync::Group, Sync::Each][(seed % 2) as usize];
        config.recycle = (seed / 2 % 3) as usize;
        if seed / 6 % 2 == 1 {
            (config.block_size, config.segment_size, config.direct) = (4096, 64 << 10, true);
        }
        config.salt_seed = Some(seed);
    })
}

async fn workload(fs: &FileSystem, acks: &Acks<Note>) -> Result<(), WalError> {
    let wal = Wal::open(fs, DIR, config(acks.seed())).await?;
    // Rotation: one appender fills three segments.
    let mut alone = Appender::new(&wal, acks, 0);
    for _ in 0..12 {
        alone.append_many(4).await?;
    }
    // Truncation, and the segments again.
    truncate(&wal, acks, 10).await?;
    for _ in 0..40 {
        alone.enqueue().await?;
    }
    alone.flush().await?;
    truncate(&wal, acks, 3).await?;
    // Group commit: many at once, each waiting for its own.
    let side_by_side = (1..=6).map(|who| {
        let mut one = Appender::new(&wal, acks, who);
        async move {
            for _ in 0..4 {
                one.append().await?;
            }
            Ok::<_, WalError>(())
        }
    });
    try_join_all(side_by_side).await?;
    wal.close().await?;
    acks.note(Note::Closed);
    // What is there goes on; then it ends without a word.
    let wal = Wal::open(fs, DIR, config(acks.seed())).await?;
    let mut again = Appender::new(&wal, acks, 10);
    again.append_many(20).await?;
    truncate(&wal, acks, 1).await?;
    again.append().await
}

#[test]
fn a_scripted_life_loses_nothing() {
    let explorer = Explorer::new(1).disk(SimOptions { torn: true, ..SimOptions::seeded(1) }).cuts(1);
    explorer.test(
        "script",
        300,
        |disk, acks| on(disk, None, |fs| async move { workload(&fs, acks).await.map_err(text) }),
        |disk, acks| on(disk, None, |fs| async move { check(&fs, acks, config(acks.seed())).await }),
    );
}
