//! The same seed, the same run.

use crate::kit::open;
use io_core::{Op, OpenOptions, RenameMode, Wait, errno};
use io_sim::{Fault, SimDisk, SimOptions, TraceEvent, TraceWhat, Which};
use io_testkit::Bench;
use std::time::Duration;

/// A run with a bit of everything; answers its trace, its hash, and what it left.
fn run(seed: u64) -> (Vec<TraceEvent>, u64, Vec<u8>) {
    let disk = SimDisk::new(SimOptions::hostile(seed));
    disk.write_file("/f", &[0; 1 << 16]).unwrap();
    disk.fail(Which::any().chance(0.05).always(), errno::EIO);
    disk.inject(Which::any().chance(0.05).always(), Fault::Slow(Duration::from_millis(1)));
    let file = open(&disk, "/f");
    let mut bench = Bench::new(Box::new(disk.driver(16)));
    for n in 0..300u64 {
        let op = match n % 7 {
            0 | 1 => Op::write(&file, vec![n as u8; 3000], n * 997 % 60_000),
            2 | 3 => Op::read(&file, vec![0; 5000], n * 331 % 60_000),
            4 => Op::sync_data(&file),
            5 => Op::open(format!("/new{n}"), OpenOptions::CREATE).unwrap(),
            _ => Op::rename(format!("/new{}", n - 1), "/newest", RenameMode::Replace).unwrap(),
        };
        let Ok(token) = bench.try_start(op) else {
            bench.reap(Wait::AtMost(Duration::from_micros(50)));
            continue;
        };
        if n % 11 == 0 {
            bench.cancel(token);
        }
    }
    bench.wait_all();
    drop(bench);
    disk.power_cut();
    (disk.trace(), disk.trace_hash(), disk.read_file("/f").unwrap())
}

#[test]
fn equal_seeds_make_equal_traces() {
    for seed in 0..5 {
        let (first, second) = (run(seed), run(seed));
        assert!(first.0 == second.0, "seed {seed}: {:?}", first.0.iter().zip(&second.0).find(|(a, b)| a != b));
        assert_eq!((first.1, first.2), (second.1, second.2), "seed {seed}");
    }
}

#[test]
fn different_seeds_make_different_traces() {
    let (one, other) = (run(1), run(2));
    assert!(one.1 != other.1 && one.0 != other.0);
}

#[test]
fn the_trace_tells_what_happened_in_order() {
    let disk = SimDisk::new(SimOptions::seeded(1));
    disk.write_file("/f", &[0; 512]).unwrap();
    let file = open(&disk, "/f");
    let mut bench = Bench::new(Box::new(disk.driver(1)));
    bench.run(Op::write(&file, vec![0; 100], 7));
    let trace = disk.trace();
    let [accepted, effect, completed] = &trace[..] else { panic!("{trace:?}") };
    assert!(matches!(accepted.what, TraceWhat::Accepted { offset: 7, len: 100, ino: Some(_), .. }));
    assert_eq!(effect.what, TraceWhat::TookEffect);
    assert!(matches!(completed.what, TraceWhat::Completed { result: 100, .. }));
    assert!(accepted.at <= effect.at && effect.at <= completed.at);
    assert_eq!((accepted.moment, disk.moment()), (1, 3));
}

#[test]
fn a_bounded_trace_keeps_the_newest_and_the_same_hash() {
    let hash = |trace_max| {
        let disk = SimDisk::new(SimOptions { trace_max, ..SimOptions::seeded(1) });
        disk.write_file("/f", &[0; 512]).unwrap();
        let file = open(&disk, "/f");
        let mut bench = Bench::new(Box::new(disk.driver(1)));
        for _ in 0..10 {
            bench.run(Op::read(&file, vec![0; 100], 0));
        }
        assert_eq!(disk.trace().len(), trace_max.min(30));
        assert!(trace_max == 0 || disk.trace().last().unwrap().moment == 30);
        disk.trace_hash()
    };
    assert_eq!(hash(0), hash(4));
    assert_eq!(hash(4), hash(1000));
}

#[test]
fn latencies_reorder_and_equal_ones_do_not() {
    let order = |options: SimOptions| {
        let disk = SimDisk::new(options);
        disk.write_file("/f", &[0; 512]).unwrap();
        let file = open(&disk, "/f");
        let mut bench = Bench::new(Box::new(disk.driver(32)));
        let tokens: Vec<_> = (0..32).map(|_| bench.start(Op::read(&file, vec![0; 10], 0))).collect();
        bench.wait_all();
        let completed: Vec<_> = bench.take_done().into_iter().map(|done| done.token).collect();
        assert_eq!(completed.len(), tokens.len());
        completed == tokens
    };
    assert!(!order(SimOptions::seeded(1)));
    let same = Duration::from_micros(5)..=Duration::from_micros(5);
    assert!(order(SimOptions { latency: same, ..SimOptions::seeded(1) }));
}
