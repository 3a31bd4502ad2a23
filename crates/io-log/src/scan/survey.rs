//! A whole log, read from its lowest segment on, and what follows from it. The rules are those of `docs/log-format.md`.

use super::segment::{Found, SegmentScan, check};
use crate::{
    Damage, Lsn, WalError,
    disk::{Place, read_header},
    format::{GroupHeader, SegmentFault, SegmentHeader},
};
use bytes::Bytes;
use io_fs::FileOptions;
use std::{collections::BTreeMap, path::PathBuf};

/// A segment that has a sound header.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) header: SegmentHeader,
    /// Its first record; `None` as long as it has no group.
    pub(crate) first_lsn: Option<Lsn>,
}

/// A group on the way through the log.
pub(crate) struct Event {
    pub(crate) header: GroupHeader,
    /// All of the group. If it is `bad`, its records are good up to the first fault only.
    pub(crate) bytes: Bytes,
    pub(crate) bad: bool,
}

/// A place where the records do not go on.
#[derive(Clone, Debug)]
struct Gap {
    segment: u64,
    offset: u64,
    /// The record that was due: the first one of its group.
    lsn: Lsn,
    /// The first one that is not good.
    bad: Lsn,
    what: String,
    /// Nothing is wrong at the place itself.
    sound: bool,
}

/// The way through a log.
pub(crate) struct Survey {
    place: Place,
    direct: bool,
    /// Consecutive numbers, ascending.
    pub(crate) segments: Vec<Segment>,
    /// Below a gap in the numbers: leftovers of a removal, unless something is missing.
    pub(crate) leftovers: Vec<u64>,
    /// What was being prepared.
    pub(crate) prepared: Vec<PathBuf>,
    damage: Vec<Damage>,
    at: usize,
    scan: Option<SegmentScan>,
    due: Option<Lsn>,
    first: Option<Lsn>,
    /// The highest number of openings that a group tells of.
    pub(crate) epoch: u32,
    epoch_in_order: u32,
    /// Where no group was next; maybe the log goes on in another segment.
    rest: Option<Gap>,
    /// Where the log did not go on, though there is more of it.
    lost: Option<Gap>,
    gaps: Vec<Gap>,
    durable: Lsn,
    log_start: Lsn,
    /// The same, by groups in order only: those that will still be there next time.
    start_in_order: Lsn,
    segments_through: u64,
    /// Behind the last record in order: segment and offset.
    end: Option<(u64, u64)>,
    closed: bool,
    records: u64,
    /// Those before the first gap.
    in_order: u64,
    /// There are groups behind the first gap.
    behind: bool,
    /// For each segment, from where to where there are traces of groups behind the end.
    traces: BTreeMap<u64, (u64, u64)>,
}

/// What was found.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) first_lsn: Lsn,
    pub(crate) next_lsn: Lsn,
    pub(crate) records: u64,
    pub(crate) torn_tail_bytes: u64,
    pub(crate) clean_close: bool,
    pub(crate) damage: Vec<Damage>,
    /// Where the next group goes: segment and offset. `None` without segments.
    pub(crate) end: Option<(u64, u64)>,
    /// Where the torn tail is: segment, from and to.
    pub(crate) torn: Vec<(u64, u64, u64)>,
}

impl Survey {
    /// Opens all segments and reads their headers.
    ///
    /// # Errors
    /// Of the file system, and [`WalError::UnknownVersion`]. What is wrong otherwise comes with the outcome.
    pub(crate) async fn open(place: &Place, direct: bool) -> Result<Survey, WalError> {
        let (numbers, prepared) = place.list().await?;
        let mut survey = Survey { prepared, ..Survey::empty(place, direct) };
        for number in numbers {
            survey.add(number).await?;
        }
        Ok(survey)
    }

    /// Of no segments.
    pub(super) fn empty(place: &Place, direct: bool) -> Survey {
        Survey {
            place: place.clone(),
            direct,
            segments: Vec::new(),
            leftovers: Vec::new(),
            prepared: Vec::new(),
            damage: Vec::new(),
            at: 0,
            scan: None,
            due: None,
            first: None,
            epoch: 0,
            epoch_in_order: 0,
            rest: None,
            lost: None,
            gaps: Vec::new(),
            durable: 0,
            log_start: 1,
            start_in_order: 1,
            segments_through: 0,
            end: None,
            closed: false,
            records: 0,
            in_order: 0,
            behind: false,
            traces: BTreeMap::new(),
        }
    }

    /// The next group; `None` after the last one.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, WalError> {
        loop {
            let Some(segment) = self.segments.get(self.at) else { return Ok(None) };
            let header = segment.header;
            if self.scan.is_none() {
                let file = open_file(self.place.clone(), header.number, self.direct).await?;
                self.scan = Some(SegmentScan::new(file, &header, header.segment_size));
            }
            let Some(scan) = self.scan.as_mut() else { continue };
            let found =
                scan.next().await.map_err(|error| WalError::io("reading", self.place.path(header.number), error))?;
            match found {
                Found::End => {
                    let offset = scan.offset();
                    self.no_group(&header, offset, "the segment ends", true);
                    self.scan = None;
                    self.at += 1;
                }
                Found::Fault(offset, fault) => {
                    let sound = fault == crate::format::GroupFault::Nothing;
                    let trace = fault != crate::format::GroupFault::Nothing || self.is_written(&header).await?;
                    if let Some(scan) = self.scan.as_mut() {
                        scan.skip_block();
                    }
                    self.no_group(&header, offset, &fault.to_string(), sound);
                    if trace {
                        self.trace(header.number, offset, offset + u64::from(header.block_size));
                    }
                }
                Found::Group { header: group, offset, next, bytes } => {
                    if let Some(event) = self.group(&header, group, offset, next, bytes) {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Goes through all that is left.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) async fn finish(&mut self) -> Result<Outcome, WalError> {
        while self.next().await?.is_some() {}
        Ok(self.outcome())
    }

    /// No gap by now.
    pub(crate) fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }

    /// What follows from all that was found.
    pub(crate) fn outcome(&self) -> Outcome {
        let base = self.segments.first().map_or(1, |segment| segment.header.base_lsn);
        let mut damage = self.damage.clone();
        // The log ends at its first gap, and the others are behind the end. If the gap is damage, they are that, too.
        let open = self.lost.iter().chain(&self.rest).next().cloned();
        let last = self.due.unwrap_or(base);
        let open = open.unwrap_or_else(|| {
            let (segment, offset) = self.end.unwrap_or((0, 0));
            Gap { segment, offset, lsn: last, bad: last, what: String::new(), sound: true }
        });
        let open = Gap { what: format!("records up to {} are missing ({})", self.durable, open.what), ..open };
        for gap in self.gaps.iter().chain([&open]).filter(|gap| gap.lsn <= self.durable) {
            let Gap { segment, offset, bad, what, .. } = gap.clone();
            damage.push(Damage { segment, offset, lsn: bad, what });
        }
        let first = self.first.unwrap_or(last);
        if let Some(lowest) = self.segments.first() {
            if first > self.log_start && self.log_start <= self.durable {
                let what = format!("the log begins at record {}, and what is there at {first}", self.log_start);
                damage.push(Damage { segment: lowest.header.number, offset: 0, lsn: self.log_start, what });
            }
        }
        let highest = self.segments.last().map_or(0, |segment| segment.header.number);
        if highest < self.segments_through {
            let number = self.segments_through;
            let what = format!("segments up to {number} are missing");
            damage.push(Damage { segment: highest + 1, offset: 0, lsn: last, what });
        }
        damage.sort_by_key(|damage| (damage.lsn, damage.segment, damage.offset));
        let next_lsn = self.gaps.first().map_or(last, |gap| gap.lsn);
        let end = self.gaps.first().map(|gap| (gap.segment, gap.offset)).or(self.end);
        let end = end.or_else(|| self.segments.first().map(|s| (s.header.number, u64::from(s.header.block_size))));
        Outcome {
            first_lsn: first.max(self.start_in_order).min(next_lsn),
            next_lsn,
            // Behind a torn tail's hole nothing counts, behind a hole that is damage all that is good does.
            records: if damage.is_empty() { self.in_order } else { self.records },
            torn_tail_bytes: self.traces.values().map(|(from, to)| to - from).sum(),
            clean_close: self.closed && self.gaps.is_empty() && !self.behind,
            damage,
            end,
            torn: self.traces.iter().map(|(&segment, &(from, to))| (segment, from, to)).collect(),
        }
    }

    /// One more segment, if its header is good.
    pub(super) async fn add(&mut self, number: u64) -> Result<(), WalError> {
        let place = self.place.clone();
        let failed = |error| WalError::io("reading", place.path(number), error);
        let file = place.fs.open(place.path(number)).await.map_err(failed)?;
        let (bytes, len) = read_header(&file).await.map_err(failed)?;
        let lsn = self.segments.last().map_or(1, |segment| segment.header.base_lsn);
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) => header,
            Err(SegmentFault::Version(version)) => return Err(WalError::UnknownVersion { segment: number, version }),
            Err(fault) => {
                self.structural(number, lsn, fault.to_string());
                return Ok(());
            }
        };
        self.durable = self.durable.max(header.base_lsn - 1);
        if header.number != number {
            let what = format!("the file is that of segment {}", header.number);
            self.structural(number, header.base_lsn, what);
            return Ok(());
        }
        if let Some(before) = self.segments.last().map(|segment| segment.header) {
            if before.log_id != header.log_id {
                self.structural(number, header.base_lsn, "the segment is of another log".into());
                return Ok(());
            }
            if before.number + 1 != number {
                // Whether something is missing tells what the others promise.
                self.leftovers.extend(self.segments.drain(..).map(|segment| segment.header.number));
            }
        }
        if len < header.segment_size {
            let what = format!("the file has {len} bytes of {}", header.segment_size);
            self.structural(number, header.base_lsn, what);
        }
        self.segments.push(Segment { header, first_lsn: None });
        Ok(())
    }

    fn structural(&mut self, segment: u64, lsn: Lsn, what: String) {
        self.damage.push(Damage { segment, offset: 0, lsn, what });
    }

    /// In a segment of zeros whatever is not zero was written; in a recycled one nobody knows.
    async fn is_written(&mut self, header: &SegmentHeader) -> Result<bool, WalError> {
        let Some(scan) = self.scan.as_mut().filter(|_| !header.recycled) else { return Ok(false) };
        let block = scan.block(header.block_size as usize).await;
        let block = block.map_err(|error| WalError::io("reading", self.place.path(header.number), error))?;
        Ok(block.chunks(64).any(|part| part.iter().fold(0, |all, byte| all | byte) != 0))
    }

    fn trace(&mut self, segment: u64, from: u64, to: u64) {
        let trace = self.traces.entry(segment).or_insert((from, to));
        trace.1 = trace.1.max(to);
    }

    /// There is no group where one could be.
    fn no_group(&mut self, header: &SegmentHeader, offset: u64, what: &str, sound: bool) {
        let better =
            self.rest.as_ref().is_none_or(|rest| rest.sound && !sound && offset == u64::from(header.block_size));
        if better && self.lost.is_none() {
            let lsn = self.due.unwrap_or(header.base_lsn.max(self.log_start));
            self.rest = Some(Gap { segment: header.number, offset, lsn, bad: lsn, what: what.to_owned(), sound });
        }
    }

    /// A group whose header is sound.
    fn group(
        &mut self,
        segment: &SegmentHeader,
        group: GroupHeader,
        offset: u64,
        next: u64,
        bytes: Bytes,
    ) -> Option<Event> {
        self.durable = self.durable.max(group.durable_through);
        self.log_start = self.log_start.max(group.log_start);
        self.segments_through = self.segments_through.max(group.segments_through);
        self.epoch = self.epoch.max(group.epoch);
        let number = segment.number;
        let fault = check(&group, &bytes).err();
        let first_here = offset == u64::from(segment.block_size);
        // Within a segment groups have no blocks between them; the next one begins at the begin of another segment.
        let adjoins = self.rest.as_ref().is_none_or(|rest| rest.segment != number && first_here);
        let wanted = match self.due {
            Some(due) => group.first_lsn == due,
            None => self.rest.is_none(),
        };
        let in_order = self.lost.is_none() && adjoins && wanted && group.epoch >= self.epoch_in_order;
        if in_order && fault.is_none() {
            self.rest = None;
            return Some(self.accept(segment, group, next, bytes));
        }
        let lsn = self.due.unwrap_or(segment.base_lsn.max(self.log_start));
        if self.lost.is_none() {
            let what = match &fault {
                Some(fault) if in_order => fault.what.to_owned(),
                _ => format!("record {} follows", group.first_lsn),
            };
            let bad = fault.as_ref().filter(|_| in_order).map_or(lsn, |fault| fault.lsn.max(lsn));
            let here = Gap { segment: number, offset, lsn, bad, what, sound: false };
            self.lost = Some(self.rest.take().filter(|rest| !(rest.sound && in_order)).unwrap_or(here));
        }
        self.behind = true;
        self.trace(number, offset, next);
        if let Some(fault) = fault {
            // What its length says is as little worth as the rest of it: there may be more in the next block.
            if let Some(scan) = self.scan.as_mut() {
                scan.back_to(offset + u64::from(segment.block_size));
            }
            let good = in_order && fault.lsn > lsn;
            return good.then(|| Event { header: group, bytes, bad: true });
        }
        let goes_on = group.first_lsn >= lsn && group.epoch >= self.epoch_in_order;
        if !goes_on {
            return None;
        }
        self.gaps.extend(self.lost.take());
        Some(self.accept(segment, group, next, bytes))
    }

    fn accept(&mut self, segment: &SegmentHeader, group: GroupHeader, next: u64, bytes: Bytes) -> Event {
        self.due = Some(group.next_lsn());
        self.epoch_in_order = group.epoch;
        self.first.get_or_insert(group.first_lsn);
        self.records += u64::from(group.count);
        if self.gaps.is_empty() {
            self.in_order += u64::from(group.count);
            self.end = Some((segment.number, next));
            self.start_in_order = self.start_in_order.max(group.log_start);
            self.traces.clear();
            let ended = |record: Result<crate::format::RawRecord<'_>, _>| {
                record.is_ok_and(|record| record.kind == crate::format::RecordKind::End)
            };
            self.closed = group.count == 0 && crate::format::Records::new(&bytes, &group).any(ended);
        } else {
            self.trace(segment.number, next - group.padded(segment.block_size), next);
        }
        self.segments[self.at].first_lsn.get_or_insert(group.first_lsn);
        Event { header: group, bytes, bad: false }
    }
}

async fn open_file(place: Place, number: u64, direct: bool) -> Result<io_fs::File, WalError> {
    let (path, options) = (place.path(number), FileOptions::new().read(true).direct_or_buffered(direct));
    let opened = place.fs.open_with(&path, options).await;
    opened.map_err(|error| WalError::io("opening", path, error))
}
