//! The pool's own readiness: descriptor, sleepers and subscribers.

use crate::file_with;
use io_core::{Armed, Driver, FileHandle, Op, Readiness, Wait};
use io_testkit::Bench;
use io_threadpool::{ThreadPoolOptions, threadpool};
use std::{
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Wake, Waker},
    thread,
    time::{Duration, Instant},
};

fn bench() -> (Bench, Arc<dyn Readiness>) {
    let driver = threadpool(ThreadPoolOptions::default()).unwrap();
    let readiness = driver.readiness();
    (Bench::new(Box::new(driver)), readiness)
}

fn read(file: &FileHandle) -> Op {
    Op::read(file, vec![0; 10], 0)
}

/// Whether the descriptor is, or becomes, readable within so many milliseconds.
fn readable(fd: BorrowedFd<'_>, within_ms: i32) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure.
    unsafe { libc::poll(&mut poll, 1, within_ms) == 1 }
}

/// Waits until the operations in flight are done, without reaping them.
fn let_finish(readiness: &dyn Readiness) {
    readiness.wait(Some(Duration::from_secs(20)));
}

#[test]
fn the_descriptor_follows_the_completions_while_armed() {
    let (mut bench, readiness) = bench();
    let (_dir, _, file) = file_with(b"0123456789");
    let fd = readiness.fd().unwrap();
    bench.start(read(&file));
    bench.reap(Wait::No);
    let_finish(&*readiness);
    assert!(!readable(fd, 0), "not armed");
    assert_eq!(bench.driver().arm(true), Armed::ReadyNow);
    bench.wait_all();
    assert!(!readable(fd, 0), "reaped");
    assert_eq!(bench.driver().arm(true), Armed::Waiting);
    for _ in 0..3 {
        bench.start(read(&file));
        bench.reap(Wait::No);
        assert!(readable(fd, 20_000), "armed until disarmed");
        bench.wait_all();
        assert!(!readable(fd, 0));
    }
    assert_eq!(bench.driver().arm(false), Armed::Waiting);
    bench.start(read(&file));
    bench.reap(Wait::No);
    let_finish(&*readiness);
    assert!(!readable(fd, 0), "disarmed");
}

/// What does not fit the caller's batch stays, and goes on ringing, even if the watcher has read the descriptor meanwhile.
#[test]
fn the_descriptor_rings_for_what_is_left() {
    let driver = threadpool(ThreadPoolOptions::default()).unwrap();
    let readiness = driver.readiness();
    let mut bench = Bench::with_room(Box::new(driver), 2);
    let (_dir, _, file) = file_with(b"0123456789");
    let fd = readiness.fd().unwrap();
    assert_eq!(bench.driver().arm(true), Armed::Waiting);
    for _ in 0..5 {
        bench.start(read(&file));
    }
    bench.reap(Wait::No);
    let mut rounds = 0;
    while bench.in_flight() > 0 {
        assert!(readable(fd, 20_000));
        let mut drained = [0u8; 8];
        // SAFETY: eight bytes of ours.
        unsafe { libc::read(fd.as_raw_fd(), drained.as_mut_ptr().cast(), 8) };
        bench.reap(Wait::No);
        rounds += 1;
    }
    assert!(rounds >= 3, "five completions, two at a time");
    assert!(!readable(fd, 0));
}

#[test]
fn a_wake_shows_at_the_descriptor_once() {
    let (mut bench, readiness) = bench();
    let fd = readiness.fd().unwrap();
    readiness.wake();
    assert!(!readable(fd, 0), "nobody watches: no system call");
    assert_eq!(bench.driver().arm(true), Armed::Waiting);
    assert!(readable(fd, 0), "it is kept for the watcher who comes later");
    bench.reap(Wait::No);
    assert!(!readable(fd, 0));
    assert_eq!(bench.driver().arm(true), Armed::Waiting);
    assert!(!readable(fd, 0), "and shown once");
    readiness.wait(Some(Duration::from_secs(20)));
    readiness.wake();
    assert!(readable(fd, 0));
    readiness.wait(Some(Duration::from_secs(20)));
    assert!(!readable(fd, 0), "used up by who waited");
}

#[test]
fn waits_end_by_completion_wake_or_time() {
    let (mut bench, readiness) = bench();
    let (_dir, _, file) = file_with(b"0123456789");
    let begun = Instant::now();
    readiness.wait(Some(Duration::from_millis(30)));
    assert!(begun.elapsed() >= Duration::from_millis(30));
    readiness.wake();
    readiness.wake();
    readiness.wait(None);
    let begun = Instant::now();
    readiness.wait(Some(Duration::from_millis(30)));
    assert!(begun.elapsed() >= Duration::from_millis(30), "two wakes before a wait are one");
    bench.start(read(&file));
    bench.reap(Wait::No);
    readiness.wait(None);
    readiness.wait(None);
    bench.wait_all();
    assert_eq!(bench.take_done().len(), 1, "the wait took nothing away");
    let sleeper = readiness.clone();
    let asleep = thread::spawn(move || sleeper.wait(None));
    thread::sleep(Duration::from_millis(30));
    readiness.wake();
    asleep.join().unwrap();
}

/// One wake ends all sleeps that have begun: whoever it is meant for is among them.
#[test]
fn a_wake_ends_every_sleep() {
    let (bench, readiness) = bench();
    let sleepers: Vec<_> = (0..4)
        .map(|_| {
            let readiness = readiness.clone();
            thread::spawn(move || readiness.wait(None))
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    readiness.wake();
    sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
    drop(bench);
}

struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn subscribers_are_woken_once_by_completion_or_wake() {
    let (mut bench, readiness) = bench();
    let (_dir, _, file) = file_with(b"0123456789");
    let count = Arc::new(Count(AtomicU32::new(0)));
    let woken = || count.0.load(Ordering::SeqCst);
    let waker = Waker::from(count.clone());
    readiness.subscribe(waker.clone());
    readiness.subscribe(waker.clone());
    readiness.wake();
    readiness.wake();
    assert_eq!(woken(), 1, "one subscriber, once");
    readiness.subscribe(waker.clone());
    assert_eq!(woken(), 2, "the second wake was not heard yet");
    readiness.subscribe(waker.clone());
    assert_eq!(woken(), 2, "now it is");
    bench.start(read(&file));
    bench.reap(Wait::No);
    let begun = Instant::now();
    while woken() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        thread::yield_now();
    }
    readiness.subscribe(waker.clone());
    assert_eq!(woken(), 4, "completions are there already");
    bench.wait_all();
    readiness.subscribe(waker.clone());
    assert_eq!(woken(), 4);
    for _ in 0..5_000 {
        readiness.subscribe(Waker::from(Arc::new(Count(AtomicU32::new(0)))));
    }
    assert!(woken() > 4, "too many subscribers: the oldest are woken early, none is forgotten");
}

/// A readiness outlives its driver.
#[test]
fn after_the_driver_there_is_nothing_to_wait_for() {
    let (bench, readiness) = bench();
    drop(bench);
    let begun = Instant::now();
    readiness.wait(Some(Duration::from_millis(20)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    readiness.wake();
    readiness.wait(None);
    assert!(!readable(readiness.fd().unwrap(), 0));
}

/// With no descriptor left, threads sleep and subscribers are woken all the same.
#[cfg(target_os = "linux")]
#[test]
fn without_a_descriptor_the_rest_works() {
    use io_testkit::{confine::Confinement, in_child};
    in_child!("emfile", Confinement::none().refuse(libc::SYS_eventfd2, libc::EMFILE), || {
        let (mut bench, readiness) = bench();
        let (_dir, _, file) = file_with(b"0123456789");
        assert!(readiness.fd().is_none());
        assert_eq!(bench.driver().arm(true), Armed::Waiting);
        assert_eq!(bench.run(read(&file)).0, 10);
        readiness.wake();
        bench.reap(Wait::Forever);
    });
}
