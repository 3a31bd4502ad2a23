//! Durable writes that are done together: one result each, whatever becomes of the whole.

use super::*;
use io_engine::{
    SubmitFrom,
    core::{OpKind, RwFlags, errno},
};
use io_sim::{SimDisk, SimOptions, Which};
use io_testkit::{Fault, Faulty, Rule};
use std::path::Path;

const BLOCK: u64 = 512;

fn durable<B: IoBuf>(shards: &Shards, file: &FileHandle, buf: B, at: u64) -> Transfer<B> {
    let op = Op::write(file, buf, at).with_flags(RwFlags::DSYNC);
    shards.write_together(op, |answer| (answer.result, answer.op.unwrap().into_buf().unwrap()))
}

fn block(i: u64) -> Vec<u8> {
    vec![(i % 251) as u8 + 1; BLOCK as usize]
}

fn answered(shards: &Shards) -> u64 {
    shards.stats().iter().map(|s| s.answered).sum()
}

fn simulated(seed: u64) -> (SimDisk, Shards, FileHandle) {
    let disk = SimDisk::new(SimOptions::seeded(seed));
    disk.write_file("/f", &[0u8; 65536]).unwrap();
    let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
    let shards = Shards::new(vec![Box::new(disk.driver(16))], ShardOptions::default()).unwrap();
    (disk, shards, file)
}

/// All of them, polled on this thread until all are answered.
async fn all<B: IoBuf + Unpin>(mut ops: Vec<Transfer<B>>) -> Vec<(io::Result<usize>, B)> {
    let mut answers: Vec<Option<(io::Result<usize>, B)>> = ops.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (op, answer) in ops.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            if let Poll::Ready(it) = Pin::new(op).poll(cx) {
                *answer = Some(it);
            }
        }
        if answers.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers.into_iter().flatten().collect()
}

#[test]
fn many_writers_of_one_file_have_few_writes() {
    for from in [SubmitFrom::Caller, SubmitFrom::EngineThread] {
        let mut options = ShardOptions::default();
        options.submit_from = from;
        on_every_driver_with(options, |shards| {
            let (dir, file) = scratch(0);
            in_time("durable writes", move || {
                let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
                smol::block_on(async {
                    let writer = |_| {
                        let (shards, file, next) = (shards.clone(), file.clone(), next.clone());
                        smol::spawn(async move {
                            for _ in 0..20 {
                                let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                                let (n, buf) = durable(&shards, &file, block(i), i * BLOCK).await;
                                assert_eq!((n.unwrap(), buf), (BLOCK as usize, block(i)));
                            }
                        })
                    };
                    for task in (0..16).map(writer).collect::<Vec<_>>() {
                        task.await;
                    }
                });
                comes_to_rest(&shards);
                let content = std::fs::read(dir.path().join("f")).unwrap();
                assert_eq!(content, (0..320).flat_map(block).collect::<Vec<_>>());
                assert!(answered(&shards) < 240, "{} operations for 320 writes", answered(&shards));
            });
        });
    }
}

/// Tasks of two threads: who comes back to a rest, and when, is left to chance. A rest that nobody ended stopped all of them.
#[test]
fn no_rest_is_forgotten_under_any_executor() {
    const WRITES: u64 = 4000;
    let run = |shards: &Shards, file: &FileHandle, next: &Arc<std::sync::atomic::AtomicU64>| {
        let (shards, file, next) = (shards.clone(), file.clone(), next.clone());
        async move {
            loop {
                let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if i >= WRITES {
                    break;
                }
                assert_eq!(durable(&shards, &file, block(i), i * BLOCK).await.0.unwrap(), 512);
            }
        }
    };
    on_every_driver(|shards| {
        let (_dir, file) = scratch(WRITES as usize * BLOCK as usize);
        in_time("durable writes of tasks on two threads", move || {
            let next = Arc::default();
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let tasks: Vec<_> = (0..16).map(|_| runtime.spawn(run(&shards, &file, &next))).collect();
            for task in tasks {
                runtime.block_on(task).unwrap();
            }
            drop(runtime);
            next.store(0, std::sync::atomic::Ordering::Relaxed);
            let executor = Arc::new(smol::Executor::new());
            let tasks: Vec<_> = (0..16).map(|_| executor.spawn(run(&shards, &file, &next))).collect();
            let other = executor.clone();
            let (stop, stopped) = smol::channel::bounded::<()>(1);
            let thread = std::thread::spawn(move || smol::block_on(other.run(stopped.recv())).unwrap_err());
            smol::block_on(executor.run(async {
                for task in tasks {
                    task.await;
                }
            }));
            drop(stop);
            thread.join().unwrap();
            comes_to_rest(&shards);
        });
    });
}

/// On one thread all sixteen come back before anything else happens: the rounds stay whole.
#[test]
fn who_was_answered_together_is_taken_together() {
    let (_disk, shards, file) = simulated(5);
    let next = std::cell::Cell::new(0);
    let writer = async || {
        for _ in 0..20 {
            let i = next.replace(next.get() + 1);
            assert_eq!(durable(&shards, &file, block(i), i % 128 * BLOCK).await.0.unwrap(), 512);
        }
    };
    let mut writers: Vec<_> = (0..16).map(|_| Some(Box::pin(writer()))).collect();
    shards.block_on(std::future::poll_fn(|cx| {
        for slot in &mut writers {
            if slot.as_mut().is_some_and(|writer| writer.as_mut().poll(cx).is_ready()) {
                *slot = None;
            }
        }
        if writers.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    }));
    // The first one alone, the fifteen others, and from then on all; more only where the end of the place is reached.
    assert!(answered(&shards) <= 25, "{} operations", answered(&shards));
}

#[test]
fn places_in_any_order_with_gaps_and_twice() {
    on_every_driver(|shards| {
        let (dir, file) = scratch(1 << 16);
        let other = io_engine::open(dir.path().join("f"), OpenOptions::READ_WRITE).unwrap();
        let places = [0, 3, 2, 1, 9, 8, 20, 5, 5, 4, 30, 31, 7, 100];
        let answers = shards.block_on(all(places
            .iter()
            .map(|&i| durable(&shards, if i % 3 == 0 { &other } else { &file }, block(i), i * BLOCK))
            .collect()));
        for ((n, buf), i) in answers.into_iter().zip(places) {
            assert_eq!((n.unwrap(), buf), (BLOCK as usize, block(i)));
        }
        comes_to_rest(&shards);
        let content = std::fs::read(dir.path().join("f")).unwrap();
        for (i, found) in content.chunks(BLOCK as usize).enumerate() {
            let written = places.contains(&(i as u64));
            assert_eq!(found, if written { block(i as u64) } else { vec![i as u8; BLOCK as usize] }, "block {i}");
        }
    });
}

/// The disk is full in the middle of a large write: those before it are done and durable, and each behind it fails by itself.
#[test]
fn those_before_an_error_are_done() {
    for seed in 0..20 {
        let disk = SimDisk::new(SimOptions::seeded(seed));
        disk.write_file("/f", &[]).unwrap();
        let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
        let shards = Shards::new(vec![Box::new(disk.driver(16))], ShardOptions::default()).unwrap();
        disk.set_capacity(8 * 4096);
        let wide = |i: u64| vec![i as u8 + 1; 4096];
        let answers = shards.block_on(all((0..16).map(|i| durable(&shards, &file, wide(i), i * 4096)).collect()));
        let mut fit = 0;
        for (i, (n, buf)) in answers.into_iter().enumerate() {
            assert_eq!(buf, wide(i as u64));
            match n {
                Ok(4096) => fit += 1,
                Ok(n) => panic!("seed {seed}: {n} bytes of write {i}"),
                // A durable write that fails marks the inode, and those behind it are refused.
                Err(error) if i < 8 => panic!("seed {seed}: write {i}: {error}"),
                Err(error) => assert!(io_engine::SyncFailed::in_error(&error).is_some(), "seed {seed}: {error}"),
            }
        }
        assert_eq!(fit, 8, "seed {seed}");
        let durable = disk.durable_file("/f").unwrap();
        assert!((0..8).all(|i| durable[i * 4096..][..4096] == wide(i as u64)), "seed {seed}");
        assert_eq!((shards.load(), shards.orphans()), ((0, 0, 0), (0, 0)));
    }
}

#[test]
fn a_failed_one_fails_all_that_came_with_it_and_after() {
    let (disk, shards, file) = simulated(9);
    shards.block_on(async {
        disk.fail(Which::kind(OpKind::WriteVectored), errno::EIO);
        let answers = all((0..16).map(|i| durable(&shards, &file, block(i), i * BLOCK)).collect()).await;
        assert_eq!(answers.iter().filter(|(n, _)| n.is_ok()).count(), 1, "the first one was alone");
        for (n, _) in &answers[1..] {
            let error = n.as_ref().unwrap_err();
            assert!(io_engine::SyncFailed::in_error(error).is_some(), "{error}");
        }
        assert!(durable(&shards, &file, block(0), 0).await.0.is_err());
    });
    assert_eq!((shards.load(), shards.orphans()), ((0, 0, 0), (0, 0)));
}

#[test]
fn who_waits_can_be_cancelled_or_go() {
    let (disk, shards, file) = simulated(11);
    shards.block_on(async {
        disk.wedge(Which::writes());
        let mut first = durable(&shards, &file, block(0), 0);
        assert!(poll_once(&mut first).is_pending());
        let mut waiting: Vec<_> = (1..5).map(|i| durable(&shards, &file, block(i), i * BLOCK)).collect();
        assert!(waiting.iter_mut().all(|op| poll_once(op).is_pending()));
        waiting[0].cancel();
        let (n, buf) = waiting.remove(0).await;
        assert_eq!((n.unwrap_err().raw_os_error(), buf), (Some(errno::ECANCELED), block(1)));
        drop(waiting.remove(0));
        assert_eq!(shards.orphans(), (0, 0), "it had not begun");
        let late = waiting.remove(0).with_timeout(Duration::from_millis(1)).await.unwrap_err();
        drop(first);
        assert_eq!(shards.orphans(), (1, BLOCK));
        disk.release_wedged();
        let last = waiting.remove(0).await;
        assert_eq!((last.0.unwrap(), late.ticket.await.0.unwrap()), (512, 512));
    });
    assert_eq!((shards.load(), shards.orphans()), ((0, 0, 0), (0, 0)));
    let expected: Vec<u8> = [block(0), vec![0; 512], vec![0; 512], block(3), block(4)].concat();
    assert_eq!(disk.read_file("/f").unwrap()[..expected.len()], expected);
}

/// A sync covers all writes that were begun before it, also those that wait for others (I8).
#[test]
fn a_sync_covers_those_that_wait() {
    for seed in 0..20 {
        let (disk, shards, file) = simulated(seed);
        shards.block_on(async {
            let mut writes: Vec<_> = (0..5).map(|i| durable(&shards, &file, block(i), i * BLOCK)).collect();
            assert!(writes.iter_mut().all(|op| poll_once(op).is_pending()));
            sync(&shards, &file).await.unwrap();
            let expected: Vec<u8> = (0..5).flat_map(block).collect();
            assert!(disk.durable_file("/f").unwrap().starts_with(&expected), "seed {seed}: not durable");
            for (n, _) in all(writes).await {
                assert_eq!(n.unwrap(), 512);
            }
            let (n, _) = durable(&shards, &file, block(7), 7 * BLOCK).await;
            assert_eq!(n.unwrap(), 512, "the next round begins anew");
        });
        assert_eq!((shards.load(), shards.orphans()), ((0, 0, 0), (0, 0)));
    }
}

/// Futures that nobody polls again hold up nobody.
#[test]
fn who_is_never_polled_again_keeps_nobody_waiting() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        in_time("durable writes beside forgotten ones", move || {
            let mut forgotten: Vec<_> = (0..8).map(|i| durable(&shards, &file, block(i), i * BLOCK)).collect();
            forgotten.iter_mut().for_each(|op| drop(poll_once(op)));
            for i in 8..40 {
                assert_eq!(smol::block_on(durable(&shards, &file, block(i), i * BLOCK)).0.unwrap(), 512);
            }
            let until = Instant::now() + PATIENCE;
            while forgotten.iter_mut().any(|op| poll_once(op).is_pending()) {
                assert!(Instant::now() < until);
                forgotten.retain_mut(|op| poll_once(op).is_pending());
            }
        });
    });
}

#[test]
fn two_engines_of_one_file_do_not_wait_for_one_another() {
    let disk = SimDisk::new(SimOptions::seeded(3));
    disk.write_file("/f", &[0u8; 65536]).unwrap();
    let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
    let engine = || Shards::new(vec![Box::new(disk.driver(8))], ShardOptions::default()).unwrap();
    let (a, b) = (engine(), engine());
    disk.wedge(Which::writes().times(1));
    let mut stuck = durable(&a, &file, block(0), 0);
    assert!(poll_once(&mut stuck).is_pending());
    assert_eq!(b.block_on(durable(&b, &file, block(1), BLOCK)).0.unwrap(), 512);
    disk.release_wedged();
    assert_eq!(a.block_on(stuck).0.unwrap(), 512);
}

#[test]
fn a_ring_that_dies_takes_what_it_has_and_no_more() {
    let Some(mut inner) = drivers(DriverName::Uring, 1, 16) else { return };
    let (driver, faults) = Faulty::new(inner.remove(0));
    let shards = Shards::new(vec![Box::new(driver)], ShardOptions::default()).unwrap();
    let (_dir, file) = scratch(1 << 16);
    in_time("a ring that dies with durable writes inside", move || {
        smol::block_on(async {
            faults.add(Rule::of(OpKind::Write, Fault::Wedge).times(1));
            let mut first = durable(&shards, &file, block(0), 0);
            assert!(poll_once(&mut first).is_pending());
            let mut waiting: Vec<_> = (1..4).map(|i| durable(&shards, &file, block(i), i * BLOCK)).collect();
            assert!(waiting.iter_mut().all(|op| poll_once(op).is_pending()));
            faults.break_channel(errno::EBADF, true);
            let late = first.with_timeout(Duration::from_millis(2500)).await.unwrap_err();
            drop(late);
            for (n, buf) in all(waiting).await {
                // What was lost may have been written or not: the inode is marked.
                assert!(io_engine::SyncFailed::in_error(&n.unwrap_err()).is_some());
                assert_eq!(buf.len(), 512);
            }
        });
        comes_to_rest(&shards);
    });
}
