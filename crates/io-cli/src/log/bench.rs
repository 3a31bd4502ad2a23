//! `iofs log bench`: how fast a log takes records, comes back after a crash, and is read.

use super::{args::LogBenchArgs, opening, reading, tail::Tail};
use crate::{
    exit::Failure,
    load::{Appends, Engine, Outcome, Runtime, Until},
    output, pick, progress,
    scratch::Scratch,
};
use io_fs::FileSystem;
use io_log::{
    Lsn, Record, Wal, WalError,
    store::{SegmentStore, StoreConfig},
};
use serde::Serialize;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Times of appends in microseconds, of everything else in seconds.
#[derive(Debug, Serialize)]
struct Report {
    driver: &'static str,
    bs: u64,
    writers: u32,
    fsync: &'static str,
    direct: bool,
    records: u64,
    seconds: f64,
    iops: f64,
    mibs: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    cpu_us_op: f64,
    recovery: Pass,
    scan: Pass,
}

/// All records, once.
#[derive(Debug, Serialize)]
struct Pass {
    seconds: f64,
    mibs: f64,
}

pub(super) fn run(args: &LogBenchArgs) -> Result<(), Failure> {
    let config = super::config(args.segment_size, args.direct, args.fsync)?;
    if args.bs > config.record_max() {
        let most = config.record_max();
        return Err(Failure::usage(format!("--bs {}: a record has at most {most} bytes in such segments", args.bs)));
    }
    let engine = Engine::new(Runtime::Local, pick::one(args.common.driver.as_deref())?, args.writers)?;
    let fs = engine.file_system().expect("the local runtime has a shared file system");
    let scratch = Scratch::create_dir(&args.dir, "iofs-log-bench-");
    let scratch = scratch.map_err(|error| Failure::opening(&args.dir, &error))?;
    let dir = scratch.path();
    let bar = progress::bar(4, args.common.json, "{msg} [{wide_bar}] {pos}/{len}");
    let step = |name: &'static str| {
        bar.set_message(name);
        bar.inc(1);
    };

    step("appending");
    let wal = engine.block_on(Wal::open(fs, dir, config.clone())).map_err(|error| opening(dir, &error))?;
    let outcome = append(&engine, args, wal)?;
    step("recovering");
    let begun = Instant::now();
    // The log was not closed: this is what follows a crash.
    let wal = engine.block_on(Wal::open(fs, dir, config)).map_err(|error| opening(dir, &error))?;
    let recovery = pass(begun, &outcome);
    let next = wal.next_lsn();
    engine.block_on(wal.close()).map_err(|error| reading(dir, &error))?;
    step("reading");
    let (found, scanned) = engine.block_on(scan(fs, dir, args, &outcome))?;
    step("done");
    bar.finish_and_clear();
    if next - 1 < outcome.ops || found != next - 1 {
        let line = format!("{} records were acknowledged, {} recovered and {found} read", outcome.ops, next - 1);
        return Err(Failure::work(line));
    }
    tell(args, engine.driver().as_str(), &outcome, recovery, scanned)
}

fn append(engine: &Engine, args: &LogBenchArgs, wal: Wal) -> Result<Outcome, Failure> {
    let appends = Appends {
        wal,
        bs: args.bs as usize,
        lanes: args.writers,
        until: Until { time: Duration::from_secs_f64(args.seconds), ops: u64::MAX },
        kept: u64::MAX,
    };
    let outcome = engine.run_appends(&appends).map_err(|error| Failure::work(error.to_string()))?;
    match &outcome.error {
        Some(error) => Err(Failure::work(format!("{} appends failed, the first: {error}", outcome.errors))),
        None => Ok(outcome),
    }
}

/// Reads all records: the sealed segments by the store, the rest as who follows a log does. Each has to be one of those that were appended. Indexes are
/// made before the clock starts.
async fn scan(fs: &FileSystem, dir: &Path, args: &LogBenchArgs, outcome: &Outcome) -> Result<(u64, Pass), Failure> {
    let wrong = |lsn: Lsn| Failure::work(format!("{}: record {lsn} is not what was appended", dir.display()));
    let check = |record: Record, due: Lsn| {
        let good = record.lsn == due && record.data.len() as u64 == args.bs;
        if good { Ok(()) } else { Err(wrong(due)) }
    };
    let mut due = 1;
    let config = StoreConfig::new().direct(args.direct).open_max(usize::MAX);
    let store = SegmentStore::open(fs, dir, config).await.map_err(|error| opening(dir, &error))?;
    let firsts: Vec<_> = store.segments().iter().map(|segment| segment.lsns.start..segment.lsns.start + 1).collect();
    for first in store.read_ranges(&firsts).await {
        first.map_err(|error| reading(dir, &error))?;
    }
    let begun = Instant::now();
    let mut sealed = store.scan(1..Lsn::MAX);
    while let Some(record) = sealed.next().await {
        check(record.map_err(|error| reading(dir, &error))?, due)?;
        due += 1;
    }
    let mut rest = Tail::new(fs, dir, due);
    let looked = rest.look(|record| {
        let checked = check(record, due);
        due += 1;
        checked.map(|()| true).map_err(Stopped::Wrong)
    });
    looked.await.map_err(|stopped| stopped.explain(dir))?;
    Ok((due - 1, pass(begun, outcome)))
}

/// Why the end of the log is not looked at any more.
enum Stopped {
    Log(WalError),
    Wrong(Failure),
}

impl From<WalError> for Stopped {
    fn from(error: WalError) -> Stopped {
        Stopped::Log(error)
    }
}

impl Stopped {
    fn explain(self, dir: &Path) -> Failure {
        match self {
            Stopped::Log(error) => reading(dir, &error),
            Stopped::Wrong(failure) => failure,
        }
    }
}

fn pass(begun: Instant, outcome: &Outcome) -> Pass {
    let seconds = begun.elapsed().as_secs_f64();
    Pass { seconds, mibs: outcome.bytes as f64 / seconds.max(1e-9) / (1 << 20) as f64 }
}

fn tell(
    args: &LogBenchArgs,
    driver: &'static str,
    outcome: &Outcome,
    recovery: Pass,
    scan: Pass,
) -> Result<(), Failure> {
    let report = Report {
        driver,
        bs: args.bs,
        writers: args.writers,
        fsync: args.fsync.word(),
        direct: args.direct,
        records: outcome.ops,
        seconds: outcome.cost.seconds,
        iops: outcome.iops(),
        mibs: outcome.mibs(),
        p50: outcome.micros(0.5),
        p99: outcome.micros(0.99),
        p999: outcome.micros(0.999),
        cpu_us_op: outcome.cpu_us_per_op(),
        recovery,
        scan,
    };
    if args.common.json {
        return output::print_json(&report);
    }
    let Report { records, seconds, iops, mibs, p50, p99, p999, cpu_us_op, recovery, scan, .. } = &report;
    output::print(&format!(
        "{driver}: {iops:.0} appends a second, {mibs:.1} MiB/s, p50 {p50:.1} µs, p99 {p99:.1} µs, p99.9 {p999:.1} µs, \
         {cpu_us_op:.2} µs CPU per append ({records} in {seconds:.2} s)\n\
         recovery: {:.3} s, {:.1} MiB/s\nreading: {:.3} s, {:.1} MiB/s",
        recovery.seconds, recovery.mibs, scan.seconds, scan.mibs
    ))
}
