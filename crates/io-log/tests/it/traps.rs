//! What others got wrong: each trap that fsys has published for its journal is a test, here or where it belongs. The elsewheres: oversize
//! appends that share an LSN (`basics`), a cancelled leader that hangs later syncs, followers that try a failed sync again, a failed
//! flush that deadlocks the next one (`faults`).

use crate::kit::{self, *};
use futures_util::future::join_all;
use io_log::{Wal, WalError, format, verify};
use io_sim::{SimDisk, SimOptions, Which};
use std::{collections::HashMap, time::Duration};

/// A rotation that leaves a gap of zeros: all groups of a segment are side by side, and the next segment goes on with the next record.
#[test]
fn rotation_leaves_no_gaps() {
    let (disk, fs) = sim(1);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        join_all((1..=400).map(|lsn| wal.append(record(lsn)))).await;
        wal.close().await.unwrap();
    });
    let mut next = 1;
    for path in segments(&fs, DIR.as_ref()) {
        let content = disk.read_file(&path).unwrap();
        let header = format::SegmentHeader::decode(&content).unwrap();
        let mut walk = format::Walk::new(&header);
        while let format::Step::Group(group) = walk.step(&content[walk.offset() as usize..]) {
            assert_eq!(group.header.first_lsn, next, "{path:?} at {}", group.offset);
            next = group.header.next_lsn();
        }
    }
    assert_eq!(next, 401);
}

/// A `sync_through` that acknowledges bytes not yet written, or appended and still queued: at the moment of each acknowledgement a power
/// cut leaves the record.
#[test]
fn nothing_is_acknowledged_that_is_queued_or_only_written() {
    let (disk, fs) = sim(2);
    let checked = std::cell::Cell::new(0);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        let appender = async |n: u64| {
            for turn in 0..12 {
                wal.enqueue(vec![n as u8; 200]).await.unwrap();
                let lsn = match turn % 2 {
                    0 => wal.append(vec![n as u8; 200]).await.unwrap(),
                    _ => wal.flush().await.unwrap(),
                };
                let left = over(&disk.fork_after_power_cut(n * 100 + turn));
                let found = left.block_on(verify(&left, DIR)).unwrap();
                assert!(found.last_lsn >= lsn && found.damage.is_empty(), "{lsn} of {found:?}");
                checked.set(checked.get() + 1);
            }
        };
        join_all((0..4).map(appender)).await;
    });
    assert_eq!(checked.get(), 48);
}

/// A reopened journal that appends behind a torn tail: what was cut never comes back, whatever is written over it.
#[test]
fn a_reopened_log_does_not_append_behind_a_torn_tail() {
    for seed in 0..40 {
        let disk = SimDisk::new(SimOptions { torn: true, ..SimOptions::seeded(seed) });
        let fs = over(&disk);
        fs.block_on(async {
            let wal = Wal::open(&fs, DIR, small()).await.unwrap();
            wal.append_many((1..=7).map(record)).await.unwrap();
        });
        let wal = fs.block_on(Wal::open(&fs, DIR, small())).unwrap();
        disk.wedge(Which::writes());
        given_up_after(&fs, 3, wal.append_many((8..=20).map(record)));
        let cut = disk.fork_after_power_cut(seed);
        let fs = over(&cut);
        fs.block_on(async {
            let wal = Wal::open(&fs, DIR, small()).await.unwrap();
            let last = wal.recovery().last_lsn;
            assert!(last >= 7, "{last}");
            wal.append(record(last + 1)).await.unwrap();
            drop(wal);
            let wal = Wal::open(&fs, DIR, small()).await.unwrap();
            assert_eq!((wal.recovery().last_lsn, wal.recovery().torn_tail_bytes), (last + 1, 0));
            assert_consecutive(&read_all(&wal).await.unwrap(), 1);
        });
    }
}

/// Preallocation that changes the logical size: it is the same from the beginning, and says nothing about how much is in the log.
#[test]
fn the_size_of_a_segment_never_changes() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            for lsn in 1..=100 {
                wal.append(record(lsn)).await.unwrap();
                for path in segments(fs, dir) {
                    assert_eq!(fs.metadata(&path).await.unwrap().size, 32 << 10);
                }
            }
        });
    });
}

/// 4Kn drives that fail in the first session: direct I/O in blocks of 4096 on a disk that takes no less, from the first write on; and a
/// log of 512-byte blocks that moves there goes on, through the page cache.
#[test]
fn disks_with_large_blocks_work_in_the_first_session() {
    let direct = io_sim::DirectRules { mem_align: 4096, offset_align: 4096 };
    let disk = SimDisk::new(SimOptions { direct, sector: 4096, ..SimOptions::seeded(1) });
    let fs = over(&disk);
    for block_size in [4096, 512] {
        let config = with(|config| (config.direct, config.block_size) = (true, block_size));
        let dir = format!("{DIR}{block_size}");
        fs.block_on(async {
            for session in 0..2 {
                let wal = Wal::open(&fs, &dir, config.clone()).await.unwrap();
                wal.append_many((session * 50 + 1..=session * 50 + 50).map(record)).await.unwrap();
                assert_consecutive(&read_all(&wal).await.unwrap(), 1);
            }
        });
    }
}

/// A reader that allocates what a damaged length says: lengths are compared with what is there, and a sound header comes first.
#[test]
fn a_damaged_length_costs_no_memory() {
    let place = format::Place { salt: 1, offset: 512 };
    let mut header = [0xff; 64];
    assert!(format::GroupHeader::decode(&header, place, 1 << 20).is_err());
    header[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(format::GroupHeader::decode(&header, place, u64::MAX).is_err());
    let mut record = vec![0; 64 + 20];
    record[64..68].copy_from_slice(&u32::MAX.to_le_bytes());
    let group = format::GroupHeader {
        len: u32::MAX,
        first_lsn: 1,
        count: u32::MAX,
        epoch: 0,
        durable_through: 0,
        log_start: 1,
        segments_through: 1,
    };
    let fault = format::Records::new(&record, &group).check().unwrap_err();
    assert_eq!((fault.at, fault.lsn), (64, 1));
}

/// Fixed names of temporary files, on which two processes collide and which block the next one after a crash: what a crash left of a
/// segment in preparation is removed, and nobody meets it.
#[test]
fn what_a_crash_left_of_a_preparation_blocks_nobody() {
    let (disk, fs) = sim(1);
    disk.record_crash_points(100_000);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        for lsn in 1..=60 {
            wal.append(record(lsn)).await.unwrap();
        }
    });
    let mut in_preparation = 0;
    for (n, point) in disk.take_crash_points().into_iter().enumerate().step_by(5) {
        let killed = point.after_kill(n as u64);
        let fs = over(&killed);
        if fs.block_on(fs.read_dir(DIR)).is_ok() {
            in_preparation += usize::from(names(&fs, DIR.as_ref()).iter().any(|name| format::is_prepared(name)));
        }
        fs.block_on(async {
            let wal = Wal::open(&fs, DIR, small()).await.unwrap();
            let next = wal.next_lsn();
            wal.append(record(next)).await.unwrap();
            wal.close().await.unwrap();
        });
        assert!(names(&fs, DIR.as_ref()).iter().all(|name| !format::is_prepared(name)));
    }
    assert!(in_preparation > 3, "{in_preparation}");
}

/// A cancelled write that freed buffers in flight, and files that are told apart by a number that is used again: an append is given up
/// and files come and go while its write is under way, and the disk (which notices both) finds all content where it belongs.
#[test]
fn a_write_that_nobody_waits_for_goes_where_it_belongs() {
    let (disk, fs) = sim(3);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        for lsn in (1..=40).step_by(2) {
            {
                let mut append = std::pin::pin!(wal.append(record(lsn)));
                let _ = futures_util::future::poll_immediate(append.as_mut()).await;
            }
            fs.open(format!("{DIR}/lock")).await.unwrap();
            assert_eq!(wal.append(record(lsn + 1)).await.unwrap(), lsn + 1);
        }
        assert_consecutive(&read_all(&wal).await.unwrap(), 1);
    });
    let sizes: HashMap<_, _> =
        disk.files().into_iter().map(|path| (path.clone(), disk.read_file(path).unwrap().len())).collect();
    assert!(sizes.iter().all(|(path, len)| path.ends_with("lock") == (*len == 21)), "{sizes:?}");
}

/// A path check that a dangling link escapes, and a probe that remembers an error that was over soon: a directory that cannot be made is
/// an error each time, and works as soon as it can.
#[test]
fn an_error_is_not_remembered() {
    let (disk, fs) = sim(1);
    disk.symlink("/nowhere", DIR).unwrap();
    fs.block_on(async {
        for _ in 0..2 {
            let error = Wal::open(&fs, DIR, small()).await.unwrap_err();
            assert!(matches!(error, WalError::Io { .. }), "{error}");
        }
        assert!(fs.metadata("/nowhere").await.is_err(), "nothing was made behind the link");
        fs.remove_file(DIR).await.unwrap();
        Wal::open(&fs, DIR, small()).await.unwrap();
    });
}

/// A signal that ends a wait early, and transfers above 2 GiB that are cut: waits end by what they wait for, and a segment is 2 GiB at most.
#[test]
fn waits_end_by_what_they_wait_for_and_segments_are_bounded() {
    let (disk, fs) = sim(1);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, small()).await.unwrap();
        disk.inject(Which::any(), io_sim::Fault::Slow(Duration::from_secs(5)));
        let begun = fs.shards().now();
        wal.append(record(1)).await.unwrap();
        assert!(fs.shards().now() - begun >= Duration::from_secs(5));
    });
    let huge = with(|config| config.segment_size = 4 << 30);
    assert!(matches!(fs.block_on(Wal::open(&fs, "/huge", huge)), Err(WalError::Config(_))));
}
