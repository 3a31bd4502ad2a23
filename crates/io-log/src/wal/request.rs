//! The futures of those who append.

use super::{
    Handle, State,
    state::{Entry, Slot},
};
use crate::{
    Lsn, WalError,
    host::{Seat, lock},
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// An append under way; see [`Wal::append`](crate::Wal::append). Nothing happens before it is polled. Dropped before its record is
/// queued, nothing is appended; dropped later, the record is written all the same, by whoever comes next.
#[must_use = "nothing is appended before it is polled"]
pub struct Append(pub(super) Request);

/// Appends under way; see [`Wal::append_many`](crate::Wal::append_many). Dropped in the middle, a beginning of the records is appended.
#[must_use = "nothing is appended before it is polled"]
pub struct AppendMany(pub(super) Request);

/// A record that is going to be queued; see [`Wal::enqueue`](crate::Wal::enqueue).
#[must_use = "nothing is queued before it is polled"]
pub struct Enqueue(pub(super) Request);

/// Waits until all is durable; see [`Wal::flush`](crate::Wal::flush).
#[must_use = "nothing is flushed before it is polled"]
pub struct Flush(pub(super) Request);

/// What all of them are.
pub(super) struct Request {
    handle: Arc<Handle>,
    seat: Seat,
    until: Until,
    step: Step,
    /// It has let others go first.
    yielded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Queued,
    Acknowledged,
    Flushed,
}

enum Step {
    One(Bytes),
    Many(VecDeque<Bytes>),
    Flush,
    Room(Arc<Slot>, u64),
    Queued(Range<Lsn>),
    Over,
}

impl Request {
    pub(super) fn one(handle: &Arc<Handle>, record: Bytes, until: Until) -> Request {
        Request { handle: handle.clone(), seat: Seat::default(), until, step: Step::One(record), yielded: false }
    }

    pub(super) fn many(handle: &Arc<Handle>, records: VecDeque<Bytes>) -> Request {
        let step = Step::Many(records);
        Request { handle: handle.clone(), seat: Seat::default(), until: Until::Acknowledged, step, yielded: false }
    }

    pub(super) fn flush(handle: &Arc<Handle>) -> Request {
        let step = Step::Flush;
        Request { handle: handle.clone(), seat: Seat::default(), until: Until::Flushed, step, yielded: false }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Range<Lsn>, WalError>> {
        let handle = self.handle.clone();
        let shared = &handle.shared;
        let mut state = lock(&shared.state);
        if let Err(error) = self.begin(&mut state) {
            self.step = Step::Over;
            return Poll::Ready(Err(error));
        }
        if state.segment_needed {
            shared.maintain.rouse();
        }
        let mut outcome = self.look(&state);
        let kick = state.used * 2 >= shared.config.group_bytes.min(shared.config.buffer_bytes);
        let queued = outcome.is_some() && self.until == Until::Queued;
        let gathers = !self.yielded && state.hungry && state.callers > 0 && state.callers < state.crowd;
        drop(state);
        if outcome.is_none() {
            shared.waiters.sit(&mut self.seat, cx.waker());
            if gathers && self.until == Until::Acknowledged {
                // Those of the last group were woken just now and come back with more: they go first, and all share one write.
                self.yielded = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if outcome.is_none() || (queued && kick) {
            shared.drive();
        }
        if outcome.is_none() {
            outcome = self.look(&lock(&shared.state));
        }
        match outcome {
            None => Poll::Pending,
            Some(result) => {
                shared.waiters.leave(&mut self.seat);
                self.step = Step::Over;
                Poll::Ready(result)
            }
        }
    }

    /// Queues the records, if they are not, as far as there is room.
    fn begin(&mut self, state: &mut State) -> Result<(), WalError> {
        let shared = &self.handle.shared;
        match &self.step {
            Step::Room(..) | Step::Queued(_) | Step::Over => return Ok(()),
            Step::Flush => {
                let all = 1..state.next_lsn;
                if let Some(error) = state.fault.clone().or_else(|| state.closed.then_some(WalError::Closed)) {
                    return Err(error);
                }
                state.sync_upto = state.sync_upto.max(all.end - 1);
                self.step = Step::Queued(all);
                shared.commit.rouse();
                return Ok(());
            }
            Step::One(record) => check(record, state)?,
            Step::Many(records) => records.iter().try_for_each(|record| check(record, state))?,
        }
        if let Some(error) = state.refusal() {
            return Err(error);
        }
        self.step = match std::mem::replace(&mut self.step, Step::Over) {
            Step::One(record) if state.room.is_empty() && state.has_room(record.len(), &shared.config) => {
                let lsn = state.push(record);
                state.callers += 1;
                Step::Queued(lsn..lsn + 1)
            }
            Step::One(record) => wait_for_room(state, [record].into()),
            Step::Many(records) if records.is_empty() => Step::Queued(state.next_lsn..state.next_lsn),
            Step::Many(records) => wait_for_room(state, records),
            other => other,
        };
        state.admit(&shared.config);
        if state.hungry {
            shared.commit.rouse();
        }
        Ok(())
    }

    /// What came of it, if it is over.
    fn look(&mut self, state: &State) -> Option<Result<Range<Lsn>, WalError>> {
        if let Step::Room(slot, count) = &self.step {
            let fate = lock(&slot.0);
            if let Some(error) = fate.refused.clone() {
                return Some(Err(error));
            }
            if let (true, Some(first)) = (fate.over, fate.first) {
                let all = first..first + count;
                drop(fate);
                self.step = Step::Queued(all);
            }
        }
        let Step::Queued(range) = &self.step else { return state.fault.clone().map(Err) };
        let sync = self.handle.shared.config.sync;
        let reached = match self.until {
            Until::Queued => return Some(Ok(range.clone())),
            Until::Acknowledged => state.acked,
            Until::Flushed => state.flushed(sync),
        };
        if range.end <= reached + 1 || range.is_empty() {
            return Some(Ok(range.clone()));
        }
        state.fault.clone().map(Err)
    }
}

fn check(record: &Bytes, state: &State) -> Result<(), WalError> {
    let (len, max) = (record.len() as u64, state.record_max);
    if len > max { Err(WalError::RecordTooLarge { len, max }) } else { Ok(()) }
}

fn wait_for_room(state: &mut State, records: VecDeque<Bytes>) -> Step {
    let (slot, count) = (Arc::new(Slot::default()), records.len() as u64);
    state.room.push_back(Entry { records, slot: slot.clone() });
    Step::Room(slot, count)
}

impl Drop for Request {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        shared.waiters.leave(&mut self.seat);
        if let Step::Room(slot, _) = &self.step {
            let mut state = lock(&shared.state);
            state.room.retain(|entry| !Arc::ptr_eq(&entry.slot, slot));
            if state.admit(&shared.config) {
                shared.commit.rouse();
            }
        }
        // It was to go on with what it had been woken for: somebody else does.
        if !matches!(self.step, Step::Over) && (shared.commit.is_woken() || shared.maintain.is_woken()) {
            shared.waiters.wake_all();
        }
    }
}

impl Future for Append {
    type Output = Result<Lsn, WalError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_ok(|range| range.start)
    }
}

impl Future for AppendMany {
    type Output = Result<Range<Lsn>, WalError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Future for Enqueue {
    type Output = Result<Lsn, WalError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_ok(|range| range.start)
    }
}

impl Future for Flush {
    type Output = Result<Lsn, WalError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_ok(|range| range.end - 1)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match &self.step {
            Step::One(_) | Step::Many(_) | Step::Flush => "not begun",
            Step::Room(..) => "waits for room",
            Step::Queued(_) => "queued",
            Step::Over => "over",
        };
        write!(f, "({step}, until {:?})", self.until)
    }
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Append{:?}", self.0)
    }
}

impl fmt::Debug for AppendMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppendMany{:?}", self.0)
    }
}

impl fmt::Debug for Enqueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enqueue{:?}", self.0)
    }
}

impl fmt::Debug for Flush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flush{:?}", self.0)
    }
}
