//! The one source of chance: small, seeded, the same on every platform.

use std::{ops::RangeInclusive, time::Duration};

/// xoshiro256** (Blackman and Vigna), seeded through splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Random([u64; 4]);

impl Random {
    /// A generator of its own for each `purpose`, so that drawing more for one thing does not shift the draws for another.
    pub(crate) fn new(seed: u64, purpose: u64) -> Random {
        let mut state = seed ^ purpose.wrapping_mul(0xd134_2543_de82_ef95);
        let mut word = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        Random([word(), word(), word(), word()])
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let drawn = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// A number below `bound`; 0 if there is none.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // The bias of the multiplication is below bound/2^64: no test can see it.
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        let drawn = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        drawn < probability
    }

    /// A number of nanoseconds within the range.
    pub(crate) fn nanos(&mut self, range: &RangeInclusive<Duration>) -> u64 {
        let (low, high) = (nanos(*range.start()), nanos(*range.end()));
        low + self.below((high - low).saturating_add(1))
    }
}

/// A duration as nanoseconds, as far as they fit.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_numbers_and_purposes_differ() {
        let draw = |seed, purpose| {
            let mut random = Random::new(seed, purpose);
            std::array::from_fn::<u64, 8, _>(|_| random.next())
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn draws_stay_in_range_and_reach_its_ends() {
        let mut random = Random::new(1, 1);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[random.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(0), 0);
        let range = Duration::from_nanos(10)..=Duration::from_nanos(12);
        assert!((0..1000).all(|_| (10..=12).contains(&random.nanos(&range))));
        assert!(!random.chance(0.0));
        assert!(random.chance(1.0));
        let heads = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2200..2800).contains(&heads), "{heads}");
    }
}
