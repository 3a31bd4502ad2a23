//! File systems of one thread, and what becomes of their files elsewhere.

use io_fs::{AlignedBuf, File, FileSystem, LocalFs, OpenOptions};
use io_testkit::skip;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::mpsc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

/// Fails instead of hanging.
fn in_time<T: Send + 'static>(what: &str, run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, answer) = mpsc::channel();
    let thread = thread::spawn(move || {
        let _ = done.send(run());
    });
    match answer.recv_timeout(Duration::from_secs(8)) {
        Ok(value) => value,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: hanging"),
        Err(_) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

fn local() -> Option<LocalFs> {
    LocalFs::new().inspect_err(|error| skip("local", "any", &error.to_string())).ok()
}

/// Runs a future without any help.
fn spin<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        thread::yield_now();
    }
}

fn once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// While the owner sleeps inside the kernel, another thread uses a clone of the file.
#[test]
fn another_thread_gets_errors_and_the_owner_goes_on() {
    in_time("a foreign thread", || {
        let Some(fs) = local() else { return };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 1 << 16]).unwrap();
        let (sent, got) = flume::bounded::<File>(1);
        let (back, answers) = flume::bounded(1);
        let other = thread::spawn(move || {
            let file = got.recv().unwrap();
            thread::sleep(Duration::from_millis(50));
            let write = spin(file.write_at(vec![1; 512], 0)).0;
            let sync = spin(file.sync_data());
            let _ = file.file_system().snapshot();
            let clone = file.clone();
            drop(clone);
            drop(file);
            back.send((write, sync)).unwrap();
        });
        let n = fs.block_on(async {
            let file = fs.open_with(&path, OpenOptions::READ_WRITE).await.unwrap();
            sent.send((*file).clone()).unwrap();
            let (write, sync) = answers.recv_async().await.unwrap();
            assert!(write.is_err() && sync.is_err(), "{write:?} {sync:?}");
            // The ring is as it was.
            assert_eq!(file.write_at(vec![2; 512], 512).await.0.unwrap(), 512);
            file.sync_data().await.unwrap();
            file.read_at(AlignedBuf::with_capacity(4096), 0).await.0.unwrap()
        });
        assert_eq!(n, 4096);
        other.join().unwrap();
        assert_eq!(fs.backend().driver(), LocalFs::new().unwrap().backend().driver());
    });
}

/// A future that began here and is dropped, cancelled or polled there.
#[test]
fn a_future_that_goes_to_another_thread() {
    in_time("a future elsewhere", || {
        let Some(fs) = local() else { return };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let file = fs.block_on(fs.open_with(&path, OpenOptions::READ_WRITE)).unwrap();
        for round in 0..200 {
            let mut going = Box::pin(file.write_at(vec![round as u8; 4096], 0));
            let begun = fs.block_on(async { once(going.as_mut()) });
            thread::spawn(move || {
                if round % 2 == 0 && begun.is_pending() {
                    going.cancel();
                    let _ = once(going.as_mut());
                }
                drop(going);
            })
            .join()
            .unwrap();
            assert_eq!(fs.block_on(file.write_at(vec![1; 512], 8192)).0.unwrap(), 512);
        }
    });
}

/// The last handle is dropped elsewhere, after the thread that the engine belonged to is gone.
#[test]
fn the_last_file_is_dropped_elsewhere() {
    in_time("the last drop", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 1 << 20]).unwrap();
        let name = path.clone();
        let file = thread::spawn(move || {
            let fs = local()?;
            let options = OpenOptions { direct: true, ..OpenOptions::READ_WRITE };
            let file = fs.block_on(fs.open_with(&name, options));
            let file = file.inspect_err(|error| skip("local", "direct", &error.to_string())).ok()?;
            let mut going: Vec<_> =
                (0..16).map(|i| Box::pin(file.write_at(AlignedBuf::zeroed(4096), i * 4096))).collect();
            fs.block_on(async {
                for one in &mut going {
                    let _ = once(one.as_mut());
                }
            });
            Some((*file).clone())
        })
        .join()
        .unwrap();
        let began = std::time::Instant::now();
        drop(file);
        assert!(began.elapsed() < Duration::from_secs(5));
        let fs = FileSystem::new().unwrap();
        fs.block_on(async {
            let file = fs.open_rw(&path).await.unwrap();
            file.write_at(vec![9; 4096], 0).await.0.unwrap();
        });
    });
}

/// No time is too long to be waited for.
#[test]
fn times_without_end() {
    for most in [
        Duration::MAX,
        Duration::from_secs(u64::MAX),
        Duration::from_secs(i64::MAX as u64),
        Duration::from_secs(1 << 40),
    ] {
        in_time("a time without end", move || {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("f");
            let options = OpenOptions { direct: true, ..OpenOptions::CREATE };
            let write = |file: File| async move {
                for i in 0..20 {
                    file.write_at(AlignedBuf::zeroed(4096), i * 4096).with_timeout(most).await.unwrap().0.unwrap();
                    file.sync_data().with_timeout(most).await.unwrap().unwrap();
                }
            };
            if let Some(fs) = local() {
                let Ok(file) = fs.block_on(fs.open_with(&path, options)) else { return };
                fs.block_on(write((*file).clone()));
            }
            let fs = FileSystem::new().unwrap();
            let file = fs.block_on(fs.open_with(&path, options)).unwrap();
            fs.block_on(write(file));
        });
    }
}

/// A sync of an engine of one thread stays in flight while that thread does something else. Nobody else waits for it.
#[test]
fn a_sync_that_was_given_up_holds_no_other_engine_up() {
    in_time("a sync given up", || {
        let Some(fs) = local() else { return };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = fs.block_on(fs.open_with(&path, OpenOptions::CREATE)).unwrap();
        let other = FileSystem::new().unwrap();
        let again = other.block_on(other.open_rw(&path)).unwrap();
        for _ in 0..50 {
            fs.block_on(file.write_at(vec![1; 1 << 16], 0)).0.unwrap();
            let _ = fs.block_on(async { once(pin!(file.sync_data())) });
            other.block_on(again.sync_data()).unwrap();
        }
        // Nor does it hear of the end of the engine.
        let _ = fs.block_on(async { once(pin!(file.sync_data())) });
        let mut sync = pin!(again.sync_data());
        let begun = other.block_on(async { once(sync.as_mut()) });
        drop((file, fs));
        match begun {
            Poll::Ready(result) => result.unwrap(),
            Poll::Pending => other.block_on(sync).unwrap(),
        }
    });
}

/// What a file system of one thread has besides its files, asked by its owner and, meanwhile, by somebody else.
#[test]
fn its_counters_and_names_are_those_of_any_file_system() {
    in_time("snapshots", || {
        let Some(fs) = local() else { return };
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs.block_on(async {
            let file = fs.create(path("a")).await.unwrap();
            let clone = (*file).clone();
            let (stop, stopped) = flume::bounded::<()>(0);
            let other = thread::spawn(move || {
                let mut looks = 0u64;
                while stopped.try_recv() == Err(flume::TryRecvError::Empty) {
                    let snapshot = clone.file_system().snapshot();
                    assert!(snapshot.in_flight <= snapshot.depth);
                    let _ = (clone.file_system().dump(), clone.file_system().backend().to_string());
                    looks += 1;
                }
                looks
            });
            for n in 0..2000u64 {
                assert_eq!(file.append(vec![n as u8; 100]).await.0.unwrap(), n * 100);
            }
            drop(stop);
            assert!(other.join().unwrap() > 0);
            file.close().await.unwrap();
            fs.replace(path("a"), vec![1, 2, 3]).await.0.unwrap();
            fs.copy(path("a"), path("b")).await.unwrap();
            assert_eq!(fs.open(path("b")).await.unwrap().size().await.unwrap(), 3);
            assert_eq!(fs.read_dir(dir.path()).await.unwrap().len(), 2);
        });
        let snapshot = fs.snapshot();
        let writes: u64 =
            snapshot.operations.iter().filter(|row| row.kind == io_fs::OpKind::Write).map(|row| row.count).sum();
        assert!(writes >= 2001 && snapshot.in_flight == 0, "{snapshot}");
        assert!(fs.dump().is_empty());
    });
}

/// A `block_on` inside one of another file system inside one of the same: the innermost found its seat taken, by its own thread, which
/// sleeps in it and comes back never. So did an operation that is awaited in the middle one.
#[test]
fn calls_within_calls_of_others_within_calls() {
    in_time("calls within calls", || {
        let Some(local) = local() else { return };
        let between = FileSystem::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        local.block_on(async {
            let file = local.create(dir.path().join("f")).await.unwrap();
            for i in 0..20u64 {
                between.block_on(async {
                    local.block_on(async {
                        file.write_at(vec![i as u8; 4096], i * 4096).await.0.unwrap();
                        file.sync_data().await.unwrap();
                    });
                    file.write_at(vec![1; 4096], (i + 1) * 4096).await.0.unwrap();
                    file.sync_data().await.unwrap();
                });
                file.sync_all().await.unwrap();
            }
        });
    });
}
