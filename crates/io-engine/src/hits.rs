//! Whether reads on the caller's thread find their data in memory.

use std::sync::atomic::{AtomicU32, Ordering};

/// How often a read on the caller's thread found its data in memory, in short: how many reads do not even try.
#[derive(Debug, Default)]
pub(crate) struct AtOnce {
    skip: AtomicU32,
    misses: AtomicU32,
}

impl AtOnce {
    /// After this many misses in a row only one read in 64 tries.
    const MISSES_MAX: u32 = 6;

    /// True if the next read should try.
    #[inline]
    pub(crate) fn tries(&self) -> bool {
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
        }
        skip == 0
    }

    /// What became of a try.
    #[inline]
    pub(crate) fn note(&self, hit: bool) {
        if hit {
            if self.misses.load(Ordering::Relaxed) != 0 {
                self.misses.store(0, Ordering::Relaxed);
            }
            return;
        }
        let misses = (self.misses.load(Ordering::Relaxed) + 1).min(AtOnce::MISSES_MAX);
        self.misses.store(misses, Ordering::Relaxed);
        self.skip.store((1 << misses) - 1, Ordering::Relaxed);
    }

    /// The system will never do it for this file.
    pub(crate) fn never(&self) {
        self.skip.store(u32::MAX, Ordering::Relaxed);
    }
}
