//! The header of a segment.

use super::{BLOCK_SIZES, SEGMENT_SIZE_MAX, VERSION, put, u32_at, u64_at};
use crate::Lsn;

/// Bytes of a segment's header. The rest of its block is zero, and nobody looks at it.
pub const SEGMENT_HEADER: usize = 64;

const MAGIC: [u8; 8] = *b"io-log\r\n";
const CRC_AT: usize = 60;
const RECYCLED: u32 = 1;

/// The first block of a segment. It is written, and durable, before the file gets its name, and never changed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Groups begin at multiples of it; the first one at this offset.
    pub block_size: u32,
    /// Length of the file.
    pub segment_size: u64,
    /// The number that the file is named after.
    pub number: u64,
    /// The record that would have come next when the header was written: all before it were durable, and none in this segment has a
    /// lower number. Where the segment really begins says its first group.
    pub base_lsn: Lsn,
    /// Random, and another one each time that the file is used again.
    pub salt: u64,
    /// Random, and the same in all segments of a log.
    pub log_id: u64,
    /// The file was a segment before, and has that segment's content where nothing was written yet. Else it has zeros there.
    pub recycled: bool,
}

/// What is wrong with a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentFault {
    /// The file is shorter than a header.
    Short,
    /// It does not begin like a segment.
    Magic,
    /// The checksum is not that of the content.
    Crc,
    /// It is whole, and of a version that is not known here.
    Version(u32),
    /// It is whole, and says something that makes no sense.
    Nonsense(&'static str),
}

impl SegmentHeader {
    /// The bytes of the header.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &self.block_size.to_le_bytes());
        put(&mut bytes, 16, &self.segment_size.to_le_bytes());
        put(&mut bytes, 24, &self.number.to_le_bytes());
        put(&mut bytes, 32, &self.base_lsn.to_le_bytes());
        put(&mut bytes, 40, &self.salt.to_le_bytes());
        put(&mut bytes, 48, &self.log_id.to_le_bytes());
        put(&mut bytes, 56, &(if self.recycled { RECYCLED } else { 0 }).to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    /// The header that these bytes begin with.
    ///
    /// # Errors
    /// [`SegmentFault`]. The version is looked at after the checksum, which all versions have at the same place.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, SegmentFault> {
        let bytes = bytes.get(..SEGMENT_HEADER).ok_or(SegmentFault::Short)?;
        if bytes[..8] != MAGIC {
            return Err(SegmentFault::Magic);
        }
        if crc32c::crc32c(&bytes[..CRC_AT]) != u32_at(bytes, CRC_AT) {
            return Err(SegmentFault::Crc);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(SegmentFault::Version(version));
        }
        let flags = u32_at(bytes, 56);
        let header = SegmentHeader {
            block_size: u32_at(bytes, 12),
            segment_size: u64_at(bytes, 16),
            number: u64_at(bytes, 24),
            base_lsn: u64_at(bytes, 32),
            salt: u64_at(bytes, 40),
            log_id: u64_at(bytes, 48),
            recycled: flags & RECYCLED != 0,
        };
        header.check(flags)
    }

    fn check(self, flags: u32) -> Result<SegmentHeader, SegmentFault> {
        let block = u64::from(self.block_size);
        if !BLOCK_SIZES.contains(&self.block_size) {
            return Err(SegmentFault::Nonsense("the block size"));
        }
        if self.segment_size % block != 0 || !(2 * block..=SEGMENT_SIZE_MAX).contains(&self.segment_size) {
            return Err(SegmentFault::Nonsense("the segment size"));
        }
        if self.base_lsn == 0 {
            return Err(SegmentFault::Nonsense("the first record's number"));
        }
        if flags & !RECYCLED != 0 {
            return Err(SegmentFault::Nonsense("a flag"));
        }
        Ok(self)
    }
}

impl std::fmt::Display for SegmentFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SegmentFault::Short => f.write_str("the file ends within the header"),
            SegmentFault::Magic => f.write_str("this is no segment of a log"),
            SegmentFault::Crc => f.write_str("the header's checksum is wrong"),
            SegmentFault::Version(version) => write!(f, "version {version} of the format is not known"),
            SegmentFault::Nonsense(what) => write!(f, "the header says something impossible: {what}"),
        }
    }
}

impl std::error::Error for SegmentFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            block_size: 4096,
            segment_size: 1 << 20,
            number: 3,
            base_lsn: 17,
            salt: 0x1122_3344_5566_7788,
            log_id: 99,
            recycled: true,
        }
    }

    fn with_crc(mut bytes: [u8; SEGMENT_HEADER]) -> [u8; SEGMENT_HEADER] {
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        put(&mut bytes, CRC_AT, &crc.to_le_bytes());
        bytes
    }

    #[test]
    fn a_header_comes_back() {
        for recycled in [false, true] {
            let header = SegmentHeader { recycled, ..header() };
            assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let whole = header().encode();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert_eq!(SegmentHeader::decode(&whole[..len]), Err(SegmentFault::Short));
        }
    }

    #[test]
    fn another_version_is_named_and_not_guessed_at() {
        let mut bytes = header().encode();
        put(&mut bytes, 8, &2u32.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(SegmentFault::Crc), "a flipped bit is no version");
        assert_eq!(SegmentHeader::decode(&with_crc(bytes)), Err(SegmentFault::Version(2)));
    }

    #[test]
    fn whole_nonsense_is_refused() {
        let wrong: [(usize, &[u8]); 6] = [
            (12, &1000u32.to_le_bytes()),
            (16, &4096u64.to_le_bytes()),
            (16, &5000u64.to_le_bytes()),
            (16, &u64::MAX.to_le_bytes()),
            (32, &0u64.to_le_bytes()),
            (56, &2u32.to_le_bytes()),
        ];
        for (at, value) in wrong {
            let mut bytes = header().encode();
            put(&mut bytes, at, value);
            assert!(matches!(SegmentHeader::decode(&with_crc(bytes)), Err(SegmentFault::Nonsense(_))), "at {at}");
        }
    }
}
