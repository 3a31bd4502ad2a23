//! What a change changes.

use super::{Op, What};
use crate::RwFlags;

/// Which bytes of its file a change concerns; see [`Op::reach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No bytes: space, hints, or nothing at all.
    Nothing,
    /// These bytes; the file may grow to `end`.
    Bytes {
        /// The first one.
        start: u64,
        /// The one behind the last.
        end: u64,
    },
    /// All from this size on: a truncation.
    From(u64),
    /// What the system alone knows: a write to wherever the end is, a copy to the end of another file.
    Unknown,
}

impl Op {
    /// Which bytes of the file that it [`changes`](Op::changes) the operation concerns.
    #[inline]
    pub fn reach(&self) -> Reach {
        let bytes = |start: u64, len: u64| Reach::Bytes { start, end: start.saturating_add(len) };
        match self.what {
            What::Write { flags, .. } | What::WriteVectored { flags, .. } if flags.contains(RwFlags::APPEND) => {
                Reach::Unknown
            }
            What::Write { offset, .. } | What::WriteVectored { offset, .. } => bytes(offset, self.len()),
            What::PunchHole { offset, len } | What::ZeroRange { offset, len, .. } => bytes(offset, len),
            What::Truncate { len } => Reach::From(len),
            What::CopyRange { to_offset, len, .. } => bytes(to_offset, len),
            What::Clone { to_offset, len, .. } if len > 0 => bytes(to_offset, len),
            What::Clone { .. } => Reach::Unknown,
            _ => Reach::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileFacts, FileHandle, RawFile};

    #[test]
    fn changes_know_their_bytes() {
        // SAFETY: the number is outside the range of descriptors.
        let file = unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), FileFacts::default()) };
        assert_eq!(Op::write(&file, vec![0; 10], 5).reach(), Reach::Bytes { start: 5, end: 15 });
        assert_eq!(Op::write(&file, vec![0; 10], 5).with_flags(RwFlags::APPEND).reach(), Reach::Unknown);
        assert_eq!(Op::write(&file, vec![0; 10], u64::MAX).reach(), Reach::Bytes { start: u64::MAX, end: u64::MAX });
        assert_eq!(Op::punch_hole(&file, 1, 2).reach(), Reach::Bytes { start: 1, end: 3 });
        assert_eq!(Op::truncate(&file, 7).reach(), Reach::From(7));
        assert_eq!(Op::copy_range(&file, 1, &file, 20, 2).reach(), Reach::Bytes { start: 20, end: 22 });
        assert_eq!(Op::clone_range(&file, 1, &file, 20, 0).reach(), Reach::Unknown);
        assert_eq!(Op::read(&file, vec![0; 10], 5).reach(), Reach::Nothing);
        assert_eq!(Op::allocate(&file, 0, 10, true).reach(), Reach::Nothing);
    }
}
