//! Waits with a time.

use super::{bench, driver, pipe, setups};
use io_core::{FileFacts, FileHandle, Op, Wait};
use std::time::{Duration, Instant};

/// Not before the time is over, and soon after it, with and without something in flight.
#[test]
fn waits_end_on_time() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let (file, write) = pipe();
        for in_flight in [false, true] {
            if in_flight {
                bench.start(Op::read(&file, vec![0u8; 1], 0));
            }
            for us in [50, 1000, 7000, 30_000] {
                let asked = Duration::from_micros(us);
                // The machine may be busy; the best of a few tries tells what the driver adds.
                let best = (0..10)
                    .map(|_| {
                        let begun = Instant::now();
                        bench.reap(Wait::AtMost(asked));
                        begun.elapsed()
                    })
                    .inspect(|&took| assert!(took >= asked, "came back after {took:?} of {asked:?}"))
                    .min();
                assert!(best.unwrap() < asked + asked / 4 + Duration::from_millis(5), "{best:?} for {asked:?}");
            }
        }
        drop(write);
        bench.wait_all();
        assert_eq!(bench.take_done()[0].result, 0, "the end of the pipe");
    }
}

/// Times that no clock can reach are "for ever"; no time at all is a look.
#[test]
fn odd_times() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let readiness = bench.driver().readiness();
        for most in [Duration::MAX, Duration::from_secs(u64::MAX / 4), Duration::from_secs(1 << 33)] {
            readiness.wake();
            bench.reap(Wait::AtMost(most));
            let file = super::memory_file(b"abc");
            bench.start(Op::read(&file, vec![0u8; 3], 0));
            bench.reap(Wait::AtMost(most));
            assert_eq!(bench.take_done()[0].result, 3);
        }
        let begun = Instant::now();
        bench.reap(Wait::AtMost(Duration::ZERO));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

/// A full depth staged leaves no room for the poll that ends the wait. Making room submits, and may bring all completions there will
/// ever be: the wait is over then. (It was not: it slept for ever beside its completions.)
#[test]
fn a_full_depth_at_once_ends_its_own_wait() {
    for options in setups() {
        for depth in [1, 8, 32] {
            let Ok(dir) = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")) else { return };
            let path = dir.path().join("cached");
            std::fs::write(&path, [5; 4096]).unwrap();
            let file = FileHandle::from_std(std::fs::File::open(&path).unwrap(), FileFacts::default());
            let mut bench = bench(driver!(options.clone().depth(depth)));
            let begun = Instant::now();
            while bench.in_flight() < bench.driver().depth() as usize {
                bench.start(Op::read(&file, vec![0u8; 64], 0));
            }
            while bench.in_flight() > 0 {
                bench.reap(Wait::AtMost(Duration::from_secs(20)));
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "slept beside its completions");
        }
    }
}
