//! Nothing that is damaged is handed out, and nothing that is there is kept back in silence.

use super::kit::{Log, Shape, open, random_groups, scanned, sim};
use io_fs::FileSystem;
use io_log::{
    WalError,
    format::{SegmentHeader, segment_name},
    store::{SegmentStore, StoreConfig},
};
use io_sim::SimDisk;

fn log() -> Log {
    Log::new(&Shape { segment_size: 2048, ..Shape::small() }, &random_groups(21, 12, 4, 120))
}

/// Of few bytes, for those who try all of them.
fn little() -> Log {
    let log = Log::new(&Shape { segment_size: 1536, ..Shape::small() }, &random_groups(22, 7, 3, 60));
    assert!(log.files.len() > 3);
    log
}

fn config() -> StoreConfig {
    StoreConfig::new().index_every(512)
}

/// What a store of this disk gives; the error of the scan, or of the opening.
fn outcome(disk: &SimDisk, log: &Log) -> Result<(), WalError> {
    outcome_on(&sim(disk), log, config())
}

fn outcome_on(fs: &FileSystem, log: &Log, config: StoreConfig) -> Result<(), WalError> {
    let store = fs.block_on(SegmentStore::open(fs, "/log", config))?;
    let (records, error) = scanned(fs, &store, 0..u64::MAX);
    let wanted = log.sealed(0..u64::MAX);
    assert_eq!(records, wanted[..records.len()], "what is handed out is right");
    match error {
        Some(error) => Err(error),
        None => {
            assert_eq!(records.len(), wanted.len(), "nothing is missing in silence");
            Ok(())
        }
    }
}

fn is_damage(result: &Result<(), WalError>) -> bool {
    matches!(result, Err(WalError::Damaged(_) | WalError::UnknownVersion { .. }))
}

/// With an index from better days, and without one.
#[test]
fn every_flipped_byte_is_found_or_does_not_matter() {
    let log = little();
    for indexed in [false, true] {
        let (disk, config, mut found) = (log.disk(1), config().index_files(indexed), 0);
        let fs = sim(&disk);
        outcome_on(&fs, &log, config.clone()).unwrap();
        for (name, bytes) in &log.files[..log.files.len() - 1] {
            let path = format!("/log/{name}");
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << (at % 8);
                disk.write_file(&path, &bad).unwrap();
                let result = outcome_on(&fs, &log, config.clone());
                assert!(result.is_ok() || is_damage(&result), "byte {at} of {name}: {result:?}");
                found += usize::from(result.is_err());
            }
            disk.write_file(&path, bytes).unwrap();
        }
        outcome_on(&fs, &log, config).unwrap();
        assert!(found > 600, "{found}");
    }
}

#[test]
fn every_cut_length_is_found() {
    let log = little();
    let (name, bytes) = &log.files[1];
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for indexed in [false, true] {
        let (disk, config) = (log.disk(2), config().index_files(indexed));
        let fs = sim(&disk);
        outcome_on(&fs, &log, config.clone()).unwrap();
        for len in 0..used {
            disk.write_file(format!("/log/{name}"), &bytes[..len]).unwrap();
            let result = outcome_on(&fs, &log, config.clone());
            assert!(is_damage(&result), "{len} bytes: {result:?}");
        }
    }
}

fn remove(disk: &SimDisk, name: &str) {
    let fs = sim(disk);
    fs.block_on(fs.remove_file(format!("/log/{name}"))).unwrap();
}

#[test]
fn a_missing_segment_is_damage_unless_the_log_gave_it_up() {
    let log = log();
    for missing in 1..log.files.len() - 1 {
        let disk = log.disk(3);
        remove(&disk, &log.files[missing].0);
        match outcome(&disk, &log) {
            Err(WalError::Damaged(damage)) => assert_eq!(damage.segment, missing as u64 + 1),
            other => panic!("{other:?}"),
        }
    }
    // What a removal that was not finished leaves in front of a gap is of no value.
    let promised = log.begins[3];
    let shape = Shape { segment_size: 2048, log_start: 1, ..Shape::small() };
    let mut later = Log::new(&shape, &random_groups(21, 12, 4, 120));
    let last = later.files.len() - 1;
    rewrite_log_start(&mut later, last, promised);
    let disk = later.disk(4);
    remove(&disk, &later.files[2].0);
    let fs = sim(&disk);
    let store = open(&fs, "/log", config());
    assert_eq!((store.first_lsn(), store.segments()[0].number), (promised, 4));
    assert_eq!(scanned(&fs, &store, 0..u64::MAX).0, later.sealed(promised..u64::MAX));
}

/// Makes the first group of a segment say that the log begins with this record.
fn rewrite_log_start(log: &mut Log, segment: usize, log_start: u64) {
    use io_log::format::{GroupHeader, Place, RecordKind, Records, encode_group};
    let bytes = &mut log.files[segment].1;
    let header = SegmentHeader::decode(bytes).unwrap();
    let (at, room) = (header.block_size as usize, header.segment_size);
    let place = Place { salt: header.salt, offset: at as u64 };
    let group = GroupHeader::decode(&bytes[at..], place, room).unwrap();
    let records: Vec<Vec<u8>> =
        Records::new(&bytes[at..], &group).map(|record| record.unwrap().data.to_vec()).collect();
    let changed = GroupHeader { log_start, ..group };
    let end = at + group.padded(header.block_size) as usize;
    let records = records.iter().map(|record| (RecordKind::Data, &record[..]));
    encode_group(&mut bytes[at..end], place, &changed, records);
}

#[test]
fn segments_of_others_are_refused_by_name() {
    let log = log();
    let put = |number: u64, bytes: &[u8]| {
        let disk = log.disk(5);
        disk.write_file(format!("/log/{}", segment_name(number)), bytes).unwrap();
        outcome(&disk, &log).unwrap_err().to_string()
    };
    let swapped = put(2, &log.files[2].1);
    assert!(swapped.contains("segment 2") && swapped.contains("another segment"), "{swapped}");
    let mut header = SegmentHeader::decode(&log.files[1].1).unwrap();
    header.log_id = 1;
    let mut bytes = log.files[1].1.clone();
    bytes[..64].copy_from_slice(&header.encode());
    assert!(put(2, &bytes).contains("another log"));
    let mut bytes = log.files[1].1.clone();
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let version = put(2, &bytes);
    assert!(version.contains("version 9"), "{version}");
}

#[test]
fn other_names_are_nobodys_business() {
    let log = log();
    let disk = log.disk(6);
    for name in ["lock", "next.prep", "notes.txt", "wal-1.seg", "wal-00000000000000000001.seg~"] {
        disk.write_file(format!("/log/{name}"), b"?").unwrap();
    }
    outcome(&disk, &log).unwrap();
}

#[test]
fn what_the_system_says_is_passed_on() {
    let disk = log().disk(7);
    let fs = sim(&disk);
    let missing = fs.block_on(SegmentStore::open(&fs, "/nowhere", config())).unwrap_err();
    assert_eq!(std::io::Error::from(missing).kind(), std::io::ErrorKind::NotFound);
    let store = open(&fs, "/log", config());
    disk.fail(io_sim::Which::reads().always(), io_fs::errno::EIO);
    let error = fs.block_on(store.verify()).unwrap_err();
    assert!(matches!(error, WalError::Io { .. }), "{error:?}");
    let answers = fs.block_on(store.read_ranges(&[1..2, 3..4]));
    assert!(answers.iter().all(|answer| matches!(answer, Err(WalError::Io { .. }))));
}

#[test]
fn an_empty_directory_is_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let fs = FileSystem::new().unwrap();
    let store = open(&fs, dir.path(), StoreConfig::new());
    assert_eq!((store.first_lsn(), store.next_lsn(), store.segments()), (1, 1, vec![]));
    assert_eq!(fs.block_on(store.read(1..10)).unwrap(), []);
    assert_eq!(fs.block_on(store.verify()).unwrap(), 0);
}
