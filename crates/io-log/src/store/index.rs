//! Where records are in a sealed segment, roughly: one entry every so many bytes.
//!
//! An index is derived from its segment and can be made again from it, so its file is never trusted further than it proves itself: a
//! checksum over all of it, and the segment that it names. What does not fit is thrown away and the segment read once.
//!
//! Its bytes are described in `docs/log-format.md`.

use crate::Lsn;
use std::ops::Range;

const MAGIC: [u8; 8] = *b"iofs-idx";
const VERSION: u32 = 1;
const HEADER: usize = 64;
const ENTRY: usize = 16;

/// Which life of which segment an index belongs to: a recycled file has another salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) salt: u64,
    pub(super) first: Lsn,
}

/// The sparse index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) of: Identity,
    /// LSN behind the last record.
    pub(super) next: Lsn,
    /// Offset behind the last record.
    pub(super) end: u64,
    /// Ascending; the first one is that of the first record. Empty only if there is no record.
    entries: Vec<(Lsn, u64)>,
}

impl Index {
    /// The cells in which these records are. A cell is what lies between two entries: whole groups.
    pub(super) fn cells(&self, lsns: &Range<Lsn>) -> Range<usize> {
        let (from, to) = (lsns.start.max(self.of.first), lsns.end.min(self.next));
        if from >= to {
            return 0..0;
        }
        let begin = self.entries.partition_point(|&(lsn, _)| lsn <= from);
        begin.saturating_sub(1)..self.entries.partition_point(|&(lsn, _)| lsn < to)
    }

    /// Where in the file these cells are.
    pub(super) fn span(&self, cells: &Range<usize>) -> Range<u64> {
        let at = |cell: usize| self.entries.get(cell).map_or(self.end, |&(_, offset)| offset);
        at(cells.start)..at(cells.end)
    }

    /// The first record of a cell; behind the last one, the record that comes next.
    pub(super) fn lsn(&self, cell: usize) -> Lsn {
        self.entries.get(cell).map_or(self.next, |&(lsn, _)| lsn)
    }

    /// As many of these cells, from the first one on, as take at most so many bytes together; one at least.
    pub(super) fn fitting(&self, cells: &Range<usize>, bytes_max: u64) -> Range<usize> {
        let begin = self.span(cells).start;
        let mut end = cells.start + 1;
        while end < cells.end && self.span(&(end..end + 1)).end - begin <= bytes_max {
            end += 1;
        }
        cells.start..end.min(cells.end)
    }

    /// So many bytes it takes in a file.
    #[cfg(test)]
    fn encoded_len(&self) -> usize {
        HEADER + self.entries.len() * ENTRY
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.entries.len() * ENTRY);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for number in [self.of.id, self.of.salt, self.of.first, self.next, self.end, self.entries.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for &(lsn, offset) in &self.entries {
            bytes.extend_from_slice(&lsn.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[16..]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` for what is not the index of this segment, whole and in order.
    pub(super) fn decode(bytes: &[u8], of: Identity, segment_len: u64) -> Option<Index> {
        let (header, entries) = bytes.split_at_checked(HEADER)?;
        let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        if header[..8] != MAGIC || word(8) != VERSION || word(12) != crc32c::crc32c(&bytes[16..]) {
            return None;
        }
        if (Identity { id: number(16), salt: number(24), first: number(32) }) != of {
            return None;
        }
        if entries.len() as u64 != number(56).checked_mul(ENTRY as u64)? {
            return None;
        }
        let pair = |entry: &[u8]| {
            let (lsn, offset) = entry.split_at(8);
            let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            (number(lsn), number(offset))
        };
        let entries: Vec<_> = entries.chunks_exact(ENTRY).map(pair).collect();
        let index = Index { of, next: number(40), end: number(48), entries };
        index.is_in_order(segment_len).then_some(index)
    }

    fn is_in_order(&self, segment_len: u64) -> bool {
        let first = self.entries.first().map(|&(lsn, _)| lsn);
        let starts = if self.next == self.of.first { first.is_none() } else { first == Some(self.of.first) };
        let ascends = self.entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        let ends = self.entries.last().is_none_or(|&(lsn, offset)| lsn < self.next && offset < self.end);
        starts && ascends && ends && self.end <= segment_len
    }
}

/// Makes an index while the records of a segment pass by.
#[derive(Debug)]
pub(super) struct Builder {
    index: Index,
    every: u64,
}

impl Builder {
    /// An entry about every so many bytes.
    pub(super) fn new(of: Identity, every: u64) -> Builder {
        Builder { index: Index { of, next: of.first, end: 0, entries: Vec::new() }, every }
    }

    /// A place from which reading can begin: the record with this LSN is the first one found from this offset on.
    pub(super) fn place(&mut self, lsn: Lsn, offset: u64) {
        let due = match self.index.entries.last() {
            None => true,
            Some(&(last, at)) => lsn > last && offset - at >= self.every,
        };
        if due {
            self.index.entries.push((lsn, offset));
        }
    }

    /// All records below `next` have passed; what follows them begins at `end`.
    pub(super) fn finish(mut self, next: Lsn, end: u64) -> Index {
        (self.index.next, self.index.end) = (next, end);
        if next == self.index.of.first {
            self.index.entries.clear();
        }
        self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: Identity = Identity { id: 3, salt: 0x5a17, first: 100 };

    /// Records of 10 bytes behind a header of 40, an entry every 30 bytes.
    fn index(records: u64) -> Index {
        let mut builder = Builder::new(OF, 30);
        for n in 0..records {
            builder.place(100 + n, 40 + n * 10);
        }
        builder.finish(100 + records, 40 + records * 10)
    }

    #[test]
    fn cells_have_all_records_of_the_range_and_few_more() {
        let index = index(10);
        assert_eq!(index.entries, [(100, 40), (103, 70), (106, 100), (109, 130)]);
        for (lsns, span) in [
            (100..101, 40..70),
            (102..104, 40..100),
            (103..106, 70..100),
            (103..107, 70..130),
            (109..110, 130..140),
            (0..u64::MAX, 40..140),
        ] {
            assert_eq!(index.span(&index.cells(&lsns)), span, "{lsns:?}");
        }
        for lsns in [110..120, 5..100, 105..105] {
            assert!(index.cells(&lsns).is_empty(), "{lsns:?}");
        }
        assert_eq!((index.lsn(0), index.lsn(3), index.lsn(4)), (100, 109, 110));
        assert_eq!([0, 59, 60, 1000].map(|bytes| index.fitting(&(1..4), bytes)), [1..2, 1..2, 1..3, 1..4]);
    }

    #[test]
    fn an_index_comes_back_as_it_was() {
        for records in [0, 1, 2, 10, 1000] {
            let index = index(records);
            let bytes = index.encode();
            assert_eq!(bytes.len(), index.encoded_len());
            assert_eq!(Index::decode(&bytes, OF, 1 << 20), Some(index));
        }
    }

    #[test]
    fn what_is_damaged_or_somebody_elses_is_none() {
        let bytes = index(10).encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(Index::decode(&bad, OF, 1 << 20), None, "bit {bit} of byte {at}");
            }
            assert_eq!(Index::decode(&bytes[..at], OF, 1 << 20), None, "cut at {at}");
        }
        assert_eq!(Index::decode(&[&bytes[..], b"x"].concat(), OF, 1 << 20), None);
        assert_eq!(Index::decode(&bytes, Identity { salt: 1, ..OF }, 1 << 20), None);
        assert_eq!(Index::decode(&bytes, Identity { id: 4, ..OF }, 1 << 20), None);
        assert_eq!(Index::decode(&bytes, OF, 139), None, "it speaks of more than the segment has");
    }
}
