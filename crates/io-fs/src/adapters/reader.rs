//! The reading side of a cursor: chunks at and behind its position.

use super::{BLOCK, CursorOptions, OFFSET_MAX, Transfer};
use crate::File;
use io_engine::core::{AlignedBuf, IoBuf as _, Slice};
use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
};

/// What was read around the position and behind it.
///
/// Where chunk follows upon chunk, some more are read ahead. A read elsewhere takes no more than it asks for, so that random reads of a
/// few bytes stay small.
#[derive(Debug)]
pub(super) struct Reader {
    /// In the order of their offsets, without gaps.
    queue: VecDeque<Chunk>,
    spare: Vec<AlignedBuf>,
    /// Where the last chunk ended that was used up: who goes on there reads in sequence.
    used_up_to: Option<u64>,
}

#[derive(Debug)]
struct Chunk {
    offset: u64,
    /// Bytes that were asked for.
    len: usize,
    /// The position that it was begun for.
    at: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Going(Transfer<Slice<AlignedBuf>>),
    Here(AlignedBuf),
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    fn is_short(&self) -> bool {
        matches!(&self.state, State::Here(buf) if buf.len() < self.len)
    }

    /// What it has at `position` and behind.
    fn bytes(&self, position: u64) -> &[u8] {
        match &self.state {
            State::Here(buf) => {
                usize::try_from(position - self.offset).ok().and_then(|skip| buf.get(skip..)).unwrap_or_default()
            }
            State::Going(_) => &[],
        }
    }
}

impl Reader {
    pub(super) fn new() -> Reader {
        Reader { queue: VecDeque::new(), spare: Vec::new(), used_up_to: None }
    }

    /// What is here at `position`, after [`poll_fill`](Reader::poll_fill): empty at the end of the file.
    pub(super) fn bytes(&self, position: u64) -> &[u8] {
        self.queue.front().filter(|chunk| chunk.offset <= position).map_or(&[], |chunk| chunk.bytes(position))
    }

    /// Reads until there is at least a byte at `position`, or the file has ended there. `wanted` bytes will be asked for in all.
    ///
    /// # Errors
    /// Those of the read. The next call reads again.
    pub(super) fn poll_fill(
        &mut self,
        file: &File,
        position: u64,
        wanted: usize,
        options: &CursorOptions,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            self.drop_up_to(position);
            let in_sequence = self.used_up_to == Some(position) || self.queue.len() > 1;
            let Some(front) = self.queue.front_mut() else {
                if position >= OFFSET_MAX {
                    return Poll::Ready(Ok(()));
                }
                let len = if in_sequence { options.chunk } else { wanted.min(options.chunk) };
                self.begin(file, position, len);
                continue;
            };
            if let State::Going(read) = &mut front.state {
                let polled = read.poll(cx).map(|(result, buf)| result.map(|read| self.put(buf.into_inner(), read)));
                if let Poll::Ready(Err(error)) = polled {
                    self.forget();
                    return Poll::Ready(Err(error));
                }
                if in_sequence {
                    self.read_ahead(file, options);
                }
                if polled.is_pending() {
                    return Poll::Pending;
                }
                continue;
            }
            if !front.bytes(position).is_empty() {
                return Poll::Ready(Ok(()));
            }
            // It is short, and the position is behind what it has. Only a read that was begun for this position knows that the file
            // ends here: it may have grown since another one.
            let ended = front.at == position;
            self.pop();
            self.used_up_to = Some(position);
            if ended {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Gives up what was read: the file changes.
    pub(super) fn forget(&mut self) {
        while !self.queue.is_empty() {
            self.pop();
        }
        self.used_up_to = None;
    }

    /// Drops chunks that end before `position`, and all of them if it is elsewhere.
    fn drop_up_to(&mut self, position: u64) {
        while let Some(front) = self.queue.front() {
            if position < front.offset {
                return self.forget();
            }
            if position < front.end() {
                return;
            }
            self.used_up_to = Some(front.end());
            self.pop();
        }
    }

    /// The front chunk is here. What was read ahead behind a short one is worth nothing: the file may have grown in between.
    fn put(&mut self, mut buf: AlignedBuf, read: usize) {
        let Some(front) = self.queue.front_mut() else { return };
        buf.resize(read);
        front.state = State::Here(buf);
        if front.is_short() {
            while self.queue.len() > 1 {
                self.queue.pop_back();
            }
        }
    }

    fn read_ahead(&mut self, file: &File, options: &CursorOptions) {
        while self.queue.len() <= options.read_ahead {
            let next = match self.queue.back() {
                Some(last) if !last.is_short() => last.end(),
                _ => return,
            };
            if next > OFFSET_MAX - options.chunk as u64 {
                return;
            }
            self.begin(file, next, options.chunk);
        }
    }

    fn begin(&mut self, file: &File, at: u64, len: usize) {
        let skipped = if file.handle().facts().direct { at % BLOCK as u64 } else { 0 };
        let left = usize::try_from(OFFSET_MAX - at).unwrap_or(usize::MAX);
        let len = (len + skipped as usize).next_multiple_of(BLOCK).min(left);
        let spare = self.spare.pop().filter(|buf| buf.capacity() >= len);
        let mut buf = spare.unwrap_or_else(|| AlignedBuf::with_capacity(len));
        buf.resize(0);
        let offset = at - skipped;
        let read = Transfer::begin(file.read_at(buf.slice(..len), offset));
        self.queue.push_back(Chunk { offset, len, at, state: State::Going(read) });
    }

    /// Drops the front chunk; its memory is used again.
    fn pop(&mut self) {
        if let Some(Chunk { state: State::Here(buf), .. }) = self.queue.pop_front() {
            if self.spare.len() < 2 {
                self.spare.push(buf);
            }
        }
    }
}
