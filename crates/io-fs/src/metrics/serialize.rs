//! A snapshot as data: durations in nanoseconds, kinds by name.

use super::name_of;
use crate::Snapshot;
use io_engine::{ClassStats, Latency, OpMetrics, PoolStats, Stats};
use serde::{Serialize, Serializer};

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Whole::of(self).serialize(serializer)
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    driver: &'a str,
    died: Vec<String>,
    admitted: u32,
    admitted_bytes: u64,
    waiting: usize,
    in_flight: u32,
    depth: u32,
    orphans: u32,
    orphan_bytes: u64,
    ops_max: u32,
    bytes_max: u64,
    shards: Vec<Shard>,
    operations: Vec<Operations>,
    pool: Option<Pool>,
}

impl Whole<'_> {
    fn of(snapshot: &Snapshot) -> Whole<'_> {
        Whole {
            driver: snapshot.driver.as_str(),
            died: snapshot.died.iter().map(ToString::to_string).collect(),
            admitted: snapshot.admitted,
            admitted_bytes: snapshot.admitted_bytes,
            waiting: snapshot.waiting,
            in_flight: snapshot.in_flight,
            depth: snapshot.depth,
            orphans: snapshot.orphans,
            orphan_bytes: snapshot.orphan_bytes,
            ops_max: snapshot.ops_max,
            bytes_max: snapshot.bytes_max,
            shards: snapshot.shards.iter().map(Shard::of).collect(),
            operations: snapshot.operations.iter().map(Operations::of).collect(),
            pool: snapshot.pool.as_ref().map(Pool::of),
        }
    }
}

#[derive(Serialize)]
struct Shard {
    accepted: u64,
    answered: u64,
    failed: u64,
    bytes_read: u64,
    bytes_written: u64,
    continued: u64,
    repeated: u64,
    offloaded: u64,
    ordered: u64,
    submits: u64,
    pushed_back: u64,
    quarantined: u64,
    in_flight: u32,
    depth: u32,
}

impl Shard {
    fn of(stats: &Stats) -> Shard {
        Shard {
            accepted: stats.accepted,
            answered: stats.answered,
            failed: stats.failed,
            bytes_read: stats.bytes_read,
            bytes_written: stats.bytes_written,
            continued: stats.continued,
            repeated: stats.repeated,
            offloaded: stats.offloaded,
            ordered: stats.ordered,
            submits: stats.submits,
            pushed_back: stats.pushed_back,
            quarantined: stats.quarantined,
            in_flight: stats.in_flight,
            depth: stats.depth,
        }
    }
}

#[derive(Serialize)]
struct Operations {
    kind: String,
    via: String,
    count: u64,
    failed: u64,
    short: u64,
    inline: u64,
    bytes: u64,
    latency: Distribution,
}

impl Operations {
    fn of(row: &OpMetrics) -> Operations {
        Operations {
            kind: name_of(row.kind),
            via: row.via.to_string(),
            count: row.count,
            failed: row.failed,
            short: row.short,
            inline: row.inline,
            bytes: row.bytes,
            latency: Distribution::of(&row.latency),
        }
    }
}

#[derive(Serialize)]
struct Distribution {
    samples: u64,
    min_ns: u64,
    mean_ns: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    /// The longest duration that a step stands for, and how many it has.
    buckets_ns: Vec<(u64, u64)>,
}

impl Distribution {
    fn of(latency: &Latency) -> Distribution {
        let ns = |took: std::time::Duration| took.as_nanos() as u64;
        Distribution {
            samples: latency.samples(),
            min_ns: ns(latency.min()),
            mean_ns: ns(latency.mean()),
            p50_ns: ns(latency.quantile(0.5)),
            p90_ns: ns(latency.quantile(0.9)),
            p99_ns: ns(latency.quantile(0.99)),
            p999_ns: ns(latency.quantile(0.999)),
            max_ns: ns(latency.max()),
            buckets_ns: latency.buckets().map(|bucket| (ns(bucket.up_to), bucket.count)).collect(),
        }
    }
}

#[derive(Serialize)]
struct Pool {
    classes: Vec<Class>,
    heap: u32,
    heap_bytes: u64,
    too_large: u64,
    registered: u32,
    refused: u32,
}

#[derive(Serialize)]
struct Class {
    size: usize,
    total_max: u32,
    total: u32,
    free: u32,
    out: u32,
    high_water: u32,
    waiting: usize,
    exhausted: u64,
    fallbacks: u64,
}

impl Pool {
    fn of(pool: &PoolStats) -> Pool {
        Pool {
            classes: pool.classes.iter().map(Class::of).collect(),
            heap: pool.heap,
            heap_bytes: pool.heap_bytes,
            too_large: pool.too_large,
            registered: pool.registered,
            refused: pool.refused,
        }
    }
}

impl Class {
    fn of(class: &ClassStats) -> Class {
        Class {
            size: class.size,
            total_max: class.total_max,
            total: class.total,
            free: class.free,
            out: class.out,
            high_water: class.high_water,
            waiting: class.waiting,
            exhausted: class.exhausted,
            fallbacks: class.fallbacks,
        }
    }
}
