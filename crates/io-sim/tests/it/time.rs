//! Time that moves only while somebody waits, and sleepers that are woken.

use crate::kit::{bench, open};
use io_core::{Armed, Clock as _, Completions, Driver as _, Op, Wait};
use io_sim::{SimDisk, SimOptions, Which};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
    thread,
    time::{Duration, Instant},
};

const HOUR: Duration = Duration::from_secs(3600);

fn disk() -> SimDisk {
    let disk = SimDisk::new(SimOptions { idle_max: Duration::from_millis(50), ..SimOptions::seeded(41) });
    disk.write_file("/f", &[1; 4096]).unwrap();
    disk
}

#[test]
fn only_waiting_takes_time() {
    let disk = disk();
    let file = open(&disk, "/f");
    let mut bench = bench(&disk, 4);
    let clock = bench.driver().clock();
    let token = bench.start(Op::read(&file, vec![0; 10], 0));
    for _ in 0..10 {
        bench.reap(Wait::No);
    }
    assert_eq!((clock.now(), bench.in_flight()), (Duration::ZERO, 1));
    bench.finish(token);
    let took = clock.now();
    assert!(disk.options().latency.contains(&took), "{took:?}");
    let real = Instant::now();
    bench.reap(Wait::AtMost(HOUR));
    assert_eq!(clock.now(), took + HOUR);
    assert!(real.elapsed() < Duration::from_secs(10));
    assert_eq!(disk.clock().now(), disk.now());
}

#[test]
fn a_tick_lets_pollers_live() {
    let disk = SimDisk::new(SimOptions { tick: Duration::from_micros(1), ..SimOptions::seeded(1) });
    disk.write_file("/f", &[1; 4096]).unwrap();
    let file = open(&disk, "/f");
    let mut bench = bench(&disk, 1);
    bench.start(Op::read(&file, vec![0; 10], 0));
    let polls = (0..1000).take_while(|_| bench.reap(Wait::No).staged == 0 && bench.in_flight() > 0).count();
    assert!((10..250).contains(&polls), "{polls}");
}

#[test]
fn a_wait_for_ever_for_nothing_comes_back() {
    let disk = disk();
    let (mut driver, mut out) = (disk.driver(1), Completions::with_limit(1));
    let begun = Instant::now();
    driver.submit(Wait::Forever, &mut out).unwrap();
    driver.submit(Wait::AtMost(Duration::MAX), &mut out).unwrap();
    driver.readiness().wait(None);
    assert!(begun.elapsed() >= Duration::from_millis(150), "it sleeps: an idle loop uses no CPU");
    assert_eq!(disk.now(), Duration::ZERO, "for ever is no time");
}

#[test]
fn a_wake_ends_the_wait_and_sticks() {
    let options = SimOptions { idle_max: Duration::from_secs(60), ..SimOptions::seeded(1) };
    let disk = SimDisk::new(options);
    let (mut driver, mut out) = (disk.driver(1), Completions::with_limit(1));
    let readiness = driver.readiness();
    let begun = Instant::now();
    readiness.wake();
    driver.submit(Wait::No, &mut out).unwrap();
    driver.submit(Wait::Forever, &mut out).unwrap();
    readiness.wake();
    driver.submit(Wait::AtMost(HOUR), &mut out).unwrap();
    assert_eq!(disk.now(), Duration::ZERO, "woken before the time passed");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            readiness.wake();
        });
        driver.submit(Wait::Forever, &mut out).unwrap();
    });
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_release_from_another_thread_ends_the_wait() {
    let options = SimOptions { idle_max: Duration::from_secs(60), ..SimOptions::seeded(1) };
    let disk = SimDisk::new(options);
    disk.write_file("/f", &[1; 10]).unwrap();
    disk.wedge(Which::any());
    let mut bench = bench(&disk, 1);
    bench.start(Op::read(&open(&disk, "/f"), vec![0; 10], 0));
    bench.reap(Wait::No);
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            disk.release_wedged();
        });
        bench.reap(Wait::Forever);
    });
    assert_eq!(bench.ready(), 1);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn drivers_of_one_disk_share_time_and_keep_their_completions() {
    let disk = disk();
    let file = open(&disk, "/f");
    let (mut a, mut b) = (bench(&disk, 4), bench(&disk, 4));
    for _ in 0..4 {
        a.start(Op::read(&file, vec![0; 10], 0));
        b.start(Op::write(&file, vec![2; 10], 0));
    }
    a.reap(Wait::No);
    b.reap(Wait::No);
    a.wait_all();
    a.reap(Wait::AtMost(HOUR));
    assert_eq!(b.ready(), 0);
    b.reap(Wait::No);
    assert_eq!((a.take_done().len(), b.take_done().len()), (4, 4), "they had completed while `a` waited");
}

#[test]
fn room_for_one_hands_out_one_at_a_time() {
    let disk = SimDisk::new(SimOptions::seeded(1).without_latency());
    disk.write_file("/f", &[1; 10]).unwrap();
    let file = open(&disk, "/f");
    let mut bench = io_testkit::Bench::with_room(Box::new(disk.driver(8)), 1);
    for _ in 0..8 {
        bench.start(Op::read(&file, vec![0; 10], 0));
    }
    for n in 1..=8 {
        bench.reap(Wait::Forever);
        assert_eq!(bench.ready(), n);
        assert_eq!(bench.driver().arm(true), if n < 8 { Armed::ReadyNow } else { Armed::Waiting });
    }
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_subscribes_to_an_armed_driver_is_woken_for_its_next_completion() {
    let disk = disk();
    let file = open(&disk, "/f");
    let mut bench = bench(&disk, 4);
    let readiness = bench.driver().readiness();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let heard = || count.0.load(Ordering::Relaxed);
    readiness.subscribe(Waker::from(count.clone()));
    assert_eq!(heard(), 0, "nothing is in flight");
    bench.start(Op::read(&file, vec![0; 10], 0));
    bench.reap(Wait::No);
    readiness.subscribe(Waker::from(count.clone()));
    assert_eq!((heard(), disk.now()), (0, Duration::ZERO), "not armed: no time passes");
    assert_eq!(bench.driver().arm(true), Armed::Waiting);
    readiness.subscribe(Waker::from(count.clone()));
    assert!(heard() > 0 && disk.now() > Duration::ZERO);
    bench.reap(Wait::No);
    assert_eq!(bench.ready(), 1);
}

#[test]
fn sleeping_outside_the_driver_moves_time_to_its_completion() {
    let disk = disk();
    let file = open(&disk, "/f");
    let mut bench = bench(&disk, 4);
    let readiness = bench.driver().readiness();
    bench.start(Op::read(&file, vec![0; 10], 0));
    bench.reap(Wait::No);
    readiness.wait(Some(Duration::from_micros(5)));
    assert_eq!(disk.now(), Duration::from_micros(5));
    readiness.wait(Some(Duration::ZERO));
    assert_eq!(disk.now(), Duration::from_micros(6), "no wait takes no time at all");
    readiness.wait(None);
    bench.reap(Wait::No);
    assert_eq!(bench.ready(), 1);
}
