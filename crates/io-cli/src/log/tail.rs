//! The end of a log, beside the process that writes it.
//!
//! The log's own reader begins with the oldest segment, because only all of it tells what is damaged and what a crash has torn. Who waits
//! for more, or only wants to know where the end is, looks at the newest segments: what is whole and follows the record before is there,
//! what is not may still be coming. A record may be seen a moment before it is durable.

use bytes::Bytes;
use io_fs::{File, FileSystem};
use io_log::{
    Damage, Lsn, Record, WalError,
    format::{GROUP_HEADER, GroupView, RecordKind, SegmentHeader, Step, Walk, segment_name, segment_number},
};
use std::{io, path::Path, sync::Arc};

/// Bytes of a read, where a group is not larger.
const STRIDE: usize = 256 << 10;

pub(super) struct Tail<'a> {
    fs: &'a FileSystem,
    dir: &'a Path,
    /// The record that is due; 0: the first one there is.
    next: Lsn,
    at: Option<Place>,
}

/// Where the next group is looked for.
struct Place {
    file: File,
    header: SegmentHeader,
    walk: Walk,
    /// What was read last, and from where.
    read: (u64, Bytes),
}

impl<'a> Tail<'a> {
    /// The records from this one on; from 0 on: from the first one there is.
    pub(super) fn new(fs: &'a FileSystem, dir: &'a Path, next: Lsn) -> Tail<'a> {
        Tail { fs, dir, next, at: None }
    }

    /// The record that is due.
    pub(super) fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// Gives what is there by now; false from `each` ends it early.
    pub(super) async fn look<E: From<WalError>>(
        &mut self,
        mut each: impl FnMut(Record) -> Result<bool, E>,
    ) -> Result<bool, E> {
        loop {
            let Some(place) = &mut self.at else {
                if !self.begin().await? {
                    return Ok(true);
                }
                continue;
            };
            let Some((records, next)) = place.group(self.next, self.dir).await? else {
                if !self.go_on().await? {
                    return Ok(true);
                }
                continue;
            };
            self.next = next;
            for record in records {
                if !each(record)? {
                    return Ok(false);
                }
            }
        }
    }

    /// Finds the segment in which the record that is due is, or will be. False if there is none yet.
    async fn begin(&mut self) -> Result<bool, WalError> {
        let numbers = self.numbers().await?;
        let mut oldest = None;
        for &number in numbers.iter().rev() {
            let Some(mut place) = self.open(number).await? else { continue };
            let Some(first) = place.first(self.dir).await? else { continue };
            if self.next > 0 && first <= self.next {
                self.at = Some(place);
                return Ok(true);
            }
            oldest = Some((place, first));
        }
        let Some((place, first)) = oldest else { return Ok(false) };
        if self.next > 0 {
            return Err(WalError::Truncated { first_lsn: first });
        }
        (self.next, self.at) = (first, Some(place));
        Ok(true)
    }

    /// Where there is no more in this segment, the next one may go on. False if nothing does yet.
    async fn go_on(&mut self) -> Result<bool, WalError> {
        let Some(place) = &mut self.at else { return Ok(false) };
        place.read = (0, Bytes::new());
        let number = place.header.number;
        let numbers = self.numbers().await?;
        if !numbers.contains(&number) {
            // Removed, or used again under another name.
            self.at = None;
            return Ok(numbers.iter().any(|&other| other > number));
        }
        for &later in numbers.iter().filter(|&&other| other > number) {
            let Some(mut later) = self.open(later).await? else { continue };
            match later.first(self.dir).await? {
                None => return Ok(false),
                Some(first) if first == self.next => {
                    self.at = Some(later);
                    return Ok(true);
                }
                Some(_) => {
                    // It may have been written since this one was looked at.
                    let place = self.at.as_mut();
                    let offset = place.as_ref().map_or(0, |place| place.walk.offset());
                    let again = match place {
                        Some(place) => place.group(self.next, self.dir).await?.is_some(),
                        None => false,
                    };
                    if again {
                        if let Some(place) = &mut self.at {
                            place.walk.go_to(offset);
                        }
                        return Ok(true);
                    }
                    let what = "the record is missing here; `iofs log verify` says more".to_owned();
                    return Err(WalError::Damaged(Damage { segment: number, offset, lsn: self.next, what }));
                }
            }
        }
        Ok(false)
    }

    async fn numbers(&self) -> Result<Vec<u64>, WalError> {
        let entries = self.fs.read_dir(self.dir).await.map_err(|error| failed("reading", self.dir, error))?;
        let mut numbers: Vec<u64> =
            entries.iter().filter_map(|entry| entry.name.to_str().and_then(segment_number)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// `None` if it is not there any more, or is about to be another one.
    async fn open(&self, number: u64) -> Result<Option<Place>, WalError> {
        let path = self.dir.join(segment_name(number));
        let file = match self.fs.open(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| failed("opening", &path, error))?,
        };
        let (read, bytes) = file.read_at(Vec::with_capacity(4096), 0).await;
        read.map_err(|error| failed("reading", &path, error))?;
        let header = SegmentHeader::decode(&bytes).ok().filter(|header| header.number == number);
        Ok(header.map(|header| Place { file, walk: Walk::new(&header), header, read: (0, Bytes::new()) }))
    }
}

impl Place {
    /// The first record of the segment, if it has a group.
    async fn first(&mut self, dir: &Path) -> Result<Option<Lsn>, WalError> {
        let offset = self.walk.offset();
        let first = self.step(dir, |group| group.header.first_lsn).await?;
        self.walk.go_to(offset);
        Ok(first)
    }

    /// The records of the next group from `due` on, and the record that follows it. Groups before `due` are passed over.
    async fn group(&mut self, due: Lsn, dir: &Path) -> Result<Option<(Vec<Record>, Lsn)>, WalError> {
        loop {
            let offset = self.walk.offset();
            let group = self
                .step(dir, |group| {
                    let (first, next) = (group.header.first_lsn, group.header.next_lsn());
                    if first > due || group.records().check().is_err() {
                        return None;
                    }
                    let records = group.records().filter_map(Result::ok);
                    let wanted = records.filter(|record| record.kind == RecordKind::Data && record.lsn >= due);
                    let owned = |data: &[u8]| Bytes::copy_from_slice(data);
                    let records: Vec<_> =
                        wanted.map(|record| Record { lsn: record.lsn, data: owned(record.data) }).collect();
                    Some((records, next))
                })
                .await?;
            match group {
                None => return Ok(None),
                Some(None) => {
                    self.walk.go_to(offset);
                    return Ok(None);
                }
                Some(Some((_, next))) if next <= due => {}
                Some(Some(group)) => return Ok(Some(group)),
            }
        }
    }

    /// What the next group looks like, if there is a sound one.
    async fn step<T>(&mut self, dir: &Path, mut look: impl FnMut(GroupView<'_>) -> T) -> Result<Option<T>, WalError> {
        let mut needs = GROUP_HEADER;
        loop {
            let offset = self.walk.offset();
            let (from, bytes) = &self.read;
            let there = offset.checked_sub(*from).and_then(|skip| bytes.get(skip as usize..)).unwrap_or_default();
            match self.walk.step(there) {
                Step::Group(group) => return Ok(Some(look(group))),
                Step::Needs(more) if there.len() < more && more >= needs => needs = more + 1,
                _ => return Ok(None),
            }
            let room = STRIDE.max(needs);
            let (read, bytes) = self.file.read_at(Vec::with_capacity(room), offset).await;
            read.map_err(|error| failed("reading", &dir.join(segment_name(self.header.number)), error))?;
            self.read = (offset, Bytes::from(bytes));
        }
    }
}

fn failed(what: &'static str, path: &Path, error: io::Error) -> WalError {
    WalError::Io { what, path: path.to_owned(), cause: Arc::new(error) }
}
