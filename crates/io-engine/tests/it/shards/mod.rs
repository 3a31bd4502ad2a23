//! The futures front end: any thread, any executor, every driver.

mod basics;
mod callers;
mod death;
mod executors;
mod metrics;
mod reaper;
mod storm;
mod threads;
mod together;
mod virtual_time;
mod waiting;

use crate::world::PATIENCE;
use io_engine::{
    DriverOptions, Operation, ShardOptions, Shards,
    core::{Driver, DriverName, FileHandle, IoBuf, IoBufMut, Op, OpenOptions},
    select,
};
use io_testkit::skip;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Drivers of this kind, side by side; `None` where there are none.
fn drivers(name: DriverName, count: usize, depth: u32) -> Option<Vec<Box<dyn Driver>>> {
    let mut wanted = DriverOptions::default();
    wanted.driver = Some(name);
    wanted.one_thread = false;
    wanted.depth = depth;
    let drivers: Result<Vec<_>, _> = (0..count).map(|_| select(&wanted).map(|selected| selected.driver)).collect();
    drivers.inspect_err(|unavailable| skip("shards", name.as_str(), &unavailable.to_string())).ok()
}

fn shards_with(name: DriverName, count: usize, options: ShardOptions) -> Option<Shards> {
    Some(Shards::new(drivers(name, count, 64)?, options).unwrap())
}

/// With one shard and with two.
fn on_every_driver(test: impl Fn(Shards)) {
    on_every_driver_with(ShardOptions::default(), test);
}

fn on_every_driver_with(options: ShardOptions, test: impl Fn(Shards)) {
    for name in DriverName::REAL {
        for count in [1, 2] {
            if let Some(shards) = shards_with(name, count, options) {
                test(shards);
            }
        }
    }
}

/// A file of `len` bytes in which each block of 512 has its own byte.
fn scratch(len: usize) -> (tempfile::TempDir, FileHandle) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, (0..len).map(|i| (i / 512) as u8).collect::<Vec<_>>()).unwrap();
    let file = io_engine::open(&path, OpenOptions::READ_WRITE).unwrap();
    (dir, file)
}

type Transfer<B> = Operation<(io::Result<usize>, B)>;

fn read<B: IoBufMut>(shards: &Shards, file: &FileHandle, buf: B, at: u64) -> Transfer<B> {
    shards.read_at(file, buf, at)
}

fn write<B: IoBuf>(shards: &Shards, file: &FileHandle, buf: B, at: u64) -> Transfer<B> {
    shards.operation(Op::write(file, buf, at), |answer| (answer.result, answer.op.unwrap().into_buf().unwrap()))
}

fn sync(shards: &Shards, file: &FileHandle) -> Operation<io::Result<()>> {
    shards.operation(Op::sync_data(file), |answer| answer.result.map(drop))
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Nothing is in flight, nothing waits, nothing is an orphan, soon.
fn comes_to_rest(shards: &Shards) {
    let until = Instant::now() + PATIENCE;
    while (shards.load(), shards.orphans()) != ((0, 0, 0), (0, 0)) {
        assert!(Instant::now() < until, "{:?}, orphans {:?}\n{:#?}", shards.load(), shards.orphans(), shards.dump());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Fails instead of hanging.
fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, answer) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = done.send(run());
    });
    match answer.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("{what}: lost, or hanging"),
        Err(_) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}
