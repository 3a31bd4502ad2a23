//! Power cuts at every moment: what was acknowledged is there, in order, and the log goes on.

use crate::kit::*;
use bytes::Bytes;
use futures_util::future::join_all;
use io_log::{
    Lsn, Sync, Wal, WalConfig, WalError,
    planted::{Bug, plant},
};
use io_sim::{Acks, CrashFailure, Explored, Explorer, SimDisk};
use std::cell::Cell;

/// What was acknowledged.
#[derive(Clone, Copy, Debug)]
enum Ack {
    /// All records up to this one are durable.
    Durable(Lsn),
    /// The log begins here or later; asked for, not yet acknowledged.
    Start(Lsn),
    /// This record has this number.
    Is(Lsn, u64),
    /// The log was closed.
    Closed,
    /// A check has opened it once more.
    Reopened,
}

/// A record that says by itself what is in it.
fn told(id: u64) -> Bytes {
    let mut data = record_of(id, (id * 37 % 600) as usize).to_vec();
    data.extend(id.to_le_bytes());
    data.into()
}

fn id_of(data: &Bytes) -> Option<u64> {
    let id = u64::from_le_bytes(*data.last_chunk()?);
    (*data == told(id)).then_some(id)
}

#[derive(Clone)]
struct Plan {
    config: WalConfig,
    appenders: u64,
    each: u64,
    truncates: bool,
    closes: bool,
    bug: Option<Bug>,
}

impl Plan {
    fn new(config: WalConfig) -> Plan {
        Plan { config, appenders: 3, each: 10, truncates: true, closes: true, bug: None }
    }
}

fn tiny() -> WalConfig {
    with(|config| (config.segment_size, config.buffer_bytes, config.group_bytes) = (8 << 10, 4 << 10, 2 << 10))
}

/// Appenders beside one another; each of them flushes now and then if nothing else is durable.
fn workload(disk: &SimDisk, acks: &Acks<Ack>, plan: &Plan) -> Result<(), String> {
    plant(plan.bug);
    let fs = over(disk);
    let done = fs.block_on(async {
        let mut config = plan.config.clone();
        config.salt_seed = Some(acks.seed());
        let wal = Wal::open(&fs, DIR, config).await?;
        let appended = Cell::new(0);
        let appender = async |n: u64| {
            for turn in 0..plan.each {
                let id = n * 1000 + turn;
                let lsn = wal.enqueue(told(id)).await?;
                acks.note(Ack::Is(lsn, id));
                if plan.config.sync == Sync::None && (turn + n) % 3 != 0 {
                    continue;
                }
                let durable = wal.flush().await?;
                assert!(durable >= lsn);
                acks.note(Ack::Durable(durable));
                appended.set(appended.get() + 1);
                if plan.truncates && n == 0 && turn % 5 == 4 {
                    let start = durable.saturating_sub(4);
                    acks.note(Ack::Start(start));
                    wal.truncate_before(start).await?;
                }
            }
            Ok::<(), WalError>(())
        };
        join_all((0..plan.appenders).map(appender)).await.into_iter().collect::<Result<(), _>>()?;
        if plan.closes {
            wal.close().await?;
            acks.note(Ack::Closed);
        }
        Ok::<(), WalError>(())
    });
    done.map_err(|error| error.to_string())
}

/// Opens what is left: a beginning with everything that was acknowledged, and it goes on from there.
fn check(disk: &SimDisk, acks: &Acks<Ack>, plan: &Plan) -> Result<(), String> {
    plant(plan.bug);
    let (mut durable, mut start, mut closed, mut reopened) = (0, 1, false, false);
    for ack in acks.given() {
        match ack {
            Ack::Durable(lsn) => durable = durable.max(*lsn),
            Ack::Start(lsn) => start = start.max(*lsn),
            Ack::Closed => closed = true,
            Ack::Reopened => reopened = true,
            Ack::Is(..) => {}
        }
    }
    acks.note(Ack::Reopened);
    let fs = over(disk);
    fs.block_on(async {
        let config = plan.config.clone();
        let wal = Wal::open(&fs, DIR, config).await.map_err(|error| error.to_string())?;
        let found = *wal.recovery();
        if found.last_lsn < durable {
            return Err(format!("record {durable} was acknowledged, and the log ends with {}", found.last_lsn));
        }
        if found.first_lsn > start {
            return Err(format!("the log was to begin at {start} at most, and begins at {}", found.first_lsn));
        }
        if closed && !reopened && (!found.clean_close || found.torn_tail_bytes > 0) {
            return Err(format!("it was closed, and there is {found:?}"));
        }
        let all = read_all(&wal).await.map_err(|error| error.to_string())?;
        if all.len() as u64 != found.records {
            return Err(format!("{} records of {}", all.len(), found.records));
        }
        for (n, there) in all.iter().enumerate() {
            let lsn = found.first_lsn + n as u64;
            let id = id_of(&there.data);
            let other = |ack: &Ack| matches!(ack, Ack::Is(same, id_then) if *same == lsn && id != Some(*id_then));
            // After a cut the number of a record that was lost goes to another one.
            let reused = acks
                .given()
                .iter()
                .any(|ack| matches!(ack, Ack::Is(same, id_then) if *same == lsn && id == Some(*id_then)));
            if there.lsn != lsn || id.is_none() || (!reused && acks.given().iter().any(other)) {
                return Err(format!("record {lsn} is not what was appended: {id:?}"));
            }
        }
        for _ in 0..3 {
            let id = 1_000_000 + wal.next_lsn();
            acks.note(Ack::Is(wal.next_lsn(), id));
            let lsn = wal.append(told(id)).await.map_err(|error| error.to_string())?;
            wal.flush().await.map_err(|error| error.to_string())?;
            acks.note(Ack::Durable(lsn));
        }
        Ok(())
    })
}

fn explore(explorer: &Explorer, plan: &Plan) -> Result<Explored, CrashFailure> {
    // Looking for the simplest failure takes a while: the first one is said at once.
    let said = std::sync::Once::new();
    let check = |disk: &SimDisk, acks: &Acks<Ack>| {
        let checked = check(disk, acks, plan);
        if let Err(error) = &checked {
            said.call_once(|| eprintln!("first failure: {error}"));
        }
        checked
    };
    explorer.explore(|disk, acks| workload(disk, acks, plan), check)
}

#[track_caller]
fn survives(explorer: &Explorer, plan: &Plan) {
    match explore(explorer, plan) {
        Ok(explored) => {
            println!("{explored}");
            assert!(explored.states > 200, "{explored}");
        }
        Err(failure) => panic!("{failure}\nIN SHORT: {}", failure.what),
    }
}

#[test]
fn group_commit_survives_every_cut() {
    survives(&Explorer::new(1).cuts(4), &Plan::new(tiny()));
}

#[test]
fn a_write_for_each_record_survives_every_cut() {
    let mut config = tiny();
    (config.sync, config.depth) = (Sync::Each, 4);
    survives(&Explorer::new(2).cuts(3), &Plan::new(config));
}

#[test]
fn a_log_without_syncs_survives_with_what_was_flushed() {
    let mut config = tiny();
    config.sync = Sync::None;
    survives(&Explorer::new(3).cuts(4), &Plan::new(config));
}

#[test]
fn a_direct_log_survives_every_cut() {
    let mut config = tiny();
    (config.direct, config.block_size, config.segment_size) = (true, 4096, 64 << 10);
    survives(&Explorer::new(4).cuts(3), &Plan { appenders: 4, each: 8, ..Plan::new(config) });
}

#[test]
fn a_hostile_disk_changes_nothing() {
    let disk = io_sim::SimOptions::hostile(0);
    survives(&Explorer::new(5).disk(disk).cuts(3), &Plan { closes: false, ..Plan::new(tiny()) });
}

#[track_caller]
fn caught(bug: Bug, words: &[&str]) {
    // Long enough that segments are used again.
    let plan = Plan { bug: Some(bug), appenders: 2, each: 30, ..Plan::new(tiny()) };
    // One failure is enough; the simplest one would take thousands of states.
    let found = std::sync::OnceLock::new();
    let check = |disk: &SimDisk, acks: &Acks<Ack>| match found.get() {
        Some(_) => Ok(()),
        None => check(disk, acks, &plan).inspect_err(|error| drop(found.set(error.clone()))),
    };
    let explorer = Explorer::new(6).runs(2).cuts(4).recovery_cuts(0);
    let explored = explorer.explore(|disk, acks| workload(disk, acks, &plan), check);
    assert!(explored.is_err(), "the mistake is not found");
    let what = found.get().unwrap();
    assert!(words.iter().any(|words| what.contains(words)), "{what}");
}

#[test]
fn a_directory_that_is_not_synced_is_caught() {
    caught(Bug::NoDirectorySync, &["was acknowledged", "missing"]);
}

#[test]
fn an_early_acknowledgement_is_caught() {
    caught(Bug::AckBeforeSync, &["was acknowledged", "missing"]);
}

#[test]
fn segments_of_one_salt_are_caught() {
    caught(Bug::NoSalt, &["it was closed, and there is", "not what was appended"]);
}

/// A killed process leaves in the system's memory what is not durable. It was found by the next one, and then it has to be.
#[test]
fn what_a_killed_process_left_is_durable_once_it_was_found() {
    for seed in 0..2 {
        let disk = SimDisk::new(io_sim::SimOptions::seeded(seed));
        let fs = over(&disk);
        disk.record_crash_points(100_000);
        fs.block_on(async {
            let wal = Wal::open(&fs, DIR, tiny()).await.unwrap();
            for lsn in 1..=30 {
                wal.append(record(lsn)).await.unwrap();
            }
        });
        for (n, point) in disk.take_crash_points().into_iter().enumerate().step_by(19) {
            let killed = point.after_kill(n as u64);
            let fs = over(&killed);
            let last = fs.block_on(async {
                let wal = Wal::open(&fs, DIR, tiny()).await.unwrap();
                wal.recovery().last_lsn
            });
            let cut = killed.fork_after_power_cut(seed);
            let fs = over(&cut);
            let wal = fs.block_on(Wal::open(&fs, DIR, tiny())).unwrap();
            assert_eq!(wal.recovery().last_lsn, last);
            assert_consecutive(&fs.block_on(read_all(&wal)).unwrap(), 1);
        }
    }
}
