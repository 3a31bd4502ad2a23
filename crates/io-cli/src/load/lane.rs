//! One lane: which block is next, and what is in flight.

use super::{
    Content, Load, Work,
    pages::{self, Claim},
};
use std::sync::atomic::{AtomicU64, Ordering};

/// What all lanes of a run share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    cursor: AtomicU64,
    begun: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: u32,
    /// Where the operation in flight is.
    pub(crate) offset: u64,
    /// When it began, in ticks.
    pub(crate) started: u64,
    /// Whether it writes.
    pub(crate) writes: bool,
    random: u64,
    claim: Option<Claim>,
}

impl Lane {
    pub(crate) fn new(load: &Load, id: u32) -> Lane {
        let random = scramble(load.seed ^ scramble(u64::from(id) + 1)).max(1);
        Lane { id, offset: 0, started: 0, writes: load.work.is_write(), random, claim: None }
    }

    /// Prepares the lane's buffer: what it writes, stamps aside.
    pub(crate) fn fill(&self, load: &Load, buf: &mut [u8]) {
        if load.work.is_write() {
            pages::prefill(buf, self.id);
        }
    }

    /// Chooses the next block and stamps what goes there. False if there is none: the operations are used up.
    #[inline]
    pub(crate) fn next(&mut self, load: &Load, shared: &Shared, buf: &mut [u8]) -> bool {
        if load.until.ops != u64::MAX && shared.begun.fetch_add(1, Ordering::Relaxed) >= load.until.ops {
            return false;
        }
        self.offset = self.choose(load, shared);
        if load.work == Work::Mixed {
            self.writes = self.random() % 10 < 3;
        }
        if let Content::Stamped(pages) = &load.content {
            let claim = loop {
                if let Some(claim) = pages.claim(self.offset) {
                    break claim;
                }
                self.offset = self.choose(load, shared);
            };
            claim.stamp(buf, self.id);
            self.claim = Some(claim);
        }
        true
    }

    /// The operation in flight is answered.
    #[inline]
    pub(crate) fn landed(&mut self, load: &Load, ok: bool) {
        if let Content::Stamped(pages) = &load.content {
            if let Some(claim) = self.claim.take() {
                pages.written(claim, self.id, load.bs, ok);
            }
        }
    }

    #[inline]
    fn choose(&mut self, load: &Load, shared: &Shared) -> u64 {
        let block = match load.work {
            Work::RandRead | Work::RandWrite | Work::Mixed => {
                // The upper half of a random number, scaled to the number of blocks.
                let random = u128::from(self.random());
                ((random * u128::from(load.blocks)) >> 64) as u64
            }
            Work::SeqRead | Work::SeqWrite | Work::WalAppend => {
                shared.cursor.fetch_add(1, Ordering::Relaxed) % load.blocks
            }
        };
        block * load.bs as u64
    }

    /// xorshift64* (Vigna 2016): a nanosecond, and random enough for offsets.
    #[inline]
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// The last step of splitmix64 (Steele, Lea, Flood 2014): neighbours become strangers.
pub(crate) fn scramble(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
