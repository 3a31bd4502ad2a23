//! `iofs log cat`: records from a log to standard output.

use super::{args::CatArgs, opening, reading, tail::Tail};
use crate::{exit::Failure, scratch};
use io_fs::FileSystem;
use io_log::{LogReader, Lsn, Record, WalError};
use smol::channel::Receiver;
use std::{
    fmt::Write as _,
    io::{self, BufWriter, IsTerminal as _, StdoutLock, Write},
    time::Duration,
};

/// How long the end is left alone before it is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Bytes that are gathered before they are written; larger records go out alone.
const GATHER: usize = 64 << 10;

pub(crate) fn run(args: &CatArgs) -> Result<(), Failure> {
    let fs = super::file_system(args.driver.as_deref())?;
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    if args.follow {
        scratch::stop_gently(move || {
            stop.close();
        });
    }
    let mut out = Out { to: BufWriter::with_capacity(GATHER, io::stdout().lock()), args, line: String::new() };
    super::there_is_one(&args.dir)?;
    let bar = super::bar(Some(super::lengths(&args.dir).iter().sum()), args.follow || io::stdout().is_terminal());
    fs.block_on(async {
        let Some(next) = super::watched(&fs, &bar, print(&fs, args, &mut out)).await? else { return Ok(()) };
        let mut tail = Tail::new(&fs, &args.dir, next);
        while out.flushed()? && args.follow && !over(&stopped).await {
            let listening = tail.look(|record| out.record(&record).map_err(Stopped::Output)).await;
            if !listening.map_err(|stopped| stopped.explain(args))? {
                break;
            }
        }
        Ok(())
    })
}

/// Prints what there is. `None` if nobody reads it; else the number that comes next.
async fn print(fs: &FileSystem, args: &CatArgs, out: &mut Out<'_>) -> Result<Option<Lsn>, Failure> {
    let log = LogReader::open(fs, &args.dir).await.map_err(|error| opening(&args.dir, &error))?;
    let from = args.from.unwrap_or(0);
    let (mut records, mut next) = (log.records(from), from);
    while let Some(record) = records.next().await {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                // What stands in front of the damage is good.
                out.flushed()?;
                return Err(explain(args, &error));
            }
        };
        next = record.lsn + 1;
        if !out.record(&record)? {
            return Ok(None);
        }
    }
    Ok(Some(next))
}

fn explain(args: &CatArgs, error: &WalError) -> Failure {
    match (error, args.from) {
        (WalError::Truncated { first_lsn }, Some(from)) => {
            Failure::usage(format!("record {from} is gone: the log begins with {first_lsn}"))
        }
        _ => reading(&args.dir, error),
    }
}

/// Why the end of the log is not looked at any more.
enum Stopped {
    Log(WalError),
    Output(Failure),
}

impl From<WalError> for Stopped {
    fn from(error: WalError) -> Stopped {
        Stopped::Log(error)
    }
}

impl Stopped {
    fn explain(self, args: &CatArgs) -> Failure {
        match self {
            Stopped::Log(error) => reading(&args.dir, &error),
            Stopped::Output(failure) => failure,
        }
    }
}

/// Waits a while; true if it was interrupted meanwhile.
async fn over(stopped: &Receiver<()>) -> bool {
    let stop = async {
        let _ = stopped.recv().await;
        true
    };
    let again = async {
        smol::Timer::after(LOOK_AGAIN).await;
        false
    };
    smol::future::or(stop, again).await
}

/// Where the records go.
struct Out<'a> {
    to: BufWriter<StdoutLock<'static>>,
    args: &'a CatArgs,
    line: String,
}

impl Out<'_> {
    /// False if nobody reads any more, which is no error: he has what he wanted.
    fn record(&mut self, record: &Record) -> Result<bool, Failure> {
        if self.args.json {
            json(&mut self.line, record);
            return there(self.to.write_all(self.line.as_bytes()));
        }
        let mut written = self.to.write_all(&record.data);
        if self.args.lines {
            written = written.and_then(|()| self.to.write_all(b"\n"));
        }
        there(written)
    }

    fn flushed(&mut self) -> Result<bool, Failure> {
        there(self.to.flush())
    }
}

fn there(written: io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::work(format!("writing the output: {error}"))),
    }
}

/// A record as a line of JSON: text where it is text, else hexadecimal digits.
fn json(line: &mut String, record: &Record) {
    line.clear();
    match std::str::from_utf8(&record.data) {
        Ok(text) => {
            let text = serde_json::Value::from(text);
            let _ = write!(line, "{{\"lsn\":{},\"text\":{text}}}", record.lsn);
        }
        Err(_) => {
            let _ = write!(line, "{{\"lsn\":{},\"hex\":\"", record.lsn);
            for byte in &record.data {
                let _ = write!(line, "{byte:02x}");
            }
            line.push_str("\"}");
        }
    }
    line.push('\n');
}
