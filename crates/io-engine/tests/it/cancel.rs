//! A cancel is a wish: whenever it comes, the operation answers exactly once, with its own result or `ECANCELED`, and nobody
//! else's operation is hit.

use crate::{
    puppet::{Cancels, Puppet, Reply},
    random::{Random, dice},
    transfers::spy,
    world::{PATIENCE, World, accept, answers, assert_same, code, core, data, drain, nothing, room, soak, turn},
};
use io_engine::{
    Finished, Inflight, Where,
    core::{AlignedBuf, FileFacts, Op, OpKind, OpSet, OpenOptions, Wait, errno},
};
use io_testkit::{BLOCK, Fault, Rule, nobodys_file, pattern};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

every_driver!(
    before_it_was_submitted,
    while_it_is_with_the_driver,
    while_it_is_with_the_driver_and_cannot_be_had_back,
    after_it_was_answered,
    held_by_order,
    all_at_once,
    storms_soak,
);

/// Answered with all of it, or cancelled; nothing between.
#[track_caller]
fn assert_done_or_cancelled(finished: &Finished<Op>, len: usize) -> bool {
    match &finished.result {
        Ok(n) => {
            assert_eq!(*n, len);
            true
        }
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(errno::ECANCELED), "{finished:?}");
            false
        }
    }
}

fn before_it_was_submitted(world: &World) {
    let contents = pattern(1, BLOCK);
    let file = world.file(&contents);
    let mut core = world.core(4);
    for _ in 0..20 {
        let token = accept(&mut core, Op::read(&file.handle, room(BLOCK), 0));
        core.cancel(token);
        core.cancel(token);
        let finished = answers(&mut core, 1).remove(0);
        assert_eq!(finished.token, token);
        if assert_done_or_cancelled(&finished, BLOCK) {
            assert_same("read", &finished.carrier.into_buf::<AlignedBuf>().unwrap(), &contents);
        }
        assert!(turn(&mut core, Wait::No).is_empty());
        assert_eq!(core.room(), 4);
    }
}

fn while_it_is_with_the_driver(world: &World) {
    let file = world.file(&pattern(1, 64 * BLOCK));
    let (driver, faults) = world.faulty(32);
    // Kept back after it is done, so that the cancel meets an operation in flight for certain.
    faults.add(Rule::new(Fault::Delay(Duration::from_millis(300))));
    let mut core = core(driver);
    let tokens: Vec<_> =
        (0..32).map(|i| accept(&mut core, Op::read(&file.handle, room(BLOCK), i * BLOCK as u64))).collect();
    assert!(turn(&mut core, Wait::No).is_empty());
    for &token in &tokens {
        core.cancel(token);
        core.cancel(token);
    }
    let finished = answers(&mut core, 32);
    for finished in &finished {
        assert_done_or_cancelled(finished, BLOCK);
    }
    let mut answered: Vec<_> = finished.iter().map(|f| f.token).collect();
    answered.sort();
    assert_eq!(answered, tokens);
    assert!(faults.injected() >= 32);
    nothing(&mut core);
}

fn while_it_is_with_the_driver_and_cannot_be_had_back(world: &World) {
    let file = world.file(&pattern(1, BLOCK));
    let (driver, faults) = world.faulty(4);
    faults.add(Rule::of(OpKind::Read, Fault::Wedge).times(1));
    let mut core = core(driver);
    let token = accept(&mut core, Op::read(&file.handle, room(BLOCK), 0));
    turn(&mut core, Wait::No);
    core.cancel(token);
    // In flight is in flight, whatever was wished: nobody gets the buffer back before the completion.
    nothing(&mut core);
    assert_eq!(core.dump()[0].at, Where::Driver);
    faults.unwedge();
    let finished = answers(&mut core, 1).remove(0);
    assert_eq!(finished.result.unwrap(), BLOCK, "it was done after all");
}

fn after_it_was_answered(world: &World) {
    let file = world.file(&pattern(1, BLOCK));
    let (driver, faults) = world.faulty(1);
    let mut core = core(driver);
    // Completed and not handed out yet.
    let token = accept(&mut core, Op::read(&file.handle, room(BLOCK), 0));
    let begun = Instant::now();
    core.submit(Wait::AtMost(PATIENCE));
    core.cancel(token);
    let finished = loop {
        if let Some(finished) = core.next_finished() {
            break finished;
        }
        assert!(begun.elapsed() < PATIENCE);
        core.submit(Wait::AtMost(PATIENCE));
    };
    assert_done_or_cancelled(&finished, BLOCK);
    // Handed out; its slot is the next operation's.
    faults.add(Rule::of(OpKind::Read, Fault::PushBack(3)));
    let next = accept(&mut core, Op::read(&file.handle, room(BLOCK), 0));
    assert_eq!(next.slot(), token.slot());
    for _ in 0..3 {
        core.cancel(token);
        core.submit(Wait::No);
    }
    let finished = answers(&mut core, 1).remove(0);
    assert_eq!((finished.token, finished.result.unwrap()), (next, BLOCK), "an old token has hit a new operation");
    core.cancel(next);
    nothing(&mut core);
}

fn held_by_order(world: &World) {
    let file = world.file(&pattern(1, BLOCK));
    let (driver, faults) = world.faulty(8);
    let seen = spy(&faults);
    faults.add(Rule::of(OpKind::Write, Fault::Wedge).times(1));
    let mut core = core(driver);
    accept(&mut core, Op::write(&file.handle, data(&[1; BLOCK]), 0));
    let syncs: Vec<_> = (0..6).map(|_| accept(&mut core, Op::sync_data(&file.handle))).collect();
    turn(&mut core, Wait::No);
    for &sync in &syncs[..3] {
        core.cancel(sync);
        core.cancel(sync);
    }
    let finished = answers(&mut core, 3);
    assert!(finished.iter().all(|f| code(&f.result) == errno::ECANCELED && syncs[..3].contains(&f.token)));
    assert!(seen.lock().unwrap().iter().all(|op| !op.kind.is_sync()), "cancelled in the core, and run all the same");
    faults.unwedge();
    let finished = answers(&mut core, 4);
    assert!(finished.iter().all(|f| f.result.is_ok()), "{finished:?}");
}

fn all_at_once(world: &World) {
    let file = world.file(&pattern(1, 32 * BLOCK));
    for round in 0..20 {
        let (driver, faults) = world.faulty(64);
        let mut random = Random::new(round);
        faults.add(Rule::of(OpKind::Write, Fault::Delay(Duration::from_micros(300))));
        let mut core = core(driver);
        let mut tokens = Vec::new();
        for i in 0..60 {
            let at = (i % 32) * BLOCK as u64;
            tokens.push(accept(
                &mut core,
                match random.below(4) {
                    0 => Op::read(&file.handle, room(BLOCK), at),
                    1 | 2 => Op::write(&file.handle, data(&[round as u8; BLOCK]), at),
                    _ => Op::sync_data(&file.handle),
                },
            ));
            if random.below(20) == 0 {
                core.submit(Wait::No);
            }
        }
        for &token in &tokens {
            core.cancel(token);
        }
        let mut answered: Vec<_> = drain(&mut core).into_iter().map(|f| f.token).collect();
        answered.sort();
        tokens.sort();
        assert_eq!(answered, tokens);
        assert_eq!(core.room(), 64);
    }
}

/// Reads, writes and syncs with cancels at any moment; the file is compared block by block: a write that was cancelled left the
/// block as it was, or new, or (a part of it being done) new up to some byte.
fn storms_soak(world: &World) {
    let blocks = 16;
    let old = pattern(99, blocks * BLOCK);
    for seed in 0..6 {
        let file = world.file(&old);
        let mut random = Random::new(seed);
        let (driver, faults) = world.faulty(16);
        let (slow, short) = (dice(seed + 1000, 4), dice(seed + 2000, 4));
        let third = world.unit() * (BLOCK / world.unit()).div_ceil(3);
        faults.add(Rule::new(Fault::Delay(Duration::from_micros(200))).when(move |_| slow()));
        faults.add(Rule::new(Fault::Short(third as u32)).when(move |op| op.kind().is_transfer() && short()));
        let mut core = core(driver);
        // Per block: what it may hold. One operation at a time works on a block.
        let mut may_hold: Vec<Vec<Vec<u8>>> = old.chunks(BLOCK).map(|c| vec![c.to_vec()]).collect();
        let mut flying: HashMap<_, (usize, Option<Vec<u8>>)> = HashMap::new();
        let mut busy = vec![false; blocks];
        let (mut started, mut answered, mut cancelled) = (0, 0, 0);
        let rounds = if soak() { 100_000 } else { 600 };
        while started < rounds || !flying.is_empty() {
            let block = random.below(blocks as u64) as usize;
            if started < rounds && core.room() > 0 && !busy[block] {
                let at = (block * BLOCK) as u64;
                let (op, new) = match random.below(2) {
                    0 => (Op::read(&file.handle, room(BLOCK), at), None),
                    _ => {
                        let new = pattern(seed * 1_000_000 + started, BLOCK);
                        (Op::write(&file.handle, data(&new), at), Some(new))
                    }
                };
                started += 1;
                busy[block] = true;
                flying.insert(accept(&mut core, op), (block, new));
            }
            if random.below(3) == 0 {
                let victim = flying.keys().nth(random.below(flying.len().max(1) as u64) as usize).copied();
                if let Some(victim) = victim {
                    core.cancel(victim);
                    cancelled += 1;
                }
            }
            let wait = if random.below(2) == 0 { Wait::No } else { Wait::AtMost(Duration::from_micros(100)) };
            for finished in turn(&mut core, wait) {
                let (block, new) = flying.remove(&finished.token).expect("answered twice, or nobody's");
                busy[block] = false;
                answered += 1;
                let done = match &finished.result {
                    Ok(n) => *n,
                    Err(_) => {
                        assert_eq!(code(&finished.result), errno::ECANCELED);
                        0
                    }
                };
                match new {
                    None => {
                        let got = finished.carrier.into_buf::<AlignedBuf>().unwrap();
                        let good = may_hold[block].iter().any(|may| may[..done] == got[..done]);
                        assert!(good, "seed {seed}: block {block} holds something else");
                    }
                    Some(new) if done == BLOCK => may_hold[block] = vec![new],
                    // Cut short by the cancel: exactly so much is new.
                    Some(new) if done > 0 => {
                        may_hold[block].iter_mut().for_each(|may| may[..done].copy_from_slice(&new[..done]));
                    }
                    Some(_) => {}
                }
            }
        }
        assert_eq!((started, core.in_flight()), (answered, 0), "seed {seed}");
        assert!(cancelled > 0);
        let got = world.contents(&file);
        for (block, may) in may_hold.iter().enumerate() {
            let got = &got[block * BLOCK..(block + 1) * BLOCK];
            assert!(may.iter().any(|may| may == got), "seed {seed}: block {block} holds something else in the end");
        }
    }
}

/// Waiting for its turn after `EAGAIN`, or for room in the driver: it ends at once, and the driver is not asked.
#[test]
fn paused_in_the_core() {
    let (puppet, strings) = Puppet::new(4);
    strings.script(|_| Reply::Answer(-errno::EAGAIN));
    let mut core: Inflight<Op> = core(puppet.without_pool().boxed());
    let file = nobodys_file(FileFacts::default());
    let read = accept(&mut core, Op::read(&file, vec![0; 4], 0));
    turn(&mut core, Wait::No);
    assert_eq!(core.dump()[0].at, Where::Pause);
    core.cancel(read);
    core.cancel(read);
    let asked = strings.seen().len();
    assert_eq!(code(&answers(&mut core, 1)[0].result), errno::ECANCELED);
    assert!(strings.cancelled().is_empty(), "it was not with the driver");

    strings.refuse_next(1);
    let read = accept(&mut core, Op::read(&file, vec![0; 4], 0));
    core.cancel(read);
    assert_eq!(code(&answers(&mut core, 1)[0].result), errno::ECANCELED);
    assert_eq!(strings.seen().len(), asked, "the driver was asked for a cancelled operation");
    nothing(&mut core);
}

/// A part is done, the rest waits in a pause when the cancel comes: the part is the answer, as it is from a driver.
#[test]
fn paused_in_the_core_after_a_part() {
    for by_driver in [false, true] {
        let (puppet, strings) = Puppet::new(4);
        let mut nth = 0;
        strings.script(move |_| {
            nth += 1;
            match nth {
                1 => Reply::Answer(3),
                _ if by_driver => Reply::Hold,
                _ => Reply::Answer(-errno::EAGAIN),
            }
        });
        strings.cancels(Cancels::InTime);
        let mut core: Inflight<Op> = core(puppet.without_pool().boxed());
        let file = nobodys_file(FileFacts::default());
        let read = accept(&mut core, Op::read(&file, Vec::with_capacity(8), 0));
        turn(&mut core, Wait::No);
        turn(&mut core, Wait::No);
        assert_eq!((core.dump()[0].done, core.dump()[0].at == Where::Driver), (3, by_driver));
        core.cancel(read);
        let finished = answers(&mut core, 1).remove(0);
        assert_eq!(finished.result.unwrap(), 3, "by the driver: {by_driver}");
        assert_eq!(finished.carrier.into_buf::<Vec<u8>>().unwrap().len(), 3);
    }
}

/// A cancelled operation is neither continued nor repeated.
#[test]
fn what_was_cancelled_is_not_begun_again() {
    for (answer, want) in [(5, Ok(5)), (-errno::EINTR, Err(errno::EINTR)), (-errno::EAGAIN, Err(errno::EAGAIN))] {
        let (puppet, strings) = Puppet::new(4);
        strings.hold_all();
        let mut core: Inflight<Op> = core(puppet.boxed());
        let file = nobodys_file(FileFacts::default());
        let read = accept(&mut core, Op::read(&file, vec![0; 8], 0));
        turn(&mut core, Wait::No);
        core.cancel(read);
        strings.answer(read, answer);
        let finished = answers(&mut core, 1).remove(0);
        assert_eq!(finished.result.map_err(|e| e.raw_os_error().unwrap()), want);
        assert_eq!((strings.seen().len(), core.stats().offloaded), (1, 0));
    }
}

/// In the pool's queue, behind workers that are all busy: it ends there.
#[test]
#[cfg(unix)]
fn in_the_queue_of_the_pool() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = Fifo::new(dir.path());
    let path = dir.path().join("f");
    std::fs::write(&path, [7; 100]).unwrap();
    let file = io_engine::open(&path, OpenOptions::READ).unwrap();
    let (puppet, strings) = Puppet::new(128);
    let mut core: Inflight<Op> = core(puppet.supporting(OpSet::EMPTY).boxed());
    // Opening a pipe that nobody writes to blocks: as many as the pool can have workers.
    let stuck: Vec<_> = (0..100).map(|_| accept(&mut core, Op::open(&fifo.0, OpenOptions::READ).unwrap())).collect();
    let reads: Vec<_> = (0..20).map(|_| accept(&mut core, Op::read(&file, vec![0; 100], 0))).collect();
    turn(&mut core, Wait::No);
    assert!(core.dump().iter().all(|op| op.at == Where::Offload));
    for &read in &reads {
        core.cancel(read);
        core.cancel(read);
    }
    let finished = answers(&mut core, 20);
    assert!(finished.iter().all(|f| code(&f.result) == errno::ECANCELED && reads.contains(&f.token)));
    // One that runs cannot be had back, and one that waits can.
    for &open in &stuck {
        core.cancel(open);
    }
    let queued = turn(&mut core, Wait::AtMost(PATIENCE)).len();
    // On a busy machine no worker may have begun yet: then all of them are still queued.
    assert!((1..=100).contains(&queued), "{queued} of 100 were still queued");
    fifo.let_go();
    let finished = answers(&mut core, 100 - queued);
    assert!(finished.iter().all(|f| f.result.is_ok()), "{finished:?}");
    assert!(strings.seen().is_empty() && strings.cancelled().is_empty(), "the driver has nothing to do with it");
}

/// A pipe with a name: opening it for reading blocks until somebody writes.
#[cfg(unix)]
pub struct Fifo(pub std::path::PathBuf);

#[cfg(unix)]
impl Fifo {
    pub fn new(dir: &std::path::Path) -> Fifo {
        let path = dir.join("pipe");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name is a C string.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        Fifo(path)
    }

    /// Whoever waits for a writer goes on.
    pub fn let_go(&self) {
        // Both ends at once, so that this does not block; kept open, for who comes late.
        let file = std::fs::File::options().read(true).write(true).open(&self.0).unwrap();
        std::mem::forget(file);
    }
}
