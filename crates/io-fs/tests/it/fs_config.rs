//! Settings, and what the file system makes of them.

use crate::fs_kit::*;
use io_fs::{BackpressureController, DriverName, FileSystem, IoConfig, LocalFs, SubmitFrom};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[test]
fn settings_out_of_range_start_nothing_and_are_named() {
    let mut config = IoConfig::default();
    config.queue_depth = 0;
    for refused in [
        FileSystem::with_config(config.clone()).unwrap_err(),
        LocalFs::with_config(config.clone()).unwrap_err(),
        io_fs::IoWorker::start(config.clone()).unwrap_err(),
    ] {
        assert!(refused.reason.starts_with("queue_depth = 0 is not within 1 to"), "{refused}");
        assert!(refused.remedy.starts_with("set queue_depth to 1"), "{refused}");
    }
}

#[test]
fn without_io_uring_the_next_driver_runs_and_says_why() {
    let mut config = IoConfig::default();
    config.enable_io_uring = false;
    if std::env::var_os("IOFS_DRIVER").is_some_and(|name| !name.is_empty() && name != "auto") {
        return io_testkit::skip("io-fs", "without_io_uring", "IOFS_DRIVER makes the choice explicit");
    }
    let fs = FileSystem::with_config(config).unwrap();
    assert_ne!(fs.backend().driver(), DriverName::Uring);
    assert_eq!(fs.backend().passed_over()[0].driver, DriverName::Uring);
    assert!(fs.backend().to_string().contains("enable_io_uring = false"), "{}", fs.backend());
}

#[test]
fn workers_are_shards_and_the_queue_is_what_is_admitted() {
    for driver in DriverName::REAL {
        for workers in [1, 3] {
            let Some(fs) = real(driver, |config| {
                config.io_workers = workers;
                config.queue_depth = 7;
                config.queue_bytes = 1 << 20;
            }) else {
                continue;
            };
            assert_eq!((fs.backend().shards(), fs.snapshot().shards.len()), (workers, workers));
            assert_eq!((fs.snapshot().ops_max, fs.snapshot().bytes_max), (7, 1 << 20));
            let dir = tempfile::tempdir().unwrap();
            smol::block_on(async {
                let file = fs.create(dir.path().join("f")).await.unwrap();
                let writes: Vec<_> =
                    (0..200u64).map(|i| smol::spawn(file.write_at(vec![i as u8; 100_000], i * 100_000))).collect();
                for write in writes {
                    let now = fs.snapshot();
                    assert!(now.admitted <= 7 && now.admitted_bytes <= 1 << 20, "{now:?}");
                    assert_eq!(write.await.0.unwrap(), 100_000);
                }
            });
        }
    }
}

#[test]
fn the_file_systems_own_pool_is_of_the_size_asked_for() {
    for driver in DriverName::REAL {
        for size in [1, 2] {
            let Some(fs) = real(driver, |config| config.buffer_pool_size = size) else { continue };
            let dir = tempfile::tempdir().unwrap();
            fs.block_on(async {
                let file = fs.create(dir.path().join("f")).await.unwrap();
                file.write_at(content(1, 4096), 0).await.0.unwrap();
                let mut held = Vec::new();
                for _ in 0..3 {
                    let (read, buf) = file.read_at(fs.buffer_pool().acquire(4096).await, 0).await;
                    assert_eq!((read.unwrap(), &buf[..]), (4096, &content(1, 4096)[..]));
                    held.push(buf);
                }
                let stats = fs.clone().buffer_pool().stats();
                assert_eq!((stats.classes[0].out as usize, stats.heap as usize), (size, 3 - size), "{stats:?}");
            });
        }
    }
}

#[test]
fn a_settled_way_of_durable_writes_is_taken_and_not_measured() {
    use io_fs::DurableRoute::{Dsync, WriteThenSync};
    for (route, syncs) in [(Dsync, false), (WriteThenSync, true)] {
        let disk = io_sim::SimDisk::new(io_sim::SimOptions::seeded(1));
        let config = IoConfig::builder().durable_route(route).build().unwrap();
        let fs = FileSystem::with_driver_and_config(Box::new(disk.driver(8)), config).unwrap();
        fs.block_on(async {
            let file = fs.create("/f").await.unwrap();
            for i in 0..20 {
                file.write_durable_at(vec![i as u8; 100], i * 100).await.0.unwrap();
            }
        });
        let synced = disk.trace().iter().filter(|event| format!("{event:?}").contains("SyncData")).count();
        assert_eq!(synced > 0, syncs, "{route:?}");
        let table = fs.durability_table();
        assert!(table.iter().all(|row| row.dsync.is_none() && row.write_then_sync.is_none()), "{table:?}");
    }
}

#[test]
fn everything_works_when_the_engine_submits() {
    for driver in DriverName::REAL {
        let Some(fs) = real(driver, |config| config.submit_from = SubmitFrom::EngineThread) else { continue };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs.block_on(fs.replace(&path, content(1, 5000))).0.unwrap();
        smol::block_on(fs.copy(&path, dir.path().join("g"))).unwrap();
        assert!(std::fs::read(dir.path().join("g")).unwrap() == content(1, 5000));
    }
}

/// In a process of its own, because the environment belongs to all of a process.
#[test]
fn the_environment_is_heard_or_refused() {
    const ROLE: &str = "IO_FS_TEST_ENVIRONMENT";
    match std::env::var(ROLE).as_deref() {
        Ok("good") => {
            let fs = FileSystem::new().unwrap();
            assert_eq!((fs.config().queue_depth, fs.backend().driver()), (33, DriverName::ThreadPool));
        }
        Ok("bad") => {
            let refused = FileSystem::new().unwrap_err();
            assert!(refused.reason.starts_with("IOFS_QUEUE_DEPTH=many in the environment"), "{refused}");
            assert!(LocalFs::new().is_err());
        }
        _ => {
            for (role, depth) in [("good", "33"), ("bad", "many")] {
                let child = std::process::Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "fs_config::the_environment_is_heard_or_refused", "--nocapture"])
                    .envs([(ROLE, role), ("IOFS_QUEUE_DEPTH", depth), ("IOFS_DRIVER", "threadpool")])
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&child.stdout);
                assert!(child.status.success() && said.contains("1 passed"), "{role}: {said}");
            }
        }
    }
}

#[test]
fn backpressure_holds_its_limits_among_threads_and_starves_nobody() {
    let controller = BackpressureController::with_bytes(5, 1000);
    let (operations, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (controller, operations, bytes) = (controller.clone(), operations.clone(), bytes.clone());
            scope.spawn(move || {
                for round in 0..500usize {
                    let weight = (thread * 97 + round * 31) % 700 + 1;
                    let mut wait = controller.acquire_bytes(weight as u64);
                    if round % 5 == 0 && glance(&mut wait).is_pending() {
                        // Given up while it waits, or when its turn has just come.
                        drop(wait);
                        continue;
                    }
                    if round % 5 == 0 {
                        continue;
                    }
                    let permit = smol::block_on(wait);
                    let now = operations.fetch_add(1, Ordering::SeqCst) + 1;
                    let sum = bytes.fetch_add(weight, Ordering::SeqCst) + weight;
                    assert!(now <= 5 && sum <= 1000, "{now} operations of {sum} bytes");
                    std::thread::yield_now();
                    bytes.fetch_sub(weight, Ordering::SeqCst);
                    operations.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert_eq!((controller.available_permits(), controller.available_bytes(), controller.waiting()), (5, 1000, 0));
}
