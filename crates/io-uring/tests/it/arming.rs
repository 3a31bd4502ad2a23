//! Arming: what completes before, while and after it is never slept through.

use super::{bench, driver, memory_file, pipe, setups};
use io_core::{Armed, Op, OpKind, Readiness, Wait};
use std::{
    io::Write,
    os::fd::AsRawFd,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

const ROUNDS: u32 = 100_000;
const LOST: Duration = Duration::from_secs(20);

/// Sleeps as a reactor does. `false`: nothing came for a very long time.
fn sleep_on_fd(readiness: &dyn Readiness) -> bool {
    let mut fd = libc::pollfd { fd: readiness.fd().unwrap().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let begun = Instant::now();
    while begun.elapsed() < LOST {
        // SAFETY: one structure, and the readiness keeps the descriptor open.
        if unsafe { libc::poll(&mut fd, 1, 1000) } > 0 {
            return true;
        }
    }
    false
}

/// A sync of a file in memory is done by a kernel worker in about the time that arming takes: each round has another order of the
/// completion, the flag and the look.
#[test]
fn soak_a_hundred_thousand_armings_lose_no_completion() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        assert!(bench.driver().supports().contains_kind(OpKind::SyncData));
        let readiness = bench.driver().readiness();
        let file = memory_file(b"x");
        let (mut slept, mut ready) = (0, 0);
        for round in 0..ROUNDS {
            bench.start(Op::sync_data(&file));
            bench.reap(Wait::No);
            for _ in 0..round % 193 {
                std::hint::spin_loop();
            }
            while bench.in_flight() > 0 {
                match bench.driver().arm(true) {
                    Armed::ReadyNow => ready += 1,
                    Armed::Waiting => {
                        slept += 1;
                        assert!(sleep_on_fd(&*readiness), "round {round}: slept beside a completion");
                    }
                }
                bench.reap(Wait::No);
            }
            bench.take_done();
            if round % 2 == 0 {
                let _ = bench.driver().arm(false);
            }
        }
        eprintln!("{slept} sleeps, {ready} times ready at once");
        assert!(slept > 0 && ready > 0, "both ways are met: {slept}, {ready}");
    }
}

/// Completions by the ring and wakes by other threads ring the same readiness, in any mixture.
#[test]
fn soak_completions_and_wakes_beside_one_another() {
    const ROUNDS: u32 = 20_000;
    for options in setups() {
        let mut bench = bench(driver!(options));
        let readiness = bench.driver().readiness();
        let file = memory_file(b"x");
        let (asked, heard) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    asked.store(round, Ordering::Relaxed);
                    readiness.wake();
                    while heard.load(Ordering::Acquire) < round {
                        std::thread::yield_now();
                    }
                }
            });
            for round in 1..=ROUNDS {
                if round % 2 == 0 {
                    bench.start(Op::sync_data(&file));
                }
                loop {
                    bench.reap(Wait::No);
                    let armed = bench.driver().arm(true);
                    // Armed, then looked: in this order.
                    if asked.load(Ordering::Acquire) == round && bench.in_flight() == 0 {
                        break;
                    }
                    if armed == Armed::Waiting && !sleep_on_fd(&*readiness) {
                        heard.store(ROUNDS, Ordering::Release);
                        panic!("round {round}: slept through a wake or a completion");
                    }
                }
                bench.take_done();
                heard.store(round, Ordering::Release);
            }
        });
    }
}

/// While nothing is armed the kernel writes no eventfd, and nobody who watches it is woken for nothing.
#[test]
fn disarmed_it_is_silent() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let readiness = bench.driver().readiness();
        let file = memory_file(b"x");
        let quiet = |readiness: &dyn Readiness| {
            let mut fd = libc::pollfd { fd: readiness.fd().unwrap().as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one structure, and the readiness keeps the descriptor open.
            unsafe { libc::poll(&mut fd, 1, 5) == 0 }
        };
        for _ in 0..3 {
            bench.start(Op::sync_data(&file));
            bench.wait_all();
            assert!(quiet(&*readiness));
            bench.start(Op::sync_data(&file));
            bench.reap(Wait::No);
            let _ = bench.driver().arm(true);
            let _ = bench.driver().arm(false);
            bench.wait_all();
            assert!(quiet(&*readiness));
        }
    }
}

/// Two threads sleep at once, in `wait` and in the reactor's way; who is in flight is seen by both.
#[test]
fn two_sleepers_are_both_rung_for() {
    let mut bench = bench(driver!(setups()[0].clone()));
    let readiness = bench.driver().readiness();
    for _ in 0..50 {
        let (file, mut write) = pipe();
        bench.start(Op::read(&file, vec![0u8; 1], 0));
        bench.reap(Wait::No);
        assert_eq!(bench.driver().arm(true), Armed::Waiting);
        std::thread::scope(|scope| {
            // The reactor looks first; `wait` swallows the ring, and whoever is back from it looks at the driver.
            let reactor = scope.spawn(|| sleep_on_fd(&*readiness));
            std::thread::sleep(Duration::from_millis(1));
            write.write_all(b"x").unwrap();
            assert!(reactor.join().unwrap());
            let begun = Instant::now();
            readiness.wait(Some(LOST));
            assert!(begun.elapsed() < LOST);
        });
        bench.wait_all();
        assert_eq!(bench.take_done()[0].result, 1);
        let _ = bench.driver().arm(false);
    }
}

/// Who watches the descriptor and comes for a wake by a submit that does not wait finds it quiet afterwards; and that look does not
/// use the wake up for who waits next.
#[test]
fn a_look_answers_the_call_and_leaves_the_wake() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let readiness = bench.driver().readiness();
        let ready = |readiness: &dyn Readiness| {
            let mut fd = libc::pollfd { fd: readiness.fd().unwrap().as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one structure, and the readiness keeps the descriptor open.
            unsafe { libc::poll(&mut fd, 1, 5) > 0 }
        };
        for _ in 0..3 {
            for _ in 0..3 {
                assert_eq!(bench.driver().arm(true), Armed::Waiting);
                readiness.wake();
                assert!(ready(&*readiness));
                bench.reap(Wait::No);
                assert_eq!(bench.driver().arm(true), Armed::Waiting);
                assert!(!ready(&*readiness), "rung again for a wake that was answered");
            }
            let begun = Instant::now();
            bench.reap(Wait::AtMost(LOST));
            assert!(begun.elapsed() < LOST, "a look used the wake up");
            let begun = Instant::now();
            bench.reap(Wait::AtMost(Duration::from_millis(5)));
            assert!(begun.elapsed() >= Duration::from_millis(5), "the wake was there twice");
        }
    }
}
