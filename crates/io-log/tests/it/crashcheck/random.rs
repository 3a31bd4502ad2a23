//! Random lives: settings, appenders side by side, truncations, closings and reopenings, all drawn from the seed.

use super::{Appender, Note, check, draw, on, text, truncate};
use crate::kit::DIR;
use futures_util::future::try_join_all;
use io_fs::FileSystem;
use io_log::{Sync, Wal, WalConfig, WalError, planted::Bug};
use io_sim::{Acks, Explorer, SimDisk, SimOptions};
use std::time::Duration;

fn config(seed: u64) -> WalConfig {
    let pick = |purpose: u64, below: u64| draw(&[seed, purpose]) % below;
    let mut config = WalConfig::default();
    config.block_size = [512, 512, 4096][pick(1, 3) as usize];
    config.segment_size = u64::from(config.block_size) * [8, 16, 24][pick(2, 3) as usize];
    config.buffer_bytes = [600, 4 << 10, 64 << 10][pick(3, 3) as usize];
    config.group_bytes = [300, 2 << 10, 64 << 10][pick(4, 3) as usize];
    config.recycle = pick(5, 3) as usize;
    config.sync = [Sync::Group, Sync::Group, Sync::Each][pick(6, 3) as usize];
    config.depth = 1 + pick(7, 4) as usize;
    config.direct = pick(8, 4) == 0;
    config.max_delay = (pick(9, 6) == 0).then(|| Duration::from_micros(300));
    config.salt_seed = Some(seed);
    config
}

async fn appender(wal: &Wal, acks: &Acks<Note>, who: u64) -> Result<(), WalError> {
    let mut appender = Appender::new(wal, acks, who);
    for step in 0..2 + draw(&[acks.seed(), who]) % 7 {
        let drawn = draw(&[acks.seed(), who, step]);
        match drawn % 8 {
            0..=2 => appender.append().await?,
            3 => appender.append_many(1 + (drawn >> 8) % 4).await?,
            4..=5 => appender.enqueue().await?,
            6 => appender.flush().await?,
            _ => truncate(wal, acks, (drawn >> 8) % 12).await?,
        }
    }
    appender.flush().await
}

/// One to three openings; each but the last may be closed or just dropped.
async fn workload(fs: &FileSystem, acks: &Acks<Note>) -> Result<(), WalError> {
    let seed = acks.seed();
    for session in 0..1 + draw(&[seed, 20]) % 3 {
        let wal = Wal::open(fs, DIR, config(seed)).await?;
        let appenders = 1 + draw(&[seed, 21, session]) % 4;
        try_join_all((0..appenders).map(|n| appender(&wal, acks, session * 16 + n))).await?;
        if draw(&[seed, 22, session]) % 2 == 0 {
            wal.close().await?;
            acks.note(Note::Closed);
        }
    }
    Ok(())
}

fn explorer(seed: u64) -> Explorer {
    Explorer::new(seed).disk(SimOptions { torn: true, short: 0.05, ..SimOptions::seeded(1) }).cuts(1)
}

fn run(disk: &SimDisk, acks: &Acks<Note>, bug: Option<Bug>) -> Result<(), String> {
    on(disk, bug, |fs| async move { workload(&fs, acks).await.map_err(text) })
}

fn recover(disk: &SimDisk, acks: &Acks<Note>, bug: Option<Bug>) -> Result<(), String> {
    on(disk, bug, |fs| async move { check(&fs, acks, config(acks.seed())).await })
}

#[test]
fn random_lives_lose_nothing() {
    explorer(1).test("random", 300, |disk, acks| run(disk, acks, None), |disk, acks| recover(disk, acks, None));
}

fn caught(bug: Bug, seed: u64) {
    let explorer = explorer(seed).cuts(3).until_points(10_000);
    let found = explorer.explore(|disk, acks| run(disk, acks, Some(bug)), |disk, acks| recover(disk, acks, Some(bug)));
    let failure = found.expect_err("the mistake is not found");
    assert!(failure.repeats, "{failure}");
    println!("{bug:?}: {}: {}, after {}", failure.id, failure.what, failure.explored);
}

#[test]
fn a_directory_that_is_not_synced_is_caught() {
    caught(Bug::NoDirectorySync, 1);
}

#[test]
fn an_early_acknowledgement_is_caught() {
    caught(Bug::AckBeforeSync, 1);
}

#[test]
fn segments_of_one_salt_are_caught() {
    // It takes a segment that is used again, and a cut where the old life's groups would fit. From seed 1 on this is run 11.
    caught(Bug::NoSalt, 3_277_778_862);
}
