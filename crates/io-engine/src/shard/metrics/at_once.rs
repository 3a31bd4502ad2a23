//! Reads at once from memory, counted on threads that share nothing with one another.
//!
//! They take a few hundred nanoseconds, so that even two looks at a clock would be seen: a thread bumps one word, and times one read in
//! sixty-four.

use super::{OpMetrics, Via, latency::Tally};
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
/// A word counts reads in its upper 16 bits, and their bytes in the lower 48. Who times a read empties it, so that neither runs over.
const ONE: u64 = 1 << 48;

thread_local! {
    /// The thread's word, plus the thread's reads in units of `WORDS`. Zero: it has no word yet.
    static MINE: Cell<u32> = const { Cell::new(0) };
}

/// True if the read that now begins is to be timed.
#[inline]
pub(crate) fn is_due() -> bool {
    let mine = MINE.get();
    MINE.set(mine.wrapping_add(WORDS));
    mine % (WORDS * EVERY) < WORDS
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
    latency: Option<Tally>,
}

impl AtOnceMeter {
    /// A read at once has brought `n` bytes.
    #[inline]
    pub(crate) fn note(&self, n: usize) {
        let word = &self.words[(MINE.get() % WORDS) as usize].0;
        word.fetch_add(ONE + n as u64, Ordering::Relaxed);
    }

    /// Tries to read at once, and times it. It is the first read of a thread, or one in sixty-four.
    #[cold]
    #[inline(never)]
    pub(crate) fn timed(&self, read: impl FnOnce() -> Option<usize>) -> Option<usize> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if MINE.get() == WORDS {
            // It was zero a moment ago.
            MINE.set(NEXT.fetch_add(1, Ordering::Relaxed) % WORDS + WORDS);
        }
        let began = Instant::now();
        let n = read()?;
        let took = began.elapsed();
        self.note(n);
        // Nobody waits for a sample: one that comes while others look at the total is left out.
        if let Ok(mut total) = self.total.try_lock() {
            total.empty(&self.words[(MINE.get() % WORDS) as usize].0);
            total.latency.get_or_insert_with(Tally::new).record(took);
        }
        Some(n)
    }

    /// What was read at once so far; `None`: nothing.
    pub(crate) fn metrics(&self) -> Option<OpMetrics> {
        let mut total = self.lock();
        self.words.iter().for_each(|word| total.empty(&word.0));
        let (count, bytes) = (total.count, total.bytes);
        let mut metrics = OpMetrics { count, inline: count, bytes, ..OpMetrics::new(OpKind::Read, Via::AtOnce) };
        total.latency.iter().for_each(|tally| metrics.latency.add(tally));
        (count > 0).then_some(metrics)
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
                        if is_due() {
                            assert_eq!(meter.timed(|| None), None, "what was not read is not counted");
                            meter.timed(|| Some(100));
                        } else {
                            meter.note(100);
                        }
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
    fn large_reads_do_not_run_over() {
        let meter = AtOnceMeter::default();
        let large = u32::MAX as usize;
        for _ in 0..100_000 {
            if is_due() {
                meter.timed(|| Some(large));
            } else {
                meter.note(large);
            }
        }
        let seen = meter.metrics().unwrap();
        assert_eq!((seen.count, seen.bytes), (100_000, 100_000 * u64::from(u32::MAX)));
    }
}
