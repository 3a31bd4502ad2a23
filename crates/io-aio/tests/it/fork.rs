//! A forked child inherits mapping, numbers and descriptors, and must not be able to disturb its parent with them.

use crate::fixture::{Blocks, every_way, options};
use io_core::Wait;
use io_testkit::{BLOCK, Bench, confine::Confinement, in_child};
use std::time::Duration;

/// Forks; the child runs `child` and exits with what it says.
fn fork(child: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: this process has no other thread that runs: it is the harness's child for one test.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let good = child();
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(i32::from(!good)) };
    }
    pid
}

#[track_caller]
fn ended_well(pid: libc::pid_t) {
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    assert_eq!(status, 0, "the child was not content");
}

fn all_arrive(bench: &mut Bench, blocks: &Blocks) {
    bench.wait_all();
    for done in bench.take_done() {
        blocks.assert_read(done.op.offset() as usize / BLOCK, done.result, done.op);
    }
}

fn start_all(bench: &mut Bench, blocks: &Blocks) {
    for block in 0..32 {
        bench.start(blocks.read(block));
    }
    bench.reap(Wait::No);
}

/// A child that moved the head of the inherited ring took its parent's completions away (seen). Now it has no ring.
#[test]
fn a_child_that_does_nothing() {
    in_child!("nothing", Confinement::none(), || {
        let blocks = Blocks::new(32);
        for options in every_way(32) {
            let mut bench = crate::fixture::bench(options);
            start_all(&mut bench, &blocks);
            let child = fork(|| {
                let maps = std::fs::read_to_string("/proc/self/maps").expect("proc is mounted");
                !maps.contains("[aio]")
            });
            all_arrive(&mut bench, &blocks);
            ended_well(child);
            let maps = std::fs::read_to_string("/proc/self/maps").expect("proc is mounted");
            assert!(maps.contains("[aio]"), "the parent has its ring");
        }
    });
}

/// Dropping in the child what it inherited: no context is destroyed, nobody is woken, nothing is unmapped.
#[test]
fn a_child_that_drops_all_it_has() {
    in_child!("drops", Confinement::none(), || {
        let blocks = Blocks::new(32);
        let mut bench = Some(crate::fixture::bench(options(32)));
        let readiness = bench.as_mut().unwrap().driver().readiness();
        for _ in 0..10 {
            start_all(bench.as_mut().unwrap(), &blocks);
            let child = fork(|| {
                bench.take().unwrap().abandon();
                true
            });
            ended_well(child);
            let bench = bench.as_mut().unwrap();
            all_arrive(bench, &blocks);
            let begun = std::time::Instant::now();
            bench.reap(Wait::AtMost(Duration::from_millis(10)));
            assert!(begun.elapsed() >= Duration::from_millis(10), "the child woke its parent");
            let _ = bench.driver().arm(true);
            start_all(bench, &blocks);
            all_arrive(bench, &blocks);
        }
        readiness.wake();
        bench.unwrap().reap(Wait::Forever);
    });
}

/// A driver of its own is what a child may have: the number of its context may well be the parent's.
#[test]
fn a_child_with_a_driver_of_its_own() {
    in_child!("own", Confinement::none(), || {
        let blocks = Blocks::new(32);
        let mut bench = Some(crate::fixture::bench(options(32)));
        start_all(bench.as_mut().unwrap(), &blocks);
        let child = fork(|| {
            let mut own = crate::fixture::bench(options(32));
            start_all(&mut own, &blocks);
            all_arrive(&mut own, &blocks);
            bench.take().unwrap().abandon();
            start_all(&mut own, &blocks);
            all_arrive(&mut own, &blocks);
            true
        });
        ended_well(child);
        all_arrive(bench.as_mut().unwrap(), &blocks);
    });
}
