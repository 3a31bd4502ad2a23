//! All records in order, read ahead.

use super::{SegmentStore, opened::Opened, segments::Sealed};
use crate::{Lsn, Record, WalError};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The records of a range in order; a `Stream`. See [`SegmentStore::scan`].
#[must_use = "nothing is read before it is polled"]
pub struct Scan {
    store: SegmentStore,
    lsns: Range<Lsn>,
    /// Transfers that are begun before they are needed.
    ahead: usize,
    transfer_max: u64,
    /// Segments that are still to come, in order.
    segments: VecDeque<Sealed>,
    opening: Option<BoxFuture<Result<Arc<Opened>, WalError>>>,
    /// The segment that transfers are begun in, and its cells that are left.
    current: Option<(Arc<Opened>, Range<usize>)>,
    /// In order.
    going: VecDeque<Going>,
    ready: VecDeque<Record>,
    /// Why there is no more; given out behind what is ready.
    failed: Option<WalError>,
    /// What looks like damage, while it is found out whether it is.
    explaining: Option<BoxFuture<WalError>>,
}

struct Going {
    of: Arc<Opened>,
    cells: Range<usize>,
    read: BoxFuture<Result<Bytes, WalError>>,
    /// What it has brought, once it was polled to its end ahead of its turn.
    over: Option<Result<Bytes, WalError>>,
}

impl SegmentStore {
    /// The sealed records of a range in order, with transfers of up to [`StoreConfig::transfer_max`](super::StoreConfig::transfer_max) bytes
    /// and [`StoreConfig::read_ahead`](super::StoreConfig::read_ahead) of them in flight. What is sealed later is not among them.
    ///
    /// A range that begins before the first record gives [`WalError::Truncated`], as does a segment that is removed before its turn;
    /// damage ends the scan behind what is good in front of it.
    pub fn scan(&self, lsns: Range<Lsn>) -> Scan {
        let config = &self.0.config;
        self.scan_with(lsns, config.read_ahead - 1, config.transfer_max as u64)
    }

    pub(super) fn scan_with(&self, lsns: Range<Lsn>, ahead: usize, transfer_max: u64) -> Scan {
        let sealed = self.sealed();
        let wanted = |sealed: &&Sealed| sealed.first < lsns.end && lsns.start < sealed.next;
        let segments = sealed.iter().filter(wanted).cloned().collect();
        // From 0 on is from wherever it begins.
        let first = self.first_lsn();
        let gone = lsns.start > 0 && lsns.start < lsns.end && lsns.start < first;
        let failed = gone.then_some(WalError::Truncated { first_lsn: first });
        let mut scan = Scan {
            store: self.clone(),
            lsns,
            ahead,
            transfer_max,
            segments,
            opening: None,
            current: None,
            going: VecDeque::new(),
            ready: VecDeque::new(),
            failed,
            explaining: None,
        };
        if scan.failed.is_some() {
            scan.segments.clear();
        }
        scan
    }
}

impl Scan {
    /// The next record; `None` at the end, and after an error.
    ///
    /// # Errors
    /// As [`SegmentStore::read`].
    pub async fn next(&mut self) -> Option<Result<Record, WalError>> {
        poll_fn(|cx| self.poll_record(cx)).await
    }

    fn poll_record(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Record, WalError>>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(record)));
            }
            if let Some(explaining) = &mut self.explaining {
                self.failed = Some(ready!(explaining.as_mut().poll(cx)));
                self.explaining = None;
            }
            if let Some(failed) = self.failed.take() {
                self.finish();
                return Poll::Ready(Some(Err(failed)));
            }
            self.read_ahead(cx);
            match self.going.front_mut() {
                Some(front) => {
                    let read = match front.over.take() {
                        Some(read) => read,
                        None => ready!(front.read.as_mut().poll(cx)),
                    };
                    let Some(front) = self.going.pop_front() else { continue };
                    if read.is_ok() {
                        // The device works while checksums are computed.
                        self.read_ahead(cx);
                    }
                    self.take(front, read);
                }
                None if self.failed.is_some() => {}
                None if self.opening.is_some() => return Poll::Pending,
                None => return Poll::Ready(None),
            }
        }
    }

    /// What a transfer has brought becomes records.
    fn take(&mut self, front: Going, read: Result<Bytes, WalError>) {
        let Going { of, cells, .. } = front;
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failed = Some(error);
                return;
            }
        };
        let (ready, lsns) = (&mut self.ready, &self.lsns);
        if let Err(error) = of.decode(&bytes, &cells, lsns, |record| ready.push_back(record)) {
            let pool = self.store.0.pool.clone();
            self.explaining = Some(Box::pin(async move {
                let explained = of.explained(&pool, Err::<(), _>(error.clone())).await;
                explained.err().unwrap_or(error)
            }));
        }
    }

    /// Begins as many transfers as may be in flight.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        while self.going.len() <= self.ahead && self.failed.is_none() {
            let Some((of, cells)) = &mut self.current else {
                if !self.poll_open(cx) {
                    return;
                }
                continue;
            };
            if cells.start == cells.end {
                self.current = None;
                continue;
            }
            let now = of.index.fitting(cells, self.transfer_max);
            cells.start = now.end;
            let (of, pool) = (of.clone(), self.store.0.pool.clone());
            let (reader, wanted) = (of.clone(), now.clone());
            let mut read: BoxFuture<_> = Box::pin(async move { reader.read(&pool, wanted).await });
            let over = match read.as_mut().poll(cx) {
                Poll::Ready(read) => Some(read),
                Poll::Pending => None,
            };
            self.going.push_back(Going { of, cells: now, read, over });
        }
    }

    /// Opens the next segment. False if there is none, or it takes its time.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> bool {
        let opening = match &mut self.opening {
            Some(opening) => opening,
            None => {
                let Some(sealed) = self.segments.pop_front() else { return false };
                let store = self.store.clone();
                self.opening.insert(Box::pin(async move { store.opened(&sealed).await }))
            }
        };
        let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return false };
        self.opening = None;
        match opened {
            Ok(opened) => {
                let cells = opened.index.cells(&self.lsns);
                self.current = Some((opened, cells));
            }
            // Behind what is being read.
            Err(error) if self.going.is_empty() => self.failed = Some(error),
            Err(error) => {
                self.segments.clear();
                self.opening = Some(Box::pin(async move { Err(error) }));
                return false;
            }
        }
        true
    }

    fn finish(&mut self) {
        self.segments.clear();
        (self.opening, self.current) = (None, None);
        self.going.clear();
        self.ready.clear();
    }
}

impl futures_core::Stream for Scan {
    type Item = Result<Record, WalError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_record(cx)
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan({:?}, {} transfers in flight)", self.lsns, self.going.len())
    }
}
