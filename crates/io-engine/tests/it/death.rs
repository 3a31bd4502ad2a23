//! Drivers that die, operations that never come back, loops that must end all the same: nothing is answered twice, nothing that
//! the kernel may still hold is given back, and the rest of the process goes on.

use crate::{
    listener::joined,
    looping::{Answer, Call, Loop, Req, of_request},
    puppet::{Puppet, Reply},
    world::{PATIENCE, World, accept, answers, code, core, data, drain, nothing, room, run, turn},
};
use io_engine::{
    AIO, AIOEventListener, AIOEventLoop, AIOKey, AIOKind, IOQueue, Inflight, LoopOptions, UnsafeAIO, Where,
    core::{FileFacts, FileHandle, Op, OpKind, OpSet, OpenOptions, Wait, errno},
};
use io_testkit::{BLOCK, Fault, GuardBuf, Rule, nobodys_file, pattern};
use std::{
    io,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

every_driver!(
    a_drain_gives_up_what_never_comes,
    a_drain_that_is_not_needed,
    a_driver_that_dies_answers_everything_once,
    a_driver_that_dies_deaf,
);

fn drained_for(drain: Duration) -> LoopOptions {
    let mut options = LoopOptions::default();
    options.drain = Some(drain);
    options
}

fn a_drain_gives_up_what_never_comes(world: &World) {
    let file = world.file(&pattern(1, 8 * BLOCK));
    let (driver, faults) = world.faulty(8);
    faults.add(Rule::of(OpKind::Read, Fault::Wedge).times(1));
    let aloop = Loop::with(driver, drained_for(Duration::from_millis(50)), None);
    aloop.send(Req::one(1, Op::read(&file.handle, GuardBuf::with_capacity(BLOCK), 0)));
    aloop.record.wait_for("the submission", |call| *call == Call::Submit(100));
    aloop.send(Req::one(2, Op::read(&file.handle, GuardBuf::with_capacity(BLOCK), 0)));
    let begun = Instant::now();
    let calls = aloop.finish();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(of_request(&calls, 1)[2..], [Call::Quarantined(100, Some(errno::ECANCELED))]);
    assert!(matches!(of_request(&calls, 2)[2..], [Call::Complete(200, Answer::Moved(BLOCK), None)]));
    // Life goes on, on the same file.
    let aloop = Loop::start(world.driver(8));
    aloop.send(Req::one(3, Op::read(&file.handle, room(BLOCK), 0)));
    assert_eq!(aloop.record.completed(300), Answer::Moved(BLOCK));
    aloop.finish();
    // The kernel may write into the lost buffer now; it is nobody's.
    faults.unwedge();
}

fn a_drain_that_is_not_needed(world: &World) {
    let file = world.file(&pattern(1, 8 * BLOCK));
    let aloop = Loop::with(world.driver(8), drained_for(Duration::from_secs(3600)), None);
    for id in 1..50 {
        aloop.send(Req::one(id, Op::read(&file.handle, room(BLOCK), 0)));
    }
    let begun = Instant::now();
    let calls = aloop.finish();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(calls.iter().filter(|call| matches!(call, Call::Complete(_, Answer::Moved(BLOCK), _))).count(), 49);
}

/// The channel breaks, and completions of what is in flight still come beside the error.
fn a_driver_that_dies_answers_everything_once(world: &World) {
    dies(world, false);
}

/// The channel breaks, and nothing comes any more.
fn a_driver_that_dies_deaf(world: &World) {
    dies(world, true);
}

fn dies(world: &World, deaf: bool) {
    let contents = pattern(1, 8 * BLOCK);
    let file = world.file(&contents);
    let (driver, faults) = world.faulty(8);
    let depth = driver.depth() as u64;
    faults.add(Rule::of(OpKind::Read, Fault::Delay(Duration::from_millis(300))).times(4));
    let aloop = Loop::start(driver);
    let read = || Op::read(&file.handle, GuardBuf::with_capacity(BLOCK), 0);
    aloop.send(Req::all(1, (0..4).map(|_| read())));
    aloop.record.wait_for("the last of four", |call| *call == Call::Submit(103));
    faults.break_channel(errno::EBADF, deaf);
    // Many times more than the loop's depth: what is lost must not use the depth up.
    let count = 4 * depth.min(32);
    for id in 2..2 + count {
        aloop.send(Req::one(id, read()));
        if id % 8 == 0 {
            let is_it = |call: &Call| match call {
                Call::Complete(key, ..) | Call::Quarantined(key, _) => *key == id * 100,
                _ => false,
            };
            aloop.record.wait_for("an answer", is_it);
        }
    }
    let calls = aloop.finish();
    for id in 2..2 + count {
        let mine = of_request(&calls, id);
        let want = if world.has_pool() { Answer::Moved(BLOCK) } else { Answer::Errno(errno::EBADF) };
        // One or two may have been with the driver when it broke.
        let lost = [Call::Request(id), Call::Submit(id * 100), Call::Quarantined(id * 100, Some(errno::EBADF))];
        assert!(
            mine == [Call::Request(id), Call::Submit(id * 100), Call::Complete(id * 100, want, None)] || mine == lost,
            "{mine:?}"
        );
    }
    let lost = calls.iter().filter(|call| matches!(call, Call::Quarantined(..))).count();
    let first = of_request(&calls, 1);
    assert_eq!(first.len(), 9, "{first:?}");
    if deaf {
        // What the driver had answered before it broke is no loss; how much that is, is a race.
        assert!(lost < 20, "{lost} are lost");
        let ends = |call: &Call| {
            matches!(call, Call::Quarantined(_, Some(errno::EBADF)) | Call::Complete(_, Answer::Moved(BLOCK), None))
        };
        assert!(first[5..].iter().all(ends), "{first:?}");
    }
}

/// A driver's late answers meet a table that has gone through the whole depth anew: they are void, and nobody else's.
#[test]
fn late_answers_of_a_dead_driver_are_void() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = crate::cancel::Fifo::new(dir.path());
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let mut core: Inflight<Op> = core(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    let lost: Vec<_> = (0..4).map(|_| accept(&mut core, Op::read(&file, vec![0; 8], 0))).collect();
    turn(&mut core, Wait::No);
    strings.break_channel(errno::EIO, true);
    let begun = Instant::now();
    let mut named = 0;
    while named < 4 {
        assert!(begun.elapsed() < PATIENCE);
        assert!(turn(&mut core, Wait::AtMost(Duration::from_millis(50))).is_empty());
        while core.next_lost().is_some() {
            named += 1;
        }
    }
    // All of the depth is there again at once, and taken by operations that are with the pool.
    let mut tokens = Vec::new();
    while let Ok(token) = core.accept(Op::open(&fifo.0, OpenOptions::READ).unwrap()) {
        tokens.push(token);
    }
    assert_eq!(tokens.len(), 4, "a dead driver has used up the depth");
    assert!(tokens.iter().all(|token| !lost.contains(token)), "two uses of a slot have the same token (I4)");
    // Now the dead one speaks.
    for &token in &lost {
        strings.answer(token, 8);
    }
    strings.hear_again();
    nothing(&mut core);
    assert!(core.dump().iter().all(|op| op.at == Where::Offload));
    fifo.let_go();
    let finished = answers(&mut core, 4);
    assert!(finished.iter().all(|f| f.result.is_ok() && tokens.contains(&f.token)));
    drop(core);
    assert!(!strings.dropped(), "what is lost is with the driver for good (I7)");
}

/// The same depth over and over: with nothing beside it, a dead driver's operations fail at once instead of being lost one by
/// one.
#[test]
fn without_a_pool_new_operations_fail_at_once() {
    let (puppet, strings) = Puppet::new(4);
    let mut core: Inflight<Op> = core(puppet.without_pool().boxed());
    let file = nobodys_file(FileFacts::default());
    strings.break_channel(errno::EIO, true);
    turn(&mut core, Wait::No);
    let begun = Instant::now();
    for _ in 0..40 {
        let (result, op) = run(&mut core, Op::write(&file, vec![1, 2, 3], 0));
        assert_eq!(code(&result), errno::EIO);
        assert_eq!(op.into_buf::<Vec<u8>>().unwrap(), [1, 2, 3], "the buffer comes back");
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!((core.stats().quarantined, strings.seen().len(), core.room()), (0, 0, 4));
    drop(core);
    assert!(strings.dropped(), "there was nothing to keep it for");
}

/// Every place in the driver, in the queue and in the channel is taken by what does not come back, and then the loop is told to
/// end within a time.
#[test]
fn a_drain_of_a_loop_that_is_full() {
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let mut options = drained_for(Duration::from_millis(50));
    options.channel = 2;
    let aloop = Loop::with(puppet.boxed(), options, None);
    let file = nobodys_file(FileFacts::default());
    let stats = |count| (0..count).map(|_| Op::stat(&file)).collect::<Vec<_>>();
    aloop.send(Req::all(1, stats(4)));
    aloop.record.wait_for("the first", |call| *call == Call::Submit(103));
    aloop.send(Req::all(2, stats(4)));
    aloop.record.wait_for("the second", |call| *call == Call::Request(2));
    aloop.send(Req::one(3, Op::stat(&file)));
    aloop.send(Req::one(4, Op::stat(&file)));
    let begun = Instant::now();
    let client = aloop.client().clone();
    client.shutdown();
    // While it drains it can still be asked what it waits for.
    let (stats, ops) = client.in_flight().expect("it has not ended yet");
    assert_eq!((stats.in_flight, ops.len()), (4, 4));
    let calls = aloop.finish();
    assert!(begun.elapsed() < Duration::from_secs(5));
    for key in 100..104 {
        assert!(calls.contains(&Call::Quarantined(key, Some(errno::ECANCELED))));
    }
    // What had not begun does not begin any more: it comes back, and nothing of it is lost.
    for key in [200, 201, 202, 203, 300, 400] {
        assert!(calls.contains(&Call::Complete(key, Answer::Errno(errno::ECANCELED), None)), "{key}: {calls:?}");
    }
    assert_eq!(strings.seen().len(), 4);
    assert!(client.in_flight().is_none());
}

/// What is stuck in the pool is given up as well, and what waits for another core's write comes back.
#[test]
fn a_drain_gives_up_what_is_stuck_in_the_pool() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = crate::cancel::Fifo::new(dir.path());
    let path = dir.path().join("f");
    std::fs::write(&path, [1; 100]).unwrap();
    let file = io_engine::open(&path, OpenOptions::READ_WRITE).unwrap();
    // Somebody else's write of the same file hangs.
    let (puppet, other) = Puppet::new(4);
    other.hold_all();
    let mut writer: Inflight<Op> = core(puppet.boxed());
    let write = accept(&mut writer, Op::write(&file, vec![9], 0));
    turn(&mut writer, Wait::No);

    let (puppet, _strings) = Puppet::new(8);
    let aloop = Loop::with(puppet.supporting(OpSet::EMPTY).boxed(), drained_for(Duration::from_millis(50)), None);
    aloop.send(Req::one(1, Op::open(&fifo.0, OpenOptions::READ).unwrap()));
    aloop.send(Req::one(2, Op::sync_data(&file)));
    aloop.send(Req::one(3, Op::read(&file, room(100), 0)));
    assert_eq!(aloop.record.completed(300), Answer::Moved(100));
    let begun = Instant::now();
    let calls = aloop.finish();
    assert!(begun.elapsed() < Duration::from_secs(5), "it waits for ever");
    assert_eq!(of_request(&calls, 1)[2..], [Call::Quarantined(100, Some(errno::ECANCELED))]);
    assert_eq!(of_request(&calls, 2)[2..], [Call::Complete(200, Answer::Errno(errno::ECANCELED), None)]);
    other.answer(write, 1);
    drain(&mut writer);
    fifo.let_go();
}

/// On the simulator time is virtual, the time to drain as well: an hour is over at once.
#[test]
fn a_drain_runs_on_the_drivers_clock() {
    let disk = io_sim::SimDisk::new(io_sim::SimOptions::seeded(1));
    disk.write_file("/f", &[1; 100]).unwrap();
    let file = disk.open("/f", OpenOptions::READ).unwrap();
    disk.wedge(io_sim::Which::kind(OpKind::Read));
    let aloop = Loop::with(Box::new(disk.driver(4)), drained_for(Duration::from_secs(3600)), None);
    aloop.send(Req::one(1, Op::read(&file, room(100), 0)));
    aloop.record.wait_for("the submission", |call| *call == Call::Submit(100));
    let begun = Instant::now();
    let calls = aloop.finish();
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited in real time");
    assert_eq!(of_request(&calls, 1)[2..], [Call::Quarantined(100, Some(errno::ECANCELED))]);
    assert!(disk.now() >= Duration::from_secs(3600), "and in virtual time not at all: {:?}", disk.now());
}

/// A listener of pages that are lent.
struct Pages(FileHandle, usize, Arc<Mutex<Vec<String>>>);

impl AIOEventListener for Pages {
    type Request = u64;
    type Submission = UnsafeAIO;

    fn on_request(&mut self, key: u64, queue: &mut IOQueue<UnsafeAIO>) -> Result<(), u64> {
        // SAFETY: the pages are leaked: valid for ever, and nobody else's.
        let read = unsafe { UnsafeAIO::read(key, &self.0, std::ptr::with_exposed_provenance_mut(self.1), BLOCK, 0) };
        queue.push(read).map_err(|_| key)
    }

    fn on_complete(&mut self, read: UnsafeAIO, _: io::Result<usize>, _: &mut IOQueue<UnsafeAIO>) -> AIOKind {
        self.2.lock().unwrap().push("complete".to_owned());
        read.kind()
    }

    fn quarantined(&mut self, key: AIOKey, reason: &io::Error) {
        self.2.lock().unwrap().push(format!("quarantined {key} {}", reason.raw_os_error().unwrap()));
    }

    fn end_loop(self) {
        self.2.lock().unwrap().push("end".to_owned());
    }
}

#[test]
fn lent_pages_stay_lent() {
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let pages: &'static mut [u8] = vec![0u8; BLOCK].leak();
    let log = Arc::<Mutex<Vec<String>>>::default();
    let listener = Pages(nobodys_file(FileFacts::default()), pages.as_mut_ptr().expose_provenance(), log.clone());
    let (event_loop, client) = AIOEventLoop::new(puppet.boxed(), drained_for(Duration::from_millis(20))).unwrap();
    let thread = event_loop.start_thread(listener);
    client.send(7).unwrap();
    while strings.flying().is_empty() {
        thread::yield_now();
    }
    client.shutdown();
    joined(thread);
    assert_eq!(*log.lock().unwrap(), ["quarantined 7 125", "end"]);
    assert!(!strings.dropped());
}

/// Push-back is not death: staged work waits, what is in flight is reaped meanwhile, and nobody burns a processor.
#[test]
fn push_back_is_survived() {
    let (puppet, strings) = Puppet::new(8);
    strings.push_back(30);
    let mut core: Inflight<Op> = core(puppet.boxed());
    strings.script(|_| Reply::Answer(1));
    let file = nobodys_file(FileFacts::default());
    for _ in 0..8 {
        accept(&mut core, Op::read(&file, vec![0; 1], 0));
    }
    let begun = Instant::now();
    let mut turns = 0;
    let mut left = 8;
    while left > 0 {
        left -= turn(&mut core, Wait::Forever).len();
        turns += 1;
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(core.stats().pushed_back, 30);
    assert!(turns <= 40, "{turns} turns for 30 times of push-back");
    assert!(begun.elapsed() >= Duration::from_millis(20), "no pause between the attempts");
}

/// A driver that is full although a slot is free (a cancel takes its place): the operation waits its turn, in order.
#[test]
fn a_full_driver_is_asked_again() {
    let (puppet, strings) = Puppet::new(4);
    let mut core: Inflight<Op> = core(puppet.boxed());
    strings.script(|_| Reply::Answer(1));
    strings.refuse_next(5);
    let file = nobodys_file(FileFacts::default());
    let tokens: Vec<_> = (0..4).map(|_| accept(&mut core, Op::read(&file, vec![0; 1], 0))).collect();
    let finished = answers(&mut core, 4);
    let order: Vec<_> = finished.iter().map(|f| f.token).collect();
    assert_eq!(strings.seen().len(), 4);
    assert_eq!(order.len(), tokens.len());
}

/// It is asked again, and not all the time.
#[test]
fn a_full_driver_burns_no_processor() {
    let (puppet, strings) = Puppet::new(4);
    let mut core: Inflight<Op> = core(puppet.boxed());
    strings.script(|_| Reply::Answer(1));
    strings.refuse_next(u32::MAX);
    accept(&mut core, Op::read(&nobodys_file(FileFacts::default()), vec![0; 1], 0));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(100) {
        assert!(turn(&mut core, Wait::Forever).is_empty());
    }
    let submits = core.stats().submits;
    assert!(submits < 150, "{submits} submits in 100 ms");
    strings.refuse_next(0);
    assert_eq!(answers(&mut core, 1)[0].result.as_ref().unwrap(), &1);
}

/// One at a time through a loop whose driver died: nobody sleeps on it, nothing is delayed by its grace period.
#[test]
fn after_a_death_requests_are_answered_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, pattern(1, 4096)).unwrap();
    let file = io_engine::open(&path, OpenOptions::READ_WRITE).unwrap();
    let (puppet, strings) = Puppet::new(4);
    strings.script(|seen| if seen.offset == 7 { Reply::Hold } else { Reply::Run });
    let aloop = Loop::start(puppet.boxed());
    aloop.send(Req::one(1, Op::read(&file, room(10), 7)));
    aloop.record.wait_for("the held one", |call| *call == Call::Submit(100));
    strings.break_channel(errno::EIO, true);
    // What is given to the driver in the very round in which it dies is lost with it.
    thread::sleep(Duration::from_millis(20));
    let begun = Instant::now();
    for id in 2..100 {
        let op = if id % 2 == 0 { Op::read(&file, room(100), 0) } else { Op::write(&file, data(&[1; 50]), 0) };
        aloop.send(Req::one(id, op));
        assert!(matches!(aloop.record.completed(id * 100), Answer::Moved(50 | 100)));
    }
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    let lost = aloop.record.wait_for("the loss", |call| matches!(call, Call::Quarantined(..)));
    assert_eq!(lost, Call::Quarantined(100, Some(errno::EIO)));
    // Long after: still at once.
    let begun = Instant::now();
    aloop.send(Req::one(100, Op::read(&file, room(100), 0)));
    aloop.record.completed(10_000);
    assert!(begun.elapsed() < Duration::from_millis(900));
    aloop.finish();
}

/// The whole depth is lost, and requests wait: they go on as soon as the losses are named.
#[test]
fn a_loop_whose_every_place_was_lost_goes_on_at_once() {
    let (puppet, strings) = Puppet::new(4);
    strings.hold_all();
    let aloop = Loop::start(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    aloop.send(Req::all(1, (0..4).map(|_| Op::stat(&file))));
    aloop.record.wait_for("the last of four", |call| *call == Call::Submit(103));
    let path = std::env::temp_dir();
    aloop.send(Req::one(2, Op::stat_path(&path, true).unwrap()));
    strings.break_channel(errno::EIO, true);
    aloop.record.wait_for("the losses", |call| matches!(call, Call::Quarantined(..)));
    let begun = Instant::now();
    assert_eq!(aloop.record.completed(200), Answer::Moved(0));
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    aloop.finish();
}

/// Typed submissions come back as what they were, also by way of quarantine: the value stays, its memory is not given back.
#[test]
fn a_lost_buffer_is_not_dropped() {
    let buf: Arc<[u8]> = Arc::from(vec![1u8; 64]);
    let (puppet, strings) = Puppet::new(2);
    strings.hold_all();
    let mut core: Inflight<AIO<Arc<[u8]>>> = core(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    assert!(core.accept(AIO::write(5, &file, buf.clone(), 0)).is_ok());
    core.submit(Wait::No);
    core.abandon();
    {
        let (lost, reason) = core.next_lost().expect("one is lost");
        assert_eq!((lost.key, reason.raw_os_error()), (5, Some(errno::ECANCELED)));
    }
    drop(core);
    assert_eq!(Arc::strong_count(&buf), 2, "the kernel may still read it (I7)");
}
