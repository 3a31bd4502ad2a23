//! `--op wal-append --group 1`: appenders that share a log.
//!
//! The log is the directory `FILE.d`, begun anew each time. Each of `--qd` appenders counts one operation when its own record, framed
//! and with a checksum, is durable.

use super::{Contender, judge, line};
use crate::{
    args::{BenchArgs, BenchOp, Front, Runtime, Wal as Prepared},
    exit::Failure,
    load::{Appends, Until},
    size,
};
use io_fs::FileSystem;
use io_log::{LogReader, Wal, WalConfig, WalError};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Segments are not made larger than this.
const SEGMENT_MAX: u64 = 64 << 20;

/// Why this is nothing that a log can do.
pub(super) fn supported(args: &BenchArgs) -> Result<(), &'static str> {
    match args {
        BenchArgs { op, .. } if *op != BenchOp::WalAppend => Err("--group 1 is a log's: --op wal-append"),
        BenchArgs { front, .. } if *front != Front::Shard => {
            Err("--group 1 is a log's, which is futures: --front shard")
        }
        BenchArgs { runtime: Runtime::Localfs, .. } => {
            Err("--group 1 is a log's, which any thread may use: --runtime local, tokio or smol")
        }
        BenchArgs { wal, .. } if *wal != Prepared::Prealloc => {
            Err("--group 1 is a log's, which prepares its segments itself: --wal prealloc")
        }
        _ => Ok(()),
    }
}

pub(super) fn run(args: &BenchArgs, contender: &Contender) -> Result<super::Line, Failure> {
    let Contender::Facade(engine) = contender else {
        return Err(Failure::usage("--group 1 is a log's, which is futures: --front shard"));
    };
    let Some(fs) = engine.file_system() else {
        return Err(Failure::usage("--group 1 is a log's, which any thread may use: --runtime local, tokio or smol"));
    };
    let config = config(args)?;
    let dir = prepare(args)?;
    let failed = |error: WalError| Failure::work(format!("{}: {error}", dir.display()));
    let wal = engine.block_on(Wal::open(fs, &dir, config)).map_err(failed)?;
    let appends = Appends {
        wal: wal.clone(),
        bs: args.bs as usize,
        lanes: args.qd,
        until: match args.ops {
            Some(ops) => Until { time: Duration::MAX, ops },
            None => Until { time: Duration::from_secs_f64(args.seconds), ops: u64::MAX },
        },
        kept: args.size,
    };
    let outcome = engine.run_appends(&appends).map_err(|error| Failure::work(format!("{}: {error}", dir.display())))?;
    judge(args, &outcome, false)?;
    let next = wal.next_lsn();
    drop(appends);
    engine.block_on(wal.close()).map_err(failed)?;
    engine.block_on(verify(fs, &dir, args, outcome.ops, next))?;
    Ok(line(args, &outcome))
}

fn config(args: &BenchArgs) -> Result<WalConfig, Failure> {
    let mut config = WalConfig::default();
    config.direct = args.direct == 1;
    config.segment_size = (args.size / 4).clamp(1 << 20, SEGMENT_MAX) / 4096 * 4096;
    if config.record_max() < args.bs {
        let (bs, size) = (size::show(args.bs), size::show(config.segment_size));
        return Err(Failure::usage(format!("--bs {bs} does not fit a segment of {size}, a quarter of --size")));
    }
    Ok(config)
}

/// Makes an empty directory for the log. What is in it already goes, if it is ours or the user says so.
fn prepare(args: &BenchArgs) -> Result<PathBuf, Failure> {
    let dir = with_suffix(&args.file, ".d");
    let mark = with_suffix(&dir, ".ready");
    let is_empty = fs::read_dir(&dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !mark.exists() && !args.overwrite {
        let line = format!("{}: has content that this command did not make; --overwrite removes it", dir.display());
        return Err(Failure::usage(line));
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).map_err(|error| Failure::opening(&dir, &error))?;
    }
    fs::create_dir(&dir).map_err(|error| Failure::opening(&dir, &error))?;
    fs::write(&mark, "").map_err(|error| Failure::opening(&mark, &error))?;
    Ok(dir)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Outside the timed part: all that was acknowledged and not cut off is there, and is what was appended.
async fn verify(fs: &FileSystem, dir: &Path, args: &BenchArgs, ops: u64, next: u64) -> Result<(), Failure> {
    let failed = |error: WalError| Failure::work(format!("{}: {error}", dir.display()));
    let log = LogReader::open(fs, dir).await.map_err(failed)?;
    let (mut records, mut due) = (log.records(0), 0);
    while let Some(record) = records.next().await {
        let record = record.map_err(failed)?;
        due = if due == 0 { record.lsn } else { due };
        if record.lsn != due || record.data.len() as u64 != args.bs {
            return Err(Failure::work(format!("{}: record {due} is not what was appended", dir.display())));
        }
        due += 1;
    }
    if due != next || next - 1 < ops {
        let line = format!("{}: {ops} records were acknowledged, and {} are there", dir.display(), due.max(1) - 1);
        return Err(Failure::work(line));
    }
    Ok(())
}
