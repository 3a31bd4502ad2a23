//! Which segments there are, and which of them are sealed.

use super::error::{damaged, header_fault};
use crate::{
    Lsn, WalError,
    format::{GroupHeader, Place, SegmentHeader, Step, Walk, segment_name, segment_number},
};
use bytes::Bytes;
use io_fs::{BufferPool, File, FileOptions, FileSystem, IoBuf as _};
use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What direct I/O wants of memory, offsets and lengths everywhere.
const BLOCK: u64 = 4096;

/// A segment that nothing is appended to any more: one behind it has records.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) header: SegmentHeader,
    pub(super) path: PathBuf,
    pub(super) first: Lsn,
    /// Where the segment behind it begins.
    pub(super) next: Lsn,
    /// The record up to which all were durable when the segment behind it was begun.
    pub(super) durable_through: Lsn,
    /// When it was last written to, where the file system knows.
    pub(super) modified: Option<SystemTime>,
}

/// The beginning of a segment.
struct Head {
    header: SegmentHeader,
    path: PathBuf,
    file: File,
    modified: Option<SystemTime>,
    first_group: Option<GroupHeader>,
}

/// What there is in a directory.
#[derive(Debug)]
pub(super) struct Listed {
    /// The sealed segments, in order, without gaps.
    pub(super) sealed: Vec<Sealed>,
    /// Behind the last sealed record.
    pub(super) next: Lsn,
    /// The log promises the records from this one on, or from a later one: that far it is known without reading on.
    pub(super) log_start: Lsn,
}

/// Looks which segments are sealed. Those that are `known` are not looked at again: a number is never used
/// twice.
///
/// # Errors
/// A segment that is missing although the log promises its records, or has no sound beginning, is damage.
pub(super) async fn list(fs: &FileSystem, dir: &Path, direct: bool, known: &[Sealed]) -> Result<Listed, WalError> {
    let entries = fs.read_dir(dir).await.map_err(|error| WalError::io("reading the directory", dir, error))?;
    let mut numbers: Vec<u64> =
        entries.iter().filter_map(|entry| entry.name.to_str().and_then(segment_number)).collect();
    numbers.sort_unstable();
    let of = |sealed: &&Sealed| numbers.binary_search(&sealed.header.number).is_ok();
    let mut all: Vec<Sealed> = known.iter().filter(of).cloned().collect();
    let mut heads = Vec::new();
    for &number in numbers.iter().filter(|&&number| known.last().is_none_or(|last| number > last.header.number)) {
        heads.extend(head(fs, dir, number, direct).await?);
    }
    // What has no group yet was prepared ahead.
    while heads.last().is_some_and(|head| head.first_group.is_none()) {
        heads.pop();
    }
    let numbers: Vec<u64> = all.iter().map(|one| one.header.number).chain(heads.iter().map(Head::number)).collect();
    if let Some(gap) = numbers.windows(2).rposition(|pair| pair[1] != pair[0] + 1) {
        still_promised(fs.buffer_pool(), &all, &heads, numbers[gap + 1]).await?;
        all.retain(|sealed| sealed.header.number > numbers[gap]);
        heads.retain(|head| head.number() > numbers[gap]);
    }
    for pair in heads.windows(2) {
        all.push(sealed(&pair[0], &pair[1])?);
    }
    if heads.len() > 1 && all.last().is_some_and(|last| last.durable_through + 1 < last.next) {
        // Writes of both segments may be under way at the same time. The beginning of a third one will show that they are not any more.
        all.pop();
    }
    let first = heads.first().map_or(1, Head::first);
    let next = all.last().map_or(first, |last| last.next);
    let log_start = heads.iter().filter_map(|head| Some(head.first_group?.log_start)).max().unwrap_or(1);
    Ok(Listed { sealed: all, next, log_start })
}

/// An error if the log promises records that were in the gap in front of this segment. Else a removal made the gap, and what stands in
/// front of it is of no value.
async fn still_promised(pool: &BufferPool, all: &[Sealed], heads: &[Head], behind: u64) -> Result<(), WalError> {
    let of_sealed = all.iter().find(|sealed| sealed.header.number == behind).map(|sealed| sealed.first);
    let of_head = heads.iter().find(|head| head.number() == behind).map(Head::first);
    let first = of_sealed.or(of_head).unwrap_or_default();
    let mut log_start = 0;
    if let Some(last) = heads.last() {
        // The promise never falls, so the newest segment has the one that counts.
        let mut groups = Groups::new(&last.header, &last.file, &last.path, pool);
        while let Some(group) = groups.next().await? {
            log_start = log_start.max(group.header.log_start);
        }
    }
    if log_start < first {
        return Err(damaged(behind - 1, 0, log_start, "the segment is missing"));
    }
    Ok(())
}

impl Head {
    fn number(&self) -> u64 {
        self.header.number
    }

    fn first(&self) -> Lsn {
        self.first_group.map_or(self.header.base_lsn, |group| group.first_lsn)
    }
}

fn sealed(this: &Head, behind: &Head) -> Result<Sealed, WalError> {
    let (header, number) = (this.header, this.header.number);
    if header.log_id != behind.header.log_id {
        return Err(damaged(number + 1, 0, 0, "the segment is that of another log"));
    }
    let missing = |of: &Head| {
        let (number, offset) = (of.header.number, of.header.block_size.into());
        damaged(number, offset, of.header.base_lsn, "the first group is missing")
    };
    let group = this.first_group.ok_or_else(|| missing(this))?;
    let next = behind.first_group.ok_or_else(|| missing(behind))?;
    if next.first_lsn < group.first_lsn {
        let what = "its records have lower numbers than those before";
        return Err(damaged(number + 1, 0, next.first_lsn, what));
    }
    Ok(Sealed {
        header,
        path: this.path.clone(),
        first: group.first_lsn,
        next: next.first_lsn,
        durable_through: next.durable_through,
        modified: this.modified,
    })
}

/// Reads how a segment begins. `None` if it was removed meanwhile.
async fn head(fs: &FileSystem, dir: &Path, number: u64, direct: bool) -> Result<Option<Head>, WalError> {
    let path = dir.join(segment_name(number));
    let file = match open(fs, &path, direct).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(WalError::io("opening", &path, error)),
    };
    let metadata = file.metadata().await.map_err(|error| WalError::io("looking at", &path, error))?;
    let bytes = read(&file, fs.buffer_pool(), 0..2 * BLOCK).await;
    let bytes = bytes.map_err(|error| WalError::io("reading", &path, error))?;
    let header = SegmentHeader::decode(&bytes).map_err(|fault| header_fault(number, fault))?;
    if header.number != number {
        return Err(damaged(number, 0, 0, "the header is that of another segment"));
    }
    let at = u64::from(header.block_size);
    let place = Place { salt: header.salt, offset: at };
    let group = bytes.get(at as usize..).unwrap_or_default();
    let first_group = GroupHeader::decode(group, place, header.segment_size.saturating_sub(at)).ok();
    Ok(Some(Head { header, path, file, modified: metadata.modified, first_group }))
}

pub(super) async fn open(fs: &FileSystem, path: &Path, direct: bool) -> io::Result<File> {
    fs.open_with(path, FileOptions::new().read(true).direct_or_buffered(direct)).await
}

/// Reads a range into a buffer of the pool; fewer bytes at the end of the file only.
pub(super) async fn read(file: &File, pool: &BufferPool, range: Range<u64>) -> io::Result<Bytes> {
    let (begin, end) = match file.handle().facts().direct {
        true => (range.start / BLOCK * BLOCK, range.end.next_multiple_of(BLOCK)),
        false => (range.start, range.end),
    };
    let room = (end - begin) as usize;
    let buf = pool.acquire(room).await;
    let (read, buf) = file.read_at(buf.slice(..room), begin).await;
    let (read, mut buf) = (read?, buf.into_inner());
    buf.resize(read);
    let skip = ((range.start - begin) as usize).min(read);
    let len = ((range.end - range.start) as usize).min(read - skip);
    Ok(Bytes::slice(&buf.freeze(), skip..skip + len))
}

/// A sound group, with its bytes.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) header: GroupHeader,
    pub(super) offset: u64,
    pub(super) next: u64,
    pub(super) bytes: Bytes,
}

/// The groups of a segment in order, read from its beginning: how a segment without an index is read.
pub(super) struct Groups<'a> {
    walk: Walk,
    header: SegmentHeader,
    file: &'a File,
    path: &'a Path,
    pool: &'a BufferPool,
    /// What is in memory, and where it begins.
    block: Bytes,
    begin: u64,
}

/// Bytes of one read of a walk.
const STRIDE: u64 = 1 << 20;

impl<'a> Groups<'a> {
    pub(super) fn new(header: &SegmentHeader, file: &'a File, path: &'a Path, pool: &'a BufferPool) -> Groups<'a> {
        Groups { walk: Walk::new(header), header: *header, file, path, pool, block: Bytes::new(), begin: 0 }
    }

    /// The next group. `None` where there is none, for whatever reason. Its records are not checked yet.
    pub(super) async fn next(&mut self) -> Result<Option<Group>, WalError> {
        let mut needs = 0;
        loop {
            let offset = self.walk.offset();
            let skip = offset.saturating_sub(self.begin).min(self.block.len() as u64) as usize;
            let step = self.walk.step(&self.block[skip..]);
            match step {
                Step::Group(group) => {
                    let bytes = Bytes::slice(&self.block, skip..skip + group.bytes.len());
                    return Ok(Some(Group { header: group.header, offset, next: group.next, bytes }));
                }
                Step::Needs(more) if more > needs => needs = more,
                _ => return Ok(None),
            }
            let end = (offset + STRIDE.max(needs as u64)).min(self.header.segment_size);
            // Given back before the next one is taken.
            self.block = Bytes::new();
            let block = read(self.file, self.pool, offset..end).await;
            self.block = block.map_err(|error| WalError::io("reading", self.path, error))?;
            self.begin = offset;
        }
    }
}
