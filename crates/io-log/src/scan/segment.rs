//! One segment, read in order through bounded buffers.

use crate::{
    disk::PIECE,
    format::{GroupFault, GroupHeader, RecordFault, Records, SegmentHeader, Step, Walk},
};
use bytes::{Bytes, BytesMut};
use io_fs::{Chunks, File};
use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, PoisonError},
};

/// Pieces that are read while one is used.
const READ_AHEAD: usize = 3;

/// The groups of a segment. It holds the pieces of the file that the present group is in, and what was read ahead.
pub(crate) struct SegmentScan {
    file: File,
    walk: Walk,
    /// Never locked: what is inside is not shared, and a reader is to be movable between threads in all its states.
    chunks: Option<Mutex<Chunks>>,
    pieces: VecDeque<(u64, Bytes)>,
    /// Where the next piece begins.
    read: u64,
    /// No byte at or behind it is read.
    end: u64,
}

/// What is at a place of a segment.
pub(crate) enum Found {
    /// A group whose header is sound; its records may be bad. `bytes` are all of it that the file has.
    Group {
        /// Its header.
        header: GroupHeader,
        /// Where it begins.
        offset: u64,
        /// Where the next one begins.
        next: u64,
        /// Its bytes, from the header on.
        bytes: Bytes,
    },
    /// No group.
    Fault(u64, GroupFault),
    /// The end of the segment, or as far as one may read.
    End,
}

impl SegmentScan {
    /// Stands before the first group. Nothing behind `end` is looked at.
    pub(crate) fn new(file: File, header: &SegmentHeader, end: u64) -> SegmentScan {
        let end = end.min(header.segment_size);
        SegmentScan { file, walk: Walk::new(header), chunks: None, pieces: VecDeque::new(), read: 0, end }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.walk.offset()
    }

    /// Goes to a place where a group begins.
    pub(crate) fn go_to(&mut self, offset: u64) {
        self.walk.go_to(offset);
        self.forget();
    }

    /// Sees what was written since; up to `end`.
    pub(crate) fn look_again(&mut self, end: u64) {
        self.end = end;
        self.forget();
    }

    fn forget(&mut self) {
        self.pieces.clear();
        self.chunks = None;
        // Direct files are read from whole pages on.
        self.read = self.walk.offset() & !4095;
    }

    /// Goes one block on.
    pub(crate) fn skip_block(&mut self) {
        self.walk.skip_block();
    }

    /// Goes back to a place within the group that was found last.
    pub(crate) fn back_to(&mut self, offset: u64) {
        // What was dropped of the pieces lies before the group, so this costs nothing but for groups of many pieces.
        if self.pieces.front().is_some_and(|(at, _)| *at <= offset) {
            self.walk.go_to(offset);
        } else {
            self.go_to(offset);
        }
    }

    /// The block that is here, as far as the file has it.
    pub(crate) async fn block(&mut self, len: usize) -> io::Result<Bytes> {
        self.bytes(self.walk.offset(), len).await
    }

    /// What is here; behind a group afterwards.
    pub(crate) async fn next(&mut self) -> io::Result<Found> {
        let mut need = crate::format::GROUP_HEADER;
        loop {
            let offset = self.walk.offset();
            if offset >= self.end {
                return Ok(Found::End);
            }
            let bytes = self.bytes(offset, need).await?;
            match self.walk.step(&bytes) {
                Step::Group(group) => {
                    let (header, next, len) = (group.header, group.next, group.bytes.len());
                    return Ok(Found::Group { header, offset, next, bytes: bytes.slice(..len) });
                }
                Step::Needs(more) if more > need => need = more,
                // The file ends here, or the reader's part of it.
                Step::Needs(_) => return Ok(Found::End),
                Step::Fault(fault) => return Ok(Found::Fault(offset, fault)),
                Step::End => return Ok(Found::End),
            }
            if offset + need as u64 > self.end {
                return Ok(Found::End);
            }
        }
    }

    /// As many bytes from `offset` on, without a copy where they lie in one piece; fewer where there are no more.
    async fn bytes(&mut self, offset: u64, need: usize) -> io::Result<Bytes> {
        let want = offset.saturating_add(need as u64).min(self.end);
        while self.pieces.front().is_some_and(|(at, piece)| at + piece.len() as u64 <= offset) {
            self.pieces.pop_front();
        }
        while self.pieces.back().map_or(self.read, |(at, piece)| at + piece.len() as u64) < want {
            let (file, read, end) = (&self.file, self.read, self.end);
            let chunks = self.chunks.get_or_insert_with(|| Mutex::new(file.chunks(read..end, PIECE, READ_AHEAD)));
            let chunks = chunks.get_mut().unwrap_or_else(PoisonError::into_inner);
            let Some(piece) = chunks.next().await else { break };
            let piece = piece?.freeze();
            let at = self.read;
            self.read += piece.len() as u64;
            if self.read > offset {
                self.pieces.push_back((at, piece));
            }
        }
        let Some((at, first)) = self.pieces.front() else { return Ok(Bytes::new()) };
        let begin = (offset - at) as usize;
        if first.len() - begin >= need || self.pieces.len() == 1 {
            let end = first.len().min(begin + need);
            return Ok(first.slice(begin..end));
        }
        let mut whole = BytesMut::with_capacity(need);
        whole.extend_from_slice(&first[begin..]);
        for (_, piece) in self.pieces.iter().skip(1) {
            whole.extend_from_slice(&piece[..piece.len().min(need - whole.len())]);
        }
        Ok(whole.freeze())
    }
}

/// Whether all records of a group are good.
pub(crate) fn check(header: &GroupHeader, bytes: &[u8]) -> Result<(), RecordFault> {
    Records::new(bytes, header).check()
}
