//! The write-ahead log.

mod commit;
mod maintain;
mod recover;
mod request;
mod segment;
mod state;

pub use request::{Append, AppendMany, Enqueue, Flush};
pub(crate) use segment::{Active, Ready};
pub(crate) use state::Kept;
use state::State;

use crate::{
    Lsn, Reader, WalConfig, WalError,
    disk::{Lock, Place},
    host::{Host, Seat, Waiters, hosted, lock},
};
use bytes::Bytes;
use io_fs::FileSystem;
use request::{Request, Until};
use std::{
    fmt,
    future::{Future, poll_fn},
    path::Path,
    sync::{Arc, Mutex},
    task::Poll,
};

/// A write-ahead log: records in order, durable when they are acknowledged. Clones are the same log.
///
/// It is driven by those who use it: no thread, no runtime. Whoever waits writes what is queued, for all that wait; while one group is
/// being written the next one collects. A future that is dropped, or that nobody polls, holds up nobody else.
///
/// Records are numbered one by one, in the order in which they were queued, and acknowledged in that order. A record is acknowledged only
/// if it and all before it are durable.
///
/// A log that is dropped without [`Wal::close`] is as if the process had been killed: what was acknowledged is there, of the rest
/// perhaps a beginning.
#[derive(Clone)]
pub struct Wal(Arc<Handle>);

/// What the clones of a log share; when it goes, nobody drives the log any more.
struct Handle {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) place: Place,
    config: WalConfig,
    recovery: Recovery,
    state: Mutex<State>,
    pub(crate) waiters: Arc<Waiters>,
    commit: Arc<Host>,
    maintain: Arc<Host>,
    /// Given back when the log is closed.
    lock: Mutex<Option<Arc<Lock>>>,
    zeros: Mutex<Option<Bytes>>,
}

/// What [`Wal::open`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Records that are there.
    pub records: u64,
    /// The first of them; the next one to come, if there is none.
    pub first_lsn: Lsn,
    /// The last of them; `first_lsn - 1`, if there is none.
    pub last_lsn: Lsn,
    /// Bytes behind the last record that were being written when everything stopped, and were cut.
    pub torn_tail_bytes: u64,
    /// The log was closed, or is new.
    pub clean_close: bool,
}

/// How far one may read.
pub(crate) struct Readable {
    pub(crate) acked: Lsn,
    pub(crate) log_start: Lsn,
    /// The segment that a record is in, and where what is written of it ends.
    pub(crate) segment: Option<(Kept, u64)>,
    pub(crate) fault: Option<WalError>,
    pub(crate) closed: bool,
}

impl Wal {
    /// Opens the log in a directory for writing, and makes both if they are missing. What was cut off by a crash is cut and reported
    /// ([`Wal::recovery`]).
    ///
    /// # Errors
    /// [`WalError::Damaged`] if something is missing that was acknowledged, [`WalError::UnknownVersion`], [`WalError::InUse`] after a
    /// second and a half, [`WalError::Config`], and those of the file system. Nothing was changed but, with the last, by a recovery that
    /// the next one will finish.
    pub async fn open(fs: &FileSystem, dir: impl AsRef<Path>, config: WalConfig) -> Result<Wal, WalError> {
        config.validate()?;
        let shared = hosted(recover::open(Place::new(fs, dir), config)).await?;
        shared.commit.begin(commit::commit(shared.clone()));
        shared.maintain.begin(maintain::maintain(shared.clone()));
        Ok(Wal(Arc::new(Handle { shared })))
    }

    /// What was found when the log was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.0.shared.recovery
    }

    /// The settings.
    pub fn config(&self) -> &WalConfig {
        &self.0.shared.config
    }

    /// The largest record in bytes.
    pub fn record_max(&self) -> u64 {
        lock(&self.0.shared.state).record_max
    }

    /// Appends a record, and answers its number when it is durable (with [`Sync::None`](crate::Sync::None): when it is written).
    ///
    /// # Errors
    /// [`WalError::RecordTooLarge`] and [`WalError::NoSpace`]: it was not queued, and the log goes on. [`WalError::ReadOnly`]: it may be
    /// there or not. [`WalError::Closed`].
    pub fn append(&self, record: impl Into<Bytes>) -> Append {
        Append(Request::one(&self.0, record.into(), Until::Acknowledged))
    }

    /// Appends records with consecutive numbers, and answers these when all of them are durable. They are not one step: after a crash a
    /// beginning of them may be there.
    ///
    /// # Errors
    /// As [`Wal::append`]; with [`WalError::NoSpace`] a beginning of them may have been appended.
    pub fn append_many(&self, records: impl IntoIterator<Item = Bytes>) -> AppendMany {
        AppendMany(Request::many(&self.0, records.into_iter().collect()))
    }

    /// Queues a record, and answers its number as soon as there is room for it. It will be written with the next one that somebody waits
    /// for, or when there is much.
    ///
    /// # Errors
    /// As [`Wal::append`]. That it could be queued does not say that it can be written: this says [`Wal::flush`].
    pub fn enqueue(&self, record: impl Into<Bytes>) -> Enqueue {
        Enqueue(Request::one(&self.0, record.into(), Until::Queued))
    }

    /// Waits until all that was queued before is durable, and answers the number of the last record.
    ///
    /// # Errors
    /// [`WalError::ReadOnly`], [`WalError::Closed`].
    pub fn flush(&self) -> Flush {
        Flush(Request::flush(&self.0))
    }

    /// The last record that is durable; 0 before the first one.
    pub fn durable_lsn(&self) -> Lsn {
        lock(&self.0.shared.state).durable
    }

    /// The number that the next record will get.
    pub fn next_lsn(&self) -> Lsn {
        lock(&self.0.shared.state).next_lsn
    }

    /// The first record that is there, or would be.
    pub fn first_lsn(&self) -> Lsn {
        lock(&self.0.shared.state).log_start
    }

    /// Gives up the records before `lsn`, as far as they fill whole segments. It is durable when it is answered, and so is that the log
    /// begins there. The segments are used again or removed. Records that are not durable are never given up.
    ///
    /// # Errors
    /// [`WalError::Io`] if a file cannot be removed: the log begins later all the same. [`WalError::ReadOnly`], [`WalError::Closed`].
    pub async fn truncate_before(&self, lsn: Lsn) -> Result<(), WalError> {
        let shared = &self.0.shared;
        let wanted = {
            let mut state = lock(&shared.state);
            if let Some(error) = state.refusal() {
                return Err(error);
            }
            let firsts = state.kept.iter().map(|kept| kept.first_lsn);
            let start = maintain::start_for(firsts, lsn.min(state.durable + 1)).unwrap_or(0);
            state.start_wanted = state.start_wanted.max(start);
            (state.not_removed, state.no_segment) = (None, None);
            start
        };
        shared.commit.rouse();
        shared.maintain.rouse();
        self.until(move |state: &State, config: &WalConfig| {
            if let Some(error) = state.not_removed.clone().or_else(|| state.fault.clone()) {
                return Some(Err(error));
            }
            if state.log_start >= wanted && state.retired() <= config.recycle {
                return Some(Ok(()));
            }
            if let Some(error) = state.no_segment.clone().filter(|_| state.is_full()) {
                return Some(Err(error));
            }
            state.closed.then_some(Err(WalError::Closed))
        })
        .await
    }

    /// Reads the records from `from` on, up to the last one that is acknowledged by then.
    pub fn reader(&self, from: Lsn) -> Reader {
        Reader::of_log(self.0.shared.clone(), from, false)
    }

    /// As [`Wal::reader`], and waits for more at the end. It ends when the log is closed, or with its error when it fails.
    pub fn tail(&self, from: Lsn) -> Reader {
        Reader::of_log(self.0.shared.clone(), from, true)
    }

    /// Writes all that is queued, and that the log was closed. The lock is given back, and all clones answer [`WalError::Closed`].
    ///
    /// # Errors
    /// [`WalError::ReadOnly`], and [`WalError::NoSpace`] if there was no block left to say so in: all acknowledged records are there then,
    /// and the next opening reports a log that was not closed. [`WalError::Closed`] if it was closed before.
    pub async fn close(self) -> Result<(), WalError> {
        let shared = &self.0.shared;
        {
            let mut state = lock(&shared.state);
            if state.closing {
                return Err(state.fault.clone().unwrap_or(WalError::Closed));
            }
            (state.closing, state.no_segment) = (true, None);
        }
        shared.commit.rouse();
        let closed = self
            .until(|state: &State, _: &WalConfig| match (&state.fault, &state.no_segment) {
                (Some(error), _) => Some(Err(error.clone())),
                _ if state.closed => Some(Ok(())),
                (None, Some(error)) if state.queue.is_empty() && state.is_full() => Some(Err(error.clone())),
                _ => None,
            })
            .await;
        if let Err(error) = &closed {
            lock(&shared.state).fail(error.clone());
        }
        shared.commit.rouse();
        shared.maintain.rouse();
        let (commit, maintain) = (shared.commit.clone(), shared.maintain.clone());
        self.until(move |_: &State, _: &WalConfig| (commit.is_over() && maintain.is_over()).then_some(())).await;
        lock(&shared.state).closed = true;
        let (lent, held) = (lock(&shared.zeros).take(), lock(&shared.lock).take());
        drop((lent, held));
        shared.waiters.wake_all();
        closed
    }

    /// Drives the log until this answers.
    fn until<T>(&self, look: impl FnMut(&State, &WalConfig) -> Option<T>) -> impl Future<Output = T> {
        until(self.0.shared.clone(), look)
    }
}

/// Drives the log until `look` answers.
async fn until<T>(shared: Arc<Shared>, mut look: impl FnMut(&State, &WalConfig) -> Option<T>) -> T {
    let mut place = Sitting { shared: shared.clone(), seat: Seat::default() };
    poll_fn(move |cx| {
        shared.waiters.sit(&mut place.seat, cx.waker());
        shared.drive();
        let looked = look(&lock(&shared.state), &shared.config);
        looked.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// A place among those who wait. Who leaves it hands on what it was woken for.
pub(crate) struct Sitting {
    pub(crate) shared: Arc<Shared>,
    pub(crate) seat: Seat,
}

impl Drop for Sitting {
    fn drop(&mut self) {
        self.shared.waiters.leave(&mut self.seat);
        if self.shared.commit.is_woken() || self.shared.maintain.is_woken() {
            self.shared.waiters.wake_all();
        }
    }
}

impl Shared {
    /// Goes on with whatever is to be gone on with.
    pub(crate) fn drive(&self) {
        self.commit.drive();
        if self.maintain.is_woken() {
            self.maintain.drive();
            // What was prepared may be what the other one waits for.
            self.commit.drive();
        }
    }

    /// Where the record `lsn` is, and how far one may read now.
    pub(crate) fn readable(&self, lsn: Lsn) -> Readable {
        let state = lock(&self.state);
        let kept = state.kept.iter().rev().find(|kept| kept.first_lsn <= lsn).copied();
        let segment = kept.map(|kept| {
            let active = kept.number == state.active.header.number;
            (kept, if active { state.active.offset } else { kept.header.segment_size })
        });
        let (acked, log_start, fault) = (state.acked, state.log_start, state.fault.clone());
        Readable { acked, log_start, segment, fault, closed: state.closed }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.commit.abandon();
        self.shared.maintain.abandon();
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0.shared.state);
        let dir = self.0.shared.place.dir.display();
        write!(f, "Wal({dir}, records {} to {}", state.log_start, state.next_lsn - 1)?;
        match &state.fault {
            Some(fault) => write!(f, ", {fault})"),
            None if state.closed => f.write_str(", closed)"),
            None => f.write_str(")"),
        }
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + std::marker::Sync + 'static>() {}
    shared_between_threads::<Wal>();
    const fn sent_to_threads<T: Send + 'static>() {}
    sent_to_threads::<Append>();
    sent_to_threads::<Reader>();
};
