//! Looking at a log without owning it: reading, verifying, and saving what is good of a damaged one.

use crate::{
    Damage, Lsn, Reader, Wal, WalConfig, WalError,
    disk::Place,
    format::{RecordKind, Records},
    scan::Survey,
};
use io_fs::FileSystem;
use std::path::Path;

/// A log that is only read: without its lock, on a read-only file system, beside a writer.
#[derive(Clone)]
pub struct LogReader(Place);

/// What is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Good records.
    pub records: u64,
    /// The first record; the next one to come, if there is none.
    pub first_lsn: Lsn,
    /// The last record before the log ends or is damaged; `first_lsn - 1`, if there is none.
    pub last_lsn: Lsn,
    /// Bytes of what was being written when everything stopped.
    pub torn_tail_bytes: u64,
    /// The log was closed.
    pub clean_close: bool,
    /// Its segments.
    pub segments: u64,
    /// What is missing or bad though it was acknowledged as durable, by record.
    pub damage: Vec<Damage>,
}

/// What was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Records that were copied. They are numbered anew, from 1 on.
    pub records: u64,
    /// For each stretch of consecutive numbers in the damaged log: the first one, its number in the new log, and how many.
    pub stretches: Vec<(Lsn, Lsn, u64)>,
    /// What is missing.
    pub damage: Vec<Damage>,
}

impl LogReader {
    /// Opens the log in a directory for reading. Nothing is changed, and nothing is locked.
    ///
    /// # Errors
    /// Those of the file system, and [`WalError::UnknownVersion`].
    pub async fn open(fs: &FileSystem, dir: impl AsRef<Path>) -> Result<LogReader, WalError> {
        let place = Place::new(fs, dir);
        Survey::open(&place, false).await?;
        Ok(LogReader(place))
    }

    /// The records from `from` on (0: from the first one that is there). A torn tail is the end, damage is an error. Beside a writer
    /// they end somewhere behind what was durable when it began.
    pub fn records(&self, from: Lsn) -> Reader {
        Reader::of_files(self.0.clone(), from)
    }
}

/// Reads a whole log and says what is in it. Beside a writer the end may look torn.
///
/// # Errors
/// Those of the file system, and [`WalError::UnknownVersion`]. Damage is no error: it is the answer.
pub async fn verify(fs: &FileSystem, dir: impl AsRef<Path>) -> Result<Verified, WalError> {
    let mut survey = Survey::open(&Place::new(fs, dir), false).await?;
    let found = survey.finish().await?;
    Ok(Verified {
        records: found.records,
        first_lsn: found.first_lsn,
        last_lsn: found.next_lsn - 1,
        torn_tail_bytes: found.torn_tail_bytes,
        clean_close: found.clean_close,
        segments: (survey.segments.len() + survey.leftovers.len()) as u64,
        damage: found.damage,
    })
}

/// Copies all good records of a log to a new one, in order. The old one is not changed.
///
/// # Errors
/// Those of reading the old log, of [`Wal::open`] and of appending; [`WalError::Io`] with `AlreadyExists` if there is a log already. What was
/// copied by then is in the new log.
pub async fn salvage(
    fs: &FileSystem,
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    config: WalConfig,
) -> Result<Salvaged, WalError> {
    let target = Place::new(fs, to);
    if target.list().await.is_ok_and(|(segments, _)| !segments.is_empty()) {
        let exists = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "there is a log already");
        return Err(WalError::io("salvaging to", &*target.dir, exists));
    }
    let source = Place::new(fs, from);
    let wal = Wal::open(fs, &*target.dir, config).await?;
    let mut salvaged = Salvaged::default();
    let mut survey = Survey::open(&source, false).await?;
    for mut part in Survey::below(&source, survey.leftovers.clone()).await? {
        copy(&mut part, &wal, &mut salvaged).await?;
    }
    copy(&mut survey, &wal, &mut salvaged).await?;
    salvaged.damage = survey.finish().await?.damage;
    wal.close().await?;
    Ok(salvaged)
}

async fn copy(survey: &mut Survey, wal: &Wal, salvaged: &mut Salvaged) -> Result<(), WalError> {
    while let Some(event) = survey.next().await? {
        for record in Records::new(&event.bytes, &event.header).map_while(Result::ok) {
            if record.kind != RecordKind::Data {
                continue;
            }
            let lsn = wal.enqueue(event.bytes.slice(record.range)).await?;
            salvaged.records += 1;
            match salvaged.stretches.last_mut() {
                Some((first, _, count)) if *first + *count == record.lsn => *count += 1,
                _ => salvaged.stretches.push((record.lsn, lsn, 1)),
            }
        }
    }
    wal.flush().await.map(drop)
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogReader({})", self.0.dir.display())
    }
}
