//! What the tests share.

use io_core::{FileHandle, Op, OpenOptions, Output};
use io_sim::SimDisk;
use io_testkit::Bench;

/// A bench on a new driver of the disk.
pub(crate) fn bench(disk: &SimDisk, depth: u32) -> Bench {
    Bench::new(Box::new(disk.driver(depth)))
}

/// Runs one operation on a driver of its own, and insists on its success.
#[track_caller]
pub(crate) fn done(disk: &SimDisk, op: Op) -> (i32, Op) {
    let what = format!("{op:?}");
    let (result, op) = bench(disk, 1).run(op);
    assert!(result >= 0, "{what} answered {result}");
    (result, op)
}

/// Runs one operation on a driver of its own, and insists on its failure.
#[track_caller]
pub(crate) fn refused(disk: &SimDisk, op: Op) -> i32 {
    let what = format!("{op:?}");
    let (result, _) = bench(disk, 1).run(op);
    assert!(result < 0, "{what} answered {result}");
    -result
}

/// The typed answer of an operation that succeeds.
#[track_caller]
pub(crate) fn answer(disk: &SimDisk, op: Op) -> Output {
    done(disk, op).1.take_output()
}

/// A new file, opened through the driver: neither content nor name is durable.
#[track_caller]
pub(crate) fn create(disk: &SimDisk, path: &str) -> FileHandle {
    match answer(disk, Op::open(path, OpenOptions::CREATE_NEW).unwrap()) {
        Output::File(file) => file,
        other => panic!("an open answered {other:?}"),
    }
}

/// An existing file.
#[track_caller]
pub(crate) fn open(disk: &SimDisk, path: &str) -> FileHandle {
    disk.open(path, OpenOptions::READ_WRITE).unwrap()
}

/// What a look at each of `count` possible disks after a power cut finds, sorted, each finding once.
pub(crate) fn outcomes<T: Ord>(disk: &SimDisk, count: u64, look: impl Fn(&SimDisk) -> T) -> Vec<T> {
    let mut found: Vec<T> = disk.crash_states(count, 1000).map(|left| look(&left)).collect();
    found.sort();
    found.dedup();
    found
}

/// The content of a file, or none if it is not there.
pub(crate) fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.read_file(path).ok()
}
