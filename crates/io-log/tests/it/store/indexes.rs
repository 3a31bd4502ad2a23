//! An index is believed as far as it proves itself, and made anew otherwise.

use super::kit::{Log, Shape, open, random_groups, scanned, sim};
use io_log::store::StoreConfig;
use io_sim::{Explorer, SimDisk};

fn log() -> Log {
    Log::new(&Shape::small(), &random_groups(11, 40, 6, 200))
}

fn config() -> StoreConfig {
    StoreConfig::new().index_every(512)
}

fn indexes(disk: &SimDisk) -> Vec<String> {
    let names = disk.files().into_iter().map(|path| path.to_str().unwrap().to_owned());
    names.filter(|name| name.ends_with(".idx")).collect()
}

#[track_caller]
fn reads_all(disk: &SimDisk, log: &Log) {
    let fs = sim(disk);
    let store = open(&fs, "/log", config());
    let (records, error) = scanned(&fs, &store, 0..u64::MAX);
    assert!(error.is_none() && records == log.sealed(0..u64::MAX), "{error:?}");
}

#[test]
fn a_segment_is_read_for_its_index_once() {
    let log = log();
    let disk = log.disk(1);
    let sealed = log.files.len() - 1;
    let read = |config: StoreConfig| {
        let before = disk.counters().bytes_read;
        let fs = sim(&disk);
        let store = open(&fs, "/log", config);
        // One record of each segment.
        let lsns: Vec<_> = log.begins[..sealed].iter().map(|&lsn| lsn..lsn + 1).collect();
        assert!(fs.block_on(store.read_ranges(&lsns)).iter().all(Result::is_ok));
        disk.counters().bytes_read - before
    };
    let (first, second) = (read(config()), read(config()));
    assert_eq!(indexes(&disk).len(), sealed);
    assert!(second + sealed as u64 * 4096 < first, "{first} {second}");
    for name in indexes(&disk) {
        disk.write_file(&name, b"").unwrap();
    }
    assert!(read(config().index_files(false)) >= first, "each open builds them anew");
    assert!(indexes(&disk).iter().all(|name| disk.read_file(name).unwrap().is_empty()), "and writes none");
}

#[test]
fn a_damaged_index_is_made_anew() {
    let log = log();
    let disk = log.disk(2);
    reads_all(&disk, &log);
    let names = indexes(&disk);
    let whole = disk.read_file(&names[0]).unwrap();
    for at in 0..whole.len() {
        let mut bad = whole.clone();
        bad[at] ^= 0x10;
        disk.write_file(&names[0], &bad).unwrap();
        reads_all(&disk, &log);
        assert_eq!(disk.read_file(&names[0]).unwrap(), whole, "byte {at}");
    }
    for len in [0, 1, 63, 64, whole.len() - 1] {
        disk.write_file(&names[0], &whole[..len]).unwrap();
        reads_all(&disk, &log);
    }
    // That of another segment.
    disk.write_file(&names[0], &disk.read_file(&names[1]).unwrap()).unwrap();
    reads_all(&disk, &log);
    assert_eq!(disk.read_file(&names[0]).unwrap(), whole);
}

#[test]
fn a_directory_that_takes_no_index_is_read_all_the_same() {
    let log = log();
    let disk = log.disk(3);
    disk.set_capacity(0);
    reads_all(&disk, &log);
    disk.fail(io_sim::Which::writes().always(), io_fs::errno::EROFS);
    reads_all(&disk, &log);
}

/// Sealing is the index: whatever a power cut leaves of it, the segment is read as it was written, before and after.
#[test]
fn a_power_cut_while_an_index_is_written_harms_nothing() {
    let log = log();
    let explored = Explorer::new(4).runs(2).cuts(6).explore(
        |disk, _acks: &io_sim::Acks<()>| {
            disk.create_dir_all("/log").map_err(|error| error.to_string())?;
            for (name, bytes) in &log.files {
                disk.write_file(format!("/log/{name}"), bytes).map_err(|error| error.to_string())?;
            }
            check(disk, &log)
        },
        |disk, _acks| check(disk, &log),
    );
    let explored = explored.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(explored.points > 20 && explored.states > 50, "{explored:?}");
}

fn check(disk: &SimDisk, log: &Log) -> Result<(), String> {
    let fs = sim(disk);
    // A check is cut itself, at any operation: what it opens may fail then.
    let store = fs.block_on(io_log::store::SegmentStore::open(&fs, "/log", config())).map_err(|e| e.to_string())?;
    let (records, error) = scanned(&fs, &store, 0..u64::MAX);
    match error {
        Some(error) => Err(error.to_string()),
        None if records != log.sealed(0..u64::MAX) => Err(format!("{} records", records.len())),
        None => Ok(()),
    }
}
