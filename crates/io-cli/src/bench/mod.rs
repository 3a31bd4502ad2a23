//! `iofs bench`: one workload, one line of figures.
//!
//! [`ground`] opens or makes the file, or [`group`] a log; the load runs on the facade, or on an event loop; the line is the one that the harness of
//! peer benchmarks prints, so that rows of the two can stand in one table.

mod ground;
mod group;

use crate::{
    args::{self, BenchArgs, BenchOp, Front},
    exit::Failure,
    load::{self, Check, Compare, Content, Engine, Load, Outcome, Runtime, Until, Work},
    output, pick, rusage, size,
};
use io_fs::{Arena, DriverName};
use serde::Serialize;
use std::{io, num::NonZero, sync::Arc, time::Duration};

/// Most operations kept going: the deepest loop there is.
const DEPTH_MAX: u32 = 32_768;
/// Most memory for buffers.
const MEMORY_MAX: u64 = 1 << 30;
/// Most threads of a runtime.
const WORKERS_MAX: u32 = 1024;

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
        BenchOp::Seqwrite => Work::SeqWrite,
        BenchOp::Mixed => Work::Mixed,
        BenchOp::WalAppend => Work::WalAppend,
    };
    // Before a file is made: what cannot run leaves none.
    let contender = Contender::new(args)?;
    if args.group == 1 {
        return tell(args, &contender, &group::run(args, &contender)?);
    }
    let ground = ground::prepare(args)?;
    let check: Arc<dyn Check> = Arc::new(Compare::new(ground.plain));
    let load = Load {
        work,
        file: ground.file,
        path: args.file.clone(),
        direct: args.direct == 1,
        bs: args.bs as usize,
        blocks: args.size / args.bs,
        lanes: args.qd,
        seed: args.seed,
        until: match args.ops {
            Some(ops) => Until { time: Duration::MAX, ops },
            None => Until { time: Duration::from_secs_f64(args.seconds), ops: u64::MAX },
        },
        content: if work.is_write() { Content::Ignored } else { Content::LastChecked(check.clone()) },
        arena: Arena::new(args.qd, args.bs as usize),
    };
    let outcome = contender.run(&load).map_err(|error| Failure::work(format!("{}: {error}", args.file.display())))?;
    judge(args, &outcome, !work.is_write())?;
    if work == Work::Mixed {
        // Nobody knows which write came last while they go on.
        let until = Until { time: Duration::MAX, ops: u64::from(args.qd) };
        let again = Load { work: Work::RandRead, content: Content::Checked(check), until, ..load };
        let read = contender.run(&again).map_err(|error| Failure::work(format!("{}: {error}", args.file.display())))?;
        judge(args, &read, true)?;
    }
    tell(args, &contender, &line(args, &outcome))
}

fn tell(args: &BenchArgs, contender: &Contender, line: &Line) -> Result<(), Failure> {
    if args.json {
        return output::print_json(line);
    }
    let name = contender.driver();
    output::print(&format!(
        "{name}: {:.0} IOPS, {:.1} MiB/s, p50 {:.1} µs, p99 {:.1} µs, p99.9 {:.1} µs, {:.2} µs CPU per operation ({} in {:.2} s)",
        line.iops, line.mibs, line.p50, line.p99, line.p999, line.cpu_us_op, line.ops, line.seconds
    ))
}

/// Who does the work.
enum Contender {
    Facade(Engine),
    /// A driver is made for each run.
    Loop(DriverName, u32),
}

impl Contender {
    fn new(args: &BenchArgs) -> Result<Contender, Failure> {
        let driver = pick::one(Some(&args.driver))?;
        if args.front == Front::Loop {
            return Ok(Contender::Loop(pick::make(driver, args.qd)?.name(), args.qd));
        }
        let workers = NonZero::new(args.workers).ok_or_else(|| Failure::usage("--workers 0 leaves nobody to work"))?;
        let runtime = match args.runtime {
            args::Runtime::Local => Runtime::Local,
            args::Runtime::Localfs => Runtime::LocalFs,
            args::Runtime::Tokio => Runtime::Tokio(workers),
            args::Runtime::Smol => Runtime::Smol(workers),
        };
        Ok(Contender::Facade(Engine::new(runtime, driver, args.qd)?))
    }

    fn driver(&self) -> DriverName {
        match self {
            Contender::Facade(engine) => engine.driver(),
            Contender::Loop(name, _) => *name,
        }
    }

    fn run(&self, load: &Load) -> io::Result<Outcome> {
        match self {
            Contender::Facade(engine) => engine.run(load),
            Contender::Loop(name, depth) => Ok(load::run_on_loop(pick::make(Some(*name), *depth)?, load)?),
        }
    }
}

/// What this build cannot do is said in the harness's way, too.
fn supported(args: &BenchArgs) -> Result<(), Failure> {
    let why = match (args.front, args.runtime) {
        (Front::Callback, _) => "--front callback comes with callbacks, which there are none of yet",
        _ if args.group == 1 => match group::supported(args) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        },
        (Front::Loop, args::Runtime::Local) | (Front::Shard, _) => return Ok(()),
        (Front::Loop, _) => "--front loop is an event loop on the calling thread: --runtime local",
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
    if args.workers > WORKERS_MAX {
        return Err(Failure::usage(format!("--workers {} is out of range; 1 to {WORKERS_MAX}", args.workers)));
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

fn judge(args: &BenchArgs, outcome: &Outcome, has_read: bool) -> Result<(), Failure> {
    let file = args.file.display();
    if let Some(error) = &outcome.error {
        return Err(Failure::work(format!("{file}: {} operations failed, the first: {error}", outcome.errors)));
    }
    if let Some(at) = outcome.wrong {
        return Err(Failure::work(format!("{file}: what was read at byte {at} is not what the file holds")));
    }
    if has_read && outcome.checked == 0 {
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
