//! A segment with its file and its index at hand.

use super::{
    StoreConfig,
    error::damaged,
    index::{Builder, Identity, Index},
    segments::{self, Groups, Sealed},
};
use crate::{
    Lsn, Record, WalError,
    format::{RecordKind, Records, SegmentHeader, Step, Walk},
};
use bytes::Bytes;
use io_fs::{BufferPool, File, FileSystem};
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
};

/// What is larger than this is no index.
const INDEX_MAX: u64 = 128 << 20;

#[derive(Debug)]
pub(super) struct Opened {
    pub(super) sealed: Sealed,
    pub(super) index: Index,
    file: File,
}

impl Opened {
    /// Opens a segment and finds its index: in its file, or else by reading all of the segment once.
    pub(super) async fn open(
        fs: &FileSystem,
        pool: &BufferPool,
        config: &StoreConfig,
        sealed: Sealed,
    ) -> Result<Opened, WalError> {
        let file = match segments::open(fs, &sealed.path, config.direct).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone(&sealed)),
            Err(error) => return Err(WalError::io("opening", &sealed.path, error)),
        };
        let of = Identity { id: sealed.header.number, salt: sealed.header.salt, first: sealed.first };
        if config.index_files {
            if let Some(index) = read_index(fs, &sealed, of).await {
                return Ok(Opened { sealed, index, file });
            }
        }
        let mut opened = Opened { index: Builder::new(of, config.index_every).finish(of.first, 0), sealed, file };
        let built = opened.build(pool, of, config.index_every).await;
        opened.index = opened.explained(pool, built).await?;
        if config.index_files {
            write_index(fs, &opened.sealed, &opened.index).await;
        }
        Ok(opened)
    }

    /// Reads these cells.
    pub(super) async fn read(&self, pool: &BufferPool, cells: Range<usize>) -> Result<Bytes, WalError> {
        let bytes = segments::read(&self.file, pool, self.index.span(&cells)).await;
        bytes.map_err(|error| WalError::io("reading", &self.sealed.path, error))
    }

    /// The records with these numbers in what was read of these cells. They are windows into `bytes`.
    pub(super) fn decode(
        &self,
        bytes: &Bytes,
        cells: &Range<usize>,
        lsns: &Range<Lsn>,
        mut each: impl FnMut(Record),
    ) -> Result<(), WalError> {
        let span = self.index.span(cells);
        let mut walk = Walk::new(&self.sealed.header);
        walk.go_to(span.start);
        let mut due = self.index.lsn(cells.start);
        while walk.offset() < span.end {
            let at = (walk.offset() - span.start) as usize;
            let group = match walk.step(bytes.get(at..).unwrap_or_default()) {
                Step::Group(group) => group,
                Step::Needs(_) | Step::End => return Err(self.damaged(walk.offset(), due, "the file ends too early")),
                Step::Fault(fault) => return Err(self.damaged(walk.offset(), due, fault)),
            };
            if group.header.first_lsn != due {
                return Err(self.damaged(group.offset, due, "a group begins with another record"));
            }
            due = group.header.next_lsn();
            if due <= lsns.start {
                continue;
            }
            for record in group.records() {
                let record =
                    record.map_err(|fault| self.damaged(group.offset + fault.at as u64, fault.lsn, fault.what))?;
                if record.kind == RecordKind::Data && lsns.contains(&record.lsn) {
                    let data = at + record.range.start..at + record.range.end;
                    each(Record { lsn: record.lsn, data: bytes.slice(data) });
                }
            }
            if due >= lsns.end {
                return Ok(());
            }
        }
        match due == self.index.lsn(cells.end) {
            true => Ok(()),
            false => Err(self.damaged(span.end, due, "records are missing")),
        }
    }

    /// The same answer, but for damage that is none: whose file became another segment meanwhile was removed.
    pub(super) async fn explained<T>(&self, pool: &BufferPool, answer: Result<T, WalError>) -> Result<T, WalError> {
        if !matches!(answer, Err(WalError::Damaged { .. })) {
            return answer;
        }
        let now = segments::read(&self.file, pool, 0..u64::from(self.sealed.header.block_size)).await;
        match now.map(|bytes| SegmentHeader::decode(&bytes)) {
            Ok(Ok(header)) if header != self.sealed.header => Err(gone(&self.sealed)),
            _ => answer,
        }
    }

    async fn build(&self, pool: &BufferPool, of: Identity, every: u64) -> Result<Index, WalError> {
        let sealed = &self.sealed;
        let mut groups = Groups::new(&sealed.header, &self.file, &sealed.path, pool);
        let mut builder = Builder::new(of, every);
        let (mut due, mut end, mut epoch) = (sealed.first, u64::from(sealed.header.block_size), 0);
        while let Some(group) = groups.next().await? {
            if group.header.first_lsn != due || group.header.epoch < epoch {
                break;
            }
            let checked = Records::new(&group.bytes, &group.header).check();
            checked.map_err(|fault| self.missing(group.offset + fault.at as u64, fault.lsn, fault.what))?;
            builder.place(due, group.offset);
            (due, end, epoch) = (group.header.next_lsn(), group.next, group.header.epoch);
        }
        if due != sealed.next {
            return Err(self.missing(end, due, "records are missing here"));
        }
        Ok(builder.finish(due, end))
    }

    fn damaged(&self, offset: u64, lsn: Lsn, what: impl std::fmt::Display) -> WalError {
        damaged(self.sealed.header.number, offset, lsn, what)
    }

    fn missing(&self, offset: u64, lsn: Lsn, what: &'static str) -> WalError {
        if lsn <= self.sealed.durable_through {
            return self.damaged(offset, lsn, what);
        }
        self.damaged(offset, lsn, "a crash left it torn; opening the log for writing cuts what is torn")
    }
}

fn gone(sealed: &Sealed) -> WalError {
    WalError::Truncated { first_lsn: sealed.next }
}

/// The file of a segment's index.
fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension(INDEX_EXTENSION)
}

const INDEX_EXTENSION: &str = "idx";

/// The number in the name of an index's file; `None` for any other name.
pub(super) fn index_number(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(INDEX_EXTENSION)?;
    crate::format::segment_number(&format!("{stem}seg"))
}

/// `None` if there is no index that can be believed.
async fn read_index(fs: &FileSystem, sealed: &Sealed, of: Identity) -> Option<Index> {
    let file = fs.open(index_path(&sealed.path)).await.ok()?;
    let len = file.size().await.ok().filter(|&len| len <= INDEX_MAX)?;
    let (read, bytes) = file.read_at(Vec::with_capacity(len as usize), 0).await;
    read.ok()?;
    let index = Index::decode(&bytes, of, sealed.header.segment_size)?;
    (index.next == sealed.next).then_some(index)
}

/// It is not synced, and may be torn: who reads it next looks at the checksum. Where it cannot be written, the next one builds it anew.
async fn write_index(fs: &FileSystem, sealed: &Sealed, index: &Index) {
    if let Ok(file) = fs.create(index_path(&sealed.path)).await {
        let _ = file.write_at(index.encode(), 0).await;
    }
}
