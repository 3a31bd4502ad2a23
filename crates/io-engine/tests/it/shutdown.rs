//! A thousand requests and a shutdown at a random moment: each is answered, or handed back, exactly once, however it was sent.

use crate::{
    looping::{Answer, Call, Loop, Req},
    puppet::Puppet,
    random::Random,
    world::{World, data, soak},
};
use io_engine::{
    AIOClient, LoopOptions, TrySendError,
    core::{FileHandle, Op},
};
use io_testkit::{BLOCK, Fault, GuardBuf, Rule, pattern};
use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

every_driver!(a_thousand_requests_and_a_shutdown_soak, with_operations_that_are_slow);

/// What a client knows of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Sent,
    HandedBack,
    /// The future was dropped half-way: sent or not, but not both.
    Dropped,
}

const CLIENTS: u64 = 6;

fn a_thousand_requests_and_a_shutdown_soak(world: &World) {
    for seed in 0..if soak() { 300 } else { 8 } {
        storm(world, seed, 1000, false);
    }
}

fn with_operations_that_are_slow(world: &World) {
    for seed in 100..104 {
        storm(world, seed, 300, true);
    }
}

fn storm(world: &World, seed: u64, requests: u64, slow: bool) {
    let file = world.file(&pattern(1, 16 * BLOCK));
    let mut random = Random::new(seed);
    let mut options = LoopOptions::default();
    options.channel = [1, 4, 64][random.below(3) as usize];
    let depth = [2, 16, 64][random.below(3) as usize];
    let (driver, faults) = world.faulty(depth);
    if slow {
        faults.add(Rule::new(Fault::Delay(Duration::from_micros(500))));
    }
    let aloop = Loop::with(driver, options, None);
    // Half of the runs end in the midst of it, some before anything, some when all is done.
    let moment = random.below(requests * 5 / 4);
    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let fates: Vec<HashMap<u64, Fate>> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let (client, handle, sent) = (aloop.client().clone(), file.handle.clone(), &sent);
                scope.spawn(move || {
                    let mut fates = HashMap::new();
                    let mut random = Random::new(seed * 100 + n);
                    for i in 0..requests / CLIENTS {
                        let id = 1 + n * requests + i;
                        fates.insert(id, send(&client, request(&handle, id), &mut random));
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    fates
                })
            })
            .collect();
        let begun = Instant::now();
        while sent.load(Ordering::Relaxed) < moment && begun.elapsed() < Duration::from_secs(20) {
            if clients.iter().all(|client| client.is_finished()) {
                break;
            }
            thread::yield_now();
        }
        aloop.client().shutdown();
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let calls = aloop.finish();
    let mut answered: HashMap<u64, u32> = HashMap::new();
    for call in &calls {
        if let Call::Complete(key, answer, _) = call {
            assert_eq!(*answer, Answer::Moved(if key / 100 % 4 == 0 { 0 } else { BLOCK }), "seed {seed}");
            *answered.entry(key / 100).or_default() += 1;
        }
    }
    let mut counts = [0; 3];
    for (id, fate) in fates.into_iter().flatten() {
        let answers = answered.remove(&id).unwrap_or(0);
        match fate {
            Fate::Sent => assert_eq!(answers, 1, "seed {seed}: request {id} was sent"),
            Fate::HandedBack => assert_eq!(answers, 0, "seed {seed}: request {id} was handed back"),
            Fate::Dropped => assert!(answers <= 1, "seed {seed}: request {id}"),
        }
        counts[fate as usize] += 1;
    }
    assert!(answered.is_empty(), "seed {seed}: answers to nobody: {answered:?}");
    assert!(counts.iter().sum::<u64>() == requests / CLIENTS * CLIENTS);
}

fn request(file: &FileHandle, id: u64) -> Req {
    let at = id % 16 * BLOCK as u64;
    Req::one(
        id,
        match id % 4 {
            0 => Op::sync_data(file),
            1 => Op::write(file, data(&[id as u8; BLOCK]), at),
            _ => Op::read(file, GuardBuf::with_capacity(BLOCK), at),
        },
    )
}

fn send(client: &AIOClient<Req>, request: Req, random: &mut Random) -> Fate {
    let id = request.id;
    let fate = |back: Option<Req>| match back {
        None => Fate::Sent,
        Some(back) => {
            assert_eq!(back.id, id, "somebody else's request came back");
            Fate::HandedBack
        }
    };
    match random.below(4) {
        0 => fate(client.send(request).err().map(|refused| refused.0)),
        1 => match client.try_send(request) {
            Ok(()) => Fate::Sent,
            Err(TrySendError::Full(back)) => fate(client.send(back).err().map(|refused| refused.0)),
            Err(TrySendError::Refused(back)) => fate(Some(back)),
        },
        2 => fate(smol::block_on(client.send_async(request)).err().map(|refused| refused.0)),
        _ => {
            let mut future = pin!(client.send_async(request));
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..random.below(3) {
                if let Poll::Ready(sent) = future.as_mut().poll(&mut cx) {
                    return fate(sent.err().map(|refused| refused.0));
                }
                thread::yield_now();
            }
            Fate::Dropped
        }
    }
}

/// A future that was begun and is polled by nobody: it does not keep the loop from ending, and its request comes back.
#[test]
fn a_future_that_waits_for_room_while_the_loop_ends() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), [1; 100]).unwrap();
    let file = io_engine::open(dir.path().join("f"), io_engine::core::OpenOptions::READ).unwrap();
    for _ in 0..50 {
        let (puppet, _strings) = Puppet::new(4);
        let mut options = LoopOptions::default();
        options.channel = 1;
        let (tell, told) = std::sync::mpsc::channel();
        let hook = Box::new(move |call: &Call| {
            if *call == Call::Request(1) {
                told.recv().unwrap();
            }
        });
        let aloop = Loop::with(puppet.boxed(), options, Some(hook));
        let read = || Op::read(&file, vec![0; 10], 0);
        aloop.send(Req::one(1, read()));
        aloop.record.wait_for("the first", |call| *call == Call::Request(1));
        aloop.send(Req::one(2, read()));
        let client = aloop.client().clone();
        let mut futures: Vec<_> = (3..6).map(|id| Box::pin(client.send_async(Req::one(id, read())))).collect();
        let mut cx = Context::from_waker(Waker::noop());
        for future in &mut futures {
            assert!(future.as_mut().poll(&mut cx).is_pending(), "the channel was not full");
        }
        let never_polled = client.send_async(Req::one(9, read()));
        tell.send(()).unwrap();
        client.shutdown();
        let calls = aloop.finish();
        assert!(smol::block_on(never_polled).is_err_and(|refused| refused.0.id == 9));
        for (id, future) in (3..6).zip(futures) {
            let answers =
                calls.iter().filter(|call| matches!(call, Call::Complete(key, ..) if *key == id * 100)).count();
            match smol::block_on(future) {
                Ok(()) => assert_eq!(answers, 1, "{id} was sent"),
                Err(refused) => assert_eq!((refused.0.id, answers), (id, 0)),
            }
        }
    }
}

/// Loops that end at once, with clients that send at that very moment.
#[test]
fn a_hundred_short_loops() {
    for round in 0..200 {
        let (puppet, _strings) = Puppet::new(4);
        let aloop = Loop::start(puppet.boxed());
        let file = io_testkit::nobodys_file(io_engine::core::FileFacts::default());
        let outcome: Vec<_> = thread::scope(|scope| {
            let senders: Vec<_> = (1..4)
                .map(|id| {
                    let (client, file) = (aloop.client().clone(), &file);
                    scope.spawn(move || client.send(Req::one(id, Op::write(file, vec![1], 0))).is_ok())
                })
                .collect();
            if round % 3 == 0 {
                thread::yield_now();
            }
            aloop.client().shutdown();
            senders.into_iter().map(|sender| sender.join().unwrap()).collect()
        });
        let calls = aloop.finish();
        let answered = calls.iter().filter(|call| matches!(call, Call::Complete(..))).count();
        assert_eq!(answered, outcome.iter().filter(|sent| **sent).count(), "round {round}");
    }
}
