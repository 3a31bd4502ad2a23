//! A small write-ahead log on the simulator, crashed at every moment: what it acknowledged is there. And the control: the same
//! log without its syncs is caught losing records.

use crate::kit::{answer, create};
use io_core::{FileHandle, Op, OpenOptions, Output, RwFlags, Wait};
use io_sim::{CrashPoint, SimDisk, SimOptions};
use io_testkit::{Bench, pattern};
use std::collections::BTreeMap;

const RECORD: usize = 256;
const RECORDS_PER_SEGMENT: u64 = 8;
const DEPTH: u32 = 4;

/// How the log makes its records durable.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Durable {
    /// Write, then sync.
    BySync,
    /// `RwFlags::DSYNC`.
    ByWrite,
    /// Not at all: the control.
    Never,
    /// Content, but not the names of new segments: another control.
    WithoutNames,
}

fn record(n: u64) -> Vec<u8> {
    let mut bytes = pattern(n, RECORD);
    bytes[..8].copy_from_slice(&(n + 1).to_le_bytes());
    bytes
}

fn segment(n: u64) -> String {
    format!("/wal/{:04}", n / RECORDS_PER_SEGMENT)
}

/// Runs a transfer to its end, however short its pieces, and anything else once.
fn run(bench: &mut Bench, op: Op) -> i64 {
    if op.kind().is_transfer() { bench.run_whole(op).0 } else { bench.run(op).0 as i64 }
}

/// Appends records; answers at which moment each was acknowledged, and the crash points.
fn workload(seed: u64, durable: Durable, records: u64) -> (BTreeMap<u64, u64>, Vec<CrashPoint>) {
    let disk = SimDisk::new(SimOptions { survivors: Default::default(), ..SimOptions::hostile(seed) });
    disk.create_dir_all("/wal").unwrap();
    disk.record_crash_points(usize::MAX);
    let mut bench = Bench::new(Box::new(disk.driver(DEPTH)));
    let mut acknowledged = BTreeMap::new();
    let mut file: Option<FileHandle> = None;
    for n in 0..records {
        if n % RECORDS_PER_SEGMENT == 0 {
            let (result, mut op) = bench.run(Op::open(segment(n), OpenOptions::CREATE_NEW).unwrap());
            let Output::File(new) = op.take_output() else { panic!("an open answered {result}") };
            file = Some(new);
            if !matches!(durable, Durable::WithoutNames | Durable::Never) {
                assert_eq!(run(&mut bench, Op::sync_dir("/wal").unwrap()), 0);
            }
        }
        let file = file.as_ref().expect("opened above");
        let mut write = Op::write(file, record(n), n % RECORDS_PER_SEGMENT * RECORD as u64);
        if durable == Durable::ByWrite {
            write = write.with_flags(RwFlags::DSYNC);
        }
        assert_eq!(run(&mut bench, write), RECORD as i64);
        if matches!(durable, Durable::BySync | Durable::WithoutNames) {
            assert_eq!(run(&mut bench, Op::sync_data(file)), 0);
        }
        acknowledged.insert(n, disk.moment());
        // Something in flight beside, so that cuts find it under way.
        if n % 3 == 0 {
            let ahead = Op::write(file, vec![0xee; 64], RECORDS_PER_SEGMENT * RECORD as u64);
            bench.start(ahead);
            bench.reap(Wait::No);
            bench.wait_all();
            bench.take_done();
        }
    }
    (acknowledged, disk.take_crash_points())
}

/// The number of the first acknowledged record that is not there.
fn first_loss(left: &SimDisk, moment: u64, acknowledged: &BTreeMap<u64, u64>) -> Option<u64> {
    let due = acknowledged.iter().filter(|&(_, &at)| at <= moment).map(|(&n, _)| n);
    let there = |n: u64| {
        let bytes = left.read_file(segment(n)).unwrap_or_default();
        let at = (n % RECORDS_PER_SEGMENT) as usize * RECORD;
        bytes.get(at..at + RECORD).is_some_and(|bytes| bytes == record(n))
    };
    due.into_iter().find(|&n| !there(n))
}

/// Crash states looked at, and those that have lost something.
fn crash(seeds: u64, durable: Durable) -> (u64, u64) {
    let (mut states, mut losses) = (0, 0);
    for seed in 0..seeds {
        let (acknowledged, points) = workload(seed, durable, 20);
        for point in &points {
            for cut in 0..3 {
                let left = point.after_power_cut(seed * 1000 + cut);
                states += 1;
                if let Some(n) = first_loss(&left, point.moment(), &acknowledged) {
                    losses += 1;
                    let sound = matches!(durable, Durable::BySync | Durable::ByWrite);
                    assert!(!sound, "seed {seed}, cut {cut}, {point:?}: record {n} was acknowledged and is lost");
                }
            }
        }
    }
    (states, losses)
}

#[test]
fn what_was_acknowledged_after_a_sync_is_always_there() {
    let (states, _) = crash(8, Durable::BySync);
    assert!(states > 1000, "{states}");
}

#[test]
fn what_was_acknowledged_after_a_durable_write_is_always_there() {
    let (states, _) = crash(8, Durable::ByWrite);
    assert!(states > 1000, "{states}");
}

#[test]
fn without_syncs_the_loss_is_found() {
    let (states, losses) = crash(3, Durable::Never);
    assert!(losses > states / 4, "{losses} of {states}");
}

#[test]
fn without_the_sync_of_the_directory_the_loss_is_found() {
    let (states, losses) = crash(3, Durable::WithoutNames);
    assert!(losses > states / 10, "{losses} of {states}");
}

/// Recovery is a workload like any other: it may be cut, too, and starts again from what it left.
#[test]
fn a_disk_that_was_cut_can_be_cut_again() {
    let (_, points) = workload(1, Durable::BySync, 10);
    let point = points.last().expect("there was a workload");
    let once = point.after_power_cut(5);
    drop(create(&once, "/recovered"));
    assert!(matches!(answer(&once, Op::sync_dir("/").unwrap()), Output::None));
    let before = once.read_file("/wal/0000").unwrap();
    for seed in 0..50 {
        let twice = once.fork_after_power_cut(seed);
        assert_eq!(twice.read_file("/wal/0000").unwrap(), before, "all that a cut leaves is durable");
        assert_eq!(twice.files().len(), once.files().len());
    }
}
