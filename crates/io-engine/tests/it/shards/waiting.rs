//! Time-outs, tickets and cancels; what is behind them on a disk whose operations hang.

use super::*;
use crate::puppet::{Puppet, Reply};
use io_engine::core::{OpKind, errno};
use io_sim::{SimDisk, SimOptions, Which};
use std::path::Path;

fn simulated(seed: u64) -> (SimDisk, Shards, FileHandle) {
    let disk = SimDisk::new(SimOptions::seeded(seed));
    disk.write_file("/f", &[3u8; 65536]).unwrap();
    let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
    let shards = Shards::new(vec![Box::new(disk.driver(8))], ShardOptions::default()).unwrap();
    (disk, shards, file)
}

#[test]
fn a_wedged_operation_times_out_and_its_buffer_comes_later() {
    let (disk, shards, file) = simulated(1);
    disk.wedge(Which::reads());
    shards.block_on(async {
        let before = shards.now();
        let late = read(&shards, &file, vec![0u8; 512], 0).with_timeout(Duration::from_secs(5)).await.unwrap_err();
        let took = shards.now() - before;
        assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6), "{took:?} of virtual time");
        assert_eq!(shards.load().0, 1, "it goes on");
        let late = late.ticket.try_claim().unwrap_err();
        disk.release_wedged();
        let (n, buf) = late.await;
        assert_eq!((n.unwrap(), buf), (512, vec![3u8; 512]));
    });
    assert_eq!((shards.load(), shards.orphans()), ((0, 0, 0), (0, 0)));
}

#[test]
fn a_dropped_ticket_leaves_a_counted_orphan() {
    let (disk, shards, file) = simulated(2);
    disk.wedge(Which::reads());
    shards.block_on(async {
        let late = read(&shards, &file, vec![0u8; 512], 0).with_timeout(Duration::from_millis(1)).await.unwrap_err();
        drop(late);
        assert_eq!(shards.orphans(), (1, 512));
        disk.release_wedged();
        sync(&shards, &file).await.unwrap();
    });
    assert_eq!((shards.load(), shards.orphans()), ((0, 0, 0), (0, 0)));
}

#[test]
fn what_is_in_time_is_not_late() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        in_time("operations with a time", move || {
            smol::block_on(async {
                for i in 0..200u64 {
                    let op = write(&shards, &file, vec![1u8; 256], i * 256).with_timeout(Duration::from_secs(60));
                    assert_eq!(op.await.unwrap().0.unwrap(), 256);
                }
            });
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn a_time_of_nothing_is_over_or_done() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        in_time("operations without time", move || {
            shards.block_on(async {
                for i in 0..100u64 {
                    match write(&shards, &file, vec![1u8; 256], i * 256).with_timeout(Duration::ZERO).await {
                        Ok((n, _)) => assert_eq!(n.unwrap(), 256),
                        Err(late) => assert_eq!(late.ticket.await.0.unwrap(), 256),
                    }
                }
            });
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn what_waits_in_the_queue_is_cancelled_there() {
    let (disk, _, file) = simulated(3);
    let mut options = ShardOptions::default();
    options.ops_max = 1;
    let shards = Shards::new(vec![Box::new(disk.driver(8))], options).unwrap();
    disk.wedge(Which::reads());
    shards.block_on(async {
        let mut wedged = read(&shards, &file, vec![0u8; 512], 0);
        assert!(poll_once(&mut wedged).is_pending());
        let mut queued = write(&shards, &file, vec![1u8; 512], 0);
        assert!(poll_once(&mut queued).is_pending());
        let mut dropped = write(&shards, &file, vec![2u8; 512], 0);
        assert!(poll_once(&mut dropped).is_pending());
        assert_eq!(shards.load().2, 2);
        drop(dropped);
        queued.cancel();
        let (result, buf) = queued.await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(errno::ECANCELED));
        assert_eq!(buf, vec![1u8; 512]);
        let mut not_begun = write(&shards, &file, vec![4u8; 512], 0);
        not_begun.cancel();
        assert_eq!(not_begun.await.0.unwrap_err().raw_os_error(), Some(errno::ECANCELED));
        disk.release_wedged();
        assert_eq!(wedged.await.0.unwrap(), 512);
        let (_, buf) = read(&shards, &file, vec![0u8; 512], 0).await;
        assert_eq!(buf, vec![3u8; 512], "nothing of what was given up was written");
    });
    assert_eq!((shards.load(), shards.orphans()), ((0, 0, 0), (0, 0)));
}

#[test]
fn a_cancel_in_flight_brings_the_buffer_back() {
    let (disk, shards, file) = simulated(4);
    disk.wedge(Which::reads());
    shards.block_on(async {
        let mut op = read(&shards, &file, vec![0u8; 512], 0);
        assert!(poll_once(&mut op).is_pending());
        op.cancel();
        let op = op.with_timeout(Duration::from_secs(1)).await;
        let (result, buf) = match op {
            Ok(done) => done,
            Err(late) => {
                disk.release_wedged();
                late.ticket.await
            }
        };
        assert!(result.is_ok() || result.unwrap_err().raw_os_error() == Some(errno::ECANCELED));
        assert_eq!(buf.len(), 512);
    });
    assert_eq!(shards.load(), (0, 0, 0));
}

#[test]
fn futures_never_polled_again_keep_nobody_waiting() {
    on_every_driver(|_| {});
    for name in DriverName::REAL {
        let mut options = ShardOptions::default();
        options.ops_max = 4;
        let Some(shards) = shards_with(name, 1, options) else { continue };
        let (_dir, file) = scratch(1 << 20);
        in_time("behind sleepers", move || {
            // Polled once each and never again: they hold cells and no turn.
            let mut sleepers: Vec<_> = (0..64).map(|i| write(&shards, &file, vec![1u8; 4096], i * 4096)).collect();
            for op in &mut sleepers {
                let _ = poll_once(op);
            }
            smol::block_on(async {
                for i in 0..64u64 {
                    assert_eq!(write(&shards, &file, vec![2u8; 64], (1 << 19) + i * 64).await.0.unwrap(), 64);
                }
            });
            comes_to_rest(&shards);
            drop(sleepers);
        });
    }
}

#[test]
fn a_hundred_thousand_at_once() {
    for name in DriverName::REAL {
        let Some(shards) = shards_with(name, 1, ShardOptions::default()) else { continue };
        let (_dir, file) = scratch(1 << 16);
        in_time("a hundred thousand", move || {
            let mut all: Vec<_> = (0..100_000u64).map(|i| write(&shards, &file, vec![1u8; 8], i % 8000 * 8)).collect();
            for op in &mut all {
                // Those that are done at once are over.
                if poll_once(op).is_ready() {
                    *op = write(&shards, &file, vec![1u8; 8], 0);
                }
            }
            let last = smol::block_on(sync(&shards, &file));
            last.unwrap();
            drop(all);
            comes_to_rest(&shards);
        });
    }
}

#[test]
fn a_sync_that_fails_fails_all_who_share_it_and_all_who_come_after() {
    let (disk, shards, file) = simulated(5);
    disk.fail(Which::kind(OpKind::SyncData).times(1), errno::EIO);
    shards.block_on(async {
        let mut all: Vec<_> = (0..5).map(|_| sync(&shards, &file)).collect();
        for op in &mut all {
            assert!(poll_once(op).is_pending());
        }
        for (i, op) in all.into_iter().enumerate() {
            let error = op.await.unwrap_err();
            let sticky = io_engine::SyncFailed::in_error(&error);
            assert!(
                sticky.is_some_and(|f| f.code == errno::EIO) || error.raw_os_error() == Some(errno::EIO),
                "{i}: {error}"
            );
        }
        let after = sync(&shards, &file).await.unwrap_err();
        assert!(io_engine::SyncFailed::in_error(&after).is_some());
    });
}

/// Behind one that waits for something slow, others come and give up, over and over.
#[test]
fn who_gave_up_does_not_stay_in_the_queue() {
    let (puppet, strings) = Puppet::new(16);
    strings.hold_all();
    let mut options = ShardOptions::default();
    options.ops_max = 1;
    let shards = Shards::new(vec![puppet.without_pool().boxed()], options).unwrap();
    let (_dir, file) = scratch(4096);
    let (mut slow, mut next) = (write(&shards, &file, vec![1], 0), write(&shards, &file, vec![2], 1));
    assert!(poll_once(&mut slow).is_pending() && poll_once(&mut next).is_pending());
    for round in 0..20_000 {
        let mut given_up = write(&shards, &file, vec![3], 2);
        assert!(poll_once(&mut given_up).is_pending());
        if round % 2 == 0 {
            given_up.cancel();
            assert!(poll_once(&mut given_up).is_ready());
        }
    }
    assert!(shards.load().2 < 1000, "{} are kept for nobody", shards.load().2);
    strings.script(|_| Reply::Answer(1));
    strings.release_held_with(1);
    assert_eq!(shards.block_on(slow).0.unwrap(), 1);
    assert_eq!(shards.block_on(next).0.unwrap(), 1);
    comes_to_rest(&shards);
}

/// An operation that was answered inline, but whose task yielded first, could not be cancelled and its ticket not claimed: both paniced.
#[test]
fn an_answered_operation_whose_task_is_away() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        let (mut at_once, mut cancelled, mut claimed) = (0, 0, 0);
        for i in 0..4000u64 {
            let mut op = read(&shards, &file, Vec::with_capacity(64), i % 512 * 64);
            // Tasks yield after powers of two: with every third operation cancelled, either case has its turn.
            if i % 3 == 0 {
                if poll_once(&mut op).is_ready() {
                    at_once += 1;
                    continue;
                }
                cancelled += u32::from(format!("{op:?}").contains("answered"));
                op.cancel();
                assert!(smol::block_on(op).0.is_ok_and(|n| n == 64));
                continue;
            }
            match poll_once(&mut op.with_timeout(Duration::ZERO)) {
                Poll::Ready(Err(timed_out)) => {
                    let answered = format!("{timed_out:?}").contains("answered");
                    match timed_out.ticket.try_claim() {
                        Ok((n, _)) => {
                            assert_eq!(n.unwrap(), 64);
                            claimed += u32::from(answered);
                        }
                        Err(ticket) => {
                            assert!(!answered, "its answer was there");
                            assert_eq!(smol::block_on(ticket).0.unwrap(), 64);
                        }
                    }
                }
                ended => at_once += u32::from(ended.is_ready()),
            }
        }
        // Where nothing completes inline nobody yields.
        let met = cancelled > 0 && claimed > 0;
        assert!(met || at_once < 1000, "{at_once} at once, {cancelled} cancelled and {claimed} claimed while away");
        comes_to_rest(&shards);
    });
}
