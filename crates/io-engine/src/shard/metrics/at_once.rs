//! Reads at once from memory, counted on threads that share nothing with one another.
//!
//! They take a few hundred nanoseconds, so that even two looks at a clock would be seen: a thread bumps one word, and times one read in
//! sixty-four.

use super::{Latency, OpMetrics, Via};
use io_core::OpKind;
use std::{
    cell::Cell,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

/// How many words there are; threads beyond that share them.
const WORDS: u32 = 16;
/// One read in so many is timed. A power of two.
const EVERY: u32 = 64;
/// A word counts reads in its upper 24 bits, and their bytes in the lower 40.
const ONE: u64 = 1 << 40;
/// Half of either is used up: the word is emptied long before one runs over, as no read at once is larger than 4 GiB.
const HALF_FULL: u64 = 1 << 63 | 1 << 39;

thread_local! {
    /// The thread's word (from 1 on) in units of `EVERY`, plus the reads since the last that was timed. Zero: it has none yet.
    static MINE: Cell<u32> = const { Cell::new(0) };
}

/// Whether the read that now begins is to be timed: if so, since when.
#[inline]
pub(crate) fn sample() -> Option<Instant> {
    let mine = MINE.get();
    if mine % EVERY == 0 {
        return start(mine);
    }
    let next = if mine % EVERY == EVERY - 1 { mine - (EVERY - 1) } else { mine + 1 };
    MINE.set(next);
    None
}

#[cold]
#[inline(never)]
fn start(mine: u32) -> Option<Instant> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mine = if mine == 0 { (NEXT.fetch_add(1, Ordering::Relaxed) % WORDS + 1) * EVERY } else { mine };
    MINE.set(mine + 1);
    Some(Instant::now())
}

/// The reads at once of one engine.
#[derive(Default)]
pub(crate) struct AtOnceMeter {
    words: [Word; WORDS as usize],
    total: Mutex<Total>,
}

/// Apart from its neighbours, also in caches that fetch lines by pairs.
#[derive(Default)]
#[repr(align(128))]
struct Word(AtomicU64);

#[derive(Default)]
struct Total {
    count: u64,
    bytes: u64,
    latency: Option<Latency>,
}

impl AtOnceMeter {
    /// A read at once has brought `n` bytes; `began` is what [`sample`] said on this thread before.
    #[inline]
    pub(crate) fn note(&self, n: usize, began: Option<Instant>) {
        let word = &self.words[((MINE.get() / EVERY).wrapping_sub(1) % WORDS) as usize].0;
        let before = word.fetch_add(ONE + n as u64, Ordering::Relaxed);
        if before & HALF_FULL != 0 || began.is_some() {
            self.settle(word, before, began);
        }
    }

    #[cold]
    #[inline(never)]
    fn settle(&self, word: &AtomicU64, before: u64, began: Option<Instant>) {
        let took = began.map(|began| began.elapsed());
        if before & HALF_FULL != 0 {
            self.lock().empty(word);
        }
        // Nobody waits for a sample: one that comes while others look at the total is left out.
        let (Some(took), Ok(mut total)) = (took, self.total.try_lock()) else { return };
        total.latency.get_or_insert_with(Latency::new).record(took);
    }

    /// What was read at once so far; `None`: nothing.
    pub(crate) fn metrics(&self) -> Option<OpMetrics> {
        let mut total = self.lock();
        self.words.iter().for_each(|word| total.empty(&word.0));
        (total.count > 0).then(|| OpMetrics {
            count: total.count,
            inline: total.count,
            bytes: total.bytes,
            latency: total.latency.clone().unwrap_or_else(Latency::new),
            ..OpMetrics::new(OpKind::Read, Via::AtOnce)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Total> {
        self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Total {
    /// Takes over what a word has counted. Under the lock, so that the total never goes back.
    fn empty(&mut self, word: &AtomicU64) {
        let counted = word.swap(0, Ordering::Relaxed);
        self.count += counted / ONE;
        self.bytes += counted % ONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_read_is_counted_and_one_in_sixty_four_is_timed() {
        let meter = AtOnceMeter::default();
        assert!(meter.metrics().is_none());
        std::thread::scope(|scope| {
            for _ in 0..WORDS + 3 {
                scope.spawn(|| {
                    for _ in 0..EVERY * 5 {
                        let began = sample();
                        meter.note(100, began);
                    }
                });
            }
        });
        let seen = meter.metrics().unwrap();
        let reads = u64::from((WORDS + 3) * EVERY * 5);
        assert_eq!((seen.count, seen.bytes, seen.inline), (reads, reads * 100, reads));
        let most = reads / u64::from(EVERY);
        assert!((1..=most).contains(&seen.latency.samples()), "{} of {most}", seen.latency.samples());
    }

    #[test]
    fn a_word_never_runs_over() {
        let meter = AtOnceMeter::default();
        for _ in 0..1000 {
            meter.note(u32::MAX as usize, None);
        }
        let seen = meter.metrics().unwrap();
        assert_eq!((seen.count, seen.bytes), (1000, 1000 * u64::from(u32::MAX)));
    }
}
