//! Writing groups: one durable write after the other, or several at once that are acknowledged in order.

use super::{Shared, state::cost};
use crate::{
    Lsn, Sync, WalError,
    disk::{Aligned, Lock, lend},
    format::{self, GROUP_HEADER, GroupHeader, RECORD_HEADER, RecordKind, encode_group},
    host::lock,
};
use bytes::Bytes;
use io_fs::{AlignedBuf, Deadline, File};
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

type Answer = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// What is under way.
struct Flight {
    what: &'static str,
    answer: Answer,
    result: Option<io::Result<()>>,
    landed: Landed,
}

/// What is true when it is over.
#[derive(Clone, Copy, Debug)]
enum Landed {
    /// Records up to this one are written; what they cost, and how many callers they are from.
    Group { through: Lsn, cost: usize, callers: usize, log_start: Lsn },
    /// All up to this one is durable.
    Synced(Lsn),
    /// The log is closed.
    End,
}

/// What is to be done next.
enum Plan {
    Group(Box<Group>),
    Sync(File, Lsn),
    /// More may come before the group is written.
    Delay,
    Nothing,
    Over,
}

/// A group that is going to be written.
struct Group {
    file: File,
    place: format::Place,
    header: GroupHeader,
    block_size: u32,
    records: Vec<Bytes>,
    control: Option<RecordKind>,
    landed: Landed,
}

/// Writes what is queued, until the log is closed or has failed.
pub(super) async fn commit(shared: Arc<Shared>) {
    let mut flights = VecDeque::new();
    let mut delay = None;
    poll_fn(|cx| shared.commit_turn(cx, &mut flights, &mut delay)).await;
}

impl Shared {
    fn commit_turn(
        self: &Arc<Shared>,
        cx: &mut Context<'_>,
        flights: &mut VecDeque<Flight>,
        delay: &mut Option<Deadline>,
    ) -> Poll<()> {
        let depth = if self.config.sync == Sync::Each { self.config.depth } else { 1 };
        self.commit.set_idle(false);
        loop {
            for flight in flights.iter_mut().filter(|flight| flight.result.is_none()) {
                if let Poll::Ready(result) = flight.answer.as_mut().poll(cx) {
                    flight.result = Some(result);
                }
            }
            let mut landed = false;
            while flights.front().is_some_and(|flight| flight.result.is_some()) {
                if let Some(Flight { what, result: Some(result), landed, .. }) = flights.pop_front() {
                    self.land(what, result, landed);
                }
                landed = true;
            }
            if landed {
                self.waiters.wake_all();
            }
            if flights.len() >= depth {
                return Poll::Pending;
            }
            let waited = match delay {
                Some(time) => pin!(time).poll(cx).is_ready(),
                None => self.config.max_delay.is_none(),
            };
            match self.plan(flights.is_empty(), waited) {
                Plan::Group(group) => {
                    *delay = None;
                    let what = "writing a group";
                    let landed = group.landed;
                    flights.push_back(Flight { what, answer: self.write(*group), result: None, landed });
                }
                Plan::Sync(file, through) => {
                    let answer = Box::pin(async move { file.sync_data().await });
                    let landed = Landed::Synced(through);
                    flights.push_back(Flight { what: "a sync", answer, result: None, landed });
                }
                Plan::Delay => {
                    if delay.is_some() {
                        return Poll::Pending;
                    }
                    *delay = self.config.max_delay.map(|time| self.place.fs.shards().deadline(time));
                }
                Plan::Over if flights.is_empty() => return Poll::Ready(()),
                Plan::Over | Plan::Nothing => return Poll::Pending,
            }
        }
    }

    /// Takes what is next from the queue. `alone`: nothing is under way. `waited`: no more time is to be given to others.
    fn plan(&self, alone: bool, waited: bool) -> Plan {
        let mut guard = lock(&self.state);
        let plan = self.plan_locked(&mut guard, alone, waited);
        // Said under the lock, so that whoever queues a record afterwards sees it.
        guard.hungry = matches!(plan, Plan::Nothing);
        self.commit.set_idle(alone && guard.hungry);
        plan
    }

    fn plan_locked(&self, state: &mut super::State, alone: bool, waited: bool) -> Plan {
        if state.fault.is_some() || state.closed {
            return Plan::Over;
        }
        if alone && state.durable < state.sync_upto && state.sync_upto <= state.acked {
            return self.sync_all(state);
        }
        let says = state.start_wanted > state.start_said;
        if alone && says && self.config.sync == Sync::None {
            // What says where the log begins must not stand behind a hole: recovery would cut it off, with the segments before it gone.
            let behind = state.durable < state.acked;
            return if behind { self.sync_all(state) } else { self.control(state, RecordKind::Start) };
        }
        if let Some(record) = state.queue.front() {
            let gathers = state.used < self.config.group_bytes && !state.closing && state.room.is_empty();
            if !waited && gathers {
                return Plan::Delay;
            }
            let alone_len = (GROUP_HEADER + RECORD_HEADER + record.len()) as u64;
            if alone_len > state.active.room() && !self.rotate(state) {
                // With `Sync::None` the old segment is made durable first, so that one sync is enough ever after.
                return if alone && state.durable < state.acked { self.sync_all(state) } else { Plan::Nothing };
            }
            return Plan::Group(Box::new(self.group(state)));
        }
        if !state.room.is_empty() || !alone {
            return Plan::Nothing;
        }
        if state.durable < state.acked && state.closing {
            return self.sync_all(state);
        }
        if says {
            return self.control(state, RecordKind::Start);
        }
        if state.closing {
            return self.control(state, RecordKind::End);
        }
        Plan::Nothing
    }

    fn sync_all(&self, state: &mut super::State) -> Plan {
        Plan::Sync(state.active.file.clone(), state.acked)
    }

    /// Goes to the next segment, if there is one.
    fn rotate(&self, state: &mut super::State) -> bool {
        if self.config.sync == Sync::None && state.durable < state.acked {
            return false;
        }
        let Some(next) = state.ready.pop_front() else {
            // After a failure the next try is for those who ask anew.
            if state.no_segment.is_none() {
                state.segment_needed = true;
                self.maintain.rouse();
            }
            return false;
        };
        let (number, header) = (next.header.number, next.header);
        state.active = next.into();
        let first_lsn = state.next_lsn - state.queue.len() as u64;
        state.kept.push_back(super::Kept { number, header, first_lsn });
        true
    }

    /// As many records as fit.
    fn group(&self, state: &mut super::State) -> Group {
        let most = if self.config.sync == Sync::Each { 1 } else { usize::MAX };
        let room = usize::try_from(state.active.room()).unwrap_or(usize::MAX);
        let first_lsn = state.next_lsn - state.queue.len() as u64;
        let (mut records, mut len, mut spent) = (Vec::new(), GROUP_HEADER, 0);
        while let Some(record) = state.queue.front() {
            let more = len + RECORD_HEADER + record.len();
            if records.len() == most || more > room || (!records.is_empty() && more > self.config.group_bytes) {
                break;
            }
            len = more;
            spent += cost(record.len());
            state.queue_worst = state.queue_worst.saturating_sub(state.worst(record.len()));
            records.extend(state.queue.pop_front());
        }
        // Where a caller's records end is not known here; with all of them gone, all callers are.
        let callers = if state.queue.is_empty() { std::mem::take(&mut state.callers) } else { 0 };
        let count = records.len() as u32;
        let through = first_lsn + u64::from(count) - 1;
        // What is not durable when it is written promises nothing about the beginning.
        let log_start = if self.config.sync == Sync::None { state.log_start } else { state.start_wanted };
        let landed = Landed::Group { through, cost: spent, callers, log_start };
        self.head(state, len, first_lsn, count, landed, records, None)
    }

    /// A group that only says something.
    fn control(&self, state: &mut super::State, kind: RecordKind) -> Plan {
        let len = GROUP_HEADER + RECORD_HEADER;
        if len as u64 > state.active.room() && !self.rotate(state) {
            return Plan::Nothing;
        }
        let first_lsn = state.next_lsn - state.queue.len() as u64;
        let landed = match kind {
            RecordKind::End => Landed::End,
            _ => Landed::Group { through: first_lsn - 1, cost: 0, callers: 0, log_start: state.start_wanted },
        };
        Plan::Group(Box::new(self.head(state, len, first_lsn, 0, landed, Vec::new(), Some(kind))))
    }

    #[allow(clippy::too_many_arguments)] // one value each, all of them different
    fn head(
        &self,
        state: &mut super::State,
        len: usize,
        first_lsn: Lsn,
        count: u32,
        landed: Landed,
        records: Vec<Bytes>,
        control: Option<RecordKind>,
    ) -> Group {
        let log_start = match landed {
            Landed::Group { log_start, .. } => log_start,
            Landed::Synced(_) | Landed::End => state.start_wanted,
        };
        let header = GroupHeader {
            len: len as u32,
            first_lsn,
            count,
            epoch: state.epoch,
            durable_through: state.durable,
            log_start,
            segments_through: state.segments_through,
        };
        state.start_said = state.start_said.max(log_start);
        let active = &mut state.active;
        let place = format::Place { salt: active.header.salt, offset: active.offset };
        let block_size = active.header.block_size;
        active.offset += header.padded(block_size);
        Group { file: active.file.clone(), place, header, block_size, records, control, landed }
    }

    /// Begins to write a group.
    fn write(&self, group: Group) -> Answer {
        let Group { file, place, header, block_size, records, control, .. } = group;
        let len = header.padded(block_size) as usize;
        let data = records.iter().map(|record| (RecordKind::Data, &record[..]));
        let all = data.chain(control.iter().map(|kind| (*kind, &[][..])));
        let Some(guard) = lock(&self.lock).clone() else {
            return Box::pin(async { Err(io::Error::other("the log is closed")) });
        };
        let bytes = self.buffer(len, &guard, |out| encode_group(out, place, &header, all));
        let durable = self.config.sync != Sync::None || control.is_some();
        #[cfg(feature = "planted")]
        let durable = durable && !crate::planted::is(crate::planted::Bug::AckBeforeSync);
        Box::pin(async move {
            let (result, _) = if durable {
                file.write_durable_at(bytes, place.offset).await
            } else {
                file.write_at(bytes, place.offset).await
            };
            match result {
                Ok(n) if n == len => Ok(()),
                Ok(n) => Err(io::Error::other(format!("{n} bytes of {len} were written"))),
                Err(error) => Err(error),
            }
        })
    }

    /// A buffer that was filled; of the file system's pool, where that has one.
    fn buffer(&self, len: usize, guard: &Arc<Lock>, fill: impl FnOnce(&mut [u8])) -> Bytes {
        match self.place.fs.buffer_pool().try_acquire(len) {
            Some(mut buf) => {
                buf.resize(len);
                fill(&mut buf);
                lend(buf, guard)
            }
            None => {
                let mut buf = AlignedBuf::zeroed(len);
                fill(&mut buf);
                lend(Aligned(buf), guard)
            }
        }
    }

    /// Something is over.
    fn land(&self, what: &'static str, result: io::Result<()>, landed: Landed) {
        let mut state = lock(&self.state);
        if state.fault.is_some() {
            return;
        }
        if let Err(cause) = result {
            state.fail(WalError::ReadOnly { what, cause: Arc::new(cause) });
            return;
        }
        match landed {
            Landed::Group { through, cost, callers, log_start } => {
                state.acked = through;
                if self.config.sync != Sync::None {
                    state.durable = through;
                }
                state.used -= cost;
                state.crowd = callers;
                if log_start > state.log_start {
                    state.log_start = log_start;
                    self.maintain.rouse();
                }
                state.admit(&self.config);
            }
            Landed::Synced(through) => state.durable = state.durable.max(through),
            Landed::End => state.closed = true,
        }
        if state.segment_needed || state.active.offset * 4 >= state.active.header.segment_size {
            self.maintain.rouse();
        }
    }
}
