//! Wakes of a thread that sleeps inside a submit.

use super::{bench, driver, pipe, setups};
use io_core::{Op, Wait};
use io_uring_driver::UringOptions;
use std::{
    io::Write,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

const ROUNDS: u32 = 150_000;
const LOST: Duration = Duration::from_secs(20);

/// Publish, wake, be heard: each round meets the sleeper at another point, before it announces itself, between that and the kernel,
/// asleep, on its way back.
#[test]
fn soak_a_hundred_thousand_wakes_are_heard() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let readiness = bench.driver().readiness();
        let (asked, heard) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    while heard.load(Ordering::Acquire) + 1 < round {
                        std::hint::spin_loop();
                    }
                    for _ in 0..round % 97 {
                        std::hint::spin_loop();
                    }
                    asked.store(round, Ordering::Relaxed);
                    readiness.wake();
                }
            });
            for round in 1..=ROUNDS {
                while asked.load(Ordering::Relaxed) < round {
                    let begun = Instant::now();
                    bench.reap(Wait::AtMost(LOST));
                    if begun.elapsed() >= LOST {
                        heard.store(ROUNDS, Ordering::Release);
                        panic!("round {round} of {ROUNDS}: the wake was lost");
                    }
                }
                heard.store(round, Ordering::Release);
            }
        });
        assert_eq!(bench.ready(), 0);
    }
}

/// The request that polls for wakes belongs to the thread that armed it, and when that thread exits the kernel completes it with
/// `ECANCELED`. Whoever sleeps then, or later, must still be woken.
#[test]
fn the_thread_that_armed_the_poll_exits() {
    let mut bench = bench(driver!(UringOptions::default().depth(8)));
    let readiness = bench.driver().readiness();
    for _ in 0..20 {
        std::thread::scope(|scope| {
            // Arms the poll, comes back on time, exits.
            scope.spawn(|| bench.reap(Wait::AtMost(Duration::from_millis(1))));
        });
        let waker = readiness.clone();
        let (begun, waker) = (
            Instant::now(),
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(5));
                waker.wake();
            }),
        );
        bench.reap(Wait::AtMost(LOST));
        assert!(begun.elapsed() < LOST, "the wake was lost with its poll");
        assert!(begun.elapsed() >= Duration::from_millis(5), "the end of a thread is no wake");
        waker.join().unwrap();
    }
}

/// A wake ends the wait of a thread whose operations are still in flight, and those complete later.
#[test]
fn a_wake_comes_through_beside_slow_operations() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let readiness = bench.driver().readiness();
        let (file, mut write) = pipe();
        let token = bench.start(Op::read(&file, vec![0u8; 3], 0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(10));
                readiness.wake();
            });
            let begun = Instant::now();
            bench.reap(Wait::Forever);
            assert!(begun.elapsed() >= Duration::from_millis(10) && bench.ready() == 0);
        });
        write.write_all(b"abc").unwrap();
        let done = bench.finish(token);
        assert_eq!((done.result, done.op.into_buf::<Vec<u8>>().unwrap()), (3, b"abc".to_vec()));
    }
}

/// Signals neither end a wait nor lose anything (fsys: a signal ended a wait early).
#[test]
fn signals_do_not_end_a_wait() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing; without SA_RESTART, so that calls are interrupted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    for options in setups() {
        let mut bench = bench(driver!(options));
        let (file, mut write) = pipe();
        let token = bench.start(Op::read(&file, vec![0u8; 1], 0));
        // SAFETY: asks for a number.
        let sleeper = unsafe { libc::pthread_self() } as usize;
        let stop = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while stop.load(Ordering::Relaxed) == 0 {
                    // SAFETY: the thread lives on until this scope has ended.
                    unsafe { libc::pthread_kill(sleeper as libc::pthread_t, libc::SIGUSR1) };
                    std::thread::sleep(Duration::from_micros(100));
                }
            });
            for ms in [20, 40] {
                let begun = Instant::now();
                bench.reap(Wait::AtMost(Duration::from_millis(ms)));
                assert!(begun.elapsed() >= Duration::from_millis(ms), "came back after {:?}", begun.elapsed());
            }
            write.write_all(b"x").unwrap();
            assert_eq!(bench.finish(token).result, 1);
            stop.store(1, Ordering::Relaxed);
        });
    }
}
