//! What is read is what was written, whichever way it is read.

use super::kit::{Log, Random, Shape, open, random_groups, scanned, sim};
use futures_util::StreamExt as _;
use io_fs::FileSystem;
use io_log::{
    WalError,
    store::{SegmentStore, StoreConfig},
};
use std::ops::Range;

/// Settings that make everything happen in small logs: one cell a group, transfers of few cells, few open segments.
fn narrow() -> StoreConfig {
    StoreConfig::new().index_every(512).transfer_max(4096).read_ahead(3).open_max(2).buffer_bytes(64 << 10)
}

fn ranges(log: &Log, random: &mut Random, count: usize) -> Vec<Range<u64>> {
    let range = |_| {
        let start = log.first + random.below(log.next() - log.first + 3);
        start..start + random.below(12)
    };
    (0..count).map(range).collect()
}

fn logs() -> Vec<Log> {
    vec![
        Log::new(&Shape::small(), &random_groups(1, 60, 5, 300)),
        Log::new(&Shape { first: 1000, log_start: 1000, ..Shape::small() }, &random_groups(2, 40, 40, 20)),
        // Groups that are larger than a transfer.
        Log::new(
            &Shape { block_size: 4096, segment_size: 64 << 10, ..Shape::small() },
            &random_groups(3, 40, 3, 12_000),
        ),
        // Records without data.
        Log::new(&Shape::small(), &random_groups(4, 50, 9, 0)),
    ]
}

#[test]
fn every_way_to_read_gives_what_was_written() {
    for (n, log) in logs().into_iter().enumerate() {
        assert!(log.files.len() > 3, "log {n} has {} segments", log.files.len());
        for config in [narrow(), narrow().direct(true).index_files(false), StoreConfig::new()] {
            let (disk, mut random) = (log.disk(n as u64), Random(99));
            let fs = sim(&disk);
            let store = open(&fs, "/log", config);
            assert_eq!((store.first_lsn(), store.next_lsn()), (log.first, log.sealed_end()));
            let (all, error) = scanned(&fs, &store, 0..u64::MAX);
            assert!(error.is_none() && all == log.sealed(0..u64::MAX), "log {n}: {error:?}");
            let ranges = ranges(&log, &mut random, 50);
            for range in &ranges {
                let read = fs.block_on(store.read(range.clone())).unwrap();
                assert_eq!(read, log.sealed(range.clone()), "log {n}, {range:?}");
                assert_eq!(scanned(&fs, &store, range.clone()).0, read);
            }
            let batch = fs.block_on(store.read_ranges(&ranges));
            for (range, read) in ranges.iter().zip(batch) {
                assert_eq!(read.unwrap(), log.sealed(range.clone()), "log {n}, {range:?} of a batch");
            }
            assert_eq!(fs.block_on(store.verify()).unwrap(), log.sealed_end() - log.first);
        }
    }
}

#[test]
fn a_fetch_is_bounded_by_bytes_and_goes_on_where_the_last_one_ended() {
    let log = &logs()[0];
    let (disk, max) = (log.disk(5), 700);
    let fs = sim(&disk);
    let store = open(&fs, "/log", narrow());
    let (mut from, mut fetches) = (log.first, 0);
    loop {
        let records = fs.block_on(store.fetch(from, max)).unwrap();
        let bytes: usize = records.iter().map(|record| record.data.len()).sum();
        assert!(bytes <= max);
        let next = from + records.len() as u64;
        assert_eq!(records, log.sealed(from..next));
        if records.is_empty() {
            break;
        }
        // The next record would have been too much.
        if next < log.sealed_end() {
            assert!(bytes + log.record(next).data.len() > max, "{from}..{next}");
        }
        (from, fetches) = (next, fetches + 1);
    }
    assert_eq!(from, log.sealed_end());
    assert!(fetches > 10);
    let one = fs.block_on(store.fetch(log.first, 0)).unwrap();
    assert_eq!(one, [log.record(log.first)], "one record, however large");
}

#[test]
fn a_batch_reads_each_place_once() {
    let log =
        Log::new(&Shape { block_size: 4096, segment_size: 1 << 20, ..Shape::small() }, &random_groups(6, 300, 4, 3000));
    let disk = log.disk(1);
    let fs = sim(&disk);
    let store = open(&fs, "/log", StoreConfig::new().index_every(4096));
    fs.block_on(store.verify()).unwrap();
    let lsns: Vec<_> = (log.first..log.sealed_end()).flat_map(|lsn| [lsn..lsn + 1, lsn..lsn + 2]).collect();
    let before = disk.counters();
    let answers = fs.block_on(store.read_ranges(&lsns));
    let after = disk.counters();
    assert!(answers.iter().all(Result::is_ok));
    let bytes: u64 = store.segments().iter().map(|segment| segment.bytes).sum();
    assert!(after.bytes_read - before.bytes_read <= bytes, "no cell is read twice");
    assert!(after.reads - before.reads <= 2 * store.segments().len() as u64, "neighbours are one transfer");
}

#[test]
fn buffers_are_windows_bounded_and_given_back() {
    let log =
        Log::new(&Shape { block_size: 4096, segment_size: 1 << 20, ..Shape::small() }, &random_groups(7, 600, 8, 3000));
    assert!(log.files.len() > 4);
    let disk = log.disk(2);
    let fs = sim(&disk);
    let config = StoreConfig::new().transfer_max(64 << 10).read_ahead(4).buffer_bytes(1 << 20);
    let store = open(&fs, "/log", config);
    fs.block_on(store.verify()).unwrap();
    let stats = store.buffers();
    let large = stats.classes.iter().find(|class| class.size == 64 << 10).unwrap();
    assert!(large.high_water <= 6, "four ahead, one being used, one record: {large:?}");
    assert_eq!((stats.heap, stats.classes.iter().map(|class| class.out).sum::<u32>()), (0, 0));

    let records = fs.block_on(store.read(log.first..log.first + 50)).unwrap();
    let out = |store: &SegmentStore| store.buffers().classes.iter().map(|class| class.out).sum::<u32>();
    assert!(out(&store) >= 1, "the records are windows into buffers of the pool");
    let starts: Vec<_> = records.iter().map(|record| record.data.as_ptr() as usize).collect();
    assert!(starts.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 64 << 10).count() > 40, "of the same ones");
    drop(records);
    assert_eq!(out(&store), 0);
}

#[test]
fn what_is_in_front_of_the_first_record_is_gone_and_what_is_behind_the_last_is_not_there_yet() {
    let log = Log::new(&Shape { first: 50, log_start: 50, ..Shape::small() }, &random_groups(8, 60, 3, 300));
    let disk = log.disk(3);
    let fs = sim(&disk);
    let store = open(&fs, "/log", narrow());
    let gone = |result: Result<Vec<io_log::Record>, WalError>| match result {
        Err(WalError::Truncated { first_lsn }) => first_lsn,
        other => panic!("{other:?}"),
    };
    assert_eq!(gone(fs.block_on(store.read(7..60))), 50);
    assert_eq!(gone(fs.block_on(store.fetch(49, 100))), 50);
    assert!(matches!(scanned(&fs, &store, 1..60), (records, Some(WalError::Truncated { .. })) if records.is_empty()));
    let end = log.sealed_end();
    assert_eq!(fs.block_on(store.read(end..end + 10)).unwrap(), []);
    assert_eq!(fs.block_on(store.fetch(end, 100)).unwrap(), []);
    assert!(log.next() > end, "there are records that are not sealed");
}

/// The same on a real disk, buffered and direct, under the executors that people have.
#[test]
fn every_executor_reads_the_same() {
    let log = Log::new(
        &Shape { block_size: 4096, segment_size: 256 << 10, ..Shape::small() },
        &random_groups(9, 200, 6, 2000),
    );
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    log.write(dir.path());
    let fs = FileSystem::new().unwrap();
    let wanted = log.sealed(0..u64::MAX);
    for direct in [false, true] {
        let all = || async {
            let store = SegmentStore::open(&fs, dir.path(), StoreConfig::new().direct(direct)).await.unwrap();
            let records: Vec<_> = store.scan(0..u64::MAX).map(Result::unwrap).collect().await;
            records
        };
        assert!(fs.block_on(all()) == wanted);
        assert!(smol::block_on(all()) == wanted);
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        assert!(tokio.block_on(all()) == wanted);
    }
}
