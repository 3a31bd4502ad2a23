//! `File::append` by several tasks, and `sync_data`: what a sync covered is at the place that the append answered.

use super::{bytes, draw, explorer, on, on_a_liar, text};
use futures_util::future::try_join_all;
use io_fs::{File, FileSystem, OpenOptions};
use io_sim::{Acks, SimDisk, Which};

/// A record that was reported durable: where it is, and which.
#[derive(Clone, Copy, Debug)]
struct Durable {
    offset: u64,
    task: u64,
    n: u64,
}

const LOG: &str = "/log";
const TASKS: u64 = 3;

fn record(seed: u64, task: u64, n: u64) -> Vec<u8> {
    bytes(&[seed, task, n], 1 + (draw(&[seed, n, task]) % 1500) as usize)
}

async fn append(log: &File, acks: &Acks<Durable>, task: u64, n: u64) -> Result<(), String> {
    let offset = log.append(record(acks.seed(), task, n)).await.0.map_err(text)?;
    log.sync_data().await.map_err(text)?;
    acks.note(Durable { offset, task, n });
    Ok(())
}

async fn workload(fs: FileSystem, acks: Acks<Durable>) -> Result<(), String> {
    let log = fs.open_append(LOG).await.map_err(text)?;
    fs.sync_dir("/").await.map_err(text)?;
    let tasks = (0..TASKS).map(|task| {
        let (log, acks) = (&log, &acks);
        async move {
            for n in 0..1 + draw(&[acks.seed(), task]) % 4 {
                append(log, acks, task, n).await?;
            }
            Ok::<_, String>(())
        }
    });
    try_join_all(tasks).await.map(drop)
}

/// Every durable record is at its place; then one more is appended behind.
async fn check(fs: FileSystem, disk: &SimDisk, acks: &Acks<Durable>) -> Result<(), String> {
    let there = disk.read_file(LOG).unwrap_or_default();
    for &Durable { offset, task, n } in acks.given() {
        let record = record(acks.seed(), task, n);
        if there.get(offset as usize..offset as usize + record.len()) != Some(&record) {
            return Err(format!("record {n} of task {task} at {offset} is lost; there are {} bytes", there.len()));
        }
    }
    let log = fs.open_with(LOG, OpenOptions::CREATE).await.map_err(text)?;
    fs.sync_dir("/").await.map_err(text)?;
    append(&log, acks, TASKS, acks.given().len() as u64).await
}

#[test]
fn what_was_appended_and_synced_is_there() {
    let workload = |disk: &SimDisk, acks: &Acks<Durable>| on(disk, |fs| workload(fs, acks.clone()));
    explorer().test("append", 2000, workload, |disk, acks| on(disk, |fs| check(fs, disk, acks)));
}

#[test]
fn lost_syncs_behind_appends_are_found() {
    let workload =
        |disk: &SimDisk, acks: &Acks<Durable>| on_a_liar(disk, Which::syncs(), |fs| workload(fs, acks.clone()));
    let failure = explorer().explore(workload, |disk, acks| on(disk, |fs| check(fs, disk, acks))).unwrap_err();
    assert!(failure.repeats && failure.what.contains("is lost"), "{failure}");
}
