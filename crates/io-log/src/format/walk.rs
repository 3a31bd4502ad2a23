//! From group to group through a segment that is in memory, whole or in pieces.

use super::{GROUP_HEADER, GroupFault, GroupHeader, Place, Records, SegmentHeader};

/// Where one is in a segment. It holds no bytes: the caller brings those that begin at [`Walk::offset`], as many as there are, and
/// brings more of them if they are too few.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    salt: u64,
    block_size: u32,
    segment_size: u64,
    offset: u64,
}

/// What is at the offset of a walk.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// A group whose header is sound. Its records are still to be checked.
    Group(GroupView<'a>),
    /// Fewer bytes than it takes to say more: at least so many are needed, and the segment has them.
    Needs(usize),
    /// Not a group.
    Fault(GroupFault),
    /// The end of the segment.
    End,
}

/// A group within the caller's bytes.
#[derive(Clone, Debug)]
pub struct GroupView<'a> {
    /// Its header.
    pub header: GroupHeader,
    /// Where it begins in the file.
    pub offset: u64,
    /// Where the next one begins.
    pub next: u64,
    /// All of it, from its header to its last record.
    pub bytes: &'a [u8],
}

impl<'a> GroupView<'a> {
    /// Its records, checked one by one.
    pub fn records(&self) -> Records<'a> {
        Records::new(self.bytes, &self.header)
    }
}

impl Walk {
    /// Stands before the first group of a segment.
    pub fn new(header: &SegmentHeader) -> Walk {
        let block = u64::from(header.block_size);
        Walk { salt: header.salt, block_size: header.block_size, segment_size: header.segment_size, offset: block }
    }

    /// Where in the file the next step looks.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes to an offset, rounded up to a whole block.
    pub fn go_to(&mut self, offset: u64) {
        self.offset = offset.checked_next_multiple_of(u64::from(self.block_size)).unwrap_or(u64::MAX);
    }

    /// Goes one block on: how groups behind a hole are found.
    pub fn skip_block(&mut self) {
        self.offset = self.offset.saturating_add(u64::from(self.block_size));
    }

    /// Looks at the bytes from the offset on, and goes behind the group if there is one that is all there.
    pub fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        let room = self.segment_size.saturating_sub(self.offset);
        if room < u64::from(self.block_size) {
            return Step::End;
        }
        if bytes.len() < GROUP_HEADER {
            return Step::Needs(GROUP_HEADER);
        }
        let place = Place { salt: self.salt, offset: self.offset };
        let header = match GroupHeader::decode(bytes, place, room) {
            Ok(header) => header,
            Err(fault) => return Step::Fault(fault),
        };
        let Some(group) = bytes.get(..header.len as usize) else { return Step::Needs(header.len as usize) };
        let offset = self.offset;
        self.offset += header.padded(self.block_size);
        Step::Group(GroupView { header, offset, next: self.offset, bytes: group })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RECORD_HEADER, RecordKind, encode_group};
    use super::*;

    const BLOCK: usize = 512;

    fn segment(groups: &[(usize, u64)]) -> (SegmentHeader, Vec<u8>) {
        let header = SegmentHeader {
            block_size: BLOCK as u32,
            segment_size: 8192,
            number: 1,
            base_lsn: 1,
            salt: 3,
            log_id: 4,
            recycled: false,
        };
        let mut bytes = vec![0; 8192];
        bytes[..64].copy_from_slice(&header.encode());
        let mut at = BLOCK;
        for &(data, lsn) in groups {
            let len = GROUP_HEADER + RECORD_HEADER + data;
            let group = GroupHeader {
                len: len as u32,
                first_lsn: lsn,
                count: 1,
                epoch: 0,
                durable_through: lsn - 1,
                log_start: 1,
                segments_through: 1,
            };
            let end = at + len.next_multiple_of(BLOCK);
            let place = Place { salt: 3, offset: at as u64 };
            encode_group(&mut bytes[at..end], place, &group, [(RecordKind::Data, &vec![lsn as u8; data][..])]);
            at = end;
        }
        (header, bytes)
    }

    #[test]
    fn a_walk_meets_the_groups_in_order() {
        let (header, bytes) = segment(&[(10, 1), (1000, 2), (0, 3)]);
        let mut walk = Walk::new(&header);
        for lsn in 1..=3 {
            let Step::Group(group) = walk.step(&bytes[walk.offset() as usize..]) else { panic!("group {lsn}") };
            let records: Vec<_> = group.records().map(|record| record.unwrap().lsn).collect();
            assert_eq!(records, [lsn]);
        }
        assert!(matches!(walk.step(&bytes[walk.offset() as usize..]), Step::Fault(GroupFault::Nothing)));
        walk.go_to(8000);
        assert!(matches!(walk.step(&[]), Step::End));
    }

    #[test]
    fn a_walk_says_how_many_bytes_it_needs() {
        let (header, bytes) = segment(&[(1000, 1)]);
        let mut walk = Walk::new(&header);
        assert!(matches!(walk.step(&bytes[BLOCK..BLOCK + 63]), Step::Needs(64)));
        assert!(matches!(walk.step(&bytes[BLOCK..BLOCK + 64]), Step::Needs(1084)));
        assert!(matches!(walk.step(&bytes[BLOCK..BLOCK + 1084]), Step::Group(_)));
    }

    #[test]
    fn groups_behind_a_hole_are_found_block_by_block() {
        let (header, mut bytes) = segment(&[(10, 1), (10, 2)]);
        bytes[BLOCK] ^= 1;
        let mut walk = Walk::new(&header);
        assert!(matches!(walk.step(&bytes[BLOCK..]), Step::Fault(GroupFault::Crc)));
        walk.skip_block();
        let Step::Group(group) = walk.step(&bytes[2 * BLOCK..]) else { panic!("the second group") };
        assert_eq!((group.header.first_lsn, group.header.durable_through), (2, 1));
    }
}
