//! A store beside a log that goes on: segments are sealed, removed, and used again.

use super::kit::{Log, Shape, open, random_groups, scanned, sim};
use io_log::{
    WalError,
    format::SegmentHeader,
    store::{Retention, StoreConfig},
};
use std::time::{Duration, SystemTime};

fn log() -> Log {
    Log::new(&Shape::small(), &random_groups(31, 60, 5, 300))
}

fn config() -> StoreConfig {
    StoreConfig::new().index_every(512)
}

#[test]
fn what_is_sealed_later_is_there_after_a_refresh() {
    let log = log();
    let dir = tempfile::tempdir().unwrap();
    let fs = io_fs::FileSystem::new().unwrap();
    let add = |n: usize| std::fs::write(dir.path().join(&log.files[n].0), &log.files[n].1).unwrap();
    add(0);
    let store = open(&fs, dir.path(), config());
    assert_eq!(store.segments().len(), 0, "the only segment is not sealed");
    for n in 1..log.files.len() {
        add(n);
        assert_eq!(store.segments().len(), n - 1);
        fs.block_on(store.refresh()).unwrap();
        assert_eq!((store.first_lsn(), store.next_lsn()), (log.first, log.begins[n]));
        assert_eq!(scanned(&fs, &store, 0..u64::MAX).0, log.sealed(0..log.begins[n]));
    }
    // One that was prepared ahead seals nothing.
    let mut header = SegmentHeader::decode(&log.files[0].1).unwrap();
    header.number = log.files.len() as u64 + 1;
    let mut empty = vec![0; 8192];
    empty[..64].copy_from_slice(&header.encode());
    std::fs::write(dir.path().join(io_log::format::segment_name(header.number)), empty).unwrap();
    fs.block_on(store.refresh()).unwrap();
    assert_eq!(store.next_lsn(), log.sealed_end());
}

/// Where several writes are under way at once, a segment's last one may still be when the next segment's first one is there.
#[test]
fn a_segment_is_not_sealed_while_it_may_be_written_to() {
    let log = Log::new(&Shape { behind: 3, ..Shape::small() }, &random_groups(32, 60, 5, 300));
    for segments in 1..log.files.len() {
        let disk = log.disk(1);
        let fs = sim(&disk);
        for (name, _) in &log.files[segments..] {
            fs.block_on(fs.remove_file(format!("/log/{name}"))).unwrap();
        }
        let store = open(&fs, "/log", config());
        assert_eq!(store.segments().len(), segments.saturating_sub(2), "of {segments}");
        let end = store.next_lsn();
        let (records, error) = scanned(&fs, &store, 0..u64::MAX);
        assert!(error.is_none() && records == log.sealed(0..end));
    }
}

#[test]
fn what_was_removed_is_gone_and_so_is_its_index() {
    let log = log();
    let disk = log.disk(1);
    let fs = sim(&disk);
    let store = open(&fs, "/log", config());
    fs.block_on(store.verify()).unwrap();
    let indexes = || disk.files().iter().filter(|path| path.extension().is_some_and(|e| e == "idx")).count();
    assert_eq!(indexes(), log.files.len() - 1);
    for name in [&log.files[0].0, &log.files[1].0] {
        fs.block_on(fs.remove_file(format!("/log/{name}"))).unwrap();
    }
    // It is open still, and may be read as long as nobody looks again.
    assert_eq!(fs.block_on(store.read(1..3)).unwrap(), log.sealed(1..3));
    fs.block_on(store.refresh()).unwrap();
    assert_eq!((store.first_lsn(), indexes()), (log.begins[2], log.files.len() - 3));
    assert!(matches!(fs.block_on(store.read(1..3)), Err(WalError::Truncated { .. })));
    assert_eq!(scanned(&fs, &store, 0..u64::MAX).0, log.sealed(log.begins[2]..u64::MAX));
}

/// A recycled segment is the same file under another name, with other content: who reads on in it must not call that damage.
#[test]
fn a_segment_that_is_used_again_is_gone_and_not_damaged() {
    let log = log();
    let disk = log.disk(2);
    let fs = sim(&disk);
    let store = open(&fs, "/log", config());
    fs.block_on(store.verify()).unwrap();
    let (from, to) = (format!("/log/{}", log.files[0].0), "/log/next.prep");
    fs.block_on(async {
        fs.rename(&from, to).await?;
        let file = fs.open_rw(to).await?;
        let mut header = SegmentHeader::decode(&log.files[0].1).unwrap();
        (header.number, header.salt, header.recycled) = (99, 1234, true);
        let (written, _) = file.write_at(header.encode().to_vec(), 0).await;
        written?;
        let (written, _) = file.write_at(vec![7u8; 2048], 512).await;
        written.map(drop)
    })
    .unwrap();
    for result in [fs.block_on(store.read(1..3)), fs.block_on(store.fetch(1, 100))] {
        assert!(matches!(result, Err(WalError::Truncated { .. })), "{result:?}");
    }
    assert!(matches!(scanned(&fs, &store, 0..u64::MAX), (_, Some(WalError::Truncated { .. }))));
}

#[test]
fn retention_is_whole_segments_from_the_oldest_on() {
    let log = log();
    let dir = tempfile::tempdir().unwrap();
    log.write(dir.path());
    let hour = Duration::from_secs(3600);
    let now = SystemTime::now();
    for (n, (name, _)) in log.files.iter().enumerate() {
        let file = std::fs::File::options().write(true).open(dir.path().join(name)).unwrap();
        file.set_modified(now - hour * (log.files.len() - n) as u32).unwrap();
    }
    let fs = io_fs::FileSystem::new().unwrap();
    let store = open(&fs, dir.path(), config());
    let sealed = log.files.len() - 1;
    assert!(sealed >= 4);
    let bytes = |segments: u64| Retention { bytes_max: Some(segments * 8192), age_max: None };
    assert_eq!(store.expired(&Retention::default(), now), None, "without limits everything stays");
    assert_eq!(store.expired(&bytes(sealed as u64), now), None);
    assert_eq!(store.expired(&bytes(sealed as u64 - 1), now), Some(log.begins[1]));
    assert_eq!(store.expired(&bytes(1), now), Some(log.begins[sealed - 1]));
    assert_eq!(store.expired(&bytes(0), now), Some(log.sealed_end()), "what is not sealed stays");
    // The oldest is as many hours old as there are files.
    let age = |hours: usize| Retention { bytes_max: None, age_max: Some(hour * hours as u32 + hour / 2) };
    assert_eq!(store.expired(&age(log.files.len()), now), None);
    assert_eq!(store.expired(&age(log.files.len() - 2), now), Some(log.begins[2]));
    let both = Retention { bytes_max: bytes(sealed as u64 - 1).bytes_max, ..age(log.files.len() - 2) };
    assert_eq!(store.expired(&both, now), Some(log.begins[2]), "the stricter one counts");
}
