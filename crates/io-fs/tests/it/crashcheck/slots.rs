//! `File::write_durable_at`, both ways that it can go: a slot that nobody writes holds what was last reported durable.

use super::{bytes, draw, explorer, on, text};
use futures_util::future::try_join_all;
use io_fs::{DurableRoute, File, FileSystem, IoConfig, OpenOptions};
use io_sim::{Acks, Fault, SimDisk, Which};
use std::{collections::BTreeMap, future::Future};

#[derive(Clone, Copy, Debug)]
enum Note {
    Begun { slot: u64 },
    Done { slot: u64, version: u64 },
}

const FILE: &str = "/slots";
const SLOT: u64 = 700;
const SLOTS: u64 = 12;
const TASKS: u64 = 3;

fn content(seed: u64, slot: u64, version: u64) -> Vec<u8> {
    bytes(&[seed, slot, version], SLOT as usize)
}

async fn put(file: &File, acks: &Acks<Note>, slot: u64, version: u64) -> Result<(), String> {
    acks.note(Note::Begun { slot });
    file.write_durable_at(content(acks.seed(), slot, version), slot * SLOT).await.0.map_err(text)?;
    acks.note(Note::Done { slot, version });
    Ok(())
}

async fn workload(fs: FileSystem, acks: Acks<Note>) -> Result<(), String> {
    let file = fs.open_with(FILE, OpenOptions::READ_WRITE).await.map_err(text)?;
    let tasks = (0..TASKS).map(|task| {
        let (file, acks) = (&file, &acks);
        async move {
            for n in 0..4 {
                let slot = draw(&[acks.seed(), task, n]) % (SLOTS / TASKS) * TASKS + task;
                put(file, acks, slot, n + 1).await?;
            }
            Ok::<_, String>(())
        }
    });
    try_join_all(tasks).await.map(drop)
}

/// Slots at rest hold the version that was reported last; then one of them gets another.
async fn check(fs: FileSystem, disk: &SimDisk, acks: &Acks<Note>) -> Result<(), String> {
    let mut at_rest = BTreeMap::new();
    for note in acks.given() {
        match *note {
            Note::Begun { slot } => drop(at_rest.remove(&slot)),
            Note::Done { slot, version } => drop(at_rest.insert(slot, version)),
        }
    }
    let there = disk.read_file(FILE).map_err(text)?;
    for (&slot, &version) in &at_rest {
        let at = (slot * SLOT) as usize;
        if there.get(at..at + SLOT as usize) != Some(&content(acks.seed(), slot, version)) {
            return Err(format!("version {version} of slot {slot} was reported durable and is lost"));
        }
    }
    let file = fs.open_with(FILE, OpenOptions::READ_WRITE).await.map_err(text)?;
    put(&file, acks, acks.given().len() as u64 % SLOTS, 100 + acks.given().len() as u64).await
}

fn set_up(disk: &SimDisk) -> Result<(), String> {
    disk.write_file(FILE, &[]).map_err(text)
}

/// A file system whose durable writes go the one way or the other, by the seed.
fn on_a_route<F>(disk: &SimDisk, seed: u64, run: impl FnOnce(FileSystem) -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
{
    let mut config = IoConfig::default();
    config.durable_route = Some([DurableRoute::Dsync, DurableRoute::WriteThenSync][(seed % 2) as usize]);
    let fs = FileSystem::with_driver_and_config(Box::new(disk.driver(64)), config).map_err(text)?;
    fs.block_on(run(fs.clone()))
}

#[test]
fn what_was_written_durably_is_there() {
    let workload = |disk: &SimDisk, acks: &Acks<Note>| {
        set_up(disk)?;
        on_a_route(disk, acks.seed(), |fs| workload(fs, acks.clone()))
    };
    explorer().test("slots", 2000, workload, |disk, acks| on(disk, |fs| check(fs, disk, acks)));
}

#[test]
fn lost_syncs_behind_durable_writes_are_found() {
    for seed in 0..2 {
        let workload = |disk: &SimDisk, acks: &Acks<Note>| {
            set_up(disk)?;
            disk.inject(Which::any().always(), Fault::LoseSync);
            on_a_route(disk, seed, |fs| workload(fs, acks.clone()))
        };
        let failure = explorer().explore(workload, |disk, acks| on(disk, |fs| check(fs, disk, acks))).unwrap_err();
        assert!(failure.repeats && failure.what.contains("is lost"), "{failure}");
    }
}
