//! On the simulator nothing spawns threads and the same seed is the same run.

use super::*;
use crate::random::Random;
use io_engine::core::errno;
use io_sim::{SimDisk, SimOptions};
use std::path::Path;

async fn work(shards: &Shards, file: &FileHandle, seed: u64) {
    let mut random = Random::new(seed);
    let mut pending = Vec::new();
    for _ in 0..300 {
        let at = random.below(64) * 512;
        match random.below(5) {
            0 => drop(sync(shards, file).await),
            1 => {
                let timed =
                    read(shards, file, vec![0u8; 512], at).with_timeout(Duration::from_micros(random.below(200)));
                if let Err(late) = timed.await {
                    pending.push(late.ticket);
                }
            }
            2 => {
                let mut op = write(shards, file, vec![random.below(256) as u8; 512], at);
                let _ = poll_once(&mut op);
            }
            _ => drop(write(shards, file, vec![random.below(256) as u8; 512], at).await),
        }
    }
    for ticket in pending {
        let _ = ticket.await;
    }
}

fn run(seed: u64) -> (u64, u64, Duration) {
    let disk = SimDisk::new(SimOptions::hostile(seed));
    disk.write_file("/f", &[0u8; 65536]).unwrap();
    let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
    let shards = Shards::new(vec![Box::new(disk.driver(8))], ShardOptions::default()).unwrap();
    shards.block_on(work(&shards, &file, seed));
    drop(shards);
    (disk.trace_hash(), disk.moment(), disk.now())
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn it_has_no_threads() {
    let disk = SimDisk::new(SimOptions::seeded(1));
    disk.write_file("/f", &[0u8; 65536]).unwrap();
    let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
    let shards = Shards::new(vec![Box::new(disk.driver(8))], ShardOptions::default()).unwrap();
    shards.block_on(async {
        let timed = read(&shards, &file, vec![0u8; 512], 0).with_timeout(Duration::from_secs(1));
        assert_eq!(timed.await.unwrap().0.unwrap(), 512);
    });
    assert_eq!(shards.threads(), 0);
}

#[test]
fn foreign_executors_move_time_too() {
    let disk = SimDisk::new(SimOptions::seeded(7));
    disk.write_file("/f", &[5u8; 65536]).unwrap();
    let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
    let shards = Shards::new(vec![Box::new(disk.driver(8))], ShardOptions::default()).unwrap();
    in_time("the simulator under other executors", move || {
        smol::block_on(async {
            let tasks: Vec<_> = (0..32u64).map(|i| smol::spawn(read(&shards, &file, vec![0u8; 64], i * 64))).collect();
            for task in tasks {
                assert_eq!(task.await.0.unwrap(), 64);
            }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> = (0..32u64).map(|i| tokio::spawn(read(&shards, &file, vec![0u8; 64], i * 64))).collect();
            for task in tasks {
                assert_eq!(task.await.unwrap().0.unwrap(), 64);
            }
        });
        disk.wedge(io_sim::Which::reads());
        let timed = smol::block_on(read(&shards, &file, vec![0u8; 64], 0).with_timeout(Duration::from_secs(3)));
        assert!(timed.is_err());
    });
}

/// The clock stood still once its driver was dead: who waited with a time waited for ever, and turned in circles.
#[test]
fn a_dead_driver_does_not_stop_the_clock() {
    for death in [|disk: &SimDisk| disk.break_drivers(errno::EBADF), |disk: &SimDisk| disk.power_cut()] {
        let disk = SimDisk::new(SimOptions::seeded(3));
        disk.write_file("/f", &[5u8; 65536]).unwrap();
        let file = disk.open(Path::new("/f"), OpenOptions::READ_WRITE).unwrap();
        let shards = Shards::new(vec![Box::new(disk.driver(8))], ShardOptions::default()).unwrap();
        in_time("time-outs beside a dead driver", move || {
            let begin = || {
                let mut lost = read(&shards, &file, vec![0u8; 64], 0);
                assert!(poll_once(&mut lost).is_pending());
                lost.with_timeout(Duration::from_secs(3))
            };
            disk.wedge(io_sim::Which::reads());
            let (first, second) = (begin(), begin());
            death(&disk);
            let before = shards.now();
            assert!(shards.block_on(first).is_err() && smol::block_on(second).is_err());
            shards.block_on(shards.deadline(Duration::from_secs(4)));
            smol::block_on(shards.deadline(Duration::from_secs(5)));
            let took = shards.now() - before;
            assert!(took >= Duration::from_secs(12) && took < Duration::from_secs(13), "{took:?} of virtual time");
        });
    }
}
