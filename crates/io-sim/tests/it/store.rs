//! A store in small, on operations of io-core alone: an append-only log and a snapshot that is replaced. Right, or with one of the
//! mistakes that such stores are known for.

use io_core::{FileHandle, Op, OpenOptions, Output, RenameMode};
use io_sim::{Acks, SimDisk};
use io_testkit::{Bench, pattern};

/// A mistake in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    /// The log's name is never made durable.
    NoDirSync,
    /// A record is acknowledged when it is written.
    AckBeforeSync,
    /// The new snapshot gets its name before its content is durable.
    RenameBeforeData,
    /// Recovery leaves a torn tail in place, and the next record goes behind it.
    AppendAfterTornTail,
}

/// What the store acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    Record(u64),
    Snapshot(u8),
}

const LOG: &str = "/store/log";
const SNAPSHOT: &str = "/store/snapshot";
const TEMPORARY: &str = "/store/snapshot.new";
const RECORD: usize = 200;
const SNAPSHOT_LEN: usize = 6000;

pub(crate) struct Store {
    bench: Bench,
    log: FileHandle,
    /// Records, and bytes, that the log holds.
    records: u64,
    end: u64,
    snapshot: u8,
    bug: Bug,
}

impl Store {
    /// Opens the store, or makes it; cuts a torn tail off.
    pub(crate) fn open(disk: &SimDisk, bug: Bug) -> Result<Store, String> {
        let mut bench = Bench::new(Box::new(disk.driver(4)));
        let (result, mut op) = bench.run(Op::open(LOG, OpenOptions::CREATE).unwrap());
        let Output::File(log) = op.take_output() else { return Err(format!("opening answers {result}")) };
        if bug != Bug::NoDirSync {
            run(&mut bench, Op::sync_dir("/store").unwrap())?;
        }
        let bytes = disk.read_file(LOG).map_err(|error| error.to_string())?;
        let sound = |&(n, bytes): &(usize, &[u8])| bytes == record(n as u64);
        let records = bytes.chunks(RECORD).enumerate().take_while(sound).count() as u64;
        let mut end = records * RECORD as u64;
        if end < bytes.len() as u64 {
            if bug == Bug::AppendAfterTornTail {
                end = bytes.len() as u64;
            } else {
                run(&mut bench, Op::truncate(&log, end))?;
                run(&mut bench, Op::sync_data(&log))?;
            }
        }
        let snapshot = match disk.read_file(SNAPSHOT) {
            Ok(bytes) if bytes.len() == SNAPSHOT_LEN && bytes == snapshot(bytes[0]) => bytes[0],
            Ok(bytes) => return Err(format!("the snapshot of {} bytes is damaged", bytes.len())),
            Err(_) => 0,
        };
        Ok(Store { bench, log, records, end, snapshot, bug })
    }

    /// Appends a record, durable when it is noted.
    pub(crate) fn append(&mut self, acks: &Acks<Ack>) -> Result<(), String> {
        run(&mut self.bench, Op::write(&self.log, record(self.records), self.end))?;
        if self.bug != Bug::AckBeforeSync {
            run(&mut self.bench, Op::sync_data(&self.log))?;
        }
        acks.note(Ack::Record(self.records));
        if self.bug == Bug::AckBeforeSync {
            run(&mut self.bench, Op::sync_data(&self.log))?;
        }
        (self.records, self.end) = (self.records + 1, self.end + RECORD as u64);
        Ok(())
    }

    /// Replaces the snapshot by the next one.
    pub(crate) fn replace(&mut self, acks: &Acks<Ack>) -> Result<(), String> {
        let options = OpenOptions { truncate: true, ..OpenOptions::CREATE };
        let (result, mut op) = self.bench.run(Op::open(TEMPORARY, options).unwrap());
        let Output::File(file) = op.take_output() else { return Err(format!("opening answers {result}")) };
        run(&mut self.bench, Op::write(&file, snapshot(self.snapshot + 1), 0))?;
        if self.bug != Bug::RenameBeforeData {
            run(&mut self.bench, Op::sync_data(&file))?;
        }
        run(&mut self.bench, Op::rename(TEMPORARY, SNAPSHOT, RenameMode::Replace).unwrap())?;
        run(&mut self.bench, Op::sync_dir("/store").unwrap())?;
        if self.bug == Bug::RenameBeforeData {
            run(&mut self.bench, Op::sync_data(&file))?;
        }
        self.snapshot += 1;
        acks.note(Ack::Snapshot(self.snapshot));
        Ok(())
    }

    /// What was acknowledged and is not there.
    pub(crate) fn missing(&self, given: &[Ack]) -> Option<Ack> {
        let there = |ack: &Ack| match *ack {
            Ack::Record(n) => n < self.records,
            Ack::Snapshot(n) => n <= self.snapshot,
        };
        given.iter().copied().find(|ack| !there(ack))
    }
}

/// Some records and snapshots; how many depends on the seed.
pub(crate) fn workload(disk: &SimDisk, acks: &Acks<Ack>, bug: Bug) -> Result<(), String> {
    disk.create_dir_all("/store").map_err(|error| error.to_string())?;
    let mut store = Store::open(disk, bug)?;
    for n in 0..6 {
        store.append(acks)?;
        if (acks.seed() >> n) & 1 == 1 {
            store.replace(acks)?;
        }
    }
    Ok(())
}

/// All that was acknowledged is there, and the store goes on.
pub(crate) fn check(disk: &SimDisk, acks: &Acks<Ack>, bug: Bug) -> Result<(), String> {
    let mut store = Store::open(disk, bug)?;
    match store.missing(acks.given()) {
        Some(ack) => Err(format!("{ack:?} was acknowledged and is lost")),
        None => store.append(acks),
    }
}

fn run(bench: &mut Bench, op: Op) -> Result<(), String> {
    let what = format!("{:?}", op.kind());
    let result = if op.kind().is_transfer() { bench.run_whole(op).0 } else { bench.run(op).0.into() };
    if result < 0 { Err(format!("{what} answers {result}")) } else { Ok(()) }
}

fn record(n: u64) -> Vec<u8> {
    let mut bytes = pattern(n, RECORD);
    bytes[..8].copy_from_slice(&(n + 1).to_le_bytes());
    bytes
}

fn snapshot(n: u8) -> Vec<u8> {
    let mut bytes = pattern(n.into(), SNAPSHOT_LEN);
    bytes[0] = n;
    bytes
}
