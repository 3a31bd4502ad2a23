//! Disks that fail, fill up and hang; futures that are given up.

use crate::kit::*;
use futures_util::future::{join, join_all, poll_immediate};
use io_fs::{OpKind, errno};
use io_log::{Sync, Wal, WalError, salvage, verify};
use io_sim::{Fault, SimDisk, SimOptions, Which};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

fn durable_writes() -> Which {
    Which::kinds([OpKind::Write, OpKind::SyncData, OpKind::SyncAll])
}

#[test]
fn a_failed_durable_write_makes_the_log_read_only_with_its_cause() {
    for sync in [Sync::Group, Sync::Each, Sync::None] {
        let (disk, fs) = sim(1);
        fs.block_on(async {
            let config = with(|config| (config.sync, config.segment_size) = (sync, 1 << 20));
            let wal = Wal::open(&fs, DIR, config.clone()).await.unwrap();
            for lsn in 1..=5 {
                wal.append(record(lsn)).await.unwrap();
            }
            wal.flush().await.unwrap();
            disk.fail(durable_writes(), errno::EIO);
            let appends = join_all((0..4).map(|_| wal.append(vec![1; 10]))).await;
            for error in appends.into_iter().map(Result::unwrap_err) {
                assert!(matches!(&error, WalError::ReadOnly { cause, .. } if cause.raw_os_error() == Some(errno::EIO)));
            }
            let before = disk.counters().accepted;
            for _ in 0..3 {
                let error = wal.append(vec![1; 10]).await.unwrap_err();
                assert!(matches!(error, WalError::ReadOnly { .. }), "{error}");
                assert!(matches!(wal.enqueue(vec![1; 10]).await, Err(WalError::ReadOnly { .. })));
                assert!(matches!(wal.flush().await, Err(WalError::ReadOnly { .. })));
            }
            assert_eq!(disk.counters().accepted, before, "nothing is tried again");
            assert_eq!(read_all(&wal).await.unwrap().len(), 5, "what is there can be read");
            assert!(matches!(wal.close().await, Err(WalError::ReadOnly { .. })));
            let wal = Wal::open(&fs, DIR, config).await.unwrap();
            assert!(wal.recovery().last_lsn >= 5);
            wal.append(vec![1; 10]).await.unwrap();
        });
    }
}

/// fsys' trap: followers retried a failed fsync, and a failed flush deadlocked the next sync.
#[test]
fn a_failed_directory_sync_is_not_tried_again() {
    let (disk, fs) = sim(1);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        disk.fail(Which::kind(OpKind::SyncDir), errno::EIO);
        let mut lsn = 0;
        let error = loop {
            match wal.append(vec![7; 400]).await {
                Ok(last) => lsn = last,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, WalError::ReadOnly { .. }), "{error}");
        drop(wal);
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        // The record that was refused last may be there or not.
        assert!((lsn..=lsn + 1).contains(&wal.recovery().last_lsn), "{lsn}");
    });
}

#[test]
fn a_full_disk_refuses_by_name_and_works_again() {
    for recycle in [0, 2] {
        let disk = SimDisk::new(SimOptions { capacity: 200 << 10, ..SimOptions::seeded(1) });
        let fs = over(&disk);
        fs.block_on(async {
            let config = with(|config| config.recycle = recycle);
            let wal = Wal::open(&fs, DIR, config.clone()).await.unwrap();
            let mut lsn = 0;
            let error = loop {
                match wal.append(record(lsn + 1)).await {
                    Ok(last) => lsn = last,
                    Err(error) => break error,
                }
            };
            assert!(matches!(&error, WalError::NoSpace { .. }), "{error}");
            assert!(lsn > 100, "{lsn}");
            let again = join(wal.append(vec![1; 900]), wal.append_many([record(1)])).await;
            assert!(matches!(again, (Err(WalError::NoSpace { .. }), Err(WalError::NoSpace { .. }))), "{again:?}");
            assert_eq!(wal.next_lsn(), lsn + 1, "what was refused has no number");
            assert_consecutive(&read_all(&wal).await.unwrap(), 1);
            wal.truncate_before(lsn - 10).await.unwrap();
            for _ in 0..100 {
                lsn += 1;
                assert_eq!(wal.append(record(lsn)).await.unwrap(), lsn);
            }
            disk.set_capacity(10 << 20);
            for _ in 0..300 {
                lsn += 1;
                assert_eq!(wal.append(record(lsn)).await.unwrap(), lsn);
            }
            assert_consecutive(&read_all(&wal).await.unwrap(), wal.first_lsn());
            wal.close().await.unwrap();
            let wal = Wal::open(&fs, DIR, config).await.unwrap();
            assert!(wal.recovery().clean_close && wal.recovery().last_lsn == lsn);
        });
    }
}

#[test]
fn no_space_for_the_first_segment_is_named() {
    let disk = SimDisk::new(SimOptions { capacity: 16 << 10, ..SimOptions::seeded(1) });
    let fs = over(&disk);
    fs.block_on(async {
        let error = Wal::open(&fs, DIR, small()).await.unwrap_err();
        assert!(matches!(error, WalError::NoSpace { .. }), "{error}");
        disk.set_capacity(1 << 20);
        Wal::open(&fs, DIR, small()).await.unwrap().append(record(1)).await.unwrap();
    });
}

#[test]
fn a_read_only_file_system_can_be_read() {
    let (disk, fs) = sim(1);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        wal.append_many((1..=50).map(record)).await.unwrap();
        drop(wal);
        let changes =
            [OpKind::Write, OpKind::Rename, OpKind::Unlink, OpKind::MakeDir, OpKind::Truncate, OpKind::TryLock];
        disk.fail(Which::kinds(changes).always(), errno::EROFS);
        let error = Wal::open(&fs, DIR, small()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error}");
        assert_consecutive(&read_files(&fs, DIR).await.unwrap(), 1);
        assert_eq!(verify(&fs, DIR).await.unwrap().records, 50);
        let error = salvage(&fs, DIR, "/out", small()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error}");
    });
}

/// Nobody is told that anything is durable, the caller may stop waiting, and afterwards the log goes on.
#[test]
fn a_wedged_disk_keeps_everybody_waiting_and_no_longer_than_they_like() {
    let (disk, fs) = sim(1);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        wal.append(record(1)).await.unwrap();
        disk.wedge(Which::writes());
        let within = async |time| {
            let mut append = pin!(wal.append(record(2)));
            let mut deadline = pin!(fs.shards().deadline(time));
            poll_fn(|cx| match append.as_mut().poll(cx) {
                Poll::Ready(lsn) => Poll::Ready(Some(lsn)),
                Poll::Pending => deadline.as_mut().poll(cx).map(|()| None),
            })
            .await
        };
        assert!(within(Duration::from_millis(300)).await.is_none());
        assert_eq!((wal.durable_lsn(), wal.next_lsn()), (1, 3));
        disk.release_wedged();
        assert_eq!(wal.append(record(3)).await.unwrap(), 3);
        assert_consecutive(&read_all(&wal).await.unwrap(), 1);
    });
}

/// fsys' trap: a cancelled sync leader hung every later sync. Here any appender is given up after any number of polls.
#[test]
fn an_append_that_is_given_up_at_any_poll_holds_up_nobody_and_loses_nothing() {
    for polls in 0..12 {
        let (_, fs) = sim(polls.into());
        let wal = fs.block_on(Wal::open(&fs, DIR, small())).unwrap();
        for turn in 0..30 {
            let before = wal.next_lsn();
            given_up_after(&fs, polls, wal.append(record(before)));
            let queued = wal.next_lsn() > before;
            assert!(queued || polls == 0, "after {polls} polls");
            if turn % 3 == 0 {
                let next = wal.next_lsn();
                assert_eq!(fs.block_on(wal.append(record(next))).unwrap(), next);
            }
        }
        let last = wal.next_lsn() - 1;
        assert_eq!(fs.block_on(wal.flush()).unwrap(), last);
        let all = fs.block_on(read_all(&wal)).unwrap();
        assert_eq!(all.len() as u64, last);
        assert_consecutive(&all, 1);
    }
}

/// A future that is polled once and then neither polled nor dropped.
#[test]
fn a_parked_append_holds_up_nobody() {
    let (_, fs) = sim(1);
    let wal = fs.block_on(Wal::open(&fs, DIR, small())).unwrap();
    let mut parked = Box::pin(wal.append(record(1)));
    assert!(fs.block_on(poll_immediate(parked.as_mut())).is_none());
    for lsn in 2..=50 {
        assert_eq!(fs.block_on(wal.append(record(lsn))).unwrap(), lsn);
    }
    // So does one that waits for room in front of the others: it is served in its turn.
    let mut full: Vec<_> = (0..40).map(|_| Box::pin(wal.append(vec![0; 1000]))).collect();
    for append in &mut full {
        fs.block_on(poll_immediate(append.as_mut()));
    }
    assert_eq!(fs.block_on(wal.append(record(91))).unwrap(), 91);
    assert_eq!(fs.block_on(parked).unwrap(), 1);
}

/// Opening is given up at any poll; what it had begun does not disturb the next one.
#[test]
fn an_opening_that_is_given_up_at_any_poll_disturbs_nobody() {
    for polls in 0..40 {
        let (_, fs) = sim(polls.into());
        let given_up = given_up_after(&fs, polls, Wal::open(&fs, DIR, small()));
        let over = given_up.is_some();
        drop(given_up);
        fs.block_on(async {
            let wal = Wal::open(&fs, DIR, small()).await.unwrap();
            wal.append_many((1..=100).map(record)).await.unwrap();
            assert_consecutive(&read_all(&wal).await.unwrap(), 1);
        });
        if over {
            return;
        }
    }
    panic!("it took more than 40 polls");
}

/// A log that is dropped with a write under way is opened at once: the next one waits until the write is over.
#[test]
fn a_log_that_is_dropped_in_the_middle_is_opened_again_at_once() {
    for polls in 1..20 {
        let (_, fs) = sim(polls.into());
        let wal = fs.block_on(Wal::open(&fs, DIR, small())).unwrap();
        fs.block_on(wal.append_many((1..=20).map(record))).unwrap();
        given_up_after(&fs, polls, wal.append_many((21..=60).map(record)));
        drop(wal);
        fs.block_on(async {
            let wal = Wal::open(&fs, DIR, small()).await.unwrap();
            let last = wal.recovery().last_lsn;
            assert!((20..=60).contains(&last), "{last}");
            for lsn in last + 1..=last + 50 {
                assert_eq!(wal.append(record(lsn)).await.unwrap(), lsn);
            }
            assert_consecutive(&read_all(&wal).await.unwrap(), 1);
        });
    }
}

#[test]
fn short_writes_and_slow_operations_are_lived_with() {
    let (disk, fs) = sim(1);
    disk.inject(Which::writes().chance(0.3).always(), Fault::Short(512));
    disk.inject(Which::any().chance(0.1).always(), Fault::Slow(Duration::from_millis(20)));
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        join_all((0..5).map(|_| wal.append_many((0..40).map(|_| record(3))))).await.into_iter().for_each(|all| {
            assert_eq!(all.unwrap().count(), 40);
        });
        wal.close().await.unwrap();
        assert_eq!(read_files(&fs, DIR).await.unwrap().len(), 200);
    });
}
