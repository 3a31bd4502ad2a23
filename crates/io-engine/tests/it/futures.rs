//! The futures front end, on every real driver.

use io_engine::{
    DriverOptions, Operation, ShardOptions, Shards,
    core::{DriverName, FileHandle, IoBuf, IoBufMut, Op, OpenOptions},
    select,
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

fn shards_with(name: DriverName, count: usize, options: ShardOptions) -> Option<Shards> {
    let mut wanted = DriverOptions::default();
    wanted.driver = Some(name);
    wanted.one_thread = false;
    wanted.depth = 64;
    let drivers: Result<Vec<_>, _> = (0..count).map(|_| select(&wanted).map(|s| s.driver)).collect();
    match drivers {
        Ok(drivers) => Some(Shards::new(drivers, options).unwrap()),
        Err(unavailable) => {
            io_testkit::skip("futures", name.as_str(), &unavailable.to_string());
            None
        }
    }
}

fn on_every_driver(test: impl Fn(Shards)) {
    for name in DriverName::REAL {
        for count in [1, 2] {
            if let Some(shards) = shards_with(name, count, ShardOptions::default()) {
                test(shards);
            }
        }
    }
}

fn scratch(len: usize) -> (tempfile::TempDir, FileHandle) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, (0..len).map(|i| (i / 512) as u8).collect::<Vec<_>>()).unwrap();
    let file = io_engine::open(&path, OpenOptions::READ_WRITE).unwrap();
    (dir, file)
}

fn read<B: IoBufMut>(shards: &Shards, file: &FileHandle, buf: B, at: u64) -> Operation<(io::Result<usize>, B)> {
    shards.operation(Op::read(file, buf, at), |answer| (answer.result, answer.op.unwrap().into_buf().unwrap()))
}

fn write<B: IoBuf>(shards: &Shards, file: &FileHandle, buf: B, at: u64) -> Operation<(io::Result<usize>, B)> {
    shards.operation(Op::write(file, buf, at), |answer| (answer.result, answer.op.unwrap().into_buf().unwrap()))
}

fn sync(shards: &Shards, file: &FileHandle) -> Operation<io::Result<()>> {
    shards.operation(Op::sync_data(file), |answer| answer.result.map(drop))
}

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
            let _ = futures_poll(&mut op);
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

fn futures_poll<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
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
