//! Who owns what, how long: drivers that come and go, threads that exit, buffers that are released, processes that fork.

use crate::{BLOCK, Bench, Cx, GuardBuf, bytes::assert_same, pattern};
use io_core::{FileHandle, Op, OpKind, Wait, errno};
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

fn read(file: &FileHandle, blocks: usize) -> Op {
    Op::read(file, GuardBuf::with_capacity(blocks * BLOCK), 0)
}

fn start(bench: &mut Bench, count: usize, op: impl Fn() -> Op) {
    for _ in 0..count {
        bench.start(op());
    }
}

/// A driver that never had anything to do, or has done it, can be dropped.
pub fn dropped_idle(cx: &Cx<'_>) {
    drop(cx.bench(8));
    let mode = cx.modes(&[OpKind::Read])[0];
    let mut bench = cx.bench(8);
    let (_, file) = cx.file(mode, &pattern(1, BLOCK));
    assert_eq!(bench.run(read(&file, 1)).0, BLOCK as i32);
    let _ = bench.driver().arm(true);
    drop(bench);
}

/// Buffers are released the moment their operation has completed, over thousands of operations: whoever touches one later gets
/// `EFAULT`, faults, or changes a canary that is checked at the end. Sanitizers do not see this.
pub fn released_buffers_are_left_alone(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(16);
        let contents = pattern(1, 16 * BLOCK);
        let (name, file) = cx.file(mode, &contents);
        for i in 0..3000usize {
            let (block, len) = (i % 16, i % 3 + 1);
            let block = block.min(16 - len);
            let op = match i % 4 {
                0 => Op::write(
                    &file,
                    GuardBuf::copy_of(&contents[block * BLOCK..][..len * BLOCK]),
                    (block * BLOCK) as u64,
                ),
                _ => Op::read(&file, GuardBuf::with_capacity(len * BLOCK), (block * BLOCK) as u64),
            };
            bench.start(op);
            if bench.in_flight() == 16 {
                bench.wait_for(1);
            }
            for done in bench.take_done() {
                assert_eq!(done.result as u64, done.op.len());
                let at = done.op.offset() as usize;
                let buf = done.op.into_buf::<GuardBuf>().unwrap();
                assert_same("its bytes", &buf, &contents[at..at + buf.len()]);
            }
        }
        bench.wait_all();
        assert_same("the file", &cx.contents(&name), &contents);
    }
}

/// Dropped as the core drops one: drained first. All that was started completes.
pub fn drained_before_the_drop(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        for submit_first in [false, true] {
            let mut bench = cx.bench(16);
            let (name, file) = cx.file(mode, &pattern(1, 64 * BLOCK));
            start(&mut bench, 16, || read(&file, 64));
            if submit_first {
                bench.reap(Wait::No);
            }
            drop((bench, file));
            if let Some(open) = cx.disk().times_open(&name) {
                assert_eq!(open, 0, "an operation was leaked with its file");
            }
        }
    }
}

/// Dropped with operations in flight, which the core does only when it gives up: no crash, no hang, and what the system may
/// still touch stays in place (cloud-hypervisor#8408: closing the ring does not finish its operations). Its neighbours and
/// successors do not notice.
pub fn dropped_with_operations_in_flight(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let contents = pattern(2, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let (name, target) = cx.file(mode, &contents);
        let mut neighbour = cx.bench(4);
        for submit_first in [true, false, true] {
            let mut bench = cx.bench(16);
            for i in 0..16 {
                bench.start(match i % 2 {
                    0 => read(&file, 64),
                    _ => Op::write(&target, GuardBuf::copy_of(&contents[..8 * BLOCK]), 0),
                });
            }
            if submit_first {
                bench.reap(Wait::No);
            }
            let begun = Instant::now();
            bench.abandon();
            assert!(begun.elapsed() < Duration::from_secs(20), "the drop took {:?}", begun.elapsed());
            assert_eq!(neighbour.run(read(&file, 64)).0, 64 * BLOCK as i32);
            let mut successor = cx.bench(16);
            let (read, op) = successor.run(read(&file, 64));
            assert_eq!(read, 64 * BLOCK as i32);
            assert_same("a later read", &op.into_buf::<GuardBuf>().unwrap(), &contents);
        }
        // The abandoned writes wrote what was there, or nothing.
        assert_same("the file", &cx.contents(&name), &contents);
    }
}

/// The user lets go of a file while operations on it fly: they hold it, and the driver does not hold it longer than they do.
/// liburing#782: files are resolved late, and a close raced with that.
pub fn files_live_as_long_as_their_operations(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let contents = pattern(3, 16 * BLOCK);
        let (name, file) = cx.file(mode, &contents);
        for submit_first in [true, false] {
            let file = cx.disk().open(&name, mode.of(io_core::OpenOptions::READ)).unwrap();
            start(&mut bench, 8, || read(&file, 16));
            if submit_first {
                bench.reap(Wait::No);
            }
            drop(file);
            bench.wait_all();
            for done in bench.take_done() {
                assert_eq!(done.result, 16 * BLOCK as i32);
                assert_same("what was read", &done.op.into_buf::<GuardBuf>().unwrap(), &contents);
            }
        }
        drop(file);
        if let Some(open) = cx.disk().times_open(&name) {
            assert_eq!(open, 0, "the driver keeps the file open");
        }
    }
}

/// Drivers come and go; their descriptors, mappings and threads go with them.
pub fn nothing_is_left_behind(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to count descriptors and threads");
    #[cfg(target_os = "linux")]
    {
        let mode = cx.modes(&[OpKind::Read])[0];
        let (_, file) = cx.file(mode, &pattern(4, BLOCK));
        let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).map_or(0, Iterator::count);
        let maps = || std::fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count());
        let one = || {
            let mut bench = cx.bench(8);
            let _readiness = bench.driver().readiness();
            assert_eq!(bench.run(Op::read(&file, io_core::AlignedBuf::with_capacity(BLOCK), 0)).0, BLOCK as i32);
        };
        // In a process without other tests.
        cx.in_child(&crate::confine::Confinement::none(), || {
            (0..5).for_each(|_| one());
            let before = (count("fd"), count("task"), maps());
            (0..50).for_each(|_| one());
            // What the kernel tears down later it may tear down later, but it has to.
            let bound = Instant::now() + Duration::from_secs(20);
            loop {
                let now = (count("fd"), count("task"), maps());
                if now.0 <= before.0 && now.1 <= before.1 && now.2 <= before.2 + 20 {
                    break;
                }
                assert!(
                    Instant::now() < bound,
                    "descriptors, threads, mappings: {now:?} after 50 drivers, {before:?} before"
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        });
    }
}

fn needs_any_thread(cx: &Cx<'_>) {
    if cx.rig().owner_thread() {
        cx.skip("the driver belongs to the thread that made it");
    }
}

/// Runs one step of a bench's life in a thread of its own.
fn on_a_thread<T: Send>(bench: &mut Bench, step: impl FnOnce(&mut Bench) -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(|| step(bench)).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Prepared here, submitted there, reaped elsewhere: one thread at a time, and never the same.
pub fn handed_from_thread_to_thread(cx: &Cx<'_>) {
    needs_any_thread(cx);
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let contents = pattern(5, BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for _ in 0..30 {
            on_a_thread(&mut bench, |bench| start(bench, 4, || read(&file, 1)));
            // This thread lives on, so nothing that it submits is cancelled by its exit.
            bench.reap(Wait::No);
            let done = on_a_thread(&mut bench, |bench| {
                bench.wait_all();
                bench.take_done()
            });
            assert_eq!(done.len(), 4);
            for done in done {
                assert_eq!(done.result, BLOCK as i32);
                assert_same("the block", &done.op.into_buf::<GuardBuf>().unwrap(), &contents);
            }
        }
    }
}

/// The thread that submitted exits before the completions come. They come all the same, once each: in full, or as `ECANCELED`
/// or `EFAULT`, which is what the kernel makes of the work it had queued for that thread. Runtimes retire threads all the time.
pub fn the_submitting_thread_exits(cx: &Cx<'_>) {
    needs_any_thread(cx);
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(32);
        let contents = pattern(6, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for _ in 0..10 {
            on_a_thread(&mut bench, |bench| {
                start(bench, 32, || read(&file, 64));
                bench.reap(Wait::No);
            });
            bench.wait_all();
            let done = bench.take_done();
            assert_eq!(done.len(), 32);
            for done in done {
                if [errno::ECANCELED, errno::EFAULT].contains(&-done.result) {
                    continue;
                }
                assert!(done.result > 0, "{}", done.result);
                let buf = done.op.into_buf::<GuardBuf>().unwrap();
                assert_same("what was read", &buf, &contents[..done.result as usize]);
            }
        }
    }
}

/// Behind a mutex, by several threads in turn: no answer is mixed up.
pub fn shared_behind_a_mutex(cx: &Cx<'_>) {
    needs_any_thread(cx);
    for mode in cx.modes(&[OpKind::Read]) {
        let contents = pattern(7, 16 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let bench = Mutex::new(cx.bench(8));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (bench, file, contents) = (&bench, &file, &contents);
                scope.spawn(move || {
                    for i in 0..150 {
                        let at = (thread * 5 + i) % 16 * BLOCK;
                        let mut bench = bench.lock().expect("no thread panics with the lock");
                        let (read, op) = bench.run(Op::read(file, GuardBuf::with_capacity(BLOCK), at as u64));
                        drop(bench);
                        assert_eq!(read, BLOCK as i32);
                        assert_same("the block", &op.into_buf::<GuardBuf>().unwrap(), &contents[at..at + BLOCK]);
                    }
                });
            }
        });
    }
}

/// A forked child that uses nothing of ours, and exits or lives on, takes nothing from us. Rings are shared by fork: a child
/// moved the head of an AIO ring, and the parent lost a completion.
pub fn a_forked_child_disturbs_nobody(cx: &Cx<'_>) {
    cx.needs_unix();
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(16);
        let contents = pattern(8, 16 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let mut children = Vec::new();
        for round in 0..8 {
            start(&mut bench, 16, || read(&file, 16));
            if round % 2 == 0 {
                bench.reap(Wait::No);
            }
            children.push(crate::fork::idle_child(Duration::from_millis(if round % 4 < 2 { 0 } else { 30 })));
            bench.wait_all();
            for done in bench.take_done() {
                assert_eq!(done.result, 16 * BLOCK as i32);
                assert_same("what was read", &done.op.into_buf::<GuardBuf>().unwrap(), &contents);
            }
        }
        drop(children);
        assert_eq!(bench.run(read(&file, 16)).0, 16 * BLOCK as i32);
    }
}
