//! A snapshot says what was done, and can be printed, written and published.

use crate::fs_kit::*;
use io_fs::{OpKind, OpMetrics, Snapshot, Via};
use io_sim::SimOptions;

const WRITES: u64 = 30;

/// Writes, reads, a read that is short, a read that fails and a sync.
async fn work(site: &Site) {
    let fs = &site.fs;
    let file = fs.create(site.at("f")).await.unwrap();
    for i in 0..WRITES {
        file.write_at(vec![7; 1000], i * 1000).await.0.unwrap();
    }
    file.sync_data().await.unwrap();
    file.read_at(vec![0; 4096], WRITES * 1000 - 10).await.0.unwrap();
    for i in 0..WRITES {
        assert_eq!(file.read_at(vec![0; 1000], i * 1000).await.0.unwrap(), 1000);
    }
    fs.open(site.at("missing")).await.unwrap_err();
}

/// Count, failed, short and bytes of a kind, whoever did it.
fn sums(snapshot: &Snapshot, kind: OpKind) -> (u64, u64, u64, u64) {
    let rows = snapshot.operations.iter().filter(|row| row.kind == kind);
    rows.fold((0, 0, 0, 0), |(count, failed, short, bytes), row: &OpMetrics| {
        (count + row.count, failed + row.failed, short + row.short, bytes + row.bytes)
    })
}

#[test]
fn a_snapshot_says_what_was_done() {
    on_real_drivers(counted);
    counted(&simulated(SimOptions::seeded(3)));
}

fn counted(site: &Site) {
    site.run(work(site));
    let seen = site.fs.snapshot();
    assert_eq!(seen.driver, site.fs.backend().driver());
    assert_eq!(sums(&seen, OpKind::Write), (WRITES, 0, 0, WRITES * 1000));
    assert_eq!(sums(&seen, OpKind::Read), (WRITES + 1, 0, 1, WRITES * 1000 + 10));
    assert_eq!(sums(&seen, OpKind::SyncData), (1, 0, 0, 0));
    let (opened, failed, ..) = sums(&seen, OpKind::Open);
    assert!(opened >= 2, "{opened}");
    assert_eq!(failed, 1);
    let timed = seen.operations.iter().filter(|row| row.via != Via::AtOnce);
    assert!(timed.clone().all(|row| row.latency.samples() == row.count && row.latency.max() >= row.latency.min()));
    // Everything but reads at once has passed a shard.
    assert_eq!(timed.map(|row| row.count).sum::<u64>(), seen.answered());
    assert!(seen.depth > 0 && seen.in_flight == 0);
}

#[test]
fn buffers_are_in_it_once_they_are_used() {
    let site = simulated(SimOptions::seeded(4));
    assert!(site.fs.snapshot().pool.is_none());
    let buf = site.fs.buffer_pool().try_acquire(4096);
    let pool = site.fs.snapshot().pool.unwrap();
    assert_eq!(pool.classes[0].out, 1);
    drop(buf);
    assert_eq!(site.fs.snapshot().pool.unwrap().classes[0].out, 0);
}

#[test]
fn it_prints_as_a_short_table() {
    let site = simulated(SimOptions::seeded(5));
    site.run(work(&site));
    drop(site.fs.buffer_pool().try_acquire(4096));
    let table = site.fs.snapshot().to_string();
    let line =
        |word: &str| table.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("{word} in {table}"));
    assert!(line("sim, 1 shard: 0 in flight of 64").contains("0 orphans"), "{table}");
    let words: Vec<&str> = line("write").split_whitespace().collect();
    assert_eq!(words[..7], ["write", "sim", "30", "0", "0", "0", "30000"], "{table}");
    assert!(line("buffers of 4096: 0 of 64 out, 1 at most").ends_with("0 times"), "{table}");
    assert!(table.lines().all(|line| line.len() <= 140), "{table}");
}

#[cfg(feature = "serde")]
#[test]
fn it_can_be_written() {
    let site = simulated(SimOptions::seeded(6));
    site.run(work(&site));
    drop(site.fs.buffer_pool().try_acquire(4096));
    let json = serde_json::to_value(site.fs.snapshot()).unwrap();
    assert_eq!((&json["driver"], &json["in_flight"], &json["orphans"]), (&"sim".into(), &0.into(), &0.into()));
    let operations = json["operations"].as_array().unwrap();
    let writes = operations.iter().find(|row| row["kind"] == "write").unwrap();
    assert_eq!((&writes["via"], &writes["count"], &writes["bytes"]), (&"sim".into(), &30.into(), &30_000.into()));
    let latency = &writes["latency"];
    let steps = latency["buckets_ns"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step[1].as_u64().unwrap()).sum::<u64>(), 30);
    assert!(latency["p50_ns"].as_u64() > Some(0) && latency["p50_ns"].as_u64() <= latency["max_ns"].as_u64());
    assert_eq!(json["shards"][0]["answered"], site.fs.snapshot().answered());
    assert_eq!(json["pool"]["classes"][0]["high_water"], 1);
}

#[cfg(feature = "tracing")]
mod told {
    use super::*;
    use std::{
        fmt::Debug,
        sync::{Arc, Mutex},
    };
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    /// Keeps the events of this thread, as text.
    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<String>>>);

    struct Text(String);

    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0 += &format!("{}={value:?} ", field.name());
        }
    }

    impl Subscriber for Events {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut text = Text(String::new());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    /// What is said of a life with these in it.
    fn said(live: impl FnOnce()) -> Vec<String> {
        let events = Events::default();
        tracing::subscriber::with_default(events.clone(), live);
        let mut events = std::mem::take(&mut *events.0.lock().unwrap());
        events.retain(|event| !event.contains("file system started") && !event.contains("a core ended"));
        events
    }

    #[test]
    fn operations_that_do_well_are_not_told_of() {
        assert_eq!(
            said(|| {
                let site = simulated(SimOptions::seeded(9));
                site.run(work(&site));
            }),
            [""; 0]
        );
    }

    #[test]
    fn what_goes_wrong_is_told_once() {
        use std::time::Duration;
        let slow = Duration::from_secs(2)..=Duration::from_secs(2);
        let events = said(|| {
            let site = simulated(SimOptions { latency: slow, ..SimOptions::seeded(9) });
            site.run(async {
                let file = site.fs.create(site.at("f")).await.unwrap();
                file.write_at(vec![1; 77], 11).await.0.unwrap();
            });
        });
        let [open, write] = &events[..] else { panic!("{events:?}") };
        assert!(open.contains("slow") && open.contains("kind=Open"), "{events:?}");
        for part in ["slow", "kind=Write", "offset=11", "bytes=77", "took=2s"] {
            assert!(write.contains(part), "{events:?}");
        }

        let events = said(|| {
            let site = simulated(SimOptions::seeded(9));
            site.run(async {
                let file = site.fs.create(site.at("f")).await.unwrap();
                site.sim().fail(io_sim::Which::syncs(), io_fs::errno::EIO);
                file.write_at(vec![1; 77], 0).await.0.unwrap();
                for _ in 0..3 {
                    file.sync_data().await.unwrap_err();
                }
            });
        });
        assert!(
            events.len() == 1 && events[0].contains("in doubt") && events[0].contains("kind=SyncData"),
            "{events:?}"
        );

        let events = said(|| {
            let site = simulated(SimOptions::seeded(9));
            site.run(async {
                let file = site.fs.create(site.at("f")).await.unwrap();
                site.sim().wedge(io_sim::Which::writes());
                let _ = file.write_at(vec![1; 77], 0).with_timeout(Duration::from_millis(9)).await.unwrap_err();
                site.sim().wedge(io_sim::Which::writes());
                let _ = file.append(vec![1; 77]).with_timeout(Duration::from_millis(9)).await.unwrap_err();
                site.sim().release_wedged();
            });
        });
        assert_eq!(events.iter().filter(|event| event.contains("given up by the clock")).count(), 2, "{events:?}");

        let events = said(|| {
            let site = simulated(SimOptions::seeded(9));
            site.sim().fail(io_sim::Which::kind(OpKind::Open).nth(1), io_fs::errno::EINVAL);
            let options = io_fs::FileOptions::from(io_fs::OpenOptions::CREATE).direct_or_buffered(true);
            let file = site.run(site.fs.open_with(site.at("f"), options)).unwrap();
            assert!(!file.is_direct());
        });
        assert!(events.len() == 1 && events[0].contains("opened buffered"), "{events:?}");

        let events = said(|| {
            let site = simulated(SimOptions::seeded(9));
            site.sim().break_drivers(io_fs::errno::EBADF);
            // It was with the driver: nobody knows what became of it.
            assert!(glance(&mut Box::pin(site.fs.open(site.at("f")))).is_pending());
        });
        assert!(!events.is_empty() && events[0].contains("channel broke"), "{events:?}");
    }

    #[test]
    fn one_event_says_which_driver_runs_on_which_kernel_and_why() {
        let events = Events::default();
        tracing::subscriber::with_default(events.clone(), || {
            let site = simulated(SimOptions::seeded(8));
            site.run(work(&site));
        });
        let events = events.0.lock().unwrap();
        let started: Vec<_> = events.iter().filter(|event| event.contains("file system started")).collect();
        assert_eq!(started.len(), 1, "{events:?}");
        let kernel = format!("kernel={} ", std::env::consts::OS);
        for part in [kernel.as_str(), "driver=sim ", "why=sim, given; 1 shard"] {
            assert!(started[0].contains(part), "{started:?}");
        }
    }
}

#[cfg(feature = "metrics")]
mod published {
    use super::*;
    use io_fs::FileSystem;
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        Unit,
    };
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    /// What was said last of each counter and gauge, and how many values were recorded.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<BTreeMap<String, f64>>>);

    struct One(Seen, String);

    impl One {
        fn change(&self, by: impl FnOnce(f64) -> f64) {
            let mut seen = self.0.0.lock().unwrap();
            let value = seen.entry(self.1.clone()).or_insert(0.0);
            *value = by(*value);
        }
    }

    impl CounterFn for One {
        fn increment(&self, value: u64) {
            self.change(|before| before + value as f64);
        }
        fn absolute(&self, value: u64) {
            self.change(|_| value as f64);
        }
    }

    impl GaugeFn for One {
        fn increment(&self, value: f64) {
            self.change(|before| before + value);
        }
        fn decrement(&self, value: f64) {
            self.change(|before| before - value);
        }
        fn set(&self, value: f64) {
            self.change(|_| value);
        }
    }

    impl HistogramFn for One {
        fn record(&self, value: f64) {
            assert!(value > 0.0 && value < 61.0, "{value} seconds");
            self.change(|before| before + 1.0);
        }
    }

    impl Seen {
        fn one(&self, key: &Key) -> Arc<One> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            Arc::new(One(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
        }

        fn get(&self, name: &str) -> f64 {
            *self.0.lock().unwrap().get(name).unwrap_or_else(|| panic!("{name} was not published"))
        }
    }

    impl Recorder for Seen {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.one(key))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.one(key))
        }
        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.one(key))
        }
    }

    #[test]
    fn a_recorder_gets_all_of_it_and_each_latency_once() {
        let seen = Seen::default();
        let site = simulated(SimOptions::seeded(7));
        let writes = |name: &str| seen.get(&format!("{name} driver=sim via=sim kind=write"));
        let publish = |fs: &FileSystem, before: Option<&Snapshot>| {
            let now = fs.snapshot();
            metrics::with_local_recorder(&seen, || now.publish(before));
            now
        };
        site.run(work(&site));
        let first = publish(&site.fs, None);
        assert_eq!(writes("iofs_operations_total"), 30.0);
        assert_eq!(writes("iofs_operation_bytes_total"), 30_000.0);
        assert_eq!(writes("iofs_operation_seconds"), 30.0);
        assert_eq!(seen.get("iofs_operation_errors_total driver=sim via=sim kind=open"), 1.0);
        assert_eq!(seen.get("iofs_short_transfers_total driver=sim via=sim kind=read"), 1.0);
        assert_eq!((seen.get("iofs_in_flight driver=sim"), seen.get("iofs_depth driver=sim")), (0.0, 64.0));
        drop(site.fs.buffer_pool().try_acquire(4096));
        site.run(work(&site));
        publish(&site.fs, Some(&first));
        assert_eq!((writes("iofs_operations_total"), writes("iofs_operation_seconds")), (60.0, 60.0));
        assert_eq!(seen.get("iofs_pool_buffers_out size=4096"), 0.0);
    }
}
