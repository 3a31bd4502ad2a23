//! Records, within a group.

use super::{GROUP_HEADER, GroupHeader, group, put, u32_at, u64_at};
use crate::Lsn;
use std::ops::Range;

/// Bytes of a record's header.
pub const RECORD_HEADER: usize = 20;

const CRC_AT: usize = 4;
const LSN_AT: usize = 8;
const KIND_AT: usize = 16;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordKind {
    /// Somebody's data. It has a number of its own.
    Data,
    /// The log was closed here. It bears the number of the next record to come.
    End,
    /// The log was cut at its beginning; the group's header says where it begins. It bears the number of the next record to come.
    Start,
}

impl RecordKind {
    /// Whether records of this kind are counted.
    pub fn is_numbered(self) -> bool {
        self == RecordKind::Data
    }

    fn code(self) -> u8 {
        match self {
            RecordKind::Data => 0,
            RecordKind::End => 1,
            RecordKind::Start => 2,
        }
    }

    fn of(code: u8) -> Option<RecordKind> {
        match code {
            0 => Some(RecordKind::Data),
            1 => Some(RecordKind::End),
            2 => Some(RecordKind::Start),
            _ => None,
        }
    }
}

/// A record whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// What it is for.
    pub kind: RecordKind,
    /// What is in it.
    pub data: &'a [u8],
    /// Where that is, counted from the begin of the group.
    pub range: Range<usize>,
}

/// The first thing that is wrong with the records of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordFault {
    /// Where its record begins, counted from the begin of the group.
    pub at: usize,
    /// The number that it should have.
    pub lsn: Lsn,
    /// What is wrong.
    pub what: &'static str,
}

/// The records of a group, checked one by one. After a fault there is nothing more.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    group: &'a [u8],
    seed: u32,
    at: usize,
    lsn: Lsn,
    left: u32,
    /// Bytes of the group according to its header.
    len: usize,
    over: bool,
}

impl<'a> Records<'a> {
    /// The records of a group with this header, which `bytes` begin with. Where the bytes end before the group does, so do the records,
    /// with a fault.
    pub fn new(bytes: &'a [u8], header: &GroupHeader) -> Records<'a> {
        let group = bytes.get(..header.len as usize).unwrap_or(bytes);
        let over = group.len() < GROUP_HEADER;
        Records {
            group,
            seed: group::record_seed(group),
            at: GROUP_HEADER,
            lsn: header.first_lsn,
            left: header.count,
            len: header.len as usize,
            over,
        }
    }

    /// Goes through all that is left.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(mut self) -> Result<(), RecordFault> {
        self.try_for_each(|record| record.map(drop))
    }

    fn fault(&mut self, what: &'static str) -> RecordFault {
        self.over = true;
        RecordFault { at: self.at, lsn: self.lsn, what }
    }

    fn one(&mut self) -> Result<RawRecord<'a>, RecordFault> {
        let rest = &self.group[self.at..];
        if rest.len() < RECORD_HEADER {
            return Err(self.fault("the group ends within a record's header"));
        }
        let len = u32_at(rest, 0) as usize;
        let Some(data) = rest[RECORD_HEADER..].get(..len) else {
            return Err(self.fault("a record is longer than its group"));
        };
        if crc(self.seed, rest, data) != u32_at(rest, CRC_AT) {
            return Err(self.fault("the checksum of a record is wrong"));
        }
        if u64_at(rest, LSN_AT) != self.lsn {
            return Err(self.fault("a record has another number than the one before it leads to"));
        }
        let Some(kind) = RecordKind::of(rest[KIND_AT]) else {
            return Err(self.fault("the kind of a record is not known"));
        };
        if kind.is_numbered() && self.left == 0 {
            return Err(self.fault("there are more records than the group's header says"));
        }
        let begin = self.at + RECORD_HEADER;
        let record = RawRecord { lsn: self.lsn, kind, data, range: begin..begin + len };
        if kind.is_numbered() {
            self.left -= 1;
            self.lsn += 1;
        }
        self.at = begin + len;
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RawRecord<'a>, RecordFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        #[cfg(feature = "planted")]
        if self.left == 0 && self.at > GROUP_HEADER && crate::planted::is(crate::planted::Bug::LengthNotCovered) {
            self.over = true;
            return None;
        }
        if self.at == self.group.len() {
            self.over = true;
            let missing = self.left > 0 || self.group.len() < self.len;
            return missing.then(|| Err(self.fault("the group ends before all of its records")));
        }
        Some(self.one())
    }
}

/// Writes a record at the begin of `out`; answers its length.
pub(super) fn encode(out: &mut [u8], seed: u32, lsn: Lsn, kind: RecordKind, data: &[u8]) -> usize {
    let len = u32::try_from(data.len()).expect("a record is smaller than a segment");
    let end = RECORD_HEADER + data.len();
    put(out, 0, &len.to_le_bytes());
    put(out, LSN_AT, &lsn.to_le_bytes());
    put(out, KIND_AT, &[kind.code(), 0, 0, 0]);
    put(out, RECORD_HEADER, data);
    let crc = crc(seed, out, data);
    put(out, CRC_AT, &crc.to_le_bytes());
    end
}

/// The checksum of a record: of its header but for the checksum itself, and of its data. The seed is the checksum of the group's header,
/// so that a record belongs to its group and to no other one that was ever at the same place.
fn crc(seed: u32, header: &[u8], data: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(seed, &header[..CRC_AT]);
    let crc = crc32c::crc32c_append(crc, &header[LSN_AT..RECORD_HEADER]);
    crc32c::crc32c_append(crc, data)
}

#[cfg(test)]
mod tests {
    use super::super::{Place, encode_group};
    use super::*;

    const PLACE: Place = Place { salt: 7, offset: 512 };

    fn header(len: usize, count: u32) -> GroupHeader {
        GroupHeader {
            len: len as u32,
            first_lsn: 5,
            count,
            epoch: 1,
            durable_through: 4,
            log_start: 1,
            segments_through: 0,
        }
    }

    fn group() -> (GroupHeader, Vec<u8>) {
        let records = [(RecordKind::Data, &b"first"[..]), (RecordKind::Data, b""), (RecordKind::End, b"")];
        let header = header(GROUP_HEADER + 3 * RECORD_HEADER + 5, 2);
        let mut bytes = vec![0xff; 512];
        encode_group(&mut bytes, PLACE, &header, records);
        (header, bytes)
    }

    #[test]
    fn records_come_back_in_order() {
        let (header, bytes) = group();
        let found: Vec<_> = Records::new(&bytes, &header).map(|record| record.unwrap()).collect();
        let seen: Vec<_> = found.iter().map(|record| (record.lsn, record.kind, record.data)).collect();
        let wanted = [(5, RecordKind::Data, &b"first"[..]), (6, RecordKind::Data, b""), (7, RecordKind::End, b"")];
        assert_eq!(seen, wanted);
        assert_eq!(&bytes[found[0].range.clone()], b"first");
        assert!(bytes[header.len as usize..].iter().all(|byte| *byte == 0), "zeros fill the block");
        assert_eq!(Records::new(&bytes, &header).check(), Ok(()));
    }

    #[test]
    fn every_flipped_bit_of_a_group_is_noticed() {
        let (header, whole) = group();
        let bits = header.len as usize * 8;
        for bit in 0..bits {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let passes = GroupHeader::decode(&bytes, PLACE, 512)
                .is_ok_and(|header| Records::new(&bytes, &header).check().is_ok());
            assert!(!passes, "bit {bit}");
        }
        for len in 0..header.len as usize {
            let check = Records::new(&whole[..len], &header).check();
            assert!(len < GROUP_HEADER || check.is_err(), "{len} bytes");
        }
    }

    #[test]
    fn records_belong_to_their_group() {
        let (header, mut bytes) = group();
        let other = GroupHeader { epoch: 2, ..header };
        bytes[..GROUP_HEADER].copy_from_slice(&other.encode(PLACE));
        assert!(GroupHeader::decode(&bytes, PLACE, 512).is_ok());
        assert!(Records::new(&bytes, &other).check().is_err());
    }

    #[test]
    fn counts_that_do_not_fit_are_faults() {
        let (header, bytes) = group();
        let what = |count| Records::new(&bytes, &GroupHeader { count, ..header }).check().unwrap_err().what;
        assert!(what(1).contains("more records"), "{}", what(1));
        assert!(what(3).contains("before all"), "{}", what(3));
    }

    /// Whatever is in memory, and whatever the header says: no panic, an end, and nothing beyond the bytes.
    #[test]
    fn any_bytes_are_survived() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut draw = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for _ in 0..20_000 {
            let len = (draw() % 200) as usize;
            let bytes: Vec<u8> = (0..len).map(|_| if draw() % 3 == 0 { draw() as u8 } else { 0 }).collect();
            let header = GroupHeader { len: draw() as u32, count: draw() as u32, ..header(0, 0) };
            assert!(Records::new(&bytes, &header).count() <= len / RECORD_HEADER + 1);
            let _ = GroupHeader::decode(&bytes, PLACE, draw());
            let _ = super::super::SegmentHeader::decode(&bytes);
        }
    }
}
