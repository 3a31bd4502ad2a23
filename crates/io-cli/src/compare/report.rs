//! The rows as a table and as JSON.

use super::{Row, plan::name_of, row::Measured};
use crate::{exit::Failure, size};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use io_fs::Unavailable;
use serde::Serialize;
use std::fmt;

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) file: String,
    pub(crate) size: u64,
    pub(crate) verified_bytes: u64,
    pub(crate) rows: Vec<ReportRow>,
    pub(crate) unavailable: Vec<Missing>,
    /// What was left out and why, and what went wrong in which row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReportRow {
    driver: &'static str,
    workload: &'static str,
    direct: bool,
    qd: u32,
    ops: u64,
    iops: f64,
    mibs: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    cpu_us_per_op: f64,
    errors: u64,
    verified: bool,
}

/// A driver that cannot run here.
#[derive(Debug, Serialize)]
pub(crate) struct Missing {
    pub(crate) driver: &'static str,
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

impl From<&Unavailable> for Missing {
    fn from(unavailable: &Unavailable) -> Missing {
        Missing {
            driver: unavailable.driver.as_str(),
            reason: unavailable.reason.clone(),
            remedy: unavailable.remedy.clone(),
        }
    }
}

impl ReportRow {
    pub(crate) fn new(row: &Row, measured: &Measured) -> ReportRow {
        let outcome = &measured.outcome;
        ReportRow {
            driver: row.contender.name(),
            workload: name_of(row.work),
            direct: row.direct,
            qd: row.qd,
            ops: outcome.ops,
            iops: rounded(outcome.iops(), 1.0),
            mibs: rounded(outcome.mibs(), 10.0),
            p50_us: rounded(outcome.micros(0.5), 100.0),
            p99_us: rounded(outcome.micros(0.99), 100.0),
            p999_us: rounded(outcome.micros(0.999), 100.0),
            cpu_us_per_op: rounded(outcome.cpu_us_per_op(), 1000.0),
            errors: measured.errors,
            verified: measured.verified,
        }
    }

    fn cells(&self) -> [String; 11] {
        [
            self.driver.to_owned(),
            self.workload.to_owned(),
            if self.direct { "direct" } else { "buffered" }.to_owned(),
            self.qd.to_string(),
            grouped(self.iops),
            format!("{:.1}", self.mibs),
            format!("{:.1}", self.p50_us),
            format!("{:.1}", self.p99_us),
            format!("{:.1}", self.p999_us),
            format!("{:.2}", self.cpu_us_per_op),
            match (self.verified, self.errors) {
                (true, 0) => "yes".to_owned(),
                (true, errors) => format!("yes, {errors} errors"),
                (false, _) => "NO".to_owned(),
            },
        ]
    }
}

impl Report {
    /// Good, or the first row that is not.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        let bad = self.rows.iter().filter(|row| !row.verified || row.errors > 0).count();
        match bad {
            0 => Ok(()),
            _ => {
                let first = self.notes.last().map(|note| format!("; {note}")).unwrap_or_default();
                Err(Failure::work(format!("{bad} of {} rows failed or are not verified{first}", self.rows.len())))
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN);
        table.set_header([
            "driver",
            "workload",
            "route",
            "qd",
            "IOPS",
            "MiB/s",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "CPU µs/op",
            "verified",
        ]);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        for column in table.column_iter_mut().skip(3).take(7) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}\n\n")?;
        let verified = size::show(self.verified_bytes);
        write!(f, "{}: {} used, {verified} compared", self.file, size::show(self.size))?;
        for missing in &self.unavailable {
            write!(f, "\n{} cannot run: {}; remedy: {}", missing.driver, missing.reason, missing.remedy)?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}"))
    }
}

fn rounded(x: f64, unit: f64) -> f64 {
    (x * unit).round() / unit
}

/// A number with a separator after each three digits.
fn grouped(x: f64) -> String {
    let digits = format!("{x:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0.0, 999.0, 1000.0, 1234567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_row_that_is_not_verified_fails_the_report() {
        let row = |verified, errors| ReportRow {
            driver: "std",
            workload: "randread",
            direct: false,
            qd: 1,
            ops: 1,
            iops: 1.0,
            mibs: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            p999_us: 1.0,
            cpu_us_per_op: 1.0,
            errors,
            verified,
        };
        let report = |rows| Report {
            file: "f".to_owned(),
            size: 1,
            verified_bytes: 1,
            rows,
            unavailable: Vec::new(),
            notes: Vec::new(),
        };
        assert!(report(vec![row(true, 0)]).verdict().is_ok());
        assert!(report(vec![row(true, 0), row(false, 0)]).verdict().is_err());
        assert!(report(vec![row(true, 1)]).verdict().is_err());
        assert!(report(vec![row(false, 0)]).to_string().contains("NO"));
    }
}
