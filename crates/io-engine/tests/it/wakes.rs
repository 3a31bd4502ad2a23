//! Wake-ups: a request that is sent at the very moment when the loop goes to sleep, completions of the pool beside those of the
//! driver, questions, clients that go. None may be lost: a lost one hangs here. And an idle loop sleeps for real.

use crate::{
    looping::{Call, Loop, Req},
    random::Random,
    world::{PATIENCE, World, accept, room, soak},
};
use io_engine::{
    AIO, AIOEventListener, AIOEventLoop, AIOKind, IOQueue, Inflight, LoopOptions,
    core::{FileHandle, Op, OpKind, OpSet, OpenOptions, Wait},
};
use io_testkit::{BLOCK, Fault, Rule, pattern};
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

every_driver!(
    requests_that_come_when_the_loop_goes_to_sleep_soak,
    offloaded_completions_beside_the_drivers_soak,
    wakes_from_many_threads_soak,
    a_wake_ends_a_wait,
    an_idle_loop_uses_no_cpu,
);

fn rounds() -> u64 {
    if soak() { 1_000_000 } else { 10_000 }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
enum Ask {
    /// Nothing: the answer comes from `on_request` itself.
    Nothing,
    /// A read by the driver.
    Read,
    /// Something that the driver leaves to the pool, where there is one.
    Offloaded,
    /// Both at once.
    Both,
}

/// Answers each request with a message.
struct Echo {
    file: FileHandle,
    path: PathBuf,
    offloaded: OpKind,
    answers: mpsc::Sender<()>,
}

impl Echo {
    fn offloaded(&self) -> Op {
        match self.offloaded {
            OpKind::StatFs => Op::stat_fs(&self.path).unwrap(),
            OpKind::RealPath => Op::real_path(&self.path).unwrap(),
            _ => Op::stat_path(&self.path, true).unwrap(),
        }
    }
}

impl AIOEventListener for Echo {
    type Request = Ask;
    type Submission = AIO<()>;

    fn on_request(&mut self, ask: Ask, queue: &mut IOQueue<AIO<()>>) -> Result<(), Ask> {
        let read = || AIO::op(0, Op::read(&self.file, room(BLOCK), 0));
        match ask {
            Ask::Nothing => drop(self.answers.send(())),
            Ask::Read => queue.push(read()).unwrap(),
            Ask::Offloaded => queue.push(AIO::op(0, self.offloaded())).unwrap(),
            Ask::Both => {
                queue.push(AIO::op(0, self.offloaded())).unwrap();
                queue.push(read()).unwrap();
            }
        }
        Ok(())
    }

    fn on_complete(&mut self, submission: AIO<()>, result: io::Result<usize>, _: &mut IOQueue<AIO<()>>) -> AIOKind {
        result.unwrap();
        let _ = self.answers.send(());
        submission.kind()
    }
}

struct Echoing {
    client: io_engine::AIOClient<Ask>,
    answers: mpsc::Receiver<()>,
    thread: thread::JoinHandle<()>,
}

impl Echoing {
    fn start(world: &World) -> Echoing {
        let file = world.file(&pattern(1, BLOCK));
        let (tx, answers) = mpsc::channel();
        let driver = world.driver(8);
        let supported = driver.supports();
        let leaves = |kind: &OpKind| !supported.contains_kind(*kind);
        let offloaded = [OpKind::StatFs, OpKind::RealPath].into_iter().find(leaves);
        assert!(offloaded.is_some() || !world.has_pool(), "nothing is left to the pool any more: take another kind");
        let listener = Echo {
            path: world.path(&file.name),
            file: file.handle,
            offloaded: offloaded.unwrap_or(OpKind::StatFs),
            answers: tx,
        };
        let (event_loop, client) = AIOEventLoop::new(driver, LoopOptions::default()).unwrap();
        Echoing { client, answers, thread: event_loop.start_thread(listener) }
    }

    #[track_caller]
    fn answer(&self, round: u64) {
        if self.answers.recv_timeout(PATIENCE).is_err() {
            panic!("round {round}: no answer; in flight: {:?}", self.client.in_flight());
        }
    }

    fn end(self) {
        self.client.shutdown();
        self.thread.join().unwrap();
    }
}

/// Waits a moment that differs from round to round, so that every point of the loop's way to sleep is hit.
fn a_moment(random: &mut Random) {
    for _ in 0..random.below(400) {
        std::hint::spin_loop();
    }
    if random.below(50) == 0 {
        thread::yield_now();
    }
}

fn requests_that_come_when_the_loop_goes_to_sleep_soak(world: &World) {
    let echoing = Echoing::start(world);
    let mut random = Random::new(1);
    for round in 0..rounds() {
        let ask = if random.below(2) == 0 { Ask::Nothing } else { Ask::Read };
        echoing.client.send(ask).unwrap();
        echoing.answer(round);
        a_moment(&mut random);
    }
    echoing.end();
}

fn offloaded_completions_beside_the_drivers_soak(world: &World) {
    let echoing = Echoing::start(world);
    let mut random = Random::new(2);
    for round in 0..rounds() / 2 {
        let ask = [Ask::Offloaded, Ask::Both, Ask::Both, Ask::Nothing][random.below(4) as usize];
        let _ = echoing.client.try_send(ask).map_err(|_| panic!("the channel was empty"));
        echoing.answer(round);
        if matches!(ask, Ask::Both) {
            echoing.answer(round);
        }
        a_moment(&mut random);
    }
    echoing.end();
}

/// Wakers beside the sender, who have nothing to say: their wakes must not swallow the others'.
fn wakes_from_many_threads_soak(world: &World) {
    let echoing = Echoing::start(world);
    let over = AtomicBool::new(false);
    let asked = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(3);
            while !over.load(Ordering::Relaxed) {
                // A question is a wake with a receipt.
                assert!(echoing.client.in_flight().is_some());
                asked.fetch_add(1, Ordering::Relaxed);
                a_moment(&mut random);
            }
        });
        let mut random = Random::new(4);
        for round in 0..rounds() / 4 {
            echoing.client.send(Ask::Read).unwrap();
            echoing.answer(round);
            a_moment(&mut random);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 0);
    echoing.end();
}

/// The core by hand: a wake before the wait, during it, and one that belongs to nobody.
fn a_wake_ends_a_wait(world: &World) {
    let mut core: Inflight<Op> = world.core(4);
    let readiness = core.readiness();
    core.submit(Wait::No);
    for _ in 0..3 {
        readiness.wake();
        readiness.wake();
        let begun = Instant::now();
        core.submit(Wait::Forever);
        assert!(begun.elapsed() < PATIENCE);
    }
    for round in 0..200 {
        let waking = readiness.clone();
        let waker = thread::spawn(move || {
            for _ in 0..round % 20 * 50 {
                std::hint::spin_loop();
            }
            waking.wake();
        });
        core.submit(Wait::Forever);
        waker.join().unwrap();
    }
    // While something is in flight that does not come back.
    let file = world.file(&pattern(1, BLOCK));
    let (driver, faults) = world.faulty(4);
    faults.add(Rule::of(OpKind::Read, Fault::Wedge).times(1));
    let mut core: Inflight<Op> = crate::world::core(driver);
    accept(&mut core, Op::read(&file.handle, room(BLOCK), 0));
    core.submit(Wait::No);
    let readiness = core.readiness();
    for _ in 0..50 {
        let waking = readiness.clone();
        let waker = thread::spawn(move || waking.wake());
        core.submit(Wait::Forever);
        assert!(core.next_finished().is_none());
        waker.join().unwrap();
    }
    faults.unwedge();
    crate::world::drain(&mut core);
}

/// CPU time of a thread of this process so far.
#[cfg(target_os = "linux")]
fn cpu_of(tid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).expect("the thread lives");
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

#[cfg(target_os = "linux")]
fn an_idle_loop_uses_no_cpu(world: &World) {
    let file = world.file(&pattern(1, 4 * BLOCK));
    let (driver, faults) = world.faulty(4);
    let tid = Arc::new(std::sync::atomic::AtomicI32::new(0));
    let hook = {
        let tid = tid.clone();
        // SAFETY: asks for a number.
        Box::new(move |_: &Call| tid.store(unsafe { libc::gettid() }, Ordering::SeqCst))
    };
    let aloop = Loop::with(driver, LoopOptions::default(), Some(hook));
    let read = || Op::read(&file.handle, room(BLOCK), 0);
    aloop.send(Req::one(1, read()));
    aloop.record.completed(100);
    let tid = tid.load(Ordering::SeqCst);
    let measure = |what: &str| {
        thread::sleep(Duration::from_millis(20));
        let before = cpu_of(tid);
        thread::sleep(Duration::from_millis(500));
        let used = cpu_of(tid) - before;
        assert!(used < Duration::from_millis(5), "{what}: {used:?} of CPU in half a second of idleness");
    };
    measure("nothing in flight");
    // After work for the pool.
    aloop.send(Req::one(2, Op::stat_fs(world.path(&file.name)).unwrap()));
    aloop.record.completed(200);
    measure("after an offloaded operation");
    faults.add(Rule::of(OpKind::Read, Fault::Wedge).times(1));
    aloop.send(Req::one(4, read()));
    aloop.record.wait_for("the submission", |call| *call == Call::Submit(400));
    measure("an operation that does not come back");
    // A request that does not fit beside it.
    aloop.send(Req::all(5, [read(), read(), read(), read()]));
    if aloop.record.calls().contains(&Call::Back(5)) {
        measure("a request that is held back");
    }
    aloop.client().shutdown();
    measure("a shutdown that waits");
    faults.unwedge();
    aloop.finish();
}

#[cfg(not(target_os = "linux"))]
fn an_idle_loop_uses_no_cpu(_: &World) {}

/// The same with everything on the pool, and an operation stuck there.
#[test]
#[cfg(target_os = "linux")]
fn an_idle_loop_with_a_stuck_pool_uses_no_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = crate::cancel::Fifo::new(dir.path());
    let (puppet, _strings) = crate::puppet::Puppet::new(4);
    let tid = Arc::new(std::sync::atomic::AtomicI32::new(0));
    let hook = {
        let tid = tid.clone();
        // SAFETY: asks for a number.
        Box::new(move |_: &Call| tid.store(unsafe { libc::gettid() }, Ordering::SeqCst))
    };
    let puppet = puppet.supporting(OpSet::EMPTY).boxed();
    let aloop = Loop::with(puppet, LoopOptions::default(), Some(hook));
    aloop.send(Req::one(1, Op::open(&fifo.0, OpenOptions::READ).unwrap()));
    aloop.record.wait_for("the submission", |call| *call == Call::Submit(100));
    thread::sleep(Duration::from_millis(20));
    let tid = tid.load(Ordering::SeqCst);
    let before = cpu_of(tid);
    thread::sleep(Duration::from_millis(500));
    let used = cpu_of(tid) - before;
    assert!(used < Duration::from_millis(5), "{used:?}");
    fifo.let_go();
    aloop.finish();
}
