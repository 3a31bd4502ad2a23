//! Which rows there are, and how long each takes.

use super::ground::Ground;
use crate::load::Work;
use io_fs::DriverName;
use std::fmt;

/// Who runs a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Blocking calls of `std::fs`, a thread for each operation that goes on.
    Std,
    /// A driver, behind the facade or below the event loop.
    Driver(DriverName),
}

impl Contender {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Std => "std",
            Contender::Driver(name) => name.as_str(),
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) contender: Contender,
    pub(crate) work: Work,
    pub(crate) direct: bool,
    pub(crate) qd: u32,
}

pub(crate) fn name_of(work: Work) -> &'static str {
    match work {
        Work::RandRead => "randread",
        Work::SeqRead => "seqread",
        Work::RandWrite => "randwrite",
        Work::SeqWrite => "seqwrite",
        Work::Mixed => "mixed",
        Work::WalAppend => "wal-append",
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = if self.direct { "direct" } else { "buffered" };
        write!(f, "{} {} {route} qd {}", self.contender.name(), name_of(self.work), self.qd)
    }
}

const WORKS: [Work; 5] = [Work::RandRead, Work::SeqRead, Work::RandWrite, Work::SeqWrite, Work::WalAppend];

/// The rows that make sense on this ground, those to be compared next to one another. Reading comes first: writes leave dirty
/// pages and worn caches behind.
pub(crate) fn rows(contenders: &[Contender], ground: &Ground) -> Vec<Row> {
    let mut rows = Vec::new();
    for work in WORKS {
        for direct in [false, true] {
            if !ground.allows(work, direct) {
                continue;
            }
            for qd in [1, 32] {
                rows.extend(contenders.iter().map(|&contender| Row { contender, work, direct, qd }));
            }
        }
    }
    rows
}

/// What is done around each timed part, in seconds: a driver is made, caches are warmed, bytes are compared.
const AROUND: f64 = 0.2;
/// What all rows together should take.
const ABOUT: f64 = 58.0;

/// Seconds per row such that all take about a minute.
pub(crate) fn seconds_per_row(rows: usize) -> f64 {
    let seconds = ABOUT / rows.max(1) as f64 - AROUND;
    (seconds.clamp(0.05, 2.0) * 100.0).round() / 100.0
}

/// What there is to expect, in one line.
pub(crate) fn estimate(rows: usize, seconds: f64) -> String {
    let all = (rows as f64 * (seconds + AROUND)).ceil();
    let time = if all < 120.0 { format!("{all} s") } else { format!("{:.0} min", all / 60.0) };
    format!("{rows} rows of {seconds} s, with verification about {time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_comparison_takes_about_a_minute() {
        for rows in [40, 60, 80] {
            let all = rows as f64 * (seconds_per_row(rows) + AROUND);
            assert!((50.0..70.0).contains(&all), "{rows} rows: {all}");
        }
        assert_eq!(seconds_per_row(4), 2.0);
        assert_eq!(seconds_per_row(10_000), 0.05);
        assert_eq!(estimate(80, 0.5), "80 rows of 0.5 s, with verification about 56 s");
    }
}
