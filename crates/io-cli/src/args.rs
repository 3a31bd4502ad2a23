//! What the user may say.

use crate::{exit::Failure, output, size};
use clap::{Args, Parser, Subcommand, ValueEnum, error::ErrorKind};
use std::path::PathBuf;

/// Compares the I/O drivers of this machine on a real file, copies files, runs one workload, keeps records in a log.
#[derive(Debug, Parser)]
#[command(name = "iofs", version, after_help = CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const CODES: &str = "\
Drivers: uring (Linux io_uring), aio (Linux native AIO), threadpool (a bounded pool of threads).
Without a choice the best one that works here is taken; IOFS_DRIVER=aio chooses as --driver does.
An explicit choice never falls back to another driver.

Exit codes: 0 good; 1 the work failed or damage was found; 2 usage, bad input, or a named driver that cannot run.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Compare(CompareArgs),
    Copy(CopyArgs),
    Bench(BenchArgs),
    Log(crate::log::args::LogArgs),
}

/// Compares every driver of this machine with plain std::fs on one file.
///
/// Workloads: randread and randwrite in blocks of 4 KiB, seqread and seqwrite in blocks of 128 KiB, wal-append (a record of 4 KiB
/// is made durable behind the last one; the log starts empty and is begun anew at 64 MiB). Each buffered and direct
/// (O_DIRECT), with 1 and with 32 operations going on at once (qd).
///
/// `std` is the baseline: pread and pwrite of std::fs on the calling thread; qd 32 is 32 threads, each with one blocking call.
/// The drivers run on one thread, behind a file system's futures (or, with --front loop, below an event loop), with buffers and
/// files registered where they can be.
///
/// Outside the timed part every row is verified: blocks that are read are compared with what the file holds, all that was
/// written is read back. CPU is that of the process; kernel threads that work for it are not in it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  iofs compare                               a scratch file here, removed afterwards; a minute
  iofs compare --dir /mnt/disk --size 1g     the same on another file system
  iofs compare --file big.db --seconds 0.2   reads big.db; writes to a scratch file beside it
  iofs compare --driver uring,aio --json     std is always there; `--driver std` is it alone")]
pub(crate) struct CompareArgs {
    /// Read this file (it is never written: what writes uses a scratch file beside it)
    #[arg(long, value_name = "F", conflicts_with = "dir")]
    pub(crate) file: Option<PathBuf>,
    /// Make the scratch file in this directory instead of the current one
    #[arg(long, value_name = "D")]
    pub(crate) dir: Option<PathBuf>,
    /// Size of the scratch file; of F, the part from its start that is used
    #[arg(long, default_value = "256m", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) size: u64,
    /// Seconds per row; without it, so that all rows together take about a minute
    #[arg(long, value_name = "S", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) seconds: Option<f64>,
    /// Only these drivers, separated by commas: uring, aio, threadpool, std
    #[arg(long, value_name = "D,…", value_delimiter = ',')]
    pub(crate) driver: Vec<String>,
    /// How the drivers are reached
    #[arg(long, value_enum, default_value_t = Front::Shard)]
    pub(crate) front: Front,
    /// One JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

/// Copies a file of any size.
///
/// The copy is written to a file of another name beside DST, synced, and then renamed; the directory is synced after that. On
/// errors and on Ctrl-C the unfinished file is removed. The nine permission bits are kept; holes are filled. A SRC that changes
/// its size meanwhile is an error.
///
/// DST is a file name: a directory is refused. A symbolic link at DST is followed, and what it leads to is replaced.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  iofs copy big.iso copy.iso
  iofs copy big.iso copy.iso --verify --force   replaces copy.iso, once the copy is compared
  iofs copy a b --direct --bs 1m --depth 16     past the page cache, but for an odd tail
  iofs copy a b --driver threadpool --json")]
pub(crate) struct CopyArgs {
    /// The file to copy
    #[arg(value_name = "SRC")]
    pub(crate) from: PathBuf,
    /// The copy's name
    #[arg(value_name = "DST")]
    pub(crate) to: PathBuf,
    /// uring, aio or threadpool; without it, the best that works here
    #[arg(long, value_name = "D")]
    pub(crate) driver: Option<String>,
    /// How it is reached
    #[arg(long, value_enum, default_value_t = Front::Shard)]
    pub(crate) front: Front,
    /// Chunks being copied at once
    #[arg(long, default_value_t = 32, allow_negative_numbers = true)]
    pub(crate) depth: u32,
    /// Size of a chunk
    #[arg(long, default_value = "256k", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) bs: u64,
    /// Past the page cache (O_DIRECT); --bs has to be a multiple of 4k
    #[arg(long)]
    pub(crate) direct: bool,
    /// Read the copy back and compare, before it gets its name
    #[arg(long)]
    pub(crate) verify: bool,
    /// Replace DST if it is there
    #[arg(long)]
    pub(crate) force: bool,
    /// {"driver","bytes","seconds","mibs"} instead of a sentence
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs one workload and prints its figures.
///
/// A closed loop: --qd operations are kept going until the time is over or --ops of them are done. Buffered reads read the range
/// once before they start. A workload that writes makes its file if there is none (zero-written and synced, with a mark
/// FILE.ready beside it) and refuses a file with content that it did not make. What was read last is compared with what the file
/// holds, outside the timed part; mixed reads some blocks more for that.
///
/// --front shard runs --qd futures on a file system: on the calling thread (--runtime local), there on a ring of its own (localfs),
/// or as tasks of tokio or smol with --workers threads. --front loop is the event loop with a listener on the calling thread.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  iofs bench --file data --qd 32 --direct 1     random reads of 4 KiB in the first GiB
  iofs bench --file data --size 256m --op seqread --bs 128k --qd 8
  iofs bench --file wal --size 64m --op wal-append --qd 16 --json
  iofs bench --file wal --size 256m --op wal-append --qd 16 --group 1
  iofs bench --file data --driver aio --direct 1 --ops 10000
  iofs bench --file data --qd 32 --runtime tokio --workers 4
  iofs bench --file data --qd 32 --front loop   the same without futures

JSON: peer, ops, seconds, iops, mibs, p50, p99, p999 (microseconds), user, sys (seconds),
csw (context switches), rss_kib, cpu_us_op, csw_op, busy (CPU seconds of the whole machine),
bs, qd, direct. What cannot be done says {\"unsupported\": why}.")]
pub(crate) struct BenchArgs {
    /// The file
    #[arg(long)]
    pub(crate) file: PathBuf,
    /// The part of it that is used, from its start
    #[arg(long, default_value = "1g", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) size: u64,
    /// Bytes per operation
    #[arg(long, default_value = "4k", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) bs: u64,
    /// Operations going on at once
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) qd: u32,
    /// What is done
    #[arg(long, value_enum, default_value_t = BenchOp::Randread)]
    pub(crate) op: BenchOp,
    /// 1: past the page cache (O_DIRECT)
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) direct: u8,
    /// How long
    #[arg(long, default_value = "1", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) seconds: f64,
    /// Which random offsets
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Stop after so many operations instead of after --seconds
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) ops: Option<u64>,
    /// Worker threads of tokio or smol; local and localfs have none
    #[arg(long, default_value_t = 2)]
    pub(crate) workers: u32,
    /// The log of wal-append: zero-written and synced, growing from nothing, or allocated but never written
    #[arg(long, value_enum, default_value_t = Wal::Prealloc)]
    pub(crate) wal: Wal,
    /// 1: the appenders of wal-append share a log, in the directory FILE.d, and its durable writes; --size is what is kept of it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub(crate) group: u8,
    /// auto, uring, aio or threadpool
    #[arg(long, default_value = "auto")]
    pub(crate) driver: String,
    /// What the workload runs on
    #[arg(long, value_enum, default_value_t = Runtime::Local)]
    pub(crate) runtime: Runtime,
    /// How it reaches the driver
    #[arg(long, value_enum, default_value_t = Front::Shard)]
    pub(crate) front: Front,
    /// Write into a file with content that this command did not make
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// One line of JSON instead of a sentence
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchOp {
    /// Reads at random offsets
    Randread,
    /// Reads in order
    Seqread,
    /// Writes at random offsets
    Randwrite,
    /// Writes in order
    Seqwrite,
    /// Reads and writes at random offsets, seven to three
    Mixed,
    /// Write behind the last one, made durable
    WalAppend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wal {
    /// Zero-written and synced before
    Prealloc,
    /// Starts empty
    Grow,
    /// Allocated, not written
    Fallocate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// A file system's block_on, on one thread
    Local,
    /// The same with a file system for that thread alone
    Localfs,
    /// Tasks of tokio
    Tokio,
    /// Tasks of smol
    Smol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Front {
    /// Futures: who polls submits and reaps
    Shard,
    /// An event loop and a listener, on the calling thread
    Loop,
    /// Unsupported as yet
    Callback,
}

impl Front {
    /// For the commands beside `bench`, which refuse what there is not.
    pub(crate) fn there_is(self) -> Result<Front, Failure> {
        match self {
            Front::Shard | Front::Loop => Ok(self),
            Front::Callback => {
                Err(Failure::usage("--front callback comes with callbacks, which there are none of yet"))
            }
        }
    }
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        Ok(_) => Err("between 0 (excluded) and 86400".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

/// Answers what is no command: help and version go to stdout, everything else is one line and a usage error.
pub(crate) fn answer(answer: &clap::Error) -> Result<(), Failure> {
    let text = answer.render().to_string();
    match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => output::print(text.trim_end()),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::usage("no command; `iofs --help` and `iofs log --help` list them"))
        }
        _ => {
            // The first paragraph says what is wrong; usage and tips follow.
            let first = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
            Err(Failure::usage(format!("{first}; try --help")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seconds_are_finite_and_positive() {
        for text in ["0", "-1", "nan", "inf", "1e9", "x", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(seconds("0.25"), Ok(0.25));
    }
}
