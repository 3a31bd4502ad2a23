//! Wake-ups and readiness, many rounds: the races that a single try does not meet.

use crate::fixture::{Blocks, PATIENCE, bench, driver, every_way, options};
use io_core::{Armed, Readiness, Wait};
use io_testkit::{BLOCK, Bench};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// Rounds of a race: enough to meet it in each run, many more in the long version.
fn rounds() -> u32 {
    if std::env::var_os("IOFS_SOAK").is_some() { 1_000_000 } else { 20_000 }
}

fn readable(fd: BorrowedFd<'_>, at_most: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live pollfd.
    unsafe { libc::poll(&mut poll, 1, at_most.as_millis() as libc::c_int) == 1 }
}

/// A little work of a length that differs from round to round, so that the two sides meet everywhere.
fn dawdle(round: u32) {
    for _ in 0..round.wrapping_mul(2_654_435_761) >> 22 {
        std::hint::spin_loop();
    }
}

/// Two threads play ping-pong: each wake has to end a wait, in every interleaving. Reads fly meanwhile, so that completions
/// and wakes compete for the same sleep.
#[test]
fn soak_no_wake_is_lost_beside_completions() {
    let blocks = Blocks::new(8);
    let mut bench = bench(options(8));
    let readiness = bench.driver().readiness();
    let (asked, answered) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds() {
                asked.store(round, Ordering::Release);
                readiness.wake();
                while answered.load(Ordering::Acquire) < round {
                    thread::yield_now();
                }
                dawdle(round);
            }
        });
        for round in 1..=rounds() {
            if round % 16 == 0 && bench.in_flight() < 8 {
                bench.start(blocks.read(round as usize / 16 % 8));
            }
            let begun = Instant::now();
            while asked.load(Ordering::Acquire) < round {
                bench.reap(Wait::AtMost(PATIENCE));
            }
            if begun.elapsed() >= PATIENCE {
                answered.store(u32::MAX, Ordering::Release);
                panic!("round {round}: slept beside a wake");
            }
            answered.store(round, Ordering::Release);
            for done in bench.take_done() {
                assert_eq!(done.result, BLOCK as i32);
            }
        }
    });
}

/// The same for a thread that sleeps outside the driver, on the readiness or on its descriptor, as a reactor does.
#[test]
fn soak_no_wake_of_a_watcher_is_lost() {
    for by_descriptor in [false, true] {
        let mut driver = driver(options(2));
        let readiness = io_core::Driver::readiness(&driver);
        let (asked, answered) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=rounds() {
                    asked.store(round, Ordering::Release);
                    readiness.wake();
                    while answered.load(Ordering::Acquire) < round {
                        thread::yield_now();
                    }
                    dawdle(round);
                }
            });
            for round in 1..=rounds() {
                while asked.load(Ordering::Acquire) < round {
                    if io_core::Driver::arm(&mut driver, true) == Armed::ReadyNow {
                        continue;
                    }
                    let begun = Instant::now();
                    if by_descriptor {
                        readable(readiness.fd().unwrap(), PATIENCE);
                    } else {
                        readiness.wait(Some(PATIENCE));
                    }
                    if begun.elapsed() >= PATIENCE {
                        answered.store(u32::MAX, Ordering::Release);
                        panic!("round {round}: slept beside a wake (by descriptor: {by_descriptor})");
                    }
                }
                answered.store(round, Ordering::Release);
            }
        });
    }
}

/// Reaps what is in flight as a shard does: arm, look, sleep on the descriptor.
fn reap_by_arming(bench: &mut Bench, readiness: &dyn Readiness) {
    bench.reap(Wait::No);
    while bench.in_flight() > 0 {
        if bench.driver().arm(true) == Armed::Waiting {
            assert!(readable(readiness.fd().unwrap(), PATIENCE), "slept on beside {} operations", bench.in_flight());
        }
        bench.reap(Wait::No);
    }
}

/// Completions around the arming, on a device and from the page cache, with what else can happen between.
#[test]
fn soak_no_completion_is_lost_while_arming() {
    for (blocks, rounds) in [(Blocks::buffered(8), rounds()), (Blocks::new(8), rounds() / 20)] {
        for options in every_way(4) {
            let mut bench = bench(options);
            let readiness = bench.driver().readiness();
            for round in 0..rounds {
                for i in 0..=round % 3 {
                    bench.start(blocks.read((round + i) as usize % 8));
                    if round % 5 == 0 {
                        bench.reap(Wait::No);
                    }
                }
                if round % 7 == 0 {
                    let _ = bench.driver().arm(false);
                }
                if round % 11 == 0 {
                    readiness.wake();
                }
                if round % 13 == 0 {
                    bench.reap(Wait::AtMost(Duration::ZERO));
                }
                reap_by_arming(&mut bench, &*readiness);
                for done in bench.take_done() {
                    blocks.assert_read(done.op.offset() as usize / BLOCK, done.result, done.op);
                }
            }
        }
    }
}

/// Operations that were staged before the first arming do not ring; then arming says so instead of promising.
#[test]
fn silent_operations_are_not_waited_for() {
    let blocks = Blocks::new(4);
    for options in every_way(4).into_iter().filter(|options| !options.readiness_fd) {
        let mut bench = bench(options);
        bench.start(blocks.read(0));
        assert_eq!(bench.driver().arm(true), Armed::ReadyNow);
        bench.wait_all();
        assert_eq!(bench.driver().arm(true), Armed::Waiting);
        bench.start(blocks.read(1));
        bench.reap(Wait::No);
        let readiness = bench.driver().readiness();
        if bench.in_flight() > 0 && bench.driver().arm(true) == Armed::Waiting {
            assert!(readable(readiness.fd().unwrap(), PATIENCE), "from the first arming on they ring");
        }
        bench.wait_all();
    }
}

/// A refusal is a completion: who arms while one waits in the driver must not be sent to sleep.
#[test]
fn arming_knows_of_completions_that_wait_in_the_driver() {
    for options in every_way(4) {
        let mut bench = Bench::with_room(Box::new(driver(options)), 1);
        let nobody = io_testkit::nobodys_file(io_core::FileFacts::default());
        bench.start(io_core::Op::sync_all(&nobody));
        bench.start(io_core::Op::sync_all(&nobody));
        bench.reap(Wait::No);
        assert_eq!((bench.ready(), bench.driver().arm(true)), (1, Armed::ReadyNow));
        bench.wait_all();
        assert_eq!(bench.driver().arm(true), Armed::Waiting);
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn subscribers_hear_of_completions_and_of_wakes() {
    let blocks = Blocks::new(4);
    for options in every_way(4) {
        let mut bench = bench(options);
        let readiness = bench.driver().readiness();
        for round in 0..50 {
            let heard = Arc::new(Flag(AtomicBool::new(false)));
            if bench.driver().arm(true) == Armed::ReadyNow {
                bench.reap(Wait::No);
                let _ = bench.driver().arm(true);
            }
            if round % 2 == 0 {
                bench.start(blocks.read(round % 4));
                bench.reap(Wait::No);
            } else {
                readiness.wake();
            }
            if bench.ready() == 0 {
                readiness.subscribe(Waker::from(heard.clone()));
                let begun = Instant::now();
                while !heard.0.load(Ordering::Acquire) {
                    assert!(begun.elapsed() < PATIENCE, "nobody called the subscriber in round {round}");
                    thread::yield_now();
                }
            }
            bench.wait_all();
            bench.take_done();
        }
    }
}

/// Several threads in submit, in `wait` and on the descriptor at once: one wake ends them all or some, but never none.
#[test]
fn all_kinds_of_sleepers_at_once() {
    let mut bench = bench(options(4));
    let readiness = bench.driver().readiness();
    assert_eq!(bench.driver().arm(true), Armed::Waiting);
    for _ in 0..200 {
        let awake = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    readiness.wait(None);
                    awake.fetch_add(1, Ordering::Relaxed);
                });
            }
            scope.spawn(|| {
                bench.reap(Wait::Forever);
                awake.fetch_add(1, Ordering::Relaxed);
            });
            let begun = Instant::now();
            let mut seen = 0;
            while seen < 4 {
                readiness.wake();
                while awake.load(Ordering::Relaxed) == seen && begun.elapsed() < PATIENCE {
                    thread::yield_now();
                }
                let now = awake.load(Ordering::Relaxed);
                assert!(now > seen, "a wake ended no sleep: {seen} of 4 are awake");
                seen = now;
            }
        });
    }
}
