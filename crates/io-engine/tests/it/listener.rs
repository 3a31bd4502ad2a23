//! The listener protocol: the same calls on every driver, in order, each once; requests that do not fit, clients that go, loops
//! that never ran.

use crate::{
    looping::{Answer, Call, Loop, Req, of_request},
    puppet::{Puppet, Reply},
    world::{PATIENCE, World, data, room},
};
use io_engine::{
    AIO, AIOClient, AIOEventListener, AIOEventLoop, AIOKind, AIOStats, IOQueue, LoopOptions, Refused, TrySendError,
    core::{AlignedBuf, FileFacts, FileHandle, Op, OpenOptions, Wait, errno},
};
use io_testkit::{BLOCK, Fault, Rule, nobodys_file, pattern};
use std::{
    io,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

every_driver!(
    the_same_calls_on_every_driver,
    a_request_is_submitted_at_once_beside_a_slow_one,
    what_does_not_fit_is_offered_again,
    what_never_fits_is_refused,
    resubmission_keeps_the_depth,
    the_last_client_ends_the_loop,
    many_clients,
);

fn key_of(id: u64) -> u64 {
    id * 100
}

/// A write, a sync, a read of it; errors; the end of the file; many at once: the calls per request are the same everywhere.
fn the_same_calls_on_every_driver(world: &World) {
    let old = pattern(1, 8 * BLOCK);
    let file = world.file(&old);
    let nobody = nobodys_file(FileFacts { direct: world.unit() > 1, ..FileFacts::default() });
    let aloop = Loop::start(world.driver(8));
    let new = pattern(2, BLOCK);
    aloop.send(Req::chain(
        1,
        [
            Op::write(&file.handle, data(&new), 2 * BLOCK as u64),
            Op::sync_data(&file.handle),
            Op::read(&file.handle, room(BLOCK), 2 * BLOCK as u64),
        ],
    ));
    aloop.send(Req::chain(2, [Op::read(&nobody, room(BLOCK), 0), Op::read(&file.handle, room(BLOCK), 0)]));
    aloop.send(Req::one(3, Op::read(&file.handle, room(2 * BLOCK), 7 * BLOCK as u64)));
    aloop.send(Req::one(4, Op::read(&file.handle, room(BLOCK), 9 * BLOCK as u64)));
    let open = Op::open(world.path("no-such-file"), OpenOptions::READ).unwrap();
    aloop.send(Req::one(5, open));
    let reads = (0..8).map(|i| Op::read(&file.handle, room(BLOCK), (i % 2) * BLOCK as u64));
    aloop.send(Req::all(6, reads));
    let calls = aloop.finish();

    let complete = |key, answer, data: &[u8]| Call::Complete(key, answer, Some(data.to_vec()));
    let moved = Answer::Moved;
    assert_eq!(
        of_request(&calls, 1),
        [
            Call::Request(1),
            Call::Submit(100),
            Call::Complete(100, moved(BLOCK), None),
            Call::Submit(101),
            Call::Complete(101, moved(0), None),
            Call::Submit(102),
            complete(102, moved(BLOCK), &new),
        ]
    );
    assert_eq!(
        of_request(&calls, 2),
        [
            Call::Request(2),
            Call::Submit(200),
            complete(200, Answer::Errno(errno::EBADF), b""),
            Call::Submit(201),
            complete(201, moved(BLOCK), &old[..BLOCK]),
        ]
    );
    let one =
        |id, answer, data: &[u8]| [Call::Request(id), Call::Submit(key_of(id)), complete(key_of(id), answer, data)];
    assert_eq!(of_request(&calls, 3), one(3, moved(BLOCK), &old[7 * BLOCK..]));
    assert_eq!(of_request(&calls, 4), one(4, moved(0), b""));
    assert_eq!(
        of_request(&calls, 5),
        [Call::Request(5), Call::Submit(500), Call::Complete(500, Answer::Errno(errno::ENOENT), None)]
    );
    let many: Vec<_> = of_request(&calls, 6).into_iter().filter(|call| *call != Call::Back(6)).collect();
    assert_eq!(many.len(), 17);
    // They are submitted in their order; they may come back in any.
    let submits: Vec<_> = many.iter().filter(|call| matches!(call, Call::Submit(_))).cloned().collect();
    assert_eq!(submits, (600..608).map(Call::Submit).collect::<Vec<_>>());
    for i in 0..8 {
        let at = (i as usize % 2) * BLOCK;
        assert!(many.contains(&complete(600 + i, moved(BLOCK), &old[at..at + BLOCK])));
    }
}

/// A request never waits in the channel because some other operation is slow.
fn a_request_is_submitted_at_once_beside_a_slow_one(world: &World) {
    let contents = pattern(1, 4 * BLOCK);
    let file = world.file(&contents);
    let (driver, faults) = world.faulty(8);
    faults.add(Rule::new(Fault::Wedge).times(1));
    let aloop = Loop::start(driver);
    aloop.send(Req::one(1, Op::read(&file.handle, room(BLOCK), 0)));
    aloop.record.wait_for("the submission", |call| *call == Call::Submit(100));
    // The loop sleeps on a slow operation now.
    thread::sleep(Duration::from_millis(20));
    let begun = Instant::now();
    for id in 2..12 {
        aloop.send(Req::one(id, Op::read(&file.handle, room(BLOCK), BLOCK as u64)));
        assert_eq!(aloop.record.completed(key_of(id)), Answer::Moved(BLOCK));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "ten reads beside a slow one took {took:?}");
    // What is in flight has a name and an age.
    let (stats, in_flight) = aloop.client().in_flight().expect("the loop runs");
    assert_eq!((stats.in_flight, in_flight.len()), (1, 1));
    assert_eq!((in_flight[0].offset, in_flight[0].len), (0, BLOCK as u64));
    if !world.simulated() {
        assert!(in_flight[0].age >= Duration::from_millis(20), "{}", in_flight[0]);
    }
    assert!(aloop.record.calls().iter().all(|call| !matches!(call, Call::Complete(100, ..))));
    faults.unwedge();
    assert_eq!(aloop.record.completed(100), Answer::Moved(BLOCK));
    aloop.finish();
}

fn what_does_not_fit_is_offered_again(world: &World) {
    let file = world.file(&pattern(1, 4 * BLOCK));
    let (driver, faults) = world.faulty(8);
    let aloop = Loop::start(driver);
    faults.add(Rule::new(Fault::Delay(Duration::from_micros(500))));
    // Six fit; six and six do not, for the second six finds room for two.
    for id in 1..=20 {
        let reads = (0..6).map(|_| Op::read(&file.handle, room(BLOCK), 0));
        aloop.send(Req::all(id, reads));
    }
    let calls = aloop.finish();
    // Requests keep their order although some were given back.
    let order: Vec<_> =
        calls.iter().filter_map(|call| if let Call::Request(id) = call { Some(*id) } else { None }).collect();
    assert_eq!(order, (1..=20).collect::<Vec<_>>());
    for id in 1..=20 {
        let mine = of_request(&calls, id);
        assert_eq!(mine.iter().filter(|call| matches!(call, Call::Complete(_, Answer::Moved(BLOCK), _))).count(), 6);
    }
    assert!(calls.iter().any(|call| matches!(call, Call::Back(_))), "everything fitted: nothing was tested");
}

fn what_never_fits_is_refused(world: &World) {
    let file = world.file(&pattern(1, 4 * BLOCK));
    let driver = world.driver(8);
    let depth = driver.depth() as u64;
    let aloop = Loop::start(driver);
    let reads = |count| (0..count).map(|_| Op::read(&file.handle, room(BLOCK), 0));
    aloop.send(Req::all(1, reads(3)));
    aloop.send(Req::all(2, reads(depth + 1)));
    aloop.send(Req::all(3, reads(depth.min(100))));
    let calls = aloop.finish();
    let mine = of_request(&calls, 2);
    assert_eq!(mine.last(), Some(&Call::Refused(2)));
    assert!(mine[..mine.len() - 1].iter().all(|call| *call == Call::Back(2)), "{mine:?}");
    assert_eq!(
        of_request(&calls, 3).iter().filter(|call| matches!(call, Call::Complete(..))).count() as u64,
        depth.min(100)
    );
}

/// A listener that answers each completion with the next submission, as a bench does.
struct Keeper {
    file: FileHandle,
    depth: u64,
    left: u64,
    in_flight: u64,
    most: Arc<Mutex<(u64, u64, Option<AIOStats>)>>,
}

impl AIOEventListener for Keeper {
    type Request = ();
    type Submission = AIO<AlignedBuf>;

    fn on_request(&mut self, (): (), queue: &mut IOQueue<AIO<AlignedBuf>>) -> Result<(), ()> {
        for key in 0..self.depth {
            queue.push(AIO::read(key, &self.file, room(BLOCK), 0)).map_err(drop)?;
        }
        Ok(())
    }

    fn on_submit(&mut self, _: &AIO<AlignedBuf>) {
        self.in_flight += 1;
        let mut most = self.most.lock().unwrap();
        most.0 = most.0.max(self.in_flight);
    }

    fn on_complete(
        &mut self,
        read: AIO<AlignedBuf>,
        result: io::Result<usize>,
        queue: &mut IOQueue<AIO<AlignedBuf>>,
    ) -> AIOKind {
        assert_eq!(result.unwrap(), BLOCK);
        self.in_flight -= 1;
        self.most.lock().unwrap().1 += 1;
        if self.left > 0 {
            self.left -= 1;
            let (key, kind) = (read.key, read.kind());
            // The same buffer again: it comes back by value.
            queue.push(AIO::read(key, &self.file, read.into_buf(), 0)).expect("a place was given back");
            return kind;
        }
        AIOKind::Read
    }

    fn on_stats(&mut self, stats: &AIOStats) {
        self.most.lock().unwrap().2 = Some(*stats);
    }
}

fn resubmission_keeps_the_depth(world: &World) {
    let file = world.file(&pattern(1, 4 * BLOCK));
    let driver = world.driver(32);
    let most = Arc::<Mutex<(u64, u64, Option<AIOStats>)>>::default();
    let keeper = Keeper { file: file.handle.clone(), depth: 32, left: 5000, in_flight: 0, most: most.clone() };
    let (event_loop, client) = AIOEventLoop::new(driver, LoopOptions::default()).unwrap();
    let thread = event_loop.start_thread(keeper);
    client.send(()).unwrap();
    client.shutdown();
    // Shut down at once: what the completions add is done all the same.
    thread.join().unwrap();
    let (most, done, stats) = *most.lock().unwrap();
    assert_eq!((most, done), (32, 5032));
    let stats = stats.expect("on_stats came");
    assert_eq!((stats.finished_reads, stats.running, stats.queuing), (5032, 0, 0));
}

fn the_last_client_ends_the_loop(world: &World) {
    let file = world.file(&pattern(1, 4 * BLOCK));
    for asleep in [false, true] {
        let mut aloop = Loop::start(world.driver(8));
        let second = aloop.client().clone();
        aloop.client = None;
        assert!(second.send(Req::one(1, Op::read(&file.handle, room(BLOCK), 0))).is_ok());
        if asleep {
            aloop.record.completed(100);
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!aloop.thread.as_ref().unwrap().is_finished(), "a client is alive");
        drop(second);
        let calls = aloop.finish();
        assert_eq!(of_request(&calls, 1).len(), 3);
    }
}

fn many_clients(world: &World) {
    let contents = pattern(1, 16 * BLOCK);
    let file = world.file(&contents);
    let mut options = LoopOptions::default();
    options.channel = 4; // full most of the time
    let aloop = Loop::with(world.driver(16), options, None);
    thread::scope(|scope| {
        for client in 0..4 {
            let (handle, mine) = (file.handle.clone(), aloop.client().clone());
            scope.spawn(move || {
                for i in 0..100 {
                    let at = i % 16 * BLOCK as u64;
                    mine.send(Req::one(client * 1000 + i + 1, Op::read(&handle, room(BLOCK), at))).unwrap();
                }
            });
        }
    });
    let calls = aloop.finish();
    for client in 0..4 {
        for i in 0..100u64 {
            let (key, at) = (key_of(client * 1000 + i + 1), i as usize % 16 * BLOCK);
            let done = Call::Complete(key, Answer::Moved(BLOCK), Some(contents[at..at + BLOCK].to_vec()));
            assert_eq!(calls.iter().filter(|call| **call == done).count(), 1);
        }
    }
}

#[test]
fn a_loop_that_never_ran_refuses() {
    let (puppet, strings) = Puppet::new(4);
    let mut options = LoopOptions::default();
    options.channel = 1;
    let (event_loop, client) = AIOEventLoop::<u32>::new(puppet.boxed(), options).unwrap();
    assert_eq!(client.try_send(1), Ok(()));
    assert_eq!(client.try_send(2), Err(TrySendError::Full(2)));
    let blocked = thread::spawn({
        let client = client.clone();
        move || client.send(3)
    });
    let asking = thread::spawn({
        let client = client.clone();
        move || client.in_flight().is_none()
    });
    thread::sleep(Duration::from_millis(20));
    assert!(!client.is_closed());
    drop(event_loop);
    assert_eq!(joined(blocked), Err(Refused(3)), "handed back");
    assert!(joined(asking), "there is nobody who could say");
    assert!(client.is_closed());
    assert_eq!(client.send(4), Err(Refused(4)));
    assert_eq!(client.try_send(5), Err(TrySendError::Refused(5)));
    assert_eq!(smol::block_on(client.send_async(6)), Err(Refused(6)));
    assert!(client.in_flight().is_none());
    assert!(strings.dropped() && strings.seen().is_empty());
}

/// Somebody asks a loop what it does, and the loop goes without an answer: the question is still in the channel, which lives as
/// long as any client, the one who asks included.
#[test]
fn a_question_that_nobody_hears() {
    let (puppet, _strings) = Puppet::new(4);
    let (event_loop, client) = AIOEventLoop::<u32>::new(puppet.boxed(), LoopOptions::default()).unwrap();
    let asking = thread::spawn(move || client.in_flight().is_none());
    thread::sleep(Duration::from_millis(20));
    drop(event_loop);
    assert!(joined(asking));
}

/// The thread's answer, if it comes.
#[track_caller]
pub fn joined<T>(thread: thread::JoinHandle<T>) -> T {
    let begun = Instant::now();
    while !thread.is_finished() {
        assert!(begun.elapsed() < PATIENCE / 6, "it hangs");
        thread::sleep(Duration::from_millis(1));
    }
    thread.join().expect("no panic")
}

/// Full of requests, then the last client goes: the loop empties the channel before the sender is gone for good.
#[test]
fn the_last_client_goes_while_the_channel_is_full() {
    let (puppet, strings) = Puppet::new(4);
    let mut options = LoopOptions::default();
    options.channel = 1;
    let (tell, told) = mpsc::channel();
    let hook = Box::new(move |call: &Call| {
        if *call == Call::Request(1) {
            // Held back here while the channel fills up behind it.
            told.recv().unwrap();
        }
    });
    let file = nobodys_file(FileFacts::default());
    let mut aloop = Loop::with(puppet.boxed(), options, Some(hook));
    strings.script(|_| Reply::Answer(0));
    aloop.send(Req::one(1, Op::stat(&file)));
    aloop.record.wait_for("the request", |call| *call == Call::Request(1));
    aloop.send(Req::one(2, Op::stat(&file)));
    // Wherever the client drops what it has, the loop gets that far ahead of it.
    strings.drag_wakes(Duration::from_millis(100));
    tell.send(()).unwrap();
    aloop.client = None;
    let begun = Instant::now();
    while !aloop.thread.as_ref().unwrap().is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the loop sleeps although nobody can ever wake it again");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(of_request(&aloop.finish(), 2).len(), 3);
}

/// `shutdown` while the loop can take nothing from its channel: every place is taken by operations that do not come back.
#[test]
fn a_dump_in_the_worst_moment() {
    for held in [false, true] {
        let (puppet, strings) = Puppet::new(4);
        strings.hold_all();
        let aloop = Loop::start(puppet.boxed());
        let file = nobodys_file(FileFacts::default());
        let stats = |count: u64| (0..count).map(|_| Op::stat(&file)).collect::<Vec<_>>();
        aloop.send(Req::all(1, stats(4)));
        aloop.record.wait_for("the first", |call| *call == Call::Submit(103));
        // The queue is as full as the driver, or a request waits that is too large for what is left.
        aloop.send(Req::all(2, stats(if held { 2 } else { 4 })));
        if held {
            aloop.send(Req::all(3, stats(3)));
            aloop.record.wait_for("the third", |call| *call == Call::Back(3));
        } else {
            aloop.record.wait_for("the second", |call| *call == Call::Request(2));
        }
        let client = aloop.client().clone();
        let (stats, ops) = joined(thread::spawn(move || client.in_flight())).expect("the loop runs");
        assert_eq!((stats.in_flight, ops.len()), (4, 4));
        strings.script(|_| Reply::Answer(0));
        strings.release_held_with(0);
        aloop.finish();
    }
}

/// Given back because the queue was full at that moment; the queue moves on into the driver, and the request with it, whatever
/// becomes of the operations that were there first.
#[test]
fn what_was_given_back_does_not_wait_for_slow_operations() {
    let (puppet, strings) = Puppet::new(8);
    strings.script(|seen| if seen.offset == 7 { Reply::Hold } else { Reply::Answer(1) });
    let aloop = Loop::start(puppet.boxed());
    let file = nobodys_file(FileFacts::default());
    // Both come in the last moment before a sleep, which their wakes end together: none is left for later.
    let client = aloop.client().clone();
    let mut done = false;
    let reading = file.clone();
    strings.before_submit(move |wait| {
        if wait == Wait::Forever && !done {
            done = true;
            let reads = |at| (0..6).map(|_| Op::read(&reading, vec![0; 1], at)).collect::<Vec<_>>();
            client.send(Req::all(1, reads(7))).unwrap();
            client.send(Req::all(2, reads(0))).unwrap();
        }
    });
    strings.wake();
    aloop.record.wait_for("the second", |call| *call == Call::Back(2));
    // There is room for two beside the six that do not come back.
    for key in 200..206 {
        assert_eq!(aloop.record.completed(key), Answer::Moved(1));
    }
    strings.release_held_with(1);
    aloop.finish();
}

/// The listener panics: nobody who waits on the loop hangs, and what is in flight is nobody's memory before its completion.
#[test]
fn a_listener_that_panics() {
    let file = nobodys_file(FileFacts::default());
    let cases: [fn(&Call) -> bool; 3] = [
        |call| *call == Call::Request(2),
        |call| *call == Call::Submit(200),
        |call| matches!(call, Call::Complete(100, ..)),
    ];
    for bad in cases {
        let (puppet, strings) = Puppet::new(4);
        strings.script(|seen| if seen.offset == 7 { Reply::Hold } else { Reply::Answer(1) });
        let mut options = LoopOptions::default();
        options.channel = 1;
        let hook = Box::new(move |call: &Call| {
            if bad(call) {
                // Time for the channel to fill up.
                thread::sleep(Duration::from_millis(50));
                panic!("the listener's own trouble");
            }
        });
        let mut aloop = Loop::with(puppet.boxed(), options, Some(hook));
        aloop.send(Req::one(9, Op::read(&file, vec![0; 1], 7)));
        aloop.record.wait_for("the held one", |call| *call == Call::Submit(900));
        aloop.send(Req::one(1, Op::read(&file, vec![0; 1], 0)));
        let senders: Vec<_> = (2..6)
            .map(|id| {
                let (client, file) = (aloop.client().clone(), file.clone());
                thread::spawn(move || {
                    let _ = client.send(Req::one(id, Op::read(&file, vec![0; 1], 0)));
                    let _ = client.in_flight();
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(100));
        assert!(!aloop.thread.as_ref().unwrap().is_finished(), "it waits for what is in flight");
        strings.release_held_with(1);
        assert!(aloop.join(), "the panic goes on to whoever joins");
        for sender in senders {
            joined(sender);
        }
        assert!(aloop.client().is_closed());
        assert!(strings.dropped());
        assert!(aloop.client().send(Req::one(7, Op::stat(&file))).is_err());
        assert!(aloop.client().in_flight().is_none());
        assert!(!aloop.record.calls().contains(&Call::End));
    }
}

/// What a client says of itself.
#[test]
fn clients_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone + std::fmt::Debug>() {}
    shared::<AIOClient<u64>>();
    assert_eq!(Refused(1).to_string(), "the event loop takes no more requests");
    assert_eq!(TrySendError::Full(1).to_string(), "the event loop's channel is full");
    // Requests need not be Sync, nor Debug.
    struct Plain(#[allow(dead_code)] std::cell::Cell<u8>);
    let (puppet, _strings) = Puppet::new(1);
    let (event_loop, client) = AIOEventLoop::<Plain>::new(puppet.boxed(), LoopOptions::default()).unwrap();
    assert!(client.send(Plain(std::cell::Cell::new(1))).is_ok());
    assert!(format!("{client:?}").contains("1 queued"));
    drop(event_loop);
    assert!(format!("{client:?}").contains("closed"));
}
