//! What was done is what is counted, on every driver.

use super::*;
use io_engine::{
    OpMetrics, Via,
    core::{OpKind, errno},
};
use io_sim::{SimDisk, SimOptions, Which};
use std::path::Path;

const ROUNDS: u64 = 40;
const LEN: usize = 1 << 16;

/// An engine that reads nothing at once, so that everything goes to its driver.
fn through_the_driver() -> ShardOptions {
    let mut options = ShardOptions::default();
    options.at_once_max = 0;
    options
}

fn simulated(seed: u64) -> (SimDisk, Shards, FileHandle, FileHandle) {
    let disk = SimDisk::new(SimOptions::seeded(seed));
    disk.write_file("/f", &[3u8; LEN]).unwrap();
    let open = |options| disk.open(Path::new("/f"), options).unwrap();
    let (file, read_only) = (open(OpenOptions::READ_WRITE), open(OpenOptions::READ));
    let shards = Shards::new(vec![Box::new(disk.driver(8))], through_the_driver()).unwrap();
    (disk, shards, file, read_only)
}

/// Some of everything; each wave of reads at once, so that some of them wait.
async fn work(shards: &Shards, file: &FileHandle, read_only: &FileHandle) {
    for i in 0..ROUNDS {
        assert_eq!(write(shards, file, vec![1u8; 512], i * 512).await.0.unwrap(), 512);
        let mut wave: Vec<_> = (0..4).map(|j| read(shards, file, vec![0u8; 1024], (i + j) * 512)).collect();
        let begun: Vec<_> = wave.iter_mut().map(poll_once).collect();
        for (op, begun) in wave.into_iter().zip(begun) {
            let done = match begun {
                Poll::Ready(done) => done,
                Poll::Pending => op.await,
            };
            assert_eq!(done.0.unwrap(), 1024);
        }
    }
    for _ in 0..3 {
        assert_eq!(read(shards, file, vec![0u8; 1024], LEN as u64 - 100).await.0.unwrap(), 100);
    }
    for _ in 0..2 {
        assert!(write(shards, read_only, vec![0u8; 16], 0).await.0.is_err());
    }
    for _ in 0..5 {
        sync(shards, file).await.unwrap();
    }
}

/// The counters of one kind, whoever did it.
fn all_of(shards: &Shards, kind: OpKind) -> [u64; 5] {
    let mut sum = [0; 5];
    for row in shards.metrics().iter().filter(|row| row.kind == kind) {
        assert!(row.inline <= row.count, "{row:?}");
        assert_eq!(row.latency.samples(), row.count, "{row:?}");
        for (sum, n) in sum.iter_mut().zip([row.count, row.failed, row.short, row.bytes, row.latency.samples()]) {
            *sum += n;
        }
    }
    sum
}

fn counts_are_what_was_done(shards: &Shards) {
    let reads = 4 * ROUNDS + 3;
    assert_eq!(all_of(shards, OpKind::Read), [reads, 0, 3, 4 * ROUNDS * 1024 + 300, reads]);
    assert_eq!(all_of(shards, OpKind::Write), [ROUNDS + 2, 2, 0, ROUNDS * 512, ROUNDS + 2]);
    assert_eq!(all_of(shards, OpKind::SyncData), [5, 0, 0, 0, 5]);
    let answered = shards.stats().iter().map(|shard| shard.answered).sum::<u64>();
    assert_eq!(shards.metrics().iter().map(|row| row.count).sum::<u64>(), answered);
    let driver = Via::Driver(shards.driver_name());
    assert!(shards.metrics().iter().all(|row| row.via == driver || row.via == Via::Offload));
}

#[test]
fn counts_are_what_was_done_on_every_driver() {
    on_every_driver_with(through_the_driver(), |shards| {
        let (dir, file) = scratch(LEN);
        let read_only = io_engine::open(dir.path().join("f"), OpenOptions::READ).unwrap();
        in_time("operations to count", move || {
            shards.block_on(work(&shards, &file, &read_only));
            comes_to_rest(&shards);
            counts_are_what_was_done(&shards);
        });
    });
    let (_disk, shards, file, read_only) = simulated(1);
    shards.block_on(work(&shards, &file, &read_only));
    counts_are_what_was_done(&shards);
    let row = |kind| shards.metrics().into_iter().find(|row| row.kind == kind).unwrap();
    assert!(row(OpKind::SyncData).latency.min() > Duration::ZERO, "virtual time has passed");
    assert_eq!(row(OpKind::SyncData).inline, 0);
}

#[test]
fn reads_from_memory_are_counted_and_timed_now_and_then() {
    const READS: u64 = 640;
    on_every_driver(|shards| {
        let (_dir, file) = scratch(LEN);
        in_time("reads from memory", move || {
            shards.block_on(async {
                for i in 0..READS {
                    assert_eq!(read(&shards, &file, Vec::with_capacity(512), i % 100 * 512).await.0.unwrap(), 512);
                }
            });
            comes_to_rest(&shards);
            let rows = shards.metrics();
            let reads: Vec<&OpMetrics> = rows.iter().filter(|row| row.kind == OpKind::Read).collect();
            assert_eq!(reads.iter().map(|row| row.count).sum::<u64>(), READS);
            assert_eq!(reads.iter().map(|row| row.bytes).sum::<u64>(), READS * 512);
            match reads.iter().find(|row| row.via == Via::AtOnce) {
                Some(row) => {
                    assert_eq!((row.inline, row.failed, row.short), (row.count, 0, 0));
                    assert!(row.latency.samples() <= READS / 64, "{row:?}");
                }
                None => io_testkit::skip("shards", "reads at once", "this system serves none"),
            }
        });
    });
}

#[test]
fn errors_of_the_driver_are_counted() {
    let (disk, shards, file, _) = simulated(2);
    disk.fail(Which::kind(OpKind::Write).times(3), errno::ENOSPC);
    shards.block_on(async {
        for _ in 0..5 {
            let _ = write(&shards, &file, vec![1u8; 512], 0).await;
        }
    });
    assert_eq!(all_of(&shards, OpKind::Write), [5, 3, 0, 1024, 5]);
}

#[test]
fn an_operation_is_not_charged_for_the_time_before_it() {
    let (disk, shards, file, _) = simulated(3);
    disk.wedge(Which::reads().times(2));
    // Another engine of the same disk moves time on, of which this one, with something in flight, sees nothing.
    let other = Shards::new(vec![Box::new(disk.driver(8))], through_the_driver()).unwrap();
    let mut wedged = read(&shards, &file, vec![0u8; 512], 0);
    assert!(poll_once(&mut wedged).is_pending());
    let late = other.block_on(read(&other, &file, vec![0u8; 512], 0).with_timeout(Duration::from_secs(5)));
    shards.block_on(async {
        assert_eq!(write(&shards, &file, vec![1u8; 512], 4096).await.0.unwrap(), 512);
        disk.release_wedged();
        assert_eq!(wedged.await.0.unwrap(), 512);
    });
    assert_eq!(other.block_on(late.unwrap_err().ticket).0.unwrap(), 512);
    let longest = |kind| shards.metrics().iter().find(|row| row.kind == kind).unwrap().latency.max();
    assert!(longest(OpKind::Read) >= Duration::from_secs(5), "{:?}", longest(OpKind::Read));
    assert!(longest(OpKind::Write) < Duration::from_secs(1), "{:?}", longest(OpKind::Write));
}

#[test]
fn a_shared_sync_is_one_operation() {
    let (_disk, shards, file, _) = simulated(4);
    shards.block_on(async {
        let mut all: Vec<_> = (0..6).map(|_| sync(&shards, &file)).collect();
        all.iter_mut().for_each(|op| assert!(poll_once(op).is_pending()));
        for op in all {
            op.await.unwrap();
        }
    });
    let syncs = all_of(&shards, OpKind::SyncData)[0];
    assert!((1..=2).contains(&syncs), "{syncs} syncs for six who waited");
}
