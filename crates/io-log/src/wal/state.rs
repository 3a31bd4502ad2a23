//! What the handles of a log share.

use super::{Active, Ready};
use crate::{Lsn, Sync, WalConfig, WalError, format, host::lock};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// A segment that is part of the log, oldest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    pub(crate) header: format::SegmentHeader,
    pub(crate) first_lsn: Lsn,
}

/// Records that wait for room, in order. They are taken from here as room comes, so that nobody depends on the task that brought them.
pub(super) struct Entry {
    pub(super) records: VecDeque<Bytes>,
    pub(super) slot: Arc<Slot>,
}

/// What became of an entry.
#[derive(Debug, Default)]
pub(super) struct Slot(pub(super) Mutex<Fate>);

#[derive(Debug, Default)]
pub(super) struct Fate {
    /// The number of the first record, once it has one.
    pub(super) first: Option<Lsn>,
    /// All of them have.
    pub(super) over: bool,
    /// The others were refused.
    pub(super) refused: Option<WalError>,
}

pub(super) struct State {
    /// The number of the next record that is queued.
    pub(super) next_lsn: Lsn,
    /// All up to this one are acknowledged.
    pub(super) acked: Lsn,
    /// All up to this one are durable.
    pub(super) durable: Lsn,
    /// Where the log begins, durably.
    pub(super) log_start: Lsn,
    /// Where it will begin; said by the next group.
    pub(super) start_wanted: Lsn,
    /// A group that says it is under way, or done.
    pub(super) start_said: Lsn,
    pub(super) queue: VecDeque<Bytes>,
    /// What the queue takes in a segment if each record is a group of its own.
    pub(super) queue_worst: u64,
    /// Callers whose records are in the queue.
    pub(super) callers: usize,
    /// Callers of the last group.
    pub(super) crowd: usize,
    /// Bytes of records that are queued or being written.
    pub(super) used: usize,
    pub(super) room: VecDeque<Entry>,
    pub(super) active: Active,
    /// Segments that are prepared, the next one first.
    pub(super) ready: VecDeque<Ready>,
    /// All of the log, the active one last; those that wait to be used again first.
    pub(super) kept: VecDeque<Kept>,
    /// Somebody waits for the next segment.
    pub(super) segment_needed: bool,
    /// Why there is no next segment. Preparing is tried again when it is needed.
    pub(super) no_segment: Option<WalError>,
    /// Why retired segments stay.
    pub(super) not_removed: Option<WalError>,
    /// With `Sync::None`: all up to this one is to be made durable.
    pub(super) sync_upto: Lsn,
    /// There was nothing to write when it was looked for last.
    pub(super) hungry: bool,
    pub(super) closing: bool,
    pub(super) closed: bool,
    pub(super) fault: Option<WalError>,
    /// The highest segment whose name is durable.
    pub(super) segments_through: u64,
    pub(super) epoch: u32,
    pub(super) salts: u64,
    /// The largest block of all segments that are written to.
    pub(super) block: u64,
    /// The largest record that fits each of them.
    pub(super) record_max: u64,
}

impl State {
    /// Why nothing can be appended.
    pub(super) fn refusal(&self) -> Option<WalError> {
        self.fault.clone().or_else(|| (self.closing || self.closed).then_some(WalError::Closed))
    }

    /// Takes records from those who wait, as far as there is room. True if it took any.
    pub(super) fn admit(&mut self, config: &WalConfig) -> bool {
        let mut any = false;
        while let Some(entry) = self.room.front() {
            let Some(len) = entry.records.front().map(Bytes::len) else {
                self.room.pop_front();
                continue;
            };
            if !self.has_room(len, config) {
                break;
            }
            let lsn = self.next_lsn;
            let Some(entry) = self.room.front_mut() else { break };
            let Some(record) = entry.records.pop_front() else { break };
            let over = entry.records.is_empty();
            let mut fate = lock(&entry.slot.0);
            fate.over = over;
            let first = fate.first.is_none();
            fate.first.get_or_insert(lsn);
            drop(fate);
            self.callers += usize::from(first);
            self.push(record);
            any = true;
            if over {
                self.room.pop_front();
            }
        }
        any
    }

    /// Queues a record that has room.
    pub(super) fn push(&mut self, record: Bytes) -> Lsn {
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        self.used += cost(record.len());
        self.queue_worst += self.worst(record.len());
        self.queue.push_back(record);
        lsn
    }

    /// Whether a record of this length has room: in the buffer, and in segments that are there.
    pub(super) fn has_room(&mut self, len: usize, config: &WalConfig) -> bool {
        if self.used > 0 && self.used + cost(len) > config.buffer_bytes {
            return false;
        }
        let needed = self.queue_worst + self.worst(len);
        // Without a next segment some room stays free for what closing and cutting the log write.
        let reserve = if self.ready.is_empty() { 2 * u64::from(self.active.header.block_size) } else { 0 };
        let here = needed + reserve <= self.active.room();
        let there = self.ready.front().is_some_and(|ready| needed <= ready.room());
        if !here && !there && self.ready.is_empty() {
            self.segment_needed = true;
        }
        here || there
    }

    /// What a record takes at most.
    pub(super) fn worst(&self, len: usize) -> u64 {
        ((format::GROUP_HEADER + format::RECORD_HEADER + len) as u64).next_multiple_of(self.block)
    }

    /// The log goes on no more, and why. All that is not acknowledged gets the same answer.
    pub(super) fn fail(&mut self, error: WalError) {
        if self.fault.is_none() {
            self.fault = Some(error);
        }
        self.queue.clear();
        self.room.clear();
        (self.queue_worst, self.used, self.callers) = (0, 0, 0);
    }

    /// Those who wait for room get this answer.
    pub(super) fn refuse_room(&mut self, error: &WalError) {
        for entry in self.room.drain(..) {
            lock(&entry.slot.0).refused = Some(error.clone());
        }
    }

    /// Segments at the beginning whose records all are before the log's.
    pub(super) fn retired(&self) -> usize {
        let firsts = self.kept.iter().skip(1).map(|kept| kept.first_lsn);
        firsts.take_while(|first| *first <= self.log_start).count()
    }

    /// No group fits the segment any more.
    pub(super) fn is_full(&self) -> bool {
        self.ready.is_empty() && self.active.room() < u64::from(self.active.header.block_size)
    }

    /// What `flush` waits for.
    pub(super) fn flushed(&self, sync: Sync) -> Lsn {
        if sync == Sync::None { self.durable } else { self.acked }
    }
}

/// What a record counts for in the buffer.
pub(super) fn cost(len: usize) -> usize {
    len + format::RECORD_HEADER
}
