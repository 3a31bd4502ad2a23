//! Counting and timing operations.

use super::{Content, Load, meter::Cost};
use crate::clock::Ticker;
use hdrhistogram::Histogram;
use std::io;

/// Latencies from 1 ns to a minute, two digits: the buckets stay in the first-level cache.
fn histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("bounds and digits are in range");
    // What takes longer than a minute widens it instead of being lost.
    histogram.auto(true);
    histogram
}

/// Counts what one thread's lanes do.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) ticker: Ticker,
    histogram: Histogram<u64>,
    ops: u64,
    errors: u64,
    error: Option<io::Error>,
    checked: u64,
    wrong: Option<u64>,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) ops: u64,
    pub(crate) bytes: u64,
    /// In nanoseconds.
    pub(crate) histogram: Histogram<u64>,
    pub(crate) cost: Cost,
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) error: Option<io::Error>,
    /// Bytes that were read and compared.
    pub(crate) checked: u64,
    /// Where a block was read that the file does not hold.
    pub(crate) wrong: Option<u64>,
}

impl Recorder {
    pub(crate) fn new(ticker: Ticker) -> Recorder {
        Recorder { ticker, histogram: histogram(), ops: 0, errors: 0, error: None, checked: 0, wrong: None }
    }

    /// An operation that began at tick `started` is done. Gives the time now, from which its lane's next one counts.
    #[inline]
    pub(crate) fn done(&mut self, started: u64) -> u64 {
        let now = self.ticker.now();
        self.histogram.saturating_record(self.ticker.nanos(started, now).max(1));
        self.ops += 1;
        now
    }

    /// An operation failed.
    #[cold]
    pub(crate) fn failed(&mut self, error: io::Error) {
        self.errors += 1;
        self.error.get_or_insert(error);
    }

    /// Compares a block that was read, where the load says so.
    #[inline]
    pub(crate) fn check(&mut self, load: &Load, offset: u64, bytes: &[u8]) {
        if let Content::Checked(check) = &load.content {
            self.compare(&**check, offset, bytes);
        }
    }

    /// Compares the last block of a lane, where the load says so.
    pub(crate) fn check_last(&mut self, load: &Load, offset: u64, bytes: &[u8]) {
        if let Content::LastChecked(check) = &load.content {
            self.compare(&**check, offset, bytes);
        }
    }

    fn compare(&mut self, check: &dyn super::Check, offset: u64, bytes: &[u8]) {
        self.checked += bytes.len() as u64;
        if !check.check(offset, bytes) {
            self.wrong.get_or_insert(offset);
        }
    }

    /// Takes in what another thread counted.
    pub(crate) fn merge(&mut self, other: Recorder) {
        self.histogram.add(&other.histogram).expect("both have room for any latency");
        self.ops += other.ops;
        self.errors += other.errors;
        self.checked += other.checked;
        self.error = self.error.take().or(other.error);
        self.wrong = self.wrong.or(other.wrong);
    }

    pub(crate) fn outcome(self, bs: usize, cost: Cost) -> Outcome {
        Outcome {
            ops: self.ops,
            bytes: self.ops * bs as u64,
            histogram: self.histogram,
            cost,
            errors: self.errors,
            error: self.error,
            checked: self.checked,
            wrong: self.wrong,
        }
    }
}

impl Outcome {
    pub(crate) fn iops(&self) -> f64 {
        self.ops as f64 / self.cost.seconds.max(1e-9)
    }

    pub(crate) fn mibs(&self) -> f64 {
        self.bytes as f64 / self.cost.seconds.max(1e-9) / (1 << 20) as f64
    }

    /// A quantile of the latency, in microseconds.
    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        self.histogram.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(crate) fn cpu_us_per_op(&self) -> f64 {
        self.cost.usage.cpu() * 1e6 / self.ops.max(1) as f64
    }
}
