//! Wakes and readiness: none is lost, none is answered twice.

use crate::{BLOCK, Bench, Cx, Mode, pattern, sleeper::Sleeper};
use io_core::{AlignedBuf, Armed, Completion, Completions, FileHandle, Op, OpKind, Token, Wait};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Longer than anything here takes: who sleeps so long has lost a wake.
fn lost(cx: &Cx<'_>) -> Duration {
    cx.patience() / 3
}

/// Who is back so soon did not sleep on.
fn soon(cx: &Cx<'_>) -> Duration {
    cx.patience() / 6
}

fn read_block(file: &FileHandle) -> Op {
    Op::read(file, AlignedBuf::with_capacity(BLOCK), 0)
}

/// Rounds of a race: enough to meet it in each run, many more in the long version.
fn rounds() -> u32 {
    if std::env::var_os("IOFS_SOAK").is_some() { 1_000_000 } else { 10_000 }
}

/// A wake before the wait ends it at once, and only that one: sticky, and consumed.
pub fn before_the_wait(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let clock = bench.driver().clock();
    let readiness = bench.driver().readiness();
    for _ in 0..3 {
        readiness.wake();
        let begun = clock.now();
        bench.reap(Wait::AtMost(lost(cx)));
        assert!(clock.now() - begun < soon(cx), "the wake was lost");
        let begun = clock.now();
        bench.reap(Wait::AtMost(Duration::from_millis(20)));
        assert!(clock.now() - begun >= Duration::from_millis(20), "the wake was there twice");
    }
}

/// A wake ends a wait, and a look is none: it does not use the wake up.
pub fn a_look_leaves_the_wake(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let clock = bench.driver().clock();
    let readiness = bench.driver().readiness();
    for _ in 0..5 {
        readiness.wake();
        bench.reap(Wait::No);
        bench.reap(Wait::No);
        let begun = clock.now();
        bench.reap(Wait::AtMost(lost(cx)));
        assert!(clock.now() - begun < soon(cx), "a look used the wake up");
    }
}

/// A wake from another thread ends a wait that may be about to begin, has begun, or has lasted.
pub fn during_the_wait(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    for round in 0..60u64 {
        let readiness = bench.driver().readiness();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(if round % 10 == 9 { 20_000 } else { round * 13 }));
            readiness.wake();
        });
        bench.reap(Wait::Forever);
        waker.join().expect("the waker does nothing that panics");
        // It may have come back for the leftover of a wake; then the next round begins with one.
        bench.reap(Wait::AtMost(Duration::from_millis(1)));
    }
}

/// A wait that nobody wakes in time takes the time that it was given, however often others were woken before.
pub fn many_wakes_are_one(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let clock = bench.driver().clock();
    let readiness = bench.driver().readiness();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..2500).for_each(|_| readiness.wake()));
        }
        for _ in 0..50 {
            bench.reap(Wait::AtMost(Duration::from_micros(100)));
        }
    });
    let mut early = 0;
    loop {
        let begun = clock.now();
        bench.reap(Wait::AtMost(Duration::from_millis(30)));
        if clock.now() - begun >= Duration::from_millis(30) {
            break;
        }
        early += 1;
        assert!(early < 3, "the wakes were counted, not joined");
    }
    assert_eq!(bench.ready(), 0, "a wake is no completion");
}

/// Wakes while operations fly: no operation is lost or doubled, and no wake becomes a completion.
pub fn wakes_between_completions(cx: &Cx<'_>) {
    let mode = cx.modes(&[OpKind::Read])[0];
    let mut bench = cx.bench(8);
    let (_, file) = cx.file(mode, &pattern(1, BLOCK));
    let readiness = bench.driver().readiness();
    let stop = AtomicU32::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while stop.load(Ordering::Relaxed) == 0 {
                readiness.wake();
                std::thread::yield_now();
            }
        });
        for _ in 0..500 {
            while bench.try_start(read_block(&file)).is_ok() {}
            bench.wait_all();
            assert!(bench.take_done().iter().all(|done| done.result == BLOCK as i32));
        }
        stop.store(1, Ordering::Relaxed);
    });
}

/// Who publishes work and wakes is heard, in every interleaving: two threads play ping-pong through `wake`.
pub fn soak_no_wake_is_lost(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let readiness = bench.driver().readiness();
    let (asked, answered) = (AtomicU32::new(0), AtomicU32::new(0));
    let rounds = rounds();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=rounds {
                asked.store(round, Ordering::Release);
                readiness.wake();
                while answered.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                    std::thread::yield_now();
                }
            }
        });
        for round in 1..=rounds {
            let begun = Instant::now();
            while asked.load(Ordering::Acquire) < round {
                bench.reap(Wait::AtMost(lost(cx)));
                let slept = begun.elapsed();
                if slept > soon(cx) {
                    answered.store(rounds, Ordering::Release);
                    panic!("round {round}: slept {slept:?} beside a wake");
                }
            }
            answered.store(round, Ordering::Release);
        }
    });
}

/// A readiness outlives its driver: waking nobody is no crime.
pub fn waking_nobody(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let readiness = bench.driver().readiness();
    drop(bench);
    readiness.wake();
    readiness.wait(Some(Duration::from_millis(1)));
}

/// Sleeping outside the driver ends when the time is over, and with a wake from before or from meanwhile.
pub fn sleepers_outside_are_woken(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let readiness = bench.driver().readiness();
    let clock = bench.driver().clock();
    for sleeper in Sleeper::all(&*readiness) {
        // Nothing has happened: it sleeps its time.
        bench.reap(Wait::AtMost(Duration::from_millis(1)));
        assert_eq!(bench.driver().arm(true), Armed::Waiting);
        if !cx.rig().simulated() {
            assert!(!sleeper.sleep(&*readiness, Duration::from_millis(20)), "{sleeper:?} woke up for nothing");
        }
        // A wake from before ends it.
        readiness.wake();
        let begun = clock.now();
        assert!(
            sleeper.sleep(&*readiness, lost(cx)) && clock.now() - begun < soon(cx),
            "{sleeper:?} missed an earlier wake"
        );
        // That wake is used up, by the sleep or by a wait.
        bench.reap(Wait::AtMost(Duration::from_millis(1)));
        assert_eq!(bench.driver().arm(true), Armed::Waiting);
        // A wake from meanwhile ends it.
        let other = readiness.clone();
        let waker = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            other.wake();
        });
        let woken = sleeper.sleep(&*readiness, lost(cx));
        waker.join().expect("the waker does nothing that panics");
        assert!(woken || cx.rig().simulated(), "{sleeper:?} missed a wake");
        bench.reap(Wait::AtMost(Duration::from_millis(1)));
    }
}

/// Several threads wait outside: one wake ends the waits of all. The first one back must not take the ring away from the others.
pub fn a_wake_ends_every_wait(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to see threads sleep");
    #[cfg(target_os = "linux")]
    {
        cx.needs_real_files(); // simulated time does not pass for threads that sleep
        let mut bench = cx.bench(4);
        let readiness = bench.driver().readiness();
        for round in 0..20 {
            let (tell, told) = std::sync::mpsc::channel();
            let waiters: Vec<_> = (0..4)
                .map(|_| {
                    let (readiness, tell, most) = (readiness.clone(), tell.clone(), lost(cx));
                    std::thread::spawn(move || {
                        tell.send(std::fs::read_link("/proc/thread-self").expect("proc(5)")).expect("somebody listens");
                        let begun = Instant::now();
                        readiness.wait(Some(most));
                        begun.elapsed()
                    })
                })
                .collect();
            let threads: Vec<_> = told.iter().take(waiters.len()).collect();
            // A wake that comes before a wait may be used up by another one; so all have to be asleep.
            let begun = Instant::now();
            while !threads.iter().all(|thread| is_asleep(thread)) {
                assert!(begun.elapsed() < cx.patience(), "somebody does not go to sleep");
                std::thread::sleep(Duration::from_millis(2));
            }
            readiness.wake();
            for waiter in waiters {
                let slept = waiter.join().expect("a waiter does nothing that panics");
                assert!(slept < soon(cx), "one of several slept on, round {round}");
            }
            bench.reap(Wait::AtMost(Duration::from_millis(1)));
        }
    }
}

/// One thread waits outside and is woken, and another one looks, arms or disarms before the first has come back. Silencing what rang
/// for the driver must not silence what rang for him.
pub fn arming_takes_no_wake_from_who_waits(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to see threads sleep");
    #[cfg(target_os = "linux")]
    {
        cx.needs_real_files();
        let mut bench = cx.bench(4);
        let readiness = bench.driver().readiness();
        for round in 0..100 {
            assert_eq!(bench.driver().arm(true), Armed::Waiting);
            let (tell, told) = std::sync::mpsc::channel();
            let (waits, most) = (readiness.clone(), lost(cx));
            let waiter = std::thread::spawn(move || {
                tell.send(std::fs::read_link("/proc/thread-self").expect("proc(5)")).expect("somebody listens");
                let begun = Instant::now();
                waits.wait(Some(most));
                begun.elapsed()
            });
            let thread = told.recv().expect("the waiter says who it is");
            while !is_asleep(&thread) {
                std::thread::yield_now();
            }
            readiness.wake();
            bench.reap(Wait::No);
            let _ = bench.driver().arm(round % 2 == 0);
            let slept = waiter.join().expect("a waiter does nothing that panics");
            assert!(slept < soon(cx), "round {round}: the wake was silenced");
            bench.reap(Wait::AtMost(Duration::from_millis(1)));
        }
    }
}

/// True if a thread sleeps (`pid/task/tid`, proc(5)), or has ended. Looked at twice, because it may have slept on its way, for a
/// lock.
#[cfg(target_os = "linux")]
fn is_asleep(thread: &std::path::Path) -> bool {
    let sleeps = || match std::fs::read_to_string(std::path::Path::new("/proc").join(thread).join("stat")) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')),
        Err(_) => true,
    };
    sleeps() && {
        std::thread::sleep(Duration::from_millis(1));
        sleeps()
    }
}

/// Brings out all that is staged, without looking at what has completed already: there is no room for it. What is not accepted
/// would ring for nobody.
fn submit_blindly(bench: &mut Bench) {
    let mut full = Completions::with_limit(1);
    full.push(Completion::new(Token::internal(0), 0));
    while bench.driver().submit(Wait::No, &mut full).expect("the channel is broken").staged > 0 {
        std::thread::yield_now();
    }
}

/// Brings out all that is staged, and reaps what completes on the way.
fn submit_and_look(bench: &mut Bench) {
    while bench.reap(Wait::No).staged > 0 {
        std::thread::yield_now();
    }
}

/// Waking a driver that nobody sleeps on costs no system call: of those that write, the kernel keeps count.
pub fn waking_the_awake_is_free(cx: &Cx<'_>) {
    let writes = || {
        let counts = std::fs::read_to_string("/proc/thread-self/io").ok()?;
        counts.lines().find_map(|line| line.strip_prefix("syscw: ")).and_then(|count| count.parse::<u64>().ok())
    };
    let mut bench = cx.bench(4);
    let readiness = bench.driver().readiness();
    let _ = bench.driver().arm(false);
    bench.reap(Wait::No);
    let Some(before) = writes() else { cx.skip("needs /proc/thread-self/io, to count system calls") };
    (0..1000).for_each(|_| readiness.wake());
    let made = writes().unwrap_or(before) - before;
    assert!(made <= 2, "{made} writes for 1000 wakes of nobody");
    // And it was a wake all the same.
    let clock = bench.driver().clock();
    let begun = clock.now();
    bench.reap(Wait::AtMost(lost(cx)));
    assert!(clock.now() - begun < soon(cx), "the wake was lost");
}

/// A wake from before the arming is not lost either: arming says so, or the sleep ends.
pub fn woken_before_arming(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let readiness = bench.driver().readiness();
    let clock = bench.driver().clock();
    for sleeper in Sleeper::all(&*readiness) {
        for _ in 0..3 {
            let _ = bench.driver().arm(false);
            readiness.wake();
            if bench.driver().arm(true) == Armed::Waiting {
                let begun = clock.now();
                assert!(sleeper.sleep(&*readiness, lost(cx)), "{sleeper:?} missed a wake from before the arming");
                assert!(clock.now() - begun < soon(cx), "{sleeper:?} missed a wake from before the arming");
            }
            bench.reap(Wait::AtMost(Duration::from_millis(1)));
        }
    }
}

/// Reaps all that is in flight by sleeping outside the driver: arm, look, sleep, as the protocol says.
#[track_caller]
fn reap_by_sleeping(cx: &Cx<'_>, bench: &mut Bench, sleeper: Sleeper) {
    let readiness = bench.driver().readiness();
    let begun = Instant::now();
    while bench.in_flight() > 0 {
        if bench.driver().arm(true) == Armed::Waiting {
            assert!(
                sleeper.sleep(&*readiness, lost(cx)),
                "{sleeper:?} slept on beside {} operations",
                bench.in_flight()
            );
        }
        bench.reap(Wait::No);
        assert!(begun.elapsed() < lost(cx), "{} operations never came", bench.in_flight());
    }
}

/// Armed, the readiness becomes ready with a completion, for each way to sleep on it.
pub fn armed_it_rings_for_completions(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let (_, file) = cx.file(mode, &pattern(2, 64 * BLOCK));
        let readiness = bench.driver().readiness();
        for sleeper in Sleeper::all(&*readiness) {
            for count in [1, 3, 8] {
                for _ in 0..count {
                    bench.start(Op::read(&file, AlignedBuf::with_capacity(64 * BLOCK), 0));
                }
                submit_blindly(&mut bench);
                reap_by_sleeping(cx, &mut bench, sleeper);
                assert!(bench.take_done().iter().all(|done| done.result == 64 * BLOCK as i32));
                let _ = bench.driver().arm(false);
            }
        }
    }
}

/// What finished before the arming never rings, so arming has to say so. The measured trap of io_uring's eventfd.
pub fn finished_before_arming_is_said(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let (_, file) = cx.file(mode, &pattern(3, BLOCK));
        let readiness = bench.driver().readiness();
        for sleeper in Sleeper::all(&*readiness) {
            for disarm_first in [true, false, true] {
                if disarm_first {
                    let _ = bench.driver().arm(false);
                }
                bench.start(read_block(&file));
                bench.start(read_block(&file));
                submit_blindly(&mut bench);
                std::thread::sleep(Duration::from_millis(20));
                reap_by_sleeping(cx, &mut bench, sleeper);
                assert_eq!(bench.take_done().len(), 2);
            }
        }
    }
}

/// The ring that came between arming and lying down is not missed.
pub fn rung_before_the_sleep(cx: &Cx<'_>) {
    let mode = cx.modes(&[OpKind::Read])[0];
    let mut bench = cx.bench(8);
    let (_, file) = cx.file(mode, &pattern(4, BLOCK));
    let readiness = bench.driver().readiness();
    for sleeper in Sleeper::all(&*readiness) {
        for _ in 0..5 {
            bench.start(read_block(&file));
            submit_blindly(&mut bench);
            if bench.driver().arm(true) == Armed::Waiting {
                std::thread::sleep(Duration::from_millis(20));
                assert!(sleeper.sleep(&*readiness, lost(cx)), "{sleeper:?} missed a ring from before");
            }
            reap_by_sleeping(cx, &mut bench, sleeper);
            assert_eq!(bench.take_done().len(), 1);
        }
    }
}

/// With everything reaped and nothing in flight the readiness is quiet: a reactor that watches it sleeps. foyer#1311: an idle
/// ring's thread spun at 100 %.
pub fn quiet_when_all_is_reaped(cx: &Cx<'_>) {
    cx.needs_real_files();
    let mode = cx.modes(&[OpKind::Read])[0];
    let mut bench = cx.bench(8);
    let (_, file) = cx.file(mode, &pattern(5, BLOCK));
    let readiness = bench.driver().readiness();
    for sleeper in Sleeper::all(&*readiness) {
        for _ in 0..3 {
            bench.start(read_block(&file));
            bench.start(read_block(&file));
            submit_and_look(&mut bench);
            reap_by_sleeping(cx, &mut bench, sleeper);
            assert_eq!(bench.take_done().len(), 2);
            // A ring for what was reaped meanwhile is allowed once; then it has to be quiet.
            let mut rings = 0;
            loop {
                assert_eq!(bench.driver().arm(true), Armed::Waiting, "there is nothing to reap");
                if !sleeper.sleep(&*readiness, Duration::from_millis(10)) {
                    break;
                }
                bench.reap(Wait::No);
                rings += 1;
                assert!(rings < 3, "{sleeper:?} is woken again and again for nothing");
            }
        }
    }
}

/// Arming races: over many rounds, with operations finishing before, while and after it is armed, no sleeper sleeps on.
pub fn soak_arming_loses_nothing(cx: &Cx<'_>) {
    let modes = cx.modes(&[OpKind::Read]);
    // What the page cache answers finishes close to the arming; a device takes its time.
    let mode = modes.iter().copied().find(|&mode| mode == Mode::Buffered).unwrap_or(modes[0]);
    let mut bench = cx.bench(4);
    let (_, file) = cx.file(mode, &pattern(6, BLOCK));
    let readiness = bench.driver().readiness();
    let sleepers = Sleeper::all(&*readiness);
    for round in 0..rounds() as usize {
        for _ in 0..round % 3 + 1 {
            bench.start(read_block(&file));
        }
        if round % 7 == 0 {
            let _ = bench.driver().arm(false);
        }
        if round % 2 == 0 {
            submit_and_look(&mut bench);
        } else {
            submit_blindly(&mut bench);
        }
        reap_by_sleeping(cx, &mut bench, sleepers[round % sleepers.len()]);
        assert_eq!(bench.take_done().len(), round % 3 + 1);
    }
}

/// A thread arms, and exits; another one sleeps. On io_uring the poll that the first had armed is cancelled by its exit.
pub fn armed_by_a_thread_that_has_exited(cx: &Cx<'_>) {
    if cx.rig().owner_thread() {
        cx.skip("the driver belongs to the thread that made it");
    }
    let mode = cx.modes(&[OpKind::Read])[0];
    let (_, file) = cx.file(mode, &pattern(7, BLOCK));
    let mut bench = cx.bench(4);
    let readiness = bench.driver().readiness();
    for sleeper in Sleeper::all(&*readiness) {
        for _ in 0..20 {
            bench = std::thread::spawn(move || {
                bench.reap(Wait::No);
                let _ = bench.driver().arm(true);
                bench
            })
            .join()
            .expect("the thread arms and exits");
            readiness.wake();
            assert!(sleeper.sleep(&*readiness, lost(cx)), "{sleeper:?} missed a wake after the arming thread's exit");
            bench.reap(Wait::AtMost(Duration::from_millis(1)));
            bench.start(read_block(&file));
            submit_blindly(&mut bench);
            reap_by_sleeping(cx, &mut bench, sleeper);
            assert_eq!(bench.take_done().len(), 1);
        }
    }
}
