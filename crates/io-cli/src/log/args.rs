//! What the user may say about logs.

use crate::size;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Keeps records in a log that survives crashes.
///
/// A log is a directory of segments; records are numbered from 1 on (their LSN, decimal). One process at a time writes to a log;
/// `cat`, `verify`, `stat` and `salvage` only read, also beside a writer.
#[derive(Debug, Args)]
#[command(subcommand_required = true, after_help = EXAMPLES)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
}

const EXAMPLES: &str = "\
Examples:
  iofs log append wal --input big.iso           a file, 64 KiB a record
  dmesg -w | iofs log append wal --lines --ack  a line a record; prints the number of each once it is durable
  iofs log cat wal > big.iso                    the same bytes again
  iofs log cat wal --lines --from 1000 --follow
  iofs log verify wal --json

Exit codes: 0 good (a tail that a crash left torn is good: nobody was told that it is there);
1 the work failed or damage was found; 2 usage or bad input.";

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    Append(AppendArgs),
    Cat(CatArgs),
    /// Reads a whole log and says what is good, torn or damaged.
    ///
    /// The exit code is 1 if something is missing that was acknowledged as durable. A torn tail is none of that.
    Verify(DirArgs),
    /// Says what a log consists of: its records, its segments and their sizes.
    Stat(DirArgs),
    Salvage(SalvageArgs),
    Bench(LogBenchArgs),
}

/// Appends records that are read from a file or from standard input.
///
/// The log is made if there is none. The order of the records is that of the input, whatever --writers says. Ctrl-C ends the input:
/// what was read is made durable, and the exit code is 1.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  iofs log append wal --input big.iso
  tail -F app.log | iofs log append wal --lines
  iofs log append wal --chunks 4k --writers 16 --ack < data
  iofs log append wal --lines --fsync each < orders")]
pub(crate) struct AppendArgs {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// What is read; - is standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) input: PathBuf,
    /// Each line is a record, without its newline
    #[arg(long, conflicts_with = "chunks")]
    pub(crate) lines: bool,
    /// So many bytes are a record; the last one is what is left
    #[arg(long, value_name = "BYTES", default_value = "64k", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) chunks: u64,
    /// When a record is made durable
    #[arg(long, value_enum, default_value_t = Fsync::Group)]
    pub(crate) fsync: Fsync,
    /// Records that are waited for at once; 1 does not wait for each, but hands on what was read
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) writers: u32,
    /// Print the number of each record, a line each, once it is durable
    #[arg(long)]
    pub(crate) ack: bool,
    /// Size of the segments that are made
    #[arg(long, value_name = "BYTES", default_value = "64m", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) segment_size: u64,
    /// Write past the page cache (O_DIRECT)
    #[arg(long)]
    pub(crate) direct: bool,
    /// uring, aio or threadpool; without it, the best that works here
    #[arg(long, value_name = "D")]
    pub(crate) driver: Option<String>,
    /// One JSON object at the end instead of a sentence
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the records in the order of their numbers, as they were appended.
///
/// It stops at damage, with exit code 1, having printed what is in front of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  iofs log cat wal > big.iso
  iofs log cat wal --lines --from 1000
  iofs log cat wal --lines --follow             until it is interrupted
  iofs log cat wal --json | head -1             {\"lsn\":1,\"text\":\"…\"}, or \"hex\" for what is no text")]
pub(crate) struct CatArgs {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Begin with this record instead of the first one
    #[arg(long, value_name = "LSN", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,
    /// Wait for more at the end, until interrupted (exit code 0)
    #[arg(long)]
    pub(crate) follow: bool,
    /// Print a newline behind each record
    #[arg(long)]
    pub(crate) lines: bool,
    /// uring, aio or threadpool; without it, the best that works here
    #[arg(long, value_name = "D")]
    pub(crate) driver: Option<String>,
    /// One line of JSON for each record
    #[arg(long)]
    pub(crate) json: bool,
}

// What most of them take. No doc comment: clap would say it in place of what the commands do.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// uring, aio or threadpool; without it, the best that works here
    #[arg(long, value_name = "D")]
    pub(crate) driver: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

// What only names a log. As above.
#[derive(Debug, Args)]
pub(crate) struct DirArgs {
    /// The log's directory
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Copies what is good into a new log.
///
/// Each record that is found whole is appended to OUT, which gets numbers of its own; DIR is not touched. The exit code is 1 if
/// something was damaged, because then OUT is not all that once was there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  iofs log salvage wal rescued
  iofs log salvage wal rescued --json")]
pub(crate) struct SalvageArgs {
    /// The damaged log's directory
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The new log's directory: not there yet, or empty
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Measures a log in a directory: appends, recovery, reading.
///
/// A log is made in a new directory inside DIR and removed afterwards. Writers append records of --bs bytes, each waiting for its own;
/// then the log is opened again without having been closed, which is what follows a crash; then it is read from the start. All that
/// was acknowledged is looked for, outside the timed parts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  iofs log bench /mnt/disk
  iofs log bench . --writers 16 --bs 1k --direct --json")]
pub(crate) struct LogBenchArgs {
    /// Where the log is made
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Bytes of a record
    #[arg(long, default_value = "4k", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) bs: u64,
    /// Records that are waited for at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) writers: u32,
    /// When a record is made durable
    #[arg(long, value_enum, default_value_t = Fsync::Group)]
    pub(crate) fsync: Fsync,
    /// Seconds of appending
    #[arg(long, value_name = "S", default_value = "3", value_parser = crate::args::seconds, allow_negative_numbers = true)]
    pub(crate) seconds: f64,
    /// Size of the segments
    #[arg(long, value_name = "BYTES", default_value = "64m", value_parser = size::parse, allow_negative_numbers = true)]
    pub(crate) segment_size: u64,
    /// Write and read past the page cache (O_DIRECT)
    #[arg(long)]
    pub(crate) direct: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fsync {
    /// By a durable write of its own
    Each,
    /// Together with all that waits at the same time
    Group,
    /// When the system likes, and at the end
    None,
}

impl Fsync {
    /// As it is said.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Fsync::Each => "each",
            Fsync::Group => "group",
            Fsync::None => "none",
        }
    }
}
