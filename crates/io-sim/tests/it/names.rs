//! Random histories of names, cut at random: nothing is lost that was there and that nobody removed, and nothing is there twice.

use io_core::{FileKind, Op, OpenOptions, Output, RenameMode};
use io_sim::{SimDisk, SimOptions};
use io_testkit::Bench;
use std::collections::BTreeSet;

/// Chance enough for choosing what to do next.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// One of 39 paths, so that files and directories meet again and again under the same names.
fn path(dice: &mut Dice) -> String {
    (0..=dice.below(3)).map(|_| ["/a", "/b", "/c"][dice.below(3)]).collect()
}

/// A disk with a few durable directories and files.
fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(SimOptions::seeded(seed).without_latency());
    for dir in ["/a/a", "/a/b", "/b"] {
        disk.create_dir_all(dir).unwrap();
    }
    for (n, file) in ["/c", "/a/c", "/a/a/c", "/a/b/c", "/b/a", "/b/c"].iter().enumerate() {
        disk.write_file(file, format!("file {n}").as_bytes()).unwrap();
    }
    disk
}

/// The contents of all files, each of which is one of its kind.
fn contents(disk: &SimDisk) -> Vec<Vec<u8>> {
    disk.files().iter().map(|file| disk.read_file(file).unwrap()).collect()
}

/// One step of a history; answers true if it may have removed a file. Many are refused.
fn step(bench: &mut Bench, dice: &mut Dice) -> bool {
    let (from, to) = (path(dice), path(dice));
    let (op, removes) = match dice.below(20) {
        0..=8 => (Op::rename(from, to, RenameMode::NoReplace), false),
        9 => (Op::rename(from, to, RenameMode::Replace), true),
        10 => (Op::rename(from, to, RenameMode::Exchange), false),
        11..=13 => (Op::make_dir(from, 0o755), false),
        14 | 15 => (Op::remove_dir(from), false),
        16 => (Op::unlink(from), true),
        // Its name was never durable, so nobody asks for it.
        17 => (Op::open(from, OpenOptions::CREATE_NEW), false),
        18 => (Op::sync_dir(from), false),
        _ => (Op::sync_dir("/"), false),
    };
    let (result, _) = bench.run(op.unwrap());
    removes && result >= 0
}

#[test]
fn what_nobody_removed_is_there_exactly_once() {
    let mut lives = 0;
    for seed in 0..300 {
        let (disk, mut dice) = (disk(seed), Dice(seed));
        let mut bench = Bench::new(Box::new(disk.driver(1)));
        let mut there: BTreeSet<Vec<u8>> = contents(&disk).into_iter().collect();
        assert_eq!(there.len(), 6);
        for n in 0..80 {
            if step(&mut bench, &mut dice) {
                let left: BTreeSet<Vec<u8>> = contents(&disk).into_iter().collect();
                there.retain(|file| left.contains(file));
            }
            for cut in 0..3 {
                let left = contents(&disk.fork_after_power_cut(seed * 1000 + n * 10 + cut));
                for file in &there {
                    let times = left.iter().filter(|other| *other == file).count();
                    let name = String::from_utf8_lossy(file);
                    assert_eq!(times, 1, "seed {seed}, step {n}, cut {cut}: {name} is there {times} times");
                }
            }
        }
        lives += there.len();
    }
    assert!(lives > 150, "{lives} files lived to see the end");
}

#[test]
fn with_every_directory_synced_nothing_is_undecided() {
    for seed in 0..50 {
        let (disk, mut dice) = (disk(seed), Dice(seed));
        let mut bench = Bench::new(Box::new(disk.driver(1)));
        for _ in 0..200 {
            step(&mut bench, &mut dice);
        }
        let mut dirs = vec![std::path::PathBuf::from("/")];
        while let Some(dir) = dirs.pop() {
            assert_eq!(bench.run(Op::sync_dir(&dir).unwrap()).0, 0);
            let (_, mut op) = bench.run(Op::read_dir(&dir).unwrap());
            let Output::Entries(entries) = op.take_output() else { panic!("{dir:?} has no entries") };
            let below = entries.into_iter().filter(|entry| entry.kind == FileKind::Dir);
            dirs.extend(below.map(|entry| dir.join(entry.name)));
        }
        let names = disk.files();
        for cut in 0..10 {
            assert_eq!(disk.fork_after_power_cut(cut).files(), names, "seed {seed}");
        }
    }
}
