//! The pool: how many threads, for how long, in which order, and that every operation is answered.

use crate::{file_with, scratch};
use io_core::{Completions, Driver, Op, OpenOptions, Readiness, Wait, errno};
use io_testkit::{Bench, confine::Confinement, in_child};
use io_threadpool::{ThreadPoolDriver, ThreadPoolOptions, threadpool};
use std::{
    fs::{self, File},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// An operation that blocks until it is let go: the open of a pipe that nobody writes to.
struct Gate {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Gate {
    fn new() -> Gate {
        let (_dir, path) = scratch("gate");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path is NUL-terminated.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        Gate { _dir, path }
    }

    fn op(&self) -> Op {
        Op::open(&self.path, OpenOptions::READ).unwrap()
    }

    /// Lets all go that wait, and all that come, while the answer lives. Does not wait itself.
    fn open(&self) -> File {
        fs::OpenOptions::new().read(true).write(true).open(&self.path).unwrap()
    }
}

fn pool(max_threads: usize) -> ThreadPoolDriver {
    threadpool(ThreadPoolOptions { max_threads, depth: 64, ..ThreadPoolOptions::default() }).unwrap()
}

fn bench(max_threads: usize) -> Bench {
    Bench::new(Box::new(pool(max_threads)))
}

/// The pool threads of this process: only in children, where no other test runs.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    tasks.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|n| n.starts_with("io-pool-"))).count()
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn threads_are_started_for_work_and_never_too_many() {
    in_child!("child", Confinement::none(), || {
        let gate = Gate::new();
        let mut bench = bench(3);
        assert_eq!(threads(), 0, "none before there is work");
        bench.start(gate.op());
        assert_eq!(threads(), 0, "none for what is only staged");
        bench.reap(Wait::No);
        until("one thread was started", || threads() == 1);
        for _ in 0..11 {
            bench.start(gate.op());
            bench.reap(Wait::No);
            assert!(threads() <= 3);
        }
        until("all threads are busy", || threads() == 3);
        thread::sleep(Duration::from_millis(50));
        assert_eq!((threads(), bench.take_done().len()), (3, 0));
        let _open = gate.open();
        bench.wait_all();
        assert!(bench.take_done().iter().all(|done| done.result == 0));
        assert_eq!(threads(), 3);
    });
}

/// One operation after the other needs one thread, however soon the next one comes.
#[test]
fn one_thread_is_enough_for_one_at_a_time() {
    in_child!("child", Confinement::none(), || {
        let (_dir, _, file) = file_with(&[7; 4096]);
        let mut bench = bench(8);
        for _ in 0..2_000 {
            assert_eq!(bench.run(Op::read(&file, vec![0; 4096], 0)).0, 4096);
        }
        assert_eq!(threads(), 1);
    });
}

/// A slow operation does not hold up the next one while threads are to be had; not even right after the first was queued,
/// when its thread still counts as idle.
#[test]
fn a_slow_operation_holds_nobody_up() {
    let (_dir, _, file) = file_with(&[7; 100]);
    let gate = Gate::new();
    let mut bench = bench(2);
    for _ in 0..300 {
        assert_eq!(bench.run(Op::read(&file, vec![0; 100], 0)).0, 100);
        let slow = bench.start(gate.op());
        bench.reap(Wait::No);
        assert_eq!(bench.run(Op::read(&file, vec![0; 100], 0)).0, 100, "while one thread is blocked");
        let open = gate.open();
        assert_eq!(bench.finish(slow).result, 0);
        drop(open);
    }
}

#[test]
fn idle_threads_leave_and_new_ones_come() {
    in_child!("child", Confinement::none(), || {
        let options =
            ThreadPoolOptions { max_threads: 4, idle: Duration::from_millis(30), ..ThreadPoolOptions::default() };
        let mut bench = Bench::new(Box::new(threadpool(options).unwrap()));
        let gate = Gate::new();
        for _ in 0..3 {
            let open = gate.open();
            for _ in 0..16 {
                bench.start(gate.op());
            }
            bench.wait_all();
            assert_eq!(bench.take_done().len(), 16);
            assert!((1..=4).contains(&threads()));
            until("idle threads have left", || threads() == 0);
            drop(open);
        }
        // Leaving and being called at the same moment: nobody is forgotten.
        let (_dir, _, file) = file_with(&[7; 100]);
        for round in 0..60 {
            assert_eq!(bench.run(Op::read(&file, vec![0; 100], 0)).0, 100);
            thread::sleep(Duration::from_millis(25 + round % 10));
            assert!(threads() <= 4);
        }
    });
}

#[test]
fn dropping_the_driver_joins_its_threads() {
    in_child!("idle", Confinement::none(), || {
        let mut bench = bench(4);
        let (gate, _dir) = (Gate::new(), scratch("").0);
        let _open = gate.open();
        for _ in 0..32 {
            bench.start(gate.op());
        }
        bench.wait_all();
        drop(bench.into_driver());
        assert_eq!(threads(), 0);
    });
    in_child!("busy", Confinement::none(), || {
        let mut bench = bench(4);
        let gate = Gate::new();
        for _ in 0..8 {
            bench.start(gate.op());
        }
        bench.reap(Wait::No);
        thread::scope(|scope| {
            let opened = scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                gate.open()
            });
            // What runs is waited for, what is queued is forgotten.
            bench.abandon();
            assert_eq!(threads(), 0);
            drop(opened.join().unwrap());
        });
    });
}

#[test]
fn what_was_not_begun_when_the_driver_went_never_runs() {
    let gate = Gate::new();
    let (_dir, path, file) = file_with(b"as it was");
    let mut bench = bench(1);
    bench.start(gate.op());
    bench.reap(Wait::No);
    bench.start(Op::write(&file, "changed!!", 0));
    bench.reap(Wait::No);
    bench.start(Op::write(&file, "changed!!", 0));
    thread::scope(|scope| {
        let opened = scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            gate.open()
        });
        bench.abandon();
        drop(opened.join().unwrap());
    });
    assert_eq!(fs::read(&path).unwrap(), b"as it was");
}

#[test]
fn cancelling_ends_what_was_not_begun() {
    let gate = Gate::new();
    let (dir, _) = scratch("");
    let mut bench = bench(1);
    let running = bench.start(gate.op());
    bench.reap(Wait::No);
    let make = |name: &str| Op::make_dir(dir.path().join(name), 0o700).unwrap();
    let (queued, kept) = (bench.start(make("queued")), bench.start(make("kept")));
    bench.reap(Wait::No);
    let staged = bench.start(make("staged"));
    thread::sleep(Duration::from_millis(20));
    for token in [running, queued, staged, staged, queued] {
        bench.cancel(token);
    }
    bench.wait_for(2);
    assert_eq!(bench.take(queued).unwrap().result, -errno::ECANCELED);
    assert_eq!(bench.take(staged).unwrap().result, -errno::ECANCELED);
    let _open = gate.open();
    assert_eq!(bench.finish(running).result, 0, "its own result");
    assert_eq!(bench.finish(kept).result, 0);
    bench.cancel(running);
    bench.cancel(queued);
    bench.reap(Wait::AtMost(Duration::from_millis(20)));
    assert_eq!((bench.in_flight(), bench.take_done().len()), (0, 0), "no second answers");
    assert!(!dir.path().join("queued").exists() && !dir.path().join("staged").exists());
    assert!(dir.path().join("kept").exists());
}

/// Cancels race with beginnings: each operation is answered once, and `ECANCELED` means that it never ran.
#[test]
fn cancels_race_with_the_threads() {
    let (dir, _) = scratch("");
    let mut bench = bench(2);
    let (mut cancelled, mut ran) = (0, 0);
    for round in 0..500 {
        let names: Vec<_> = (0..8).map(|i| dir.path().join(format!("{round}-{i}"))).collect();
        let tokens: Vec<_> = names.iter().map(|name| bench.start(Op::make_dir(name, 0o700).unwrap())).collect();
        bench.reap(Wait::No);
        tokens.iter().rev().for_each(|&token| bench.cancel(token));
        for (token, name) in tokens.into_iter().zip(names) {
            match bench.finish(token).result {
                0 => {
                    assert!(name.exists());
                    ran += 1;
                }
                code => {
                    assert_eq!(code, -errno::ECANCELED);
                    assert!(!name.exists());
                    cancelled += 1;
                }
            }
        }
    }
    assert_eq!(cancelled + ran, 4_000);
    assert!(cancelled > 0, "no cancel ever came in time");
}

#[test]
fn operations_are_begun_in_order() {
    let (_dir, path, file) = file_with(b"");
    let mut bench = bench(1);
    let tokens: Vec<_> = (0..64u8).map(|i| bench.start(Op::write(&file, vec![i; 100], 0))).collect();
    bench.wait_all();
    assert_eq!(bench.take_done().into_iter().map(|done| done.token).collect::<Vec<_>>(), tokens);
    assert_eq!(fs::read(&path).unwrap(), [63; 100]);
}

/// From now on this thread cannot start others.
fn refuse_threads() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = [(libc::SYS_clone, Vec::new()), (libc::SYS_clone3, Vec::new())].into_iter().collect();
    let refusal = SeccompAction::Errno(libc::EAGAIN as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, std::env::consts::ARCH.try_into().unwrap());
    seccompiler::apply_filter(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
}

#[test]
fn without_threads_operations_fail_and_nothing_hangs() {
    in_child!("none", Confinement::none(), || {
        refuse_threads();
        let (_dir, path, file) = file_with(b"as it was");
        let mut bench = bench(4);
        for _ in 0..3 {
            for _ in 0..5 {
                bench.start(Op::write(&file, "changed!!", 0));
            }
            bench.wait_all();
            assert!(bench.take_done().into_iter().all(|done| done.result == -errno::EAGAIN));
        }
        assert_eq!(fs::read(&path).unwrap(), b"as it was");
    });
    in_child!("one", Confinement::none(), || {
        let (_dir, _, file) = file_with(&[7; 100]);
        let gate = Gate::new();
        let mut bench = bench(4);
        bench.start(gate.op());
        bench.reap(Wait::No);
        until("the one thread there will be", || threads() == 1);
        refuse_threads();
        for _ in 0..20 {
            bench.start(Op::read(&file, vec![0; 100], 0));
            bench.reap(Wait::No);
        }
        assert_eq!((threads(), bench.take_done().len()), (1, 0), "they wait for it");
        let _open = gate.open();
        bench.wait_all();
        assert_eq!(bench.take_done().iter().filter(|done| done.result == 100).count(), 20);
    });
}

#[test]
fn settings_out_of_range_are_refused_with_a_remedy() {
    let usual = ThreadPoolOptions::default();
    for options in [
        ThreadPoolOptions { depth: 0, ..usual.clone() },
        ThreadPoolOptions { depth: u32::MAX, ..usual.clone() },
        ThreadPoolOptions { max_threads: 0, ..usual.clone() },
        ThreadPoolOptions { max_threads: usize::MAX, ..usual.clone() },
    ] {
        let line = threadpool(options).unwrap_err().to_string();
        assert!(line.contains("out of range; remedy: ask for 1 to "), "{line}");
    }
    assert!((4..=64).contains(&usual.max_threads));
    assert!(usual.readiness.is_none());
}

/// A hundred thousand wakes, each of which may come before the wait or during it, with operations completing in between.
#[test]
fn no_wake_is_lost() {
    const ROUNDS: u64 = 100_000;
    let (_dir, _, file) = file_with(&[7; 100]);
    let mut bench = bench(2);
    let readiness = bench.driver().readiness();
    let turn = Arc::new(AtomicU64::new(0));
    let seen = turn.clone();
    let waker = thread::spawn(move || {
        for round in 1..=ROUNDS {
            while seen.load(Ordering::Acquire) < round {
                std::hint::spin_loop();
            }
            // Sometimes late, so that the other side is asleep.
            (0..round % 64 * 8).for_each(|_| std::hint::spin_loop());
            readiness.wake();
        }
    });
    let mut out = Completions::with_limit(8);
    for round in 1..=ROUNDS {
        turn.store(round, Ordering::Release);
        bench.driver().submit(Wait::Forever, &mut out).unwrap();
        assert!(out.is_empty());
        if round % 100 == 0 {
            assert_eq!(bench.run(Op::read(&file, vec![0; 100], 0)).0, 100);
        }
    }
    waker.join().unwrap();
    let begun = Instant::now();
    bench.reap(Wait::AtMost(Duration::from_millis(20)));
    assert!(begun.elapsed() >= Duration::from_millis(20), "a wake was there twice");
}

/// The readiness of another driver, as the pool sees it.
#[derive(Default)]
struct Bell {
    rung: AtomicU64,
    thread: std::sync::Mutex<Option<thread::Thread>>,
    sticky: AtomicBool,
}

impl Readiness for Bell {
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
    fn wait(&self, at_most: Option<Duration>) {
        *self.thread.lock().unwrap() = Some(thread::current());
        let until = at_most.map(|most| Instant::now() + most);
        while !self.sticky.swap(false, Ordering::SeqCst) {
            match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => break,
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        }
    }
    fn wake(&self) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        self.sticky.store(true, Ordering::SeqCst);
        if let Some(thread) = &*self.thread.lock().unwrap() {
            thread.unpark();
        }
    }
    fn subscribe(&self, when_ready: std::task::Waker) {
        when_ready.wake();
    }
}

#[test]
fn an_offload_rings_the_driver_that_it_stands_in_for() {
    let bell = Arc::new(Bell::default());
    let options = ThreadPoolOptions { readiness: Some(bell.clone()), ..ThreadPoolOptions::default() };
    let mut driver = threadpool(options).unwrap();
    assert!(Arc::ptr_eq(&driver.readiness(), &(bell.clone() as Arc<dyn Readiness>)));
    assert_eq!(driver.arm(true), io_core::Armed::Waiting);
    let (_dir, _, file) = file_with(&[7; 100]);
    let mut bench = Bench::new(Box::new(driver));
    for round in 1..=1_000 {
        bench.start(Op::read(&file, vec![0; 100], 0));
        bench.reap(Wait::No);
        // What the core does: it sleeps on the other driver, and looks here when it wakes.
        until("the bell rang", || bell.rung.load(Ordering::SeqCst) == round);
        bench.reap(Wait::No);
        assert_eq!(bench.take_done().len(), 1);
    }
    // And it can be driven by itself all the same.
    bell.sticky.store(false, Ordering::SeqCst);
    assert_eq!(bench.run(Op::read(&file, vec![0; 100], 0)).0, 100);
    let begun = Instant::now();
    bench.reap(Wait::AtMost(Duration::from_millis(20)));
    bench.reap(Wait::AtMost(Duration::from_millis(20)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
}
