//! How long operations took: two digits, from a microsecond to a minute, in memory of a fixed size.

use hdrhistogram::Histogram;
use std::{fmt, time::Duration};

/// What is shorter or longer is counted as this.
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 60_000_000_000;
/// Significant digits.
const DIGITS: u8 = 2;

/// Durations are counted in units of 512 ns, which is the finest step of such a histogram.
const UNIT: u32 = 9;
/// Steps in which a power of two is divided: as many as two digits need.
const STEPS: u64 = 128;
/// Steps up to the longest duration.
const STEPS_ALL: usize = step_of(LONGEST) + 1;

/// What a shard counts durations in: the steps of the histogram, without what a histogram does at each of them. To count costs some
/// twenty instructions.
pub(crate) struct Tally(Box<[u64; STEPS_ALL]>);

impl Tally {
    pub(crate) fn new() -> Tally {
        Tally(vec![0; STEPS_ALL].into_boxed_slice().try_into().expect("it has this length"))
    }

    #[inline]
    pub(crate) fn record(&mut self, took: Duration) {
        let seconds = took.as_secs();
        let nanos = if seconds < LONGEST / 1_000_000_000 {
            seconds * 1_000_000_000 + u64::from(took.subsec_nanos())
        } else {
            LONGEST
        };
        self.0[step_of(nanos)] += 1;
    }
}

/// The step of a duration in nanoseconds. The first two hundred and fifty-six are one unit wide each, the next 128 two units, and so on.
#[inline]
const fn step_of(nanos: u64) -> usize {
    let units = nanos >> UNIT;
    let wide = (units | STEPS).ilog2() - STEPS.ilog2();
    (wide as u64 * STEPS + (units >> wide)) as usize
}

/// A duration of this step, in nanoseconds.
const fn nanos_of(step: usize) -> u64 {
    let step = step as u64;
    let wide = if step < 2 * STEPS { 0 } else { step / STEPS - 1 };
    (step - wide * STEPS) << wide << UNIT
}

/// The distribution of a duration. Two digits of it are significant; what takes longer than a minute counts as a minute.
#[derive(Clone)]
pub struct Latency(Histogram<u64>);

/// One step of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencyBucket {
    /// The longest duration that it stands for.
    pub up_to: Duration,
    /// How many were longer than the step before stands for, and no longer than that.
    pub count: u64,
}

impl Latency {
    pub(crate) fn new() -> Latency {
        Latency(Histogram::new_with_bounds(SHORTEST, LONGEST, DIGITS).expect("these bounds are in order"))
    }

    pub(crate) fn add(&mut self, tally: &Tally) {
        for (step, &count) in tally.0.iter().enumerate().filter(|&(_, &count)| count > 0) {
            self.0.saturating_record_n(nanos_of(step), count);
        }
    }

    /// Operations whose duration was taken.
    pub fn samples(&self) -> u64 {
        self.0.len()
    }

    /// The duration that this share of the operations (0.0 to 1.0) did not exceed; zero without operations.
    pub fn quantile(&self, share: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(share))
    }

    /// The shortest; zero without operations.
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.0.min())
    }

    /// The longest; zero without operations.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    /// The mean; zero without operations.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.mean() as u64)
    }

    /// The steps that are not empty, ascending: what a distribution is exported with, and what the difference of two is made of.
    pub fn buckets(&self) -> impl Iterator<Item = LatencyBucket> + '_ {
        self.0.iter_recorded().map(|step| LatencyBucket {
            up_to: Duration::from_nanos(step.value_iterated_to()),
            count: step.count_since_last_iteration(),
        })
    }
}

impl fmt::Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, nearly_all] = [0.5, 0.99, 0.999].map(|share| self.quantile(share));
        write!(f, "Latency({} samples, p50 {half:?}, p99 {most:?}, p99.9 {nearly_all:?})", self.samples())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_from_a_microsecond_to_a_minute() {
        let mut latency = Latency::new();
        assert_eq!((latency.samples(), latency.max(), latency.quantile(0.5)), (0, Duration::ZERO, Duration::ZERO));
        for micros in [3, 950, 77_000, 12_000_000] {
            let took = Duration::from_micros(micros);
            let mut one = Tally::new();
            one.record(took);
            latency.add(&one);
            let one = {
                let mut alone = Latency::new();
                alone.add(&one);
                alone
            };
            let off = one.quantile(1.0).as_secs_f64() / took.as_secs_f64() - 1.0;
            // The finest step is half a microsecond.
            assert!(off.abs() < if micros < 50 { 0.2 } else { 0.01 }, "{took:?} is {:?}", one.quantile(1.0));
        }
        let mut extremes = Tally::new();
        [Duration::ZERO, Duration::from_secs(1000), Duration::MAX].into_iter().for_each(|took| extremes.record(took));
        latency.add(&extremes);
        assert_eq!(latency.samples(), 7);
        assert_eq!(latency.min(), Duration::ZERO);
        assert!(latency.max() >= Duration::from_secs(60) && latency.max() < Duration::from_secs(61));
        assert_eq!(latency.buckets().map(|bucket| bucket.count).sum::<u64>(), 7);
        assert!(latency.buckets().zip(latency.buckets().skip(1)).all(|(a, b)| a.up_to < b.up_to));
    }

    #[test]
    fn steps_are_those_of_the_histogram() {
        let same = Latency::new().0;
        for step in 0..STEPS_ALL {
            let nanos = nanos_of(step);
            assert_eq!(step_of(nanos), step);
            assert_eq!(same.lowest_equivalent(nanos), nanos);
            assert_eq!(step_of(same.highest_equivalent(nanos)), step);
        }
    }
}
