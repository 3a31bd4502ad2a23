//! What a log does when nothing goes wrong.

use crate::kit::{self, *};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::join_all};
use io_fs::FileSystem;
use io_log::{LogReader, Sync, Wal, WalError, salvage, verify};
use std::path::Path;

#[test]
fn records_come_back_after_closing() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            assert_eq!((wal.first_lsn(), wal.next_lsn(), wal.durable_lsn()), (1, 1, 0));
            assert!(wal.recovery().clean_close && wal.recovery().records == 0);
            for lsn in 1..=300 {
                assert_eq!(wal.append(record(lsn)).await.unwrap(), lsn);
                assert_eq!(wal.durable_lsn(), lsn);
            }
            assert_consecutive(&read_all(&wal).await.unwrap(), 1);
            wal.close().await.unwrap();
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            let found = *wal.recovery();
            assert_eq!((found.records, found.first_lsn, found.last_lsn), (300, 1, 300));
            assert!(found.clean_close && found.torn_tail_bytes == 0, "{found:?}");
            assert_eq!(wal.append(record(301)).await.unwrap(), 301);
            let all = read_all(&wal).await.unwrap();
            assert_eq!(all.len(), 301);
            assert_consecutive(&all, 1);
        });
        assert!(segments(fs, dir).len() > 3, "it went through several segments");
    });
}

#[test]
fn all_ways_of_syncing_direct_and_buffered() {
    kit::everywhere(|fs, dir| {
        for sync in [Sync::Group, Sync::Each, Sync::None] {
            for direct in [false, true] {
                let dir = dir.join(format!("{sync:?}{direct}"));
                let config = with(|config| (config.sync, config.direct, config.block_size) = (sync, direct, 4096));
                fs.block_on(async {
                    let wal = Wal::open(fs, &dir, config.clone()).await.unwrap();
                    let appends = (1..=100).map(|lsn| wal.append(record(lsn)));
                    let lsns: Vec<_> = join_all(appends).await.into_iter().map(Result::unwrap).collect();
                    assert_eq!(lsns, (1..=100).collect::<Vec<_>>(), "in the order in which they came");
                    assert_eq!(wal.flush().await.unwrap(), 100);
                    assert_eq!(wal.durable_lsn(), 100);
                    assert_consecutive(&read_all(&wal).await.unwrap(), 1);
                    wal.close().await.unwrap();
                    let found = verify(fs, &dir).await.unwrap();
                    assert_eq!((found.records, found.last_lsn, found.torn_tail_bytes), (100, 100, 0), "{found:?}");
                    assert!(found.clean_close && found.damage.is_empty(), "{found:?}");
                });
            }
        }
    });
}

#[test]
fn a_crowd_shares_its_durable_writes() {
    let (disk, fs) = sim(3);
    fs.block_on(async {
        let wal = Wal::open(&fs, DIR, with(|config| config.segment_size = 4 << 20)).await.unwrap();
        let before = disk.counters().accepted;
        let appender = async |_| {
            for _ in 0..50 {
                wal.append(vec![1; 100]).await.unwrap();
            }
        };
        join_all((0..16).map(appender)).await;
        let operations = disk.counters().accepted - before;
        assert!(operations < 200, "{operations} operations for 800 records of 16 appenders");
        assert_eq!(wal.durable_lsn(), 800);
    });
}

#[test]
fn many_and_queued_records_keep_their_order() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            assert_eq!(wal.append_many((1..=500).map(record)).await.unwrap(), 1..501);
            assert_eq!(wal.append_many([]).await.unwrap(), 501..501);
            for lsn in 501..=900 {
                assert_eq!(wal.enqueue(record(lsn)).await.unwrap(), lsn);
            }
            assert_eq!(wal.flush().await.unwrap(), 900);
            assert_eq!(wal.durable_lsn(), 900);
            let all = read_all(&wal).await.unwrap();
            assert_eq!(all.len(), 900);
            assert_consecutive(&all, 1);
        });
    });
}

/// fsys' trap: oversize appends shared an LSN.
#[test]
fn the_largest_record_fits_and_a_larger_one_is_refused_before_it_is_queued() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            let max = wal.record_max() as usize;
            assert_eq!(max, (32 << 10) - 512 - 84);
            let records: Vec<_> = [10, max, 0, max, max, 7].iter().map(|&len| record_of(1, len)).collect();
            for (n, data) in records.iter().enumerate() {
                assert_eq!(wal.append(data.clone()).await.unwrap(), n as u64 + 1);
            }
            let error = wal.append(vec![0; max + 1]).await.unwrap_err();
            assert!(matches!(error, WalError::RecordTooLarge { len, max: most } if len == most + 1), "{error}");
            let error = wal.append_many([Bytes::new(), vec![0; max + 1].into()]).await.unwrap_err();
            assert!(matches!(error, WalError::RecordTooLarge { .. }));
            assert_eq!(wal.next_lsn(), 7, "nothing of it was queued");
            let all: Vec<_> = read_all(&wal).await.unwrap().into_iter().map(|record| record.data).collect();
            assert_eq!(all, records);
        });
    });
}

#[test]
fn truncating_gives_up_whole_segments_and_uses_them_again() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            let mut lsn = 0;
            for _ in 0..10 {
                for _ in 0..100 {
                    lsn += 1;
                    wal.append(record(lsn)).await.unwrap();
                }
                wal.truncate_before(lsn - 50).await.unwrap();
                let first = wal.first_lsn();
                assert!(first <= lsn - 50 && first + 200 > lsn, "{first} of {lsn}");
                assert_consecutive(&read_all(&wal).await.unwrap(), first);
            }
            assert!(segments(fs, dir).len() <= 6, "{:?}", names(fs, dir));
            let recycled = async |path: &Path| {
                let (read, header) = fs.open(path).await.unwrap().read_exact_at(Vec::with_capacity(64), 0).await;
                read.unwrap();
                io_log::format::SegmentHeader::decode(&header).unwrap().recycled
            };
            let mut used_again = 0;
            for path in segments(fs, dir) {
                used_again += usize::from(recycled(&path).await);
            }
            assert!(used_again > 0, "none of the segments was one before");
            let first = wal.first_lsn();
            let error = collect(wal.reader(1)).await.unwrap_err();
            assert!(matches!(error, WalError::Truncated { first_lsn } if first_lsn == first), "{error}");
            wal.close().await.unwrap();
            let found = verify(fs, dir).await.unwrap();
            assert!(found.damage.is_empty() && found.clean_close && found.torn_tail_bytes == 0, "{found:?}");
            assert_eq!((found.first_lsn, found.last_lsn), (first, 1000));
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            assert_eq!(wal.first_lsn(), first);
            assert_consecutive(&read_all(&wal).await.unwrap(), first);
            wal.truncate_before(u64::MAX).await.unwrap();
            assert!(wal.first_lsn() <= 1001);
            wal.append(record(1001)).await.unwrap();
        });
    });
}

#[test]
fn a_tail_follows_and_ends_with_the_log() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            let mut tail = wal.tail(1);
            let follow = async {
                let mut all = Vec::new();
                while let Some(record) = tail.next().await {
                    all.push(record.unwrap());
                }
                all
            };
            let write = async {
                for lsn in 1..=400 {
                    wal.append(record(lsn)).await.unwrap();
                }
                wal.clone().close().await.unwrap();
            };
            let (all, ()) = futures_util::future::join(follow, write).await;
            assert_eq!(all.len(), 400);
            assert_consecutive(&all, 1);
            let mut stream = wal.reader(390);
            assert_eq!(stream.by_ref().next().await.unwrap().unwrap().lsn, 390);
        });
    });
}

#[test]
fn a_closed_log_says_so_and_its_lock_is_free() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            let clone = wal.clone();
            wal.enqueue(record(1)).await.unwrap();
            wal.close().await.unwrap();
            assert!(matches!(clone.append(record(2)).await, Err(WalError::Closed)));
            assert!(matches!(clone.flush().await, Err(WalError::Closed)));
            assert!(matches!(clone.truncate_before(1).await, Err(WalError::Closed)));
            assert!(matches!(clone.clone().close().await, Err(WalError::Closed)));
            let again = Wal::open(fs, dir, small()).await.unwrap();
            assert_eq!(again.recovery().records, 1, "what was queued was written");
        });
    });
}

#[test]
fn a_second_writer_is_told_who_has_it() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            wal.append(record(1)).await.unwrap();
            let begun = fs.shards().now();
            let error = Wal::open(fs, dir, small()).await.unwrap_err();
            assert!(fs.shards().now() - begun >= std::time::Duration::from_secs(1));
            let me = std::process::id();
            assert!(matches!(error, WalError::InUse { pid } if pid == Some(me)), "{error}");
            assert_eq!(read_files(fs, dir).await.unwrap().len(), 1, "readers need no lock");
            drop(wal);
            Wal::open(fs, dir, small()).await.unwrap();
        });
    });
}

#[test]
fn what_is_salvaged_of_a_good_log_is_all_of_it() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            wal.append_many((1..=200).map(record)).await.unwrap();
            wal.close().await.unwrap();
            let out = dir.join("out");
            let saved = salvage(fs, dir, &out, small()).await.unwrap();
            assert_eq!((saved.records, saved.stretches, saved.damage.len()), (200, vec![(1, 1, 200)], 0));
            assert_consecutive(&read_files(fs, &out).await.unwrap(), 1);
            let error = salvage(fs, dir, &out, small()).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        });
    });
}

/// A reader in another process sees what is there while the log grows, goes through segments and is cut.
#[test]
fn a_reader_beside_a_writer_sees_a_beginning() {
    kit::everywhere(|fs, dir| {
        fs.block_on(async {
            let wal = Wal::open(fs, dir, small()).await.unwrap();
            let write = async {
                for lsn in 1..=600 {
                    wal.append(record(lsn)).await.unwrap();
                    if lsn % 200 == 0 {
                        wal.truncate_before(lsn - 100).await.unwrap();
                    }
                }
            };
            let read = async {
                let mut seen = 0;
                while seen < 600 {
                    let before = wal.durable_lsn();
                    let reader = LogReader::open(fs, dir).await;
                    // A segment may go between the list and the opening.
                    let Ok(reader) = reader else { continue };
                    match collect(reader.records(0)).await {
                        Ok(all) if !all.is_empty() => {
                            assert_consecutive(&all, all[0].lsn);
                            seen = all.last().unwrap().lsn;
                            assert!(seen >= before, "{seen} of {before}");
                        }
                        Ok(_) => assert_eq!(before, 0),
                        Err(error) => assert!(!matches!(error, WalError::Damaged(_)), "{error}"),
                    }
                }
            };
            futures_util::future::join(write, read).await;
        });
    });
}

#[test]
fn logs_run_on_any_executor() {
    async fn work(fs: FileSystem, dir: std::path::PathBuf) {
        let wal = Wal::open(&fs, &dir, small()).await.unwrap();
        join_all((0..8).map(|_| wal.append(vec![7; 50]))).await.into_iter().for_each(|lsn| assert!(lsn.is_ok()));
        wal.close().await.unwrap();
        assert_eq!(read_files(&fs, &dir).await.unwrap().len(), 8);
    }
    kit::on_real_drivers(|fs, dir| {
        fs.block_on(work(fs.clone(), dir.join("block_on")));
        smol::block_on(work(fs.clone(), dir.join("smol")));
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        tokio.block_on(async {
            tokio::spawn(work(fs.clone(), dir.join("tokio"))).await.unwrap();
            let wal = Wal::open(fs, dir.join("tasks"), small()).await.unwrap();
            let tasks: Vec<_> = (0..16)
                .map(|_| {
                    let wal = wal.clone();
                    tokio::spawn(async move {
                        let mut last = 0;
                        for _ in 0..50 {
                            let lsn = wal.append(vec![1; 80]).await.unwrap();
                            assert!(lsn > last && wal.durable_lsn() >= lsn);
                            last = lsn;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(wal.durable_lsn(), 800);
        });
    });
}

/// Threads without a runtime, each in its own `block_on`.
#[test]
fn threads_lead_one_another() {
    kit::on_real_drivers(|fs, dir| {
        let wal = fs.block_on(Wal::open(fs, dir, small())).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..60 {
                        let lsn = fs.block_on(wal.append(vec![3; 300])).unwrap();
                        assert!(wal.durable_lsn() >= lsn);
                    }
                });
            }
        });
        assert_eq!(wal.durable_lsn(), 360);
        assert_eq!(fs.block_on(read_all(&wal)).unwrap().len(), 360);
    });
}

#[test]
fn equal_seeds_are_equal_runs() {
    let run = |seed| {
        let (disk, fs) = sim(seed);
        fs.block_on(async {
            let wal = Wal::open(&fs, DIR, small()).await.unwrap();
            let appender = async |n: u64| {
                for _ in 0..20 {
                    wal.append(record(n)).await.unwrap();
                }
            };
            join_all((0..5).map(appender)).await;
            wal.truncate_before(60).await.unwrap();
            wal.close().await.unwrap();
        });
        disk.trace_hash()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn a_delay_lets_more_records_into_a_group() {
    let (disk, fs) = sim(4);
    fs.block_on(async {
        let config = with(|config| config.max_delay = Some(std::time::Duration::from_millis(5)));
        let wal = Wal::open(&fs, DIR, config).await.unwrap();
        let (begun, before) = (fs.shards().now(), disk.counters().accepted);
        let late = async {
            fs.shards().deadline(std::time::Duration::from_millis(2)).await;
            wal.append(vec![2; 10]).await.unwrap();
        };
        let (first, ()) = futures_util::future::join(wal.append(vec![1; 10]), late).await;
        first.unwrap();
        assert!(fs.shards().now() - begun >= std::time::Duration::from_millis(5));
        assert!(disk.counters().accepted - before <= 2, "one durable write for both");
    });
}
