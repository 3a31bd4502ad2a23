//! The front of messages.

use crate::fs_kit::*;
use io_fs::{DriverName, IoConfig, IoRequest, IoWorker, OpKind, OpenMode};
use io_sim::{SimOptions, Which};
use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

fn on_every_driver(test: impl Fn(&mut IoWorker, &std::path::Path)) {
    for driver in DriverName::REAL {
        let mut config = IoConfig::default();
        config.driver = Some(driver);
        config.queue_depth = 64;
        match IoWorker::start(config) {
            Ok(mut worker) => {
                let dir = tempfile::tempdir().unwrap();
                test(&mut worker, dir.path());
                smol::block_on(worker.shutdown());
            }
            Err(unavailable) => io_testkit::skip("io-fs worker", driver.as_str(), &unavailable.to_string()),
        }
    }
}

#[test]
fn requests_are_done_many_at_once_and_answered() {
    on_every_driver(|worker, dir| {
        let (worker, path) = (&*worker, dir.join("f"));
        smol::block_on(async {
            let file = worker.open(&path, OpenMode::Create).await.unwrap();
            let executor = smol::LocalExecutor::new();
            let writes: Vec<_> = (0..1000u64)
                .map(|i| {
                    executor.spawn(async move {
                        let (written, data) = worker.write(file, i * 64, vec![i as u8; 64]).await;
                        assert_eq!((written.unwrap(), data), (64, vec![i as u8; 64]));
                        let read = worker.read(file, i * 64, 64).await.unwrap();
                        assert_eq!(read, vec![i as u8; 64]);
                    })
                })
                .collect();
            executor
                .run(async {
                    for write in writes {
                        write.await;
                    }
                })
                .await;
            worker.sync(file).await.unwrap();
            let end = worker.read(file, 1000 * 64 - 10, 64).await.unwrap();
            assert_eq!(end.len(), 10, "fewer bytes at the end of the file only");
            worker.close(file).await.unwrap();
            assert_eq!(worker.read(file, 0, 1).await.unwrap_err().kind(), ErrorKind::NotFound);
        });
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 64_000);
    });
}

#[test]
fn modes_mean_what_they_say() {
    on_every_driver(|worker, dir| {
        let (worker, path) = (&*worker, dir.join("f"));
        smol::block_on(async {
            for mode in [OpenMode::Read, OpenMode::ReadWrite] {
                assert_eq!(worker.open(&path, mode).await.unwrap_err().kind(), ErrorKind::NotFound);
            }
            std::fs::write(&path, "content").unwrap();
            let reader = worker.open(&path, OpenMode::Read).await.unwrap();
            assert_eq!(worker.read(reader, 0, 7).await.unwrap(), b"content");
            let (refused, data) = worker.write(reader, 0, b"x".to_vec()).await;
            assert!(refused.is_err() && data == b"x");
            let appender = worker.open(&path, OpenMode::Append).await.unwrap();
            assert_eq!(worker.read(appender, 0, 7).await.unwrap(), b"content");
            worker.open(&path, OpenMode::Create).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        });
    });
}

#[test]
fn nonsense_is_answered_and_ends_nothing() {
    on_every_driver(|worker, dir| {
        let (worker, path) = (&*worker, dir.join("f"));
        smol::block_on(async {
            let file = worker.open(&path, OpenMode::Create).await.unwrap();
            assert_eq!(worker.read(file, 0, usize::MAX).await.unwrap_err().kind(), ErrorKind::OutOfMemory);
            assert!(worker.read(file, 0, 0).await.unwrap().is_empty());
            assert!(worker.read(file, u64::MAX, 1).await.is_err());
            let bad = std::path::PathBuf::from("a\0b");
            assert_eq!(worker.open(bad, OpenMode::Create).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            worker.close(file).await.unwrap();
            assert_eq!(worker.sync(file).await.unwrap_err().kind(), ErrorKind::NotFound);
            let (refused, data) = worker.write(file, 0, vec![1, 2]).await;
            assert_eq!((refused.unwrap_err().kind(), data), (ErrorKind::NotFound, vec![1, 2]));
        });
    });
}

#[test]
fn a_shutdown_answers_what_came_before_and_refuses_what_comes_after() {
    on_every_driver(|worker, dir| {
        let path = dir.join("f");
        smol::block_on(async {
            let file = worker.open(&path, OpenMode::Create).await.unwrap();
            let mut answers = Vec::new();
            for i in 0..200u64 {
                let (response, answer) = flume::bounded(1);
                let data = vec![i as u8; 4096];
                worker.send(IoRequest::Write { file_id: file, offset: i * 4096, data, response }).await.unwrap();
                answers.push(answer);
            }
            worker.shutdown().await;
            for answer in answers {
                assert_eq!(answer.try_recv().expect("answered before the shutdown came back").0.unwrap(), 4096);
            }
            assert_eq!(worker.sync(file).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            worker.shutdown().await;
        });
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 200 * 4096);
    });
}

#[test]
fn a_file_whose_asker_is_gone_is_closed() {
    let site = simulated(SimOptions::seeded(6));
    let path = site.put("f", b"content");
    let mut worker = IoWorker::over(over(site.sim())).unwrap();
    smol::block_on(async {
        let (response, answer) = flume::bounded(1);
        drop(answer);
        worker.send(IoRequest::OpenFile { path: path.clone(), mode: OpenMode::Read, response }).await.unwrap();
        worker.shutdown().await;
    });
    assert_eq!(site.sim().times_open(&path).unwrap(), 0);
}

/// An open that was given up when its answer was in the channel already left the file open for as long as the worker lived.
#[test]
fn an_open_that_is_given_up_leaves_nothing_open() {
    let site = simulated(SimOptions::seeded(6));
    let path = site.put("f", b"content");
    let mut worker = IoWorker::over(over(site.sim())).unwrap();
    smol::block_on(async {
        let mut given_up = Box::pin(worker.open(&path, OpenMode::Read));
        assert!(glance(&mut given_up).is_pending());
        let opened = Instant::now() + Duration::from_secs(30);
        while site.sim().times_open(&path).unwrap() == 0 {
            assert!(Instant::now() < opened, "it is not opened");
            smol::Timer::after(Duration::from_millis(1)).await;
        }
        // What is asked for later and answered was behind the answer to the open.
        let other = worker.open(&path, OpenMode::Read).await.unwrap();
        drop(given_up);
        assert_eq!(worker.read(other, 0, 7).await.unwrap(), b"content");
        let closed = Instant::now() + Duration::from_secs(30);
        while site.sim().times_open(&path).unwrap() > 1 {
            assert!(Instant::now() < closed, "it stays open");
            smol::Timer::after(Duration::from_millis(1)).await;
        }
        worker.shutdown().await;
    });
    assert_eq!(site.sim().times_open(&path).unwrap(), 0);
}

/// A worker that did one request after the other would hang here.
#[test]
fn a_request_that_hangs_holds_nobody_up() {
    let site = simulated(SimOptions::seeded(6));
    let path = site.put("f", &content(1, 10_000));
    let mut worker = IoWorker::over(over(site.sim())).unwrap();
    smol::block_on(async {
        let file = worker.open(&path, OpenMode::ReadWrite).await.unwrap();
        site.sim().wedge(Which::kind(OpKind::Read));
        let (response, hangs) = flume::bounded(1);
        worker.send(IoRequest::Read { file_id: file, offset: 0, len: 10, response }).await.unwrap();
        for i in 0..20 {
            assert_eq!(worker.read(file, i, 10).await.unwrap(), content(1, 10_000)[i as usize..][..10]);
        }
        assert!(hangs.is_empty());
        site.sim().release_wedged();
        assert_eq!(hangs.recv_timeout(Duration::from_secs(30)).unwrap().unwrap(), content(1, 10)[..10]);
        worker.shutdown().await;
    });
}

/// A channel without room, and a receiver that does not come: nobody else waits for that.
#[test]
fn an_answer_that_nobody_takes_holds_nobody_up() {
    on_every_driver(|worker, dir| {
        let path = dir.join("f");
        std::fs::write(&path, content(1, 100)).unwrap();
        let (opened, never_opened) = flume::bounded(0);
        let (read, never_read) = flume::bounded(0);
        let (synced, never_synced) = flume::bounded(0);
        let done = async {
            let file = worker.open(&path, OpenMode::Read).await.unwrap();
            let open = IoRequest::OpenFile { path: path.clone(), mode: OpenMode::Read, response: opened };
            worker.send(open).await.unwrap();
            worker.send(IoRequest::Read { file_id: file, offset: 0, len: 10, response: read }).await.unwrap();
            worker.close(file).await.unwrap();
            worker.send(IoRequest::Sync { file_id: file, response: synced }).await.unwrap();
            let file = worker.open(&path, OpenMode::Read).await.unwrap();
            assert_eq!(worker.read(file, 0, 100).await.unwrap(), content(1, 100));
        };
        let late = async {
            smol::Timer::after(Duration::from_secs(10)).await;
            panic!("the worker waits for who does not come");
        };
        smol::block_on(smol::future::or(done, late));
        assert!(never_read.recv().unwrap().unwrap() == content(1, 10));
        assert!(never_opened.recv().unwrap().is_ok() && never_synced.recv().unwrap().is_err());
    });
}
