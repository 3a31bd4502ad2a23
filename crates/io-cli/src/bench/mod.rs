//! `iofs bench`: one workload, one line of figures.
//!
//! [`ground`] opens or makes the file; the load runs on an event loop; the line is the one that the harness of peer benchmarks
//! prints, so that rows of the two can stand in one table.

mod ground;

use crate::{
    args::{BenchArgs, BenchOp, Runtime},
    exit::Failure,
    load::{self, Compare, Content, Load, Outcome, Until, Work},
    output, pick, rusage, size,
};
use io_fs::Arena;
use serde::Serialize;
use std::{sync::Arc, time::Duration};

/// Most operations kept going: the deepest loop there is.
const DEPTH_MAX: u32 = 32_768;
/// Most memory for buffers.
const MEMORY_MAX: u64 = 1 << 30;

/// The names are the harness's: times in microseconds, `csw` context switches, `busy` CPU seconds of the whole machine.
#[derive(Debug, Serialize)]
struct Line {
    peer: &'static str,
    ops: u64,
    seconds: f64,
    iops: f64,
    mibs: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    user: f64,
    sys: f64,
    csw: u64,
    rss_kib: u64,
    cpu_us_op: f64,
    csw_op: f64,
    busy: f64,
    bs: u64,
    qd: u32,
    direct: u8,
}

#[derive(Debug, Serialize)]
struct Unsupported<'a> {
    unsupported: &'a str,
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    supported(args)?;
    in_range(args)?;
    let work = match args.op {
        BenchOp::Randread => Work::RandRead,
        BenchOp::Seqread => Work::SeqRead,
        BenchOp::Randwrite => Work::RandWrite,
        BenchOp::WalAppend => Work::WalAppend,
    };
    let driver = pick::make(pick::one(Some(&args.driver))?, args.qd)?;
    let name = driver.name();
    let ground = ground::prepare(args)?;
    let content = match work.is_write() {
        true => Content::Ignored,
        false => Content::LastChecked(Arc::new(Compare::new(ground.plain.clone()))),
    };
    let load = Load {
        work,
        file: ground.file,
        bs: args.bs as usize,
        blocks: args.size / args.bs,
        lanes: args.qd,
        seed: args.seed,
        until: match args.ops {
            Some(ops) => Until { time: Duration::MAX, ops },
            None => Until { time: Duration::from_secs_f64(args.seconds), ops: u64::MAX },
        },
        content,
        arena: Arena::new(args.qd, args.bs as usize),
    };
    let outcome = load::run_on_loop(driver, &load)?;
    judge(args, &load, &outcome)?;
    let line = line(args, &outcome);
    if args.json {
        return output::print_json(&line);
    }
    output::print(&format!(
        "{name}: {:.0} IOPS, {:.1} MiB/s, p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, {:.2} µs CPU per operation ({} in {:.2} s)",
        line.iops, line.mibs, line.p50, line.p99, line.p999, line.cpu_us_op, line.ops, line.seconds
    ))
}

/// What this build cannot do is said in the harness's way, too.
fn supported(args: &BenchArgs) -> Result<(), Failure> {
    let why = match (args.runtime, args.group) {
        (Runtime::Local, 0) => return Ok(()),
        (Runtime::Local, _) => "--group 1 needs a log with a shared commit, which there is none of yet",
        _ => "runtimes other than local come with the futures facade",
    };
    if args.json {
        output::print_json(&Unsupported { unsupported: why })?;
    }
    Err(Failure::usage(why))
}

fn in_range(args: &BenchArgs) -> Result<(), Failure> {
    let (bs, qd) = (args.bs, args.qd);
    if qd == 0 || qd > DEPTH_MAX {
        return Err(Failure::usage(format!("--qd {qd} is out of range; 1 to {DEPTH_MAX}")));
    }
    if bs > args.size {
        return Err(Failure::usage(format!("--bs {bs} is larger than --size {}", args.size)));
    }
    if args.direct == 1 && bs % 512 != 0 {
        return Err(Failure::usage(format!("--bs {bs} is not a multiple of 512, which --direct 1 needs")));
    }
    if bs.saturating_mul(u64::from(qd)) > MEMORY_MAX {
        let (bs, most) = (size::show(bs), size::show(MEMORY_MAX));
        return Err(Failure::usage(format!("--qd {qd} times --bs {bs} is more than {most} of buffers")));
    }
    Ok(())
}

fn judge(args: &BenchArgs, load: &Load, outcome: &Outcome) -> Result<(), Failure> {
    let file = args.file.display();
    if let Some(error) = &outcome.error {
        return Err(Failure::work(format!("{file}: {} operations failed, the first: {error}", outcome.errors)));
    }
    if let Some(at) = outcome.wrong {
        return Err(Failure::work(format!("{file}: what was read at byte {at} is not what the file holds")));
    }
    if !load.work.is_write() && outcome.checked == 0 {
        return Err(Failure::work(format!("{file}: nothing of what was read could be verified")));
    }
    Ok(())
}

fn line(args: &BenchArgs, outcome: &Outcome) -> Line {
    let (cost, ops) = (&outcome.cost, outcome.ops.max(1) as f64);
    Line {
        peer: "iofs",
        ops: outcome.ops,
        seconds: cost.seconds,
        iops: outcome.iops(),
        mibs: outcome.mibs(),
        p50: outcome.micros(0.5),
        p99: outcome.micros(0.99),
        p999: outcome.micros(0.999),
        user: cost.usage.user,
        sys: cost.usage.sys,
        csw: cost.usage.switches,
        rss_kib: rusage::peak_rss_kib(),
        cpu_us_op: outcome.cpu_us_per_op(),
        csw_op: cost.usage.switches as f64 / ops,
        busy: cost.busy,
        bs: args.bs,
        qd: args.qd,
        direct: args.direct,
    }
}
