//! What is in the files, byte by byte: pure functions over `&[u8]`, no I/O.
//!
//! `docs/log-format.md` says the same in words. Whatever the bytes are, decoding neither panics nor allocates; lengths are compared with
//! what is there before they are used.

mod group;
mod names;
mod record;
mod segment;
mod walk;

pub use group::{GROUP_HEADER, GroupFault, GroupHeader, GroupMark, encode_group};
pub use names::{LOCK_NAME, is_prepared, prepared_name, segment_name, segment_number};
pub use record::{RECORD_HEADER, RawRecord, RecordFault, RecordKind, Records};
pub use segment::{SEGMENT_HEADER, SegmentFault, SegmentHeader};
pub use walk::{GroupView, Step, Walk};

/// The version of the format that is written.
pub const VERSION: u32 = 1;

/// Sizes of a block, in bytes. Groups begin at multiples of it.
pub const BLOCK_SIZES: [u32; 2] = [512, 4096];

/// Most bytes of a segment, header included: lengths within it are 32 bits wide.
pub const SEGMENT_SIZE_MAX: u64 = 2 << 30;

/// The largest record, in bytes, that a segment of this size and block size takes.
pub const fn record_max(segment_size: u64, block_size: u32) -> u64 {
    segment_size.saturating_sub(block_size as u64 + GROUP_HEADER as u64 + RECORD_HEADER as u64)
}

/// What a checksum begins with, so that content of another segment, of the same file before it was recycled, or of another place in
/// the file never passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The salt of the segment.
    pub salt: u64,
    /// Offset of the group in its file.
    pub offset: u64,
}

impl Place {
    fn seed(self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.salt.to_le_bytes()), &self.offset.to_le_bytes())
    }
}

/// Reads an integer at a place that the caller knows to be there; zero where it is not.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |four| u32::from_le_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |eight| u64::from_le_bytes(*eight))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
