//! Random drops, cancels and time-outs, with buffers that notice who touches them too late, against a model.

use super::*;
use crate::random::Random;
use io_testkit::GuardBuf;

const BLOCK: usize = 4096;

/// Operations a driver and executor: a tenth of a million in `ci`, where it is told so.
fn rounds() -> u64 {
    std::env::var("IOFS_STORM").ok().and_then(|n| n.parse().ok()).unwrap_or(2_000)
}

/// Each task has blocks of its own, and knows what is in them; what was dropped, cancelled or late leaves a block unknown until it is
/// written anew and answered, because an orphan may still write it.
async fn task(shards: Shards, file: FileHandle, id: u64, rounds: u64) {
    let mut random = Random::new(id + 1);
    let mut known: Vec<Option<u8>> = vec![None; 8];
    for _ in 0..rounds {
        let slot = random.below(8) as usize;
        let at = (id * 8 + slot as u64) * BLOCK as u64;
        let byte = random.below(256) as u8;
        match random.below(12) {
            0..4 => {
                let (n, buf) = read(&shards, &file, GuardBuf::with_capacity(BLOCK), at).await;
                assert_eq!(n.unwrap(), BLOCK);
                if let Some(byte) = known[slot] {
                    assert!(buf.iter().all(|&b| b == byte), "task {id}, block {slot}");
                }
            }
            4..8 => {
                if known[slot].is_none() {
                    // An earlier write of this block may be under way: it ends before this. A write that somebody cancelled
                    // fails the syncs that cover it, and says nothing about the disk (I8).
                    let synced = sync(&shards, &file).await;
                    assert!(synced.is_ok() || synced.unwrap_err().raw_os_error() == Some(libc::ECANCELED));
                }
                let (n, _) = write(&shards, &file, filled(byte), at).await;
                assert_eq!(n.unwrap(), BLOCK);
                known[slot] = Some(byte);
            }
            8 => {
                let mut op = write(&shards, &file, filled(byte), at);
                let _ = poll_once(&mut op);
                known[slot] = None;
            }
            9 => {
                let mut op = write(&shards, &file, filled(byte), at);
                if poll_once(&mut op).is_pending() {
                    op.cancel();
                    let _ = op.await;
                }
                known[slot] = None;
            }
            10 => {
                let mut op = read(&shards, &file, GuardBuf::with_capacity(BLOCK), at);
                let _ = poll_once(&mut op);
            }
            _ => {
                let time = Duration::from_micros(random.below(300));
                if write(&shards, &file, filled(byte), at).with_timeout(time).await.is_err() {
                    known[slot] = None;
                } else if known[slot].is_some() {
                    // Where an earlier write may still land, this one is not the last.
                    known[slot] = Some(byte);
                }
            }
        }
    }
}

fn filled(byte: u8) -> GuardBuf {
    GuardBuf::copy_of(&[byte; BLOCK])
}

fn storm(run: impl Fn(Shards, FileHandle, u64) + Clone + Send + 'static) {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(16 * 8 * BLOCK);
        let run = run.clone();
        let there = shards.clone();
        in_time_of(600, move || run(there, file, rounds() / 16));
        comes_to_rest(&shards);
        GuardBuf::check();
    });
}

fn in_time_of(seconds: u64, run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(run);
    let until = Instant::now() + Duration::from_secs(seconds);
    while !thread.is_finished() {
        assert!(Instant::now() < until, "the storm hangs");
        std::thread::sleep(Duration::from_millis(5));
    }
    thread.join().unwrap();
}

#[test]
fn under_tokio() {
    storm(|shards, file, rounds| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let tasks: Vec<_> =
                (0..16).map(|id| tokio::spawn(task(shards.clone(), file.clone(), id, rounds))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}

#[test]
fn under_smol() {
    storm(|shards, file, rounds| {
        smol::block_on(async {
            let tasks: Vec<_> = (0..16).map(|id| smol::spawn(task(shards.clone(), file.clone(), id, rounds))).collect();
            for task in tasks {
                task.await;
            }
        });
    });
}

#[test]
fn under_block_on() {
    storm(|shards, file, rounds| {
        let threads: Vec<_> = (0..4u64)
            .map(|t| {
                let (shards, file) = (shards.clone(), file.clone());
                std::thread::spawn(move || {
                    shards.block_on(async {
                        let local = smol::LocalExecutor::new();
                        let tasks: Vec<_> = (0..4)
                            .map(|id| local.spawn(task(shards.clone(), file.clone(), t * 4 + id, rounds)))
                            .collect();
                        local
                            .run(async {
                                for task in tasks {
                                    task.await;
                                }
                            })
                            .await;
                    });
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
