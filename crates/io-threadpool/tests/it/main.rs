//! What the operations mean, held against `std::fs`, and how the pool behaves.

mod copying;
mod files;
mod metadata;
mod names;
mod space;
mod transfer;

#[cfg(unix)]
mod locks;
#[cfg(target_os = "linux")]
mod pool;
#[cfg(unix)]
mod readiness;

use io_core::{DriverName, FileHandle, Op, OpenOptions, Output, RawOp};
use io_threadpool::{ThreadPoolOptions, threadpool};
use std::path::PathBuf;

io_testkit::conformance!(
    threadpool_driver,
    io_testkit::RealRig::new(DriverName::ThreadPool, |depth| {
        Ok(Box::new(threadpool(ThreadPoolOptions { depth, ..ThreadPoolOptions::default() })?))
    })
);
io_testkit::properties!(
    histories,
    io_testkit::RealRig::new(DriverName::ThreadPool, |depth| {
        Ok(Box::new(threadpool(ThreadPoolOptions { depth, ..ThreadPoolOptions::default() })?))
    })
);

/// Does one operation on this thread: its result, and the operation settled.
fn run(mut op: Op) -> (i32, Op) {
    let raw = op.raw(0, RawOp::MAX_TRANSFER);
    // SAFETY: the operation owns its memory and files, is alive, and is in nobody else's hands.
    let result = unsafe { io_threadpool::execute(&raw) };
    let moved = if op.kind().is_transfer() { result.max(0) as u64 } else { 0 };
    // SAFETY: `execute` has returned, and says how much it moved.
    unsafe { op.settle(moved, result) };
    (result, op)
}

/// The result alone.
fn result(op: Op) -> i32 {
    run(op).0
}

/// The typed answer of an operation that has to succeed.
#[track_caller]
fn output(op: Op) -> Output {
    let (result, mut op) = run(op);
    assert_eq!(result, 0, "{op:?}");
    op.take_output()
}

/// A directory of the test's own, and a path in it.
fn scratch(name: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temp directory");
    let path = dir.path().join(name);
    (dir, path)
}

/// A new file with these contents, open for reading and writing.
fn file_with(contents: &[u8]) -> (tempfile::TempDir, PathBuf, FileHandle) {
    let (dir, path) = scratch("file");
    std::fs::write(&path, contents).expect("write the file");
    let file = io_threadpool::open(&path, OpenOptions::READ_WRITE).expect("open the file");
    (dir, path, file)
}
