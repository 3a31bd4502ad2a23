//! A store beside the log that fills its segments, through rotation, removal and power cuts.

use super::kit::{open, scanned, sim};
use bytes::Bytes;
use io_fs::FileSystem;
use io_log::{
    Lsn, Record, Wal, WalConfig, WalError,
    store::{SegmentStore, StoreConfig},
};
use io_sim::{Acks, Explorer, SimDisk, SimOptions};

fn log_config() -> WalConfig {
    let mut config = WalConfig::default();
    (config.segment_size, config.block_size, config.salt_seed) = (32 << 10, 512, Some(7));
    config
}

fn config() -> StoreConfig {
    StoreConfig::new().index_every(1024)
}

fn record(n: u64) -> Bytes {
    Bytes::from(format!("record {n} ").repeat(1 + (n % 60) as usize))
}

fn records(lsns: std::ops::Range<Lsn>) -> Vec<Record> {
    lsns.map(|lsn| Record { lsn, data: record(lsn) }).collect()
}

#[test]
fn a_store_keeps_up_with_its_log() {
    let disk = SimDisk::new(SimOptions::seeded(1));
    let fs = sim(&disk);
    let wal = fs.block_on(Wal::open(&fs, "/log", log_config())).unwrap();
    let store = open(&fs, "/log", config());
    let mut sealed = 0;
    for n in 1..=600 {
        fs.block_on(wal.append(record(n))).unwrap();
        fs.block_on(store.refresh()).unwrap();
        assert!(store.next_lsn() <= n + 1 && store.next_lsn() + 200 > n, "{store:?}");
        if store.segments().len() > sealed {
            sealed = store.segments().len();
            reads(&fs, &store, 1);
        }
    }
    assert!(sealed > 5);
    // What the log gives up goes, and what it uses again is not mistaken for what it was.
    let (cut, before) = (store.segments()[3].lsns.start, store.segments()[0].lsns.clone());
    fs.block_on(wal.truncate_before(cut)).unwrap();
    store.forget_before(wal.first_lsn());
    assert_eq!((wal.first_lsn(), store.first_lsn()), (cut, cut));
    let gone = fs.block_on(store.read(before));
    assert!(matches!(gone, Err(WalError::Truncated { first_lsn }) if first_lsn == cut), "{gone:?}");
    for n in 601..=1200 {
        fs.block_on(wal.append(record(n))).unwrap();
    }
    fs.block_on(store.refresh()).unwrap();
    assert_eq!(store.first_lsn(), cut);
    reads(&fs, &store, cut);
}

#[track_caller]
fn reads(fs: &FileSystem, store: &SegmentStore, from: Lsn) {
    let (found, error) = scanned(fs, store, 0..Lsn::MAX);
    assert!(error.is_none() && found == records(from..store.next_lsn()), "{} records, {error:?}", found.len());
}

/// Whatever a power cut leaves, sealed is sealed: a store reads it before the log has recovered, and after, and no acknowledged record
/// is missing between the two of them.
#[test]
fn sealed_segments_are_whole_after_a_power_cut() {
    let run = |disk: &SimDisk, acks: &Acks<Lsn>| {
        let fs = sim(disk);
        let work = async {
            let wal = Wal::open(&fs, "/log", log_config()).await?;
            let store = SegmentStore::open(&fs, "/log", config()).await?;
            for n in 1..=40 {
                // A few to a segment.
                let many = (0..8).map(|part| record(n * 8 + part - 7));
                let lsns = wal.append_many(many).await?;
                acks.note(lsns.end - 1);
                store.refresh().await?;
                store.verify().await?;
                if n == 30 {
                    wal.truncate_before(store.next_lsn() - 1).await?;
                    store.forget_before(wal.first_lsn());
                }
            }
            Ok::<_, WalError>(())
        };
        fs.block_on(work).map_err(|error| error.to_string())
    };
    let check = |disk: &SimDisk, acks: &Acks<Lsn>| {
        let fs = sim(disk);
        let checked = fs.block_on(check(&fs, acks.given().iter().copied().max().unwrap_or(0)));
        checked.map_err(|error| error.to_string())
    };
    let explored = Explorer::new(5).cuts(3).explore(run, check).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(explored.points > 300 && explored.states > 500, "{explored:?}");
}

async fn check(fs: &FileSystem, acked: Lsn) -> Result<(), String> {
    let said = |error: WalError| error.to_string();
    // There may be no directory yet.
    let early = SegmentStore::open(fs, "/log", config()).await;
    if let Ok(early) = &early {
        whole(early).await?;
    }
    let wal = Wal::open(fs, "/log", log_config()).await.map_err(said)?;
    let store = SegmentStore::open(fs, "/log", config()).await.map_err(said)?;
    whole(&store).await?;
    if early.is_ok_and(|early| early.next_lsn() > store.next_lsn()) {
        return Err("what was sealed is not any more".into());
    }
    if wal.next_lsn() <= acked {
        return Err(format!("{acked} were acknowledged, {wal:?}"));
    }
    let mut rest = wal.reader(store.next_lsn().max(wal.first_lsn()));
    let mut due = store.next_lsn().max(wal.first_lsn());
    while let Some(found) = rest.next().await {
        let found = found.map_err(said)?;
        if (found.lsn, &found.data) != (due, &record(due)) {
            return Err(format!("record {due} is {found:?}"));
        }
        due += 1;
    }
    if due == wal.next_lsn() { Ok(()) } else { Err(format!("the log ends with {due}, {wal:?}")) }
}

/// All that is sealed is there and as it was written.
async fn whole(store: &SegmentStore) -> Result<(), String> {
    let (mut scan, mut due) = (store.scan(0..Lsn::MAX), store.first_lsn());
    while let Some(found) = scan.next().await {
        let found = found.map_err(|error| error.to_string())?;
        if (found.lsn, &found.data) != (due, &record(due)) {
            return Err(format!("sealed record {due} is {found:?}"));
        }
        due += 1;
    }
    if due == store.next_lsn() { Ok(()) } else { Err(format!("sealed records end with {due}, {store:?}")) }
}
