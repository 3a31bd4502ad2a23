//! A group: what one durable write carries.

use super::{Place, RECORD_HEADER, RecordKind, put, record, u32_at, u64_at};
use crate::Lsn;

/// Bytes of a group's header.
pub const GROUP_HEADER: usize = 64;

const MAGIC: [u8; 4] = *b"grp1";
const SALT_AT: usize = 8;
const CRC_AT: usize = 60;

/// The head of a group. Its records follow, without gaps; zeros fill the last block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupHeader {
    /// Bytes of header and records, without what fills the last block.
    pub len: u32,
    /// Number of the first record, or of the next one to come where there is none.
    pub first_lsn: Lsn,
    /// Numbered records in the group.
    pub count: u32,
    /// How often the log was opened for writing before this group. It never falls from group to group.
    pub epoch: u32,
    /// All records up to this one were durable when the group was written.
    pub durable_through: Lsn,
    /// The log promises the records from this one on; those before it may have been removed.
    pub log_start: Lsn,
    /// The highest number of a segment whose name in the directory was durable when the group was written.
    pub segments_through: u64,
}

/// What is wrong with the head of a group, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupFault {
    /// Nothing of this segment: zeros, or what was there before the file was recycled.
    Nothing,
    /// It was meant to be a group of this segment, and the checksum is wrong.
    Crc,
    /// The checksum is right, and this makes no sense.
    Nonsense(&'static str),
}

/// What a group looks like from its first bytes.
pub type GroupMark = Result<GroupHeader, GroupFault>;

impl GroupHeader {
    /// The bytes of the header of a group at this place.
    pub fn encode(&self, place: Place) -> [u8; GROUP_HEADER] {
        let mut bytes = [0; GROUP_HEADER];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 4, &self.len.to_le_bytes());
        put(&mut bytes, SALT_AT, &place.salt.to_le_bytes());
        put(&mut bytes, 16, &self.first_lsn.to_le_bytes());
        put(&mut bytes, 24, &self.count.to_le_bytes());
        put(&mut bytes, 28, &self.epoch.to_le_bytes());
        put(&mut bytes, 32, &self.durable_through.to_le_bytes());
        put(&mut bytes, 40, &self.log_start.to_le_bytes());
        put(&mut bytes, 48, &self.segments_through.to_le_bytes());
        let crc = crc(&bytes, place);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    /// The header that these bytes begin with, in a segment that has `room` bytes from here to its end.
    ///
    /// # Errors
    /// [`GroupFault`]: [`GroupFault::Nothing`] only if the bytes bear no trace of this segment, so that nothing was lost here.
    pub fn decode(bytes: &[u8], place: Place, room: u64) -> GroupMark {
        let bytes = bytes.get(..GROUP_HEADER).ok_or(GroupFault::Nothing)?;
        let sound = crc(bytes, place) == u32_at(bytes, CRC_AT);
        if !sound || bytes[..4] != MAGIC || u64_at(bytes, SALT_AT) != place.salt {
            let trace = sound || u64_at(bytes, SALT_AT) == place.salt;
            return Err(if trace { GroupFault::Crc } else { GroupFault::Nothing });
        }
        let header = GroupHeader {
            len: u32_at(bytes, 4),
            first_lsn: u64_at(bytes, 16),
            count: u32_at(bytes, 24),
            epoch: u32_at(bytes, 28),
            durable_through: u64_at(bytes, 32),
            log_start: u64_at(bytes, 40),
            segments_through: u64_at(bytes, 48),
        };
        header.check(room)
    }

    /// Bytes that the group takes in its segment.
    pub fn padded(&self, block_size: u32) -> u64 {
        u64::from(self.len).next_multiple_of(u64::from(block_size.max(1)))
    }

    /// The record after the group's last one.
    pub fn next_lsn(&self) -> Lsn {
        self.first_lsn.saturating_add(u64::from(self.count))
    }

    fn check(self, room: u64) -> GroupMark {
        let len = u64::from(self.len);
        if len < GROUP_HEADER as u64 || len > room {
            return Err(GroupFault::Nonsense("the group's length"));
        }
        if (len - GROUP_HEADER as u64) / (RECORD_HEADER as u64) < u64::from(self.count) {
            return Err(GroupFault::Nonsense("the number of records"));
        }
        if self.first_lsn == 0 || self.first_lsn.checked_add(u64::from(self.count)).is_none() {
            return Err(GroupFault::Nonsense("the first record's number"));
        }
        if self.durable_through >= self.first_lsn {
            return Err(GroupFault::Nonsense("what was durable"));
        }
        if self.log_start == 0 || self.log_start > self.first_lsn {
            return Err(GroupFault::Nonsense("where the log begins"));
        }
        Ok(self)
    }
}

/// The checksum of a header. The salt goes into the seed, so that a wrong one in the field does not hide that the group was ours.
fn crc(header: &[u8], place: Place) -> u32 {
    #[cfg(feature = "planted")]
    if crate::planted::is(crate::planted::Bug::LengthNotCovered) {
        let crc = crc32c::crc32c_append(place.seed(), &header[..4]);
        return crc32c::crc32c_append(crc, &header[SALT_AT + 8..CRC_AT]);
    }
    let crc = crc32c::crc32c_append(place.seed(), &header[..SALT_AT]);
    crc32c::crc32c_append(crc, &header[SALT_AT + 8..CRC_AT])
}

/// Writes a whole group into `out`, which is as long as the blocks that it takes, and fills up with zeros. `header.len` has to be what
/// header and records take together.
///
/// # Panics
/// If the records do not take just that, or `out` is shorter.
pub fn encode_group<'a>(
    out: &mut [u8],
    place: Place,
    header: &GroupHeader,
    records: impl IntoIterator<Item = (RecordKind, &'a [u8])>,
) {
    let head = header.encode(place);
    let seed = u32_at(&head, CRC_AT);
    out[..GROUP_HEADER].copy_from_slice(&head);
    let (mut at, mut lsn) = (GROUP_HEADER, header.first_lsn);
    for (kind, data) in records {
        at += record::encode(&mut out[at..], seed, lsn, kind, data);
        lsn += u64::from(kind.is_numbered());
    }
    assert_eq!((at, lsn), (header.len as usize, header.next_lsn()), "the group is not as its header says");
    out[at..].fill(0);
}

impl std::fmt::Display for GroupFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GroupFault::Nothing => f.write_str("there is no group"),
            GroupFault::Crc => f.write_str("the checksum of a group's header is wrong"),
            GroupFault::Nonsense(what) => write!(f, "a group's header says something impossible: {what}"),
        }
    }
}

impl std::error::Error for GroupFault {}

/// What the checksums of a group's records begin with.
pub(super) fn record_seed(group: &[u8]) -> u32 {
    u32_at(group, CRC_AT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { salt: 0x55aa, offset: 8192 };

    fn header() -> GroupHeader {
        GroupHeader {
            len: 200,
            first_lsn: 10,
            count: 3,
            epoch: 2,
            durable_through: 9,
            log_start: 4,
            segments_through: 1,
        }
    }

    #[test]
    fn a_header_comes_back_at_its_own_place_only() {
        let bytes = header().encode(PLACE);
        assert_eq!(GroupHeader::decode(&bytes, PLACE, 200), Ok(header()));
        assert_eq!((header().padded(512), header().padded(4096), header().next_lsn()), (512, 4096, 13));
        let elsewhere = Place { offset: 12288, ..PLACE };
        assert_eq!(GroupHeader::decode(&bytes, elsewhere, 200), Err(GroupFault::Crc));
        let recycled = Place { salt: 1, ..PLACE };
        assert_eq!(GroupHeader::decode(&bytes, recycled, 200), Err(GroupFault::Nothing));
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_leaves_a_trace() {
        let whole = header().encode(PLACE);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::decode(&bytes, PLACE, 4096), Err(GroupFault::Crc), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert_eq!(GroupHeader::decode(&whole[..len], PLACE, 4096), Err(GroupFault::Nothing));
        }
        assert_eq!(GroupHeader::decode(&[0; 64], PLACE, 4096), Err(GroupFault::Nothing));
    }

    #[test]
    fn whole_nonsense_is_refused() {
        let wrong = [
            GroupHeader { len: 63, ..header() },
            GroupHeader { len: 4097, ..header() },
            GroupHeader { count: 7, ..header() },
            GroupHeader { count: u32::MAX, ..header() },
            GroupHeader { first_lsn: 0, durable_through: 0, ..header() },
            GroupHeader { first_lsn: u64::MAX - 1, ..header() },
            GroupHeader { durable_through: 10, ..header() },
            GroupHeader { log_start: 0, ..header() },
            GroupHeader { log_start: 11, ..header() },
        ];
        for header in wrong {
            let mark = GroupHeader::decode(&header.encode(PLACE), PLACE, 4096);
            assert!(matches!(mark, Err(GroupFault::Nonsense(_))), "{header:?}: {mark:?}");
        }
    }

    #[test]
    #[should_panic(expected = "not as its header says")]
    fn a_group_that_is_not_as_its_header_says_is_not_written() {
        encode_group(&mut [0; 512], PLACE, &header(), [(RecordKind::Data, &b"one"[..])]);
    }
}
