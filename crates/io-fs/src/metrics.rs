//! A snapshot for people, for files and for whatever collects metrics. None of it is on the way of an operation: the engine counts, and
//! what is here reads.

#[cfg(feature = "metrics")]
mod publish;
#[cfg(feature = "serde")]
mod serialize;
#[cfg(feature = "tracing")]
mod start;

#[cfg(feature = "tracing")]
pub(crate) use start::announce;

use crate::Snapshot;
use io_engine::core::OpKind;
use std::{fmt, time::Duration};

/// A kind of operation as it is written in tables, files and labels: `sync_data`.
fn name_of(kind: OpKind) -> String {
    let mut name = String::new();
    for (at, letter) in format!("{kind:?}").char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// A short table: one line of levels, one of names, one for each kind of operation, one for each size of buffers.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} shard{}: {} in flight of {}, {} waiting, {} orphans ({} bytes), {} quarantined",
            self.driver,
            self.shards.len(),
            if self.shards.len() == 1 { "" } else { "s" },
            self.in_flight,
            self.depth,
            self.waiting,
            self.orphans,
            self.orphan_bytes,
            self.quarantined(),
        )?;
        for died in &self.died {
            writeln!(f, "{died}")?;
        }
        writeln!(
            f,
            "{:<15} {:<10} {:>10} {:>7} {:>7} {:>10} {:>14} {:>8} {:>8} {:>8} {:>8}",
            "kind", "by", "count", "failed", "short", "inline", "bytes", "p50", "p99", "p99.9", "max"
        )?;
        for row in &self.operations {
            let name = name_of(row.kind);
            let [half, most, nearly_all] = [0.5, 0.99, 0.999].map(|share| short(row.latency.quantile(share)));
            writeln!(
                f,
                "{name:<15} {:<10} {:>10} {:>7} {:>7} {:>10} {:>14} {half:>8} {most:>8} {nearly_all:>8} {:>8}",
                row.via,
                row.count,
                row.failed,
                row.short,
                row.inline,
                row.bytes,
                short(row.latency.max()),
            )?;
        }
        for class in self.pool.iter().flat_map(|pool| &pool.classes) {
            let (size, out, total, most) = (class.size, class.out, class.total_max, class.high_water);
            writeln!(
                f,
                "buffers of {size}: {out} of {total} out, {most} at most; met empty {} times",
                class.exhausted
            )?;
        }
        Ok(())
    }
}

/// A duration in at most seven characters.
fn short(took: Duration) -> String {
    let micros = took.as_secs_f64() * 1e6;
    match micros {
        _ if micros < 10.0 => format!("{micros:.1}us"),
        _ if micros < 1e4 => format!("{micros:.0}us"),
        _ if micros < 1e7 => format!("{:.0}ms", micros / 1e3),
        _ => format!("{:.0}s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_small_letters() {
        assert_eq!([OpKind::Read, OpKind::SyncData, OpKind::StatFs].map(name_of), ["read", "sync_data", "stat_fs"]);
    }

    #[test]
    fn durations_are_short() {
        let of = |nanos| short(Duration::from_nanos(nanos));
        assert_eq!([0, 1_500, 77_000, 9_999_000].map(of), ["0.0us", "1.5us", "77us", "9999us"]);
        assert_eq!([77_000_000, 12_000_000_000].map(of), ["77ms", "12s"]);
    }
}
