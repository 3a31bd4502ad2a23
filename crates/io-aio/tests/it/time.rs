//! Waiting as long as was said: not less, not much more, and signals do not count.

use crate::fixture::{bench, every_way};
use io_core::Wait;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Bothers the calling thread with a signal every 200 µs or so, until dropped.
struct Bother {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Bother {
    fn me() -> Bother {
        // SAFETY: a handler that only counts; without SA_RESTART, so that calls are interrupted.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
            assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
        }
        // SAFETY: asks for a number.
        let me = unsafe { libc::pthread_self() } as usize;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // SAFETY: that thread waits for this one before it ends.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
                thread::sleep(Duration::from_micros(200));
            }
        });
        Bother { stop, thread: Some(thread) }
    }
}

impl Drop for Bother {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

#[track_caller]
fn takes<T>(time: Duration, what: &str, wait: impl FnOnce() -> T) {
    let begun = Instant::now();
    wait();
    let took = begun.elapsed();
    assert!(took >= time, "{what}: {took:?} instead of {time:?}");
    assert!(took < time + Duration::from_secs(5), "{what}: {took:?} instead of {time:?}");
}

/// A signal ended a wait early elsewhere, and a retry with the whole time made others endless.
#[test]
fn a_wait_takes_its_time_with_and_without_signals() {
    for bothered in [false, true] {
        let bother = bothered.then(Bother::me);
        for options in every_way(4) {
            let mut bench = bench(options);
            let readiness = bench.driver().readiness();
            for time in [Duration::ZERO, Duration::from_micros(700), Duration::from_millis(25)] {
                takes(time, "submit", || bench.reap(Wait::AtMost(time)));
                takes(time, "readiness", || readiness.wait(Some(time)));
            }
        }
        drop(bother);
    }
    assert!(SIGNALS.load(Ordering::Relaxed) > 100, "the signals did not arrive");
}

#[test]
fn times_beyond_the_kernel_s_range_are_for_ever() {
    for options in every_way(4) {
        let mut bench = bench(options);
        let readiness = bench.driver().readiness();
        for time in [Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::from_secs(1 << 40)] {
            let other = readiness.clone();
            let waker = thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                other.wake();
            });
            takes(Duration::from_millis(1), "submit", || bench.reap(Wait::AtMost(time)));
            waker.join().unwrap();
        }
    }
}

#[test]
fn an_idle_wait_uses_no_processor() {
    fn cpu() -> Duration {
        // SAFETY: the call fills the value.
        unsafe {
            let mut time: libc::timespec = std::mem::zeroed();
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        }
    }
    for options in every_way(4) {
        let mut bench = bench(options);
        let before = cpu();
        bench.reap(Wait::AtMost(Duration::from_millis(300)));
        let used = cpu() - before;
        assert!(used < Duration::from_millis(20), "{used:?} of 300 ms");
    }
}
