//! The segment that is written to, and those that will be.

use crate::format::SegmentHeader;
use io_fs::File;

/// The segment that groups go to.
pub(crate) struct Active {
    pub(crate) header: SegmentHeader,
    pub(crate) file: File,
    /// Where the next group goes.
    pub(crate) offset: u64,
}

/// A segment without a group.
pub(crate) struct Ready {
    pub(crate) header: SegmentHeader,
    pub(crate) file: File,
}

impl Active {
    pub(crate) fn room(&self) -> u64 {
        self.header.segment_size.saturating_sub(self.offset)
    }
}

impl Ready {
    pub(crate) fn room(&self) -> u64 {
        self.header.segment_size - u64::from(self.header.block_size)
    }
}

impl From<Ready> for Active {
    fn from(ready: Ready) -> Active {
        let offset = u64::from(ready.header.block_size);
        Active { header: ready.header, file: ready.file, offset }
    }
}
