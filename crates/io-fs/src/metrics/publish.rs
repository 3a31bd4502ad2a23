//! A snapshot for the recorder of the `metrics` crate.

use super::name_of;
use crate::Snapshot;
use io_engine::{Latency, OpMetrics};
use metrics::{counter, gauge, histogram};
use std::{collections::BTreeMap, time::Duration};

impl Snapshot {
    /// Hands the snapshot to the current recorder of the `metrics` crate; to be called now and then, by a timer or before a scrape.
    /// `before` is the snapshot of the same file system that was handed over last: of latencies, only what is new since then is
    /// recorded, to two significant digits.
    ///
    /// Names begin with `iofs_`; operations are labelled with `driver`, `via` (who did them) and `kind`, buffers with `size`.
    pub fn publish(&self, before: Option<&Snapshot>) {
        let driver = self.driver.to_string();
        gauge!("iofs_in_flight", "driver" => driver.clone()).set(f64::from(self.in_flight));
        gauge!("iofs_depth", "driver" => driver.clone()).set(f64::from(self.depth));
        gauge!("iofs_admitted", "driver" => driver.clone()).set(f64::from(self.admitted));
        gauge!("iofs_admitted_bytes", "driver" => driver.clone()).set(self.admitted_bytes as f64);
        gauge!("iofs_waiting", "driver" => driver.clone()).set(self.waiting as f64);
        gauge!("iofs_orphans", "driver" => driver.clone()).set(f64::from(self.orphans));
        gauge!("iofs_orphan_bytes", "driver" => driver.clone()).set(self.orphan_bytes as f64);
        counter!("iofs_quarantined_total", "driver" => driver.clone()).absolute(self.quarantined());
        for row in &self.operations {
            let same = |other: &&OpMetrics| (other.kind, other.via) == (row.kind, row.via);
            let before = before.and_then(|before| before.operations.iter().find(same));
            publish_operations(&driver, row, before.map(|row| &row.latency));
        }
        self.publish_pool();
    }

    fn publish_pool(&self) {
        for class in self.pool.iter().flat_map(|pool| &pool.classes) {
            let size = class.size.to_string();
            gauge!("iofs_pool_buffers", "size" => size.clone()).set(f64::from(class.total));
            gauge!("iofs_pool_buffers_out", "size" => size.clone()).set(f64::from(class.out));
            gauge!("iofs_pool_waiting", "size" => size.clone()).set(class.waiting as f64);
            counter!("iofs_pool_exhausted_total", "size" => size.clone()).absolute(class.exhausted);
            counter!("iofs_pool_fallbacks_total", "size" => size).absolute(class.fallbacks);
        }
    }
}

fn publish_operations(driver: &str, row: &OpMetrics, before: Option<&Latency>) {
    let labels = [("driver", driver.to_owned()), ("via", row.via.to_string()), ("kind", name_of(row.kind))];
    counter!("iofs_operations_total", &labels).absolute(row.count);
    counter!("iofs_operation_errors_total", &labels).absolute(row.failed);
    counter!("iofs_short_transfers_total", &labels).absolute(row.short);
    counter!("iofs_inline_completions_total", &labels).absolute(row.inline);
    counter!("iofs_operation_bytes_total", &labels).absolute(row.bytes);
    let seconds = histogram!("iofs_operation_seconds", &labels);
    let known: BTreeMap<Duration, u64> =
        before.into_iter().flat_map(Latency::buckets).map(|bucket| (bucket.up_to, bucket.count)).collect();
    for bucket in row.latency.buckets() {
        let new = bucket.count.saturating_sub(known.get(&bucket.up_to).copied().unwrap_or(0));
        if new > 0 {
            seconds.record_many(bucket.up_to.as_secs_f64(), new as usize);
        }
    }
}
