//! Power cuts at every moment of random and scripted lives of a log: the tests called `crashcheck`, of which `cargo xtask crashcheck`
//! asks for more.
//!
//! Records say who appended them and as which of his, so that a recovered log can be compared with what was asked for, whatever order
//! concurrent appenders got.

mod random;
mod script;

use crate::kit::DIR;
use bytes::Bytes;
use io_fs::{FileSystem, IoConfig};
use io_log::{Lsn, Record, Sync, Wal, WalConfig, WalError, planted::Bug, planted::plant, verify};
use io_sim::{Acks, SimDisk};
use std::{collections::BTreeMap, fmt::Display, future::Future};

/// What checks are told.
#[derive(Clone, Copy, Debug)]
enum Note {
    /// An appender is about to append his next record.
    Begun { who: u64, turn: u64 },
    /// It is durable, under this number.
    Durable { lsn: Lsn, who: u64, turn: u64 },
    /// All records up to this one are durable.
    DurableTo(Lsn),
    /// The log was asked to begin here.
    Start(Lsn),
    /// It was closed.
    Closed,
}

/// Runs on a file system over the disk, with a mistake planted or none.
fn on<F>(disk: &SimDisk, bug: Option<Bug>, run: impl FnOnce(FileSystem) -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
{
    plant(bug);
    let mut config = IoConfig::default();
    config.buffer_pool_size = 1;
    let fs = FileSystem::with_driver_and_config(Box::new(disk.driver(64)), config).map_err(text)?;
    // The log takes from the heap what the pool does not have. The first use of a pool costs huge pages full of zeros, which is nothing
    // for a program and most of the time for one that lives for a millisecond.
    let pool = fs.buffer_pool();
    let _held = [4 << 10, 64 << 10, 1 << 20].map(|len| pool.try_acquire(len));
    fs.block_on(run(fs.clone()))
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A number drawn from others.
fn draw(words: &[u64]) -> u64 {
    words.iter().fold(0, |state, word| {
        let z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Most are short, a few longer than a block.
fn record(seed: u64, who: u64, turn: u64) -> Bytes {
    let drawn = draw(&[seed, who, turn]);
    let len = if drawn % 8 == 0 { drawn >> 8 & 0x7ff } else { drawn >> 8 & 0xff };
    let mut bytes = [who.to_le_bytes(), turn.to_le_bytes()].concat();
    bytes.extend((0..len).map(|at| (drawn >> (at % 57)) as u8 ^ at as u8));
    bytes.into()
}

/// One who appends, and notes what he does.
struct Appender<'a> {
    wal: &'a Wal,
    acks: &'a Acks<Note>,
    who: u64,
    turn: u64,
    /// What he has queued and nobody has said to be durable.
    queued: Vec<(Lsn, u64)>,
}

impl<'a> Appender<'a> {
    fn new(wal: &'a Wal, acks: &'a Acks<Note>, who: u64) -> Appender<'a> {
        Appender { wal, acks, who, turn: 0, queued: Vec::new() }
    }

    fn next(&mut self) -> (u64, Bytes) {
        let (who, turn) = (self.who, self.turn);
        self.acks.note(Note::Begun { who, turn });
        self.turn += 1;
        (turn, record(self.acks.seed(), who, turn))
    }

    async fn append(&mut self) -> Result<(), WalError> {
        let (turn, record) = self.next();
        let lsn = self.wal.append(record).await?;
        self.queued.push((lsn, turn));
        self.acknowledged(lsn);
        Ok(())
    }

    async fn append_many(&mut self, count: u64) -> Result<(), WalError> {
        let (turns, records): (Vec<_>, Vec<_>) = (0..count).map(|_| self.next()).unzip();
        let lsns = self.wal.append_many(records).await?;
        let last = lsns.end - 1;
        self.queued.extend(lsns.zip(turns));
        self.acknowledged(last);
        Ok(())
    }

    async fn enqueue(&mut self) -> Result<(), WalError> {
        let (turn, record) = self.next();
        let lsn = self.wal.enqueue(record).await?;
        self.queued.push((lsn, turn));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), WalError> {
        let durable = self.wal.flush().await?;
        self.acks.note(Note::DurableTo(durable));
        self.settle(durable);
        Ok(())
    }

    /// All up to this record is acknowledged, which says less where nothing is synced.
    fn acknowledged(&mut self, lsn: Lsn) {
        let durable = if self.wal.config().sync == Sync::None { self.wal.durable_lsn() } else { lsn };
        self.settle(durable);
    }

    /// All up to this record is durable.
    fn settle(&mut self, durable: Lsn) {
        let who = self.who;
        let (settled, queued) = self.queued.drain(..).partition(|(lsn, _)| *lsn <= durable);
        self.queued = queued;
        settled.into_iter().for_each(|(lsn, turn): (Lsn, u64)| self.acks.note(Note::Durable { lsn, who, turn }));
    }
}

async fn truncate(wal: &Wal, acks: &Acks<Note>, keep: u64) -> Result<(), WalError> {
    let start = (wal.durable_lsn() + 1).saturating_sub(keep).max(1);
    acks.note(Note::Start(start));
    wal.truncate_before(start).await
}

/// Everything about a log that was cut: no damage, all that was acknowledged, nothing that was not asked for, in order; and it goes on.
async fn check(fs: &FileSystem, acks: &Acks<Note>, config: WalConfig) -> Result<(), String> {
    let asked = Asked::new(acks.given());
    match verify(fs, DIR).await {
        Ok(verified) if !verified.damage.is_empty() => {
            return Err(format!("a cut is no damage: {:?}", verified.damage));
        }
        Ok(verified) if verified.last_lsn < asked.durable => {
            return Err(format!("record {} is lost, says verify: {verified:?}", asked.durable));
        }
        Err(error) if asked.durable > 0 => return Err(format!("it cannot be verified: {error}")),
        Ok(_) | Err(_) => {}
    }
    let wal = Wal::open(fs, DIR, config.clone()).await.map_err(|error| format!("it does not open: {error}"))?;
    let found = *wal.recovery();
    asked.compare(&wal, acks.seed()).await?;
    if asked.closed && (!found.clean_close || found.torn_tail_bytes > 0) {
        return Err(format!("it was closed, and there is {found:?}"));
    }
    let mut more = Appender::new(&wal, acks, 1_000_000 + acks.given().len() as u64);
    let going_on = async {
        more.append().await?;
        more.append_many(3).await?;
        more.enqueue().await?;
        more.flush().await?;
        if draw(&[acks.seed(), found.last_lsn]) % 3 == 0 {
            truncate(&wal, acks, 6).await?;
        }
        Ok::<_, WalError>(())
    };
    going_on.await.map_err(|error| format!("it does not go on: {error}"))?;
    let next = wal.next_lsn();
    if next != found.last_lsn + 6 {
        return Err(format!("after {} came five records, and the next one is {next}", found.last_lsn));
    }
    let mut reader = wal.reader(next - 1);
    match reader.next().await {
        Some(Ok(last)) if last.data == record(acks.seed(), more.who, 4) => Ok(()),
        other => Err(format!("the last record is {other:?}")),
    }
}

/// What notes add up to.
#[derive(Debug, Default)]
struct Asked {
    begun: BTreeMap<u64, u64>,
    placed: BTreeMap<Lsn, (u64, u64)>,
    durable: Lsn,
    start: Lsn,
    closed: bool,
}

impl Asked {
    fn new(notes: &[Note]) -> Asked {
        let mut asked = Asked { start: 1, ..Asked::default() };
        for note in notes {
            asked.closed = false;
            match *note {
                Note::Begun { who, turn } => drop(asked.begun.insert(who, turn + 1)),
                Note::Durable { lsn, who, turn } => {
                    asked.placed.insert(lsn, (who, turn));
                    asked.durable = asked.durable.max(lsn);
                }
                Note::DurableTo(lsn) => asked.durable = asked.durable.max(lsn),
                Note::Start(lsn) => asked.start = asked.start.max(lsn),
                Note::Closed => asked.closed = true,
            }
        }
        asked
    }

    async fn compare(&self, wal: &Wal, seed: u64) -> Result<(), String> {
        let found = *wal.recovery();
        if found.last_lsn < self.durable {
            return Err(format!("record {} was acknowledged, the log ends with {}", self.durable, found.last_lsn));
        }
        if found.first_lsn > self.start {
            return Err(format!("it was to begin at {}, and begins at {}", self.start, found.first_lsn));
        }
        let mut turns = BTreeMap::new();
        let mut expected = found.first_lsn;
        let mut reader = wal.reader(found.first_lsn);
        while let Some(record) = reader.next().await {
            let record = record.map_err(|error| format!("record {expected} cannot be read: {error}"))?;
            if record.lsn != expected {
                return Err(format!("record {} comes where {expected} should", record.lsn));
            }
            self.belongs(&record, seed, found.first_lsn == 1, &mut turns)?;
            expected += 1;
        }
        if expected != found.last_lsn + 1 || found.records != expected - found.first_lsn {
            return Err(format!("the records end with {}, after {found:?}", expected - 1));
        }
        Ok(())
    }

    /// It is a record that somebody began, the next one of his, and the one that was acknowledged under its number.
    fn belongs(&self, record: &Record, seed: u64, whole: bool, turns: &mut BTreeMap<u64, u64>) -> Result<(), String> {
        let word = |at| record.data.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight")));
        let lsn = record.lsn;
        let (Some(who), Some(turn)) = (word(0), word(8)) else { return Err(format!("record {lsn} is none of ours")) };
        if record.data != self::record(seed, who, turn) || self.begun.get(&who).is_none_or(|begun| turn >= *begun) {
            return Err(format!("record {lsn} was not appended: it says {who}, {turn}"));
        }
        let due = match turns.get(&who) {
            Some(last) => last + 1,
            None if whole => 0,
            None => turn,
        };
        if turn != due {
            return Err(format!("record {lsn} is number {turn} of {who}, and {due} is missing"));
        }
        turns.insert(who, turn);
        match self.placed.get(&lsn) {
            Some(&placed) if placed != (who, turn) => Err(format!("record {lsn} is {who}, {turn} and was {placed:?}")),
            _ => Ok(()),
        }
    }
}
