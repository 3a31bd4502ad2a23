//! Threads and runtimes that come and go while their operations are in flight. What the kernel does to such operations is not what
//! their callers may see.

use super::*;
use io_engine::SubmitFrom;

fn cold(len: usize) -> (tempfile::TempDir, FileHandle) {
    let (dir, file) = scratch(len);
    let std = std::fs::File::open(dir.path().join("f")).unwrap();
    std.sync_all().unwrap();
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        // The data has to come from the disk, so that the operations are in flight when their threads end.
        // SAFETY: takes numbers only.
        #[allow(unsafe_code)]
        unsafe {
            libc::posix_fadvise(std.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED)
        };
    }
    (dir, file)
}

fn both(test: impl Fn(Shards)) {
    for submit_from in [SubmitFrom::Caller, SubmitFrom::EngineThread] {
        let mut options = ShardOptions::default();
        options.submit_from = submit_from;
        on_every_driver_with(options, &test);
    }
}

#[test]
fn a_fresh_thread_for_each_operation() {
    both(|shards| {
        const BLOCKS: u64 = 256;
        let (_dir, file) = cold(BLOCKS as usize * 4096);
        let mut begun = Vec::new();
        for i in 0..BLOCKS {
            let mut op = read(&shards, &file, Vec::with_capacity(4096), i * 4096);
            // Begins it and exits at once.
            begun
                .push(std::thread::spawn(move || (poll_once(&mut op).map(|done| done.0.unwrap()), op)).join().unwrap());
        }
        let shards = shards.clone();
        in_time("an operation of an exited thread", move || {
            for (i, (polled, op)) in begun.into_iter().enumerate() {
                if let Poll::Ready(n) = polled {
                    assert_eq!(n, 4096);
                    continue;
                }
                let (n, buf) = smol::block_on(op);
                assert_eq!(n.unwrap(), 4096, "read {i}");
                assert!(buf.iter().enumerate().all(|(at, &byte)| byte == ((i * 4096 + at) / 512) as u8));
            }
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn writes_and_syncs_of_exited_threads_are_done() {
    both(|shards| {
        let (dir, file) = cold(1 << 20);
        let begun: Vec<_> = (0..64u64)
            .map(|i| {
                let (mut write, mut sync) =
                    (write(&shards, &file, vec![i as u8 ^ 0x55; 4096], i * 4096), sync(&shards, &file));
                std::thread::spawn(move || {
                    let written = poll_once(&mut write).map(|done| done.0.unwrap());
                    let synced = poll_once(&mut sync).map(Result::unwrap);
                    (written, write, synced, sync)
                })
                .join()
                .unwrap()
            })
            .collect();
        in_time("a write of an exited thread", move || {
            for (written, write, synced, sync) in begun {
                let n = match written {
                    Poll::Ready(n) => n,
                    Poll::Pending => smol::block_on(write).0.unwrap(),
                };
                assert_eq!(n, 4096);
                if synced.is_pending() {
                    smol::block_on(sync).unwrap();
                }
            }
        });
        let found = std::fs::read(dir.path().join("f")).unwrap();
        assert!((0..64).all(|i| found[i * 4096..][..4096].iter().all(|&byte| byte == i as u8 ^ 0x55)));
    });
}

#[test]
fn a_blocking_pool_that_retires_its_threads() {
    both(|shards| {
        let (_dir, file) = cold(1 << 20);
        in_time("an operation of a retired thread", move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_keep_alive(Duration::from_millis(1))
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut all = Vec::new();
                for i in 0..256u64 {
                    let mut op = read(&shards, &file, Vec::with_capacity(4096), i * 4096);
                    let begun = tokio::task::spawn_blocking(move || (poll_once(&mut op).is_ready(), op));
                    let (ready, op) = begun.await.unwrap();
                    if !ready {
                        all.push(tokio::spawn(op));
                    }
                    if i % 64 == 0 {
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                }
                for op in all {
                    assert_eq!(op.await.unwrap().0.unwrap(), 4096);
                }
            });
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn a_runtime_dropped_with_operations_in_flight_and_the_next_one() {
    both(|shards| {
        let (_dir, file) = cold(4 << 20);
        in_time("a runtime after another", move || {
            for round in 0..8u64 {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                let mut tasks = Vec::new();
                for i in 0..64u64 {
                    tasks.push(runtime.spawn(read(&shards, &file, Vec::with_capacity(4096), (i * 8 + round) * 4096)));
                }
                if round % 2 == 0 {
                    // Its reactor watched, and is gone.
                    runtime.shutdown_background();
                    let op = read(&shards, &file, Vec::with_capacity(4096), round * 4096);
                    assert_eq!(smol::block_on(op).0.unwrap(), 4096);
                } else {
                    runtime.block_on(async {
                        for task in tasks {
                            assert_eq!(task.await.unwrap().0.unwrap(), 4096);
                        }
                    });
                }
            }
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn a_runtime_without_an_io_driver() {
    on_every_driver(|shards| {
        let (_dir, file) = cold(1 << 20);
        in_time("a runtime without an I/O driver", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for i in 0..32u64 {
                    assert_eq!(read(&shards, &file, Vec::with_capacity(4096), i * 4096).await.0.unwrap(), 4096);
                }
            });
        });
    });
}
