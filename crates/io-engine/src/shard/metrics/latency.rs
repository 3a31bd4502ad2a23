//! How long operations took: two digits, from a microsecond to a minute, in memory of a fixed size.

use hdrhistogram::Histogram;
use std::{fmt, time::Duration};

/// What is shorter or longer is counted as this.
const SHORTEST: u64 = 1_000;
const LONGEST: u64 = 60_000_000_000;
/// Significant digits.
const DIGITS: u8 = 2;

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

    #[inline]
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST));
    }

    pub(crate) fn add(&mut self, other: &Latency) {
        self.0.add(&other.0).expect("they have the same bounds");
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
            let mut one = Latency::new();
            one.record(took);
            let off = one.quantile(1.0).as_secs_f64() / took.as_secs_f64() - 1.0;
            // The finest step is half a microsecond.
            assert!(off.abs() < if micros < 50 { 0.2 } else { 0.01 }, "{took:?} is {:?}", one.quantile(1.0));
            latency.add(&one);
        }
        for extreme in [Duration::ZERO, Duration::from_secs(1000), Duration::MAX] {
            latency.record(extreme);
        }
        assert_eq!(latency.samples(), 7);
        assert!(latency.max() >= Duration::from_secs(60) && latency.max() < Duration::from_secs(61));
        assert_eq!(latency.buckets().map(|bucket| bucket.count).sum::<u64>(), 7);
        assert!(latency.buckets().zip(latency.buckets().skip(1)).all(|(a, b)| a.up_to < b.up_to));
    }
}
