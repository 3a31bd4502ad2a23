//! Reading what a log has finished writing: its sealed segments.
//!
//! A segment is sealed when the next one has records, written when all before them were durable: nothing in it changes any more. (Where
//! a log does not wait for its writes one after the other, it takes the beginning of one more segment to know that.) A [`SegmentStore`] reads them by record number, with
//! a sparse index for each segment, and hands out windows into the buffers that were read into. It never writes to segments and takes no
//! lock, so it may stand beside the [`Wal`](crate::Wal) that writes to the same directory, in this process or in another one. What is not
//! sealed yet is that log's to read.

mod batch;
mod config;
mod error;
mod index;
mod opened;
mod retention;
mod scan;
mod segments;

pub use config::StoreConfig;
pub use retention::Retention;
pub use scan::Scan;

use crate::{Lsn, Record, WalError};
use io_fs::{BufferPool, FileSystem, PoolOptions, PoolStats, SizeClass};
use opened::Opened;
use segments::Sealed;
use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// The sealed segments of a log, for reading. Clones are the same store.
///
/// Each record that is handed out was checked: its checksum, its number, and that it follows the one before. Records share the buffer of
/// the transfer that brought them, up to [`StoreConfig::transfer_max`] bytes, which is free again when the last of them is dropped; who
/// keeps single records for long copies them.
#[derive(Clone)]
pub struct SegmentStore(Arc<Inner>);

struct Inner {
    fs: FileSystem,
    dir: PathBuf,
    config: StoreConfig,
    pool: BufferPool,
    listed: Mutex<Sealing>,
    /// The one that was used last stands last.
    opened: Mutex<Vec<Arc<Opened>>>,
}

/// The sealed segments, and where they end: one may be sealed and given up.
#[derive(Clone)]
struct Sealing {
    segments: Arc<[Sealed]>,
    next: Lsn,
    /// The log has given up what is before this record.
    given_up: Lsn,
}

/// What is known of a sealed segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its number.
    pub number: u64,
    /// Its records.
    pub lsns: Range<Lsn>,
    /// Bytes of its file.
    pub bytes: u64,
    /// When it was last written to, where the file system knows.
    pub modified: Option<SystemTime>,
}

impl SegmentStore {
    /// Looks which segments there are in the directory of a log and how each begins; none is read further before it is needed.
    ///
    /// # Errors
    /// [`WalError::Damaged`] if a segment is missing or does not begin as one does, [`WalError::UnknownVersion`], and what the system
    /// says. A directory without sealed segments is no error.
    pub async fn open(fs: &FileSystem, dir: impl AsRef<Path>, config: StoreConfig) -> Result<SegmentStore, WalError> {
        config.validate()?;
        let inner = Inner {
            fs: fs.clone(),
            dir: dir.as_ref().to_owned(),
            pool: pool(fs, &config),
            config,
            listed: Mutex::new(Sealing { segments: Arc::new([]), next: 1, given_up: 1 }),
            opened: Mutex::default(),
        };
        let store = SegmentStore(Arc::new(inner));
        store.refresh().await?;
        Ok(store)
    }

    /// Looks again: what was sealed since is there now, what was removed is gone. Index files without a segment are removed.
    ///
    /// # Errors
    /// As [`SegmentStore::open`]; the store is as it was.
    pub async fn refresh(&self) -> Result<(), WalError> {
        let inner = &*self.0;
        let known = self.listed().segments;
        let now = segments::list(&inner.fs, &inner.dir, inner.config.direct, &known).await?;
        let begin = now.sealed.first().map_or(0, |first| first.header.number);
        {
            let mut listed = inner.listed.lock().unwrap_or_else(PoisonError::into_inner);
            (listed.segments, listed.next) = (now.sealed.into(), now.next.max(listed.next));
        }
        self.forget_before(now.log_start);
        if inner.config.index_files {
            self.remove_indexes(begin).await;
        }
        Ok(())
    }

    /// Leaves out the segments whose records are all before this one, now and after each [`SegmentStore::refresh`]. What a log has given
    /// up it may keep for a while, to use the files again; who has the log at hand says so by its
    /// [`first_lsn`](crate::Wal::first_lsn), a store alone learns it when the next segment is begun.
    pub fn forget_before(&self, lsn: Lsn) {
        let mut listed = self.0.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.given_up = listed.given_up.max(lsn);
        let begin = listed.segments.partition_point(|sealed| sealed.next <= listed.given_up);
        if begin > 0 {
            listed.segments = listed.segments[begin..].into();
        }
        let first = listed.segments.first().map_or(u64::MAX, |first| first.header.number);
        drop(listed);
        self.lock_opened().retain(|opened| opened.sealed.header.number >= first);
    }

    /// The first record; equal to [`SegmentStore::next_lsn`] where there is none.
    pub fn first_lsn(&self) -> Lsn {
        let listed = self.listed();
        listed.segments.first().map_or(listed.next, |first| first.first)
    }

    /// The record that would follow the last sealed one.
    pub fn next_lsn(&self) -> Lsn {
        self.listed().next
    }

    /// The segments, in order.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let info = |sealed: &Sealed| SegmentInfo {
            number: sealed.header.number,
            lsns: sealed.first..sealed.next,
            bytes: sealed.header.segment_size,
            modified: sealed.modified,
        };
        self.sealed().iter().map(info).collect()
    }

    /// Reads these records; those that are not sealed yet are left out. It takes as much memory as they do: for a long range see
    /// [`SegmentStore::scan`].
    ///
    /// # Errors
    /// [`WalError::Truncated`] if the range begins before the first record. [`WalError::Damaged`] if one of them is not as it was written;
    /// [`SegmentStore::scan`] gives what stands in front of it.
    pub async fn read(&self, lsns: Range<Lsn>) -> Result<Vec<Record>, WalError> {
        let answers = self.read_ranges(&[lsns]).await;
        answers.into_iter().next().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Reads records from this one on, up to so many bytes of data, one record at least: what a consumer asks for that knows where it is.
    /// Nothing, where there is nothing sealed yet.
    ///
    /// # Errors
    /// As [`SegmentStore::read`]; but what stands in front of damage is given first.
    pub async fn fetch(&self, from: Lsn, bytes_max: usize) -> Result<Vec<Record>, WalError> {
        let transfer_max = bytes_max.min(self.0.config.transfer_max) as u64;
        let mut scan = self.scan_with(from..Lsn::MAX, 0, transfer_max);
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some(record) = scan.next().await {
            match record {
                Err(error) if records.is_empty() => return Err(error),
                Err(_) => break,
                Ok(record) => {
                    bytes += record.data.len();
                    if bytes > bytes_max && !records.is_empty() {
                        break;
                    }
                    records.push(record);
                }
            }
        }
        Ok(records)
    }

    /// Reads the segments from end to end and checks everything, with as much in memory as a scan has.
    ///
    /// # Errors
    /// The first one that comes up.
    pub async fn verify(&self) -> Result<u64, WalError> {
        let (mut scan, mut records) = (self.scan(0..Lsn::MAX), 0);
        while let Some(record) = scan.next().await {
            record?;
            records += 1;
        }
        Ok(records)
    }

    /// The buffers that are read into.
    pub fn buffers(&self) -> PoolStats {
        self.0.pool.stats()
    }

    /// The settings.
    pub fn config(&self) -> &StoreConfig {
        &self.0.config
    }

    fn listed(&self) -> Sealing {
        self.0.listed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sealed(&self) -> Arc<[Sealed]> {
        self.listed().segments
    }

    fn lock_opened(&self) -> MutexGuard<'_, Vec<Arc<Opened>>> {
        self.0.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A segment at hand: one of those that are open, or opened now in place of the one that was not used for longest.
    async fn opened(&self, sealed: &Sealed) -> Result<Arc<Opened>, WalError> {
        let number = sealed.header.number;
        {
            let mut opened = self.lock_opened();
            if let Some(at) = opened.iter().rposition(|opened| opened.sealed.header.number == number) {
                let found = opened.remove(at);
                opened.push(found.clone());
                return Ok(found);
            }
        }
        let inner = &*self.0;
        let new = Opened::open(&inner.fs, &inner.pool, &inner.config, sealed.clone()).await?;
        let new = Arc::new(new);
        // Closed when the lock is released, should it have been the last one who had it.
        let mut oldest = None;
        let mut opened = self.lock_opened();
        if opened.len() >= inner.config.open_max {
            oldest = Some(opened.remove(0));
        }
        opened.push(new.clone());
        drop(opened);
        drop(oldest);
        Ok(new)
    }

    /// Removes index files of segments that were removed. They are in nobody's way, so what goes wrong is no error.
    async fn remove_indexes(&self, begin: u64) {
        let inner = &*self.0;
        let Ok(entries) = inner.fs.read_dir(&inner.dir).await else { return };
        for entry in entries {
            let number = entry.name.to_str().and_then(opened::index_number);
            if number.is_some_and(|number| number < begin) {
                let _ = inner.fs.remove_file(inner.dir.join(&entry.name)).await;
            }
        }
    }
}

/// Small reads do not take a large buffer.
fn pool(fs: &FileSystem, config: &StoreConfig) -> BufferPool {
    let large = config.transfer_max.next_multiple_of(4096);
    let small = (large / 8).max(4096);
    let class = |size, bytes_max| SizeClass { size, bytes_max };
    let classes = [class(small, config.buffer_bytes / 4), class(large, config.buffer_bytes / 4 * 3)];
    let pool = BufferPool::new(PoolOptions::default().classes(classes));
    pool.attach(fs.shards());
    pool
}

impl fmt::Debug for SegmentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentStore({}, records {} to {})", self.0.dir.display(), self.first_lsn(), self.next_lsn())
    }
}
