//! A range of a file as chunks in order, read ahead.

use super::{BLOCK, OFFSET_MAX, Transfer};
use crate::File;
use io_engine::{
    Acquire, PoolBuf,
    core::{IoBuf as _, Slice},
};
use std::{
    collections::VecDeque,
    fmt,
    future::{Future as _, poll_fn},
    io,
    ops::{Bound, RangeBounds},
    pin::Pin,
    task::{Context, Poll},
};

/// The chunks of a range of a file, in order; a `Stream` with the feature `tokio` or `futures-io`.
///
/// They are buffers of the file system's [pool](crate::FileSystem::buffer_pool), which they return to when they are dropped.
///
/// Each is as long as was asked for, but for the last one: it ends where the range or the file does. At the end of the file, and after
/// an error, there is nothing more. Reads begin with the first poll. Dropped, it loses interest in what it has begun to read ahead.
#[must_use = "nothing is read before it is polled"]
pub struct Chunks {
    file: File,
    size: usize,
    in_flight_max: usize,
    /// Offset of the next chunk to begin.
    next: u64,
    end: u64,
    /// In order, each with the bytes of it that are wanted.
    going: VecDeque<(Transfer<Slice<PoolBuf>>, usize)>,
    /// A buffer that is waited for, where the pool has none and nothing is in flight.
    waiting: Option<Acquire>,
}

impl File {
    /// A range of the file in chunks of `size` bytes, with `read_ahead` more of them being read while one is used. An open end means to
    /// the end of the file.
    ///
    /// A direct file wants offsets that are multiples of its block size, so `size` and the start of the range have to be; the end of
    /// the range need not.
    ///
    /// # Panics
    /// If `size` is 0.
    pub fn chunks(&self, range: impl RangeBounds<u64>, size: usize, read_ahead: usize) -> Chunks {
        assert!(size > 0, "chunks of no bytes have no end");
        let next = match range.start_bound() {
            Bound::Included(&at) => at,
            Bound::Excluded(&at) => at.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&at) => at.saturating_add(1),
            Bound::Excluded(&at) => at,
            Bound::Unbounded => OFFSET_MAX,
        };
        let in_flight_max = read_ahead.saturating_add(1);
        Chunks {
            file: self.clone(),
            size,
            in_flight_max,
            next,
            end: end.min(OFFSET_MAX),
            going: VecDeque::new(),
            waiting: None,
        }
    }
}

impl Chunks {
    /// The next chunk, or `None` after the last one. Dropped before it is over, the future loses nothing.
    pub async fn next(&mut self) -> Option<io::Result<PoolBuf>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<PoolBuf>>> {
        self.read_ahead(cx);
        let Some((front, wanted)) = self.going.front_mut() else {
            return if self.waiting.is_some() { Poll::Pending } else { Poll::Ready(None) };
        };
        let wanted = *wanted;
        let (result, buf) = match front.poll(cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => return Poll::Pending,
        };
        let mut buf = buf.into_inner();
        self.going.pop_front();
        let read = match result {
            Ok(read) => read.min(wanted),
            Err(error) => {
                self.finish();
                return Poll::Ready(Some(Err(error)));
            }
        };
        buf.resize(read);
        if read < wanted {
            self.finish();
        } else {
            // A place is free while the caller works on this one.
            self.read_ahead(cx);
        }
        Poll::Ready((read > 0).then_some(Ok(buf)))
    }

    /// Begins as many reads as may be in flight.
    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        while self.going.len() < self.in_flight_max && self.next < self.end {
            let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
            let wanted = self.size.min(left);
            let direct = self.file.handle().facts().direct;
            let room = if direct { wanted.next_multiple_of(BLOCK) } else { wanted };
            let Some(buf) = self.buf(room, cx) else { return };
            let read = self.file.read_at(buf.slice(..room), self.next);
            self.next += wanted as u64;
            self.going.push_back((Transfer::begin(read), wanted));
        }
    }

    /// A buffer of the pool. It is waited for only if it is the next one that is needed: those in flight come first.
    fn buf(&mut self, room: usize, cx: &mut Context<'_>) -> Option<PoolBuf> {
        if self.waiting.is_none() {
            let pool = self.file.file_system().buffer_pool();
            let buf = pool.try_acquire(room);
            if buf.is_some() || !self.going.is_empty() {
                return buf;
            }
            self.waiting = Some(pool.acquire(room));
        }
        match Pin::new(self.waiting.as_mut()?).poll(cx) {
            Poll::Ready(buf) => {
                self.waiting = None;
                Some(buf)
            }
            Poll::Pending => None,
        }
    }

    fn finish(&mut self) {
        self.next = self.end;
        self.waiting = None;
        self.going.clear();
    }
}

#[cfg(any(feature = "tokio", feature = "futures-io"))]
impl futures_core::Stream for Chunks {
    type Item = io::Result<PoolBuf>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunks({} bytes each, {} in flight, next at {})", self.size, self.going.len(), self.next)
    }
}
