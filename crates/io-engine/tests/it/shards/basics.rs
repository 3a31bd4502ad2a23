//! What every user does first.

use super::*;

#[test]
fn block_on_reads_writes_and_syncs() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        shards.block_on(async {
            for i in 0..32u64 {
                let (n, buf) = write(&shards, &file, vec![i as u8 + 100; 512], i * 512).await;
                assert_eq!((n.unwrap(), buf.len()), (512, 512));
            }
            sync(&shards, &file).await.unwrap();
            for i in 0..32u64 {
                let (n, buf) = read(&shards, &file, Vec::with_capacity(512), i * 512).await;
                assert_eq!((n.unwrap(), buf), (512, vec![i as u8 + 100; 512]));
            }
        });
        assert_eq!(shards.load(), (0, 0, 0));
        assert_eq!(shards.orphans(), (0, 0));
    });
}

#[test]
fn a_foreign_executor_is_served_by_the_reaper() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        smol::block_on(async {
            let mut tasks = Vec::new();
            for i in 0..200u64 {
                let op = write(&shards, &file, vec![i as u8; 256], i * 256);
                tasks.push(smol::spawn(async move { op.await.0.unwrap() }));
            }
            for task in tasks {
                assert_eq!(task.await, 256);
            }
            sync(&shards, &file).await.unwrap();
        });
        assert_eq!(shards.load(), (0, 0, 0));
    });
}

#[test]
fn more_than_fit_wait_in_turn() {
    for name in DriverName::REAL {
        let mut options = ShardOptions::default();
        options.ops_max = 8;
        let Some(shards) = shards_with(name, 1, options) else { continue };
        let (_dir, file) = scratch(1 << 16);
        smol::block_on(async {
            let tasks: Vec<_> =
                (0..1000u64).map(|i| smol::spawn(write(&shards, &file, vec![i as u8; 64], i * 64))).collect();
            for task in tasks {
                assert_eq!(task.await.0.unwrap(), 64);
            }
        });
        assert_eq!(shards.load(), (0, 0, 0));
    }
}

#[test]
fn dropped_futures_leave_nothing_behind() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 20);
        let counted = Arc::new([7u8; 4096]);
        let lent = || Arc::<[u8]>::from(&counted[..]);
        for round in 0..200u64 {
            let mut op = write(&shards, &file, lent(), (round % 64) * 4096);
            let _ = poll_once(&mut op);
            drop(op);
        }
        shards.block_on(sync(&shards, &file)).unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while shards.orphans() != (0, 0) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(shards.orphans(), (0, 0));
        assert_eq!(shards.load(), (0, 0, 0));
    });
}

#[test]
fn many_tasks_share_few_syncs() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        smol::block_on(async {
            let tasks: Vec<_> = (0..64u64)
                .map(|i| {
                    let (shards, file) = (shards.clone(), file.clone());
                    smol::spawn(async move {
                        write(&shards, &file, vec![1u8; 64], i * 64).await.0.unwrap();
                        sync(&shards, &file).await.unwrap();
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
        });
        let answered: u64 = shards.stats().iter().map(|s| s.answered).sum();
        assert!(answered < 128, "64 writes and fewer syncs than that, but {answered} operations were answered");
    });
}

/// A shared sync kept its file for a moment after it had woken those who waited for it: closing the file then answered that it was in
/// use.
#[test]
fn who_waited_for_a_sync_has_the_file_alone() {
    on_every_driver(|shards| {
        let (dir, _file) = scratch(512);
        let shared = std::sync::Mutex::new(0);
        smol::block_on(async {
            for i in 0..300u64 {
                let file = io_engine::open(dir.path().join("f"), OpenOptions::READ_WRITE).unwrap();
                write(&shards, &file, vec![1u8; 512], i * 512).await.0.unwrap();
                sync(&shards, &file).await.unwrap();
                *shared.lock().unwrap() += u32::from(!file.is_unique());
            }
        });
        assert_eq!(shared.into_inner().unwrap(), 0);
    });
}

/// The same for who does not wait to be woken: he saw the result before the sync had let go of the file.
#[test]
fn who_asks_for_a_sync_again_and_again_has_the_file_alone() {
    on_every_driver(|shards| {
        let (dir, _file) = scratch(512);
        for i in 0..300u64 {
            let file = io_engine::open(dir.path().join("f"), OpenOptions::READ_WRITE).unwrap();
            smol::block_on(write(&shards, &file, vec![1u8; 512], i * 512)).0.unwrap();
            let mut asked = sync(&shards, &file);
            let result = loop {
                if let Poll::Ready(result) = poll_once(&mut asked) {
                    break result;
                }
            };
            result.unwrap();
            assert!(file.is_unique(), "round {i}");
        }
    });
}
