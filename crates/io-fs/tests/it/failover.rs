//! A driver that dies under a file system: who runs then, and what is known of it.

use io_fs::{Driver, DriverName, DriverOptions, FileSystem, IoConfig, LocalFs, OpKind, OpenOptions, errno};
use io_testkit::{Faults, Faulty};
use std::{error::Error, time::Duration};

/// A driver of this kind that can be broken.
fn breakable(name: DriverName, one_thread: bool) -> Option<(Faulty<Box<dyn Driver>>, Faults)> {
    let mut options = DriverOptions::default();
    (options.driver, options.depth, options.one_thread) = (Some(name), 16, one_thread);
    match io_fs::select(&options) {
        Ok(selected) => Some(Faulty::new(selected.driver)),
        Err(unavailable) => {
            io_testkit::skip("io-fs failover", name.as_str(), &unavailable.to_string());
            None
        }
    }
}

async fn use_it(fs: &FileSystem, faults: &Faults, registers: bool) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let name = fs.backend().driver();
    let file = fs.open_with(dir.path().join("f"), OpenOptions::CREATE).await?;
    let mut buf = fs.buffer_pool().acquire(4096).await;
    buf.resize(4096);
    assert_eq!(file.write_at(buf, 0).await.0?, 4096);
    let registered = fs.snapshot().pool.unwrap().registered;
    assert!(!registers || registered > 0, "{name}: the pool is registered while the ring lives");
    assert!(fs.backend().died().is_empty());

    faults.break_channel(errno::EBADF, true);
    let _ = file.write_at(vec![1; 512], 8192).with_timeout(Duration::from_millis(100)).await;
    // Buffers of the pool, out before and taken after, go on working; growing it asks the dead ring for nothing.
    for round in 0..40u64 {
        let mut buf = fs.buffer_pool().acquire(64 << 10).await;
        buf.resize(4096);
        let (n, buf) = file.write_at(buf, round * 4096).await;
        assert_eq!(n?, 4096);
        drop(buf);
    }
    assert_eq!(file.read_exact_at(Vec::with_capacity(4096), 0).await.0.ok(), Some(()));

    let backend = fs.backend();
    assert_eq!((backend.driver(), backend.chosen()), (DriverName::ThreadPool, name));
    let died = backend.died();
    assert_eq!((died.len(), died[0].driver, died[0].code), (1, name, errno::EBADF));
    let said = backend.to_string();
    assert!(said.contains(&format!("shard 0: {name} died")) && said.contains("runs in its place"), "{said}");
    let snapshot = fs.snapshot();
    assert_eq!((snapshot.driver, &snapshot.died), (DriverName::ThreadPool, &died));
    assert!(snapshot.to_string().contains("died"), "{snapshot}");
    assert_eq!(snapshot.pool.as_ref().unwrap().registered, 0, "nothing is registered with who runs now");
    assert!(snapshot.operations.iter().any(|row| row.kind == OpKind::Write));
    Ok(())
}

#[test]
fn who_runs_after_a_ring_has_died_is_said_with_the_reason() {
    for name in [DriverName::Uring, DriverName::Aio] {
        let Some((driver, faults)) = breakable(name, false) else { continue };
        let fs = FileSystem::with_driver_and_config(Box::new(driver), IoConfig::default()).unwrap();
        fs.block_on(use_it(&fs, &faults, name == DriverName::Uring)).unwrap();
    }
}

#[test]
fn who_runs_after_the_ring_of_one_thread_has_died_is_said_too() {
    let Some((driver, faults)) = breakable(DriverName::Uring, true) else { return };
    let local = LocalFs::with_driver(driver).unwrap();
    local.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let file = local.open_with(dir.path().join("f"), OpenOptions::CREATE).await.unwrap();
        let fs = file.file_system().clone();
        use_it(&fs, &faults, true).await.unwrap();
        assert_eq!(file.write_at(vec![1; 10], 0).await.0.unwrap(), 10);
    });
    assert_eq!((local.backend().driver(), local.snapshot().died.len()), (DriverName::ThreadPool, 1));
    assert!(local.dump().len() <= 1, "what the dead ring holds, and nothing else: {:?}", local.dump());
}
