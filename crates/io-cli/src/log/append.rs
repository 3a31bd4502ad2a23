//! `iofs log append`: records from an input into a log.

use super::{
    args::{AppendArgs, Fsync},
    input::{Batch, Cut, Input, InputFailed},
    opening, reading,
};
use crate::{exit::Failure, output, scratch, size};
use bytes::Bytes;
use indicatif::ProgressBar;
use io_log::{Lsn, Wal, WalConfig};
use serde::Serialize;
use smol::channel::Receiver;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// What was appended, and made durable.
#[derive(Debug, Serialize)]
struct Report {
    records: u64,
    bytes: u64,
    /// 0 if there was nothing to append.
    first_lsn: Lsn,
    last_lsn: Lsn,
    seconds: f64,
    mibs: f64,
    /// Bytes that a crash had left torn at the end, cut when the log was opened.
    torn_tail_bytes: u64,
    interrupted: bool,
    driver: &'static str,
}

pub(crate) fn run(args: &AppendArgs) -> Result<(), Failure> {
    if args.ack && args.fsync == Fsync::None {
        return Err(Failure::usage("--ack says what is durable, and with --fsync none nothing is before the end"));
    }
    let config = super::config(args.segment_size, args.direct, args.fsync)?;
    let cut = cut(args, &config)?;
    let fs = super::file_system(args.driver.as_deref())?;
    let driver = fs.backend().driver().as_str();
    // Before the log is made: a wrong name of the input leaves none.
    let input = Input::open(&args.input, cut)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let (flag, batches) = (interrupted.clone(), input.batches.clone());
    scratch::stop_gently(move || {
        flag.store(true, Ordering::SeqCst);
        batches.close();
    });

    let started = Instant::now();
    let bar = super::bar(input.len, args.json || args.ack);
    let appended = Appended::new(args.ack, bar);
    let (ended, torn_tail_bytes) = fs.block_on(async {
        let wal = Wal::open(&fs, &args.dir, config).await.map_err(|error| opening(&args.dir, &error))?;
        let torn = wal.recovery().torn_tail_bytes;
        if torn > 0 {
            output::complain(&format!("{}: a torn tail of {torn} bytes was cut", args.dir.display()));
        }
        let ended = pour(&wal, &input.batches, args, &appended).await;
        let closed = wal.close().await.map_err(|error| reading(&args.dir, &error));
        // What went wrong first is the reason for the rest.
        Ok::<_, Failure>((ended.and(closed), torn))
    })?;
    appended.bar.finish_and_clear();
    let interrupted = interrupted.load(Ordering::SeqCst);
    let report = appended.report(started, torn_tail_bytes, interrupted, driver);
    if let Err(failure) = ended {
        let line = format!("{}; {} records were appended", failure.line(), report.records);
        return Err(Failure::work(line));
    }
    tell(args, &report)?;
    match interrupted {
        true => Err(Failure::work("interrupted")),
        false => Ok(()),
    }
}

/// How the input is cut. What cannot fit into a segment is refused before anything is done.
fn cut(args: &AppendArgs, config: &WalConfig) -> Result<Cut, Failure> {
    let record_max = usize::try_from(config.record_max()).unwrap_or(usize::MAX);
    if args.lines {
        return Ok(Cut::Lines { line_max: record_max });
    }
    match usize::try_from(args.chunks) {
        Ok(chunk) if chunk <= record_max => Ok(Cut::Chunks(chunk)),
        _ => Err(Failure::usage(format!(
            "--chunks {} is more than a record in a segment of {} may have, {record_max} bytes",
            args.chunks,
            size::show(args.segment_size)
        ))),
    }
}

/// Appends all that comes, in the order of the input: a record is taken when the one before it is in the log. So what is refused (for
/// want of space, say) is the end, and nothing stands behind a gap.
async fn pour(wal: &Wal, batches: &Receiver<Batch>, args: &AppendArgs, appended: &Appended) -> Result<(), Failure> {
    let feed = Feed { batches, ready: RefCell::default(), args };
    if args.writers == 1 && args.fsync == Fsync::Group {
        return pipeline(wal, &feed, appended).await;
    }
    let (turns, failed) = (smol::lock::Mutex::new(()), |error| reading(&args.dir, &error));
    let writers = (0..args.writers).map(|_| async {
        loop {
            let turn = turns.lock().await;
            let Some(record) = feed.next().await? else { return Ok(()) };
            let bytes = record.len() as u64;
            let lsn = if args.fsync == Fsync::None {
                wal.append(record).await.map_err(failed)?
            } else {
                let lsn = wal.enqueue(record).await.map_err(failed)?;
                drop(turn);
                wal.flush().await.map_err(failed)?;
                lsn
            };
            appended.durable(lsn, bytes)?;
        }
    });
    futures_util::future::try_join_all(writers).await.map(drop)
}

/// One writer that does not wait for each record: what was read meanwhile is made durable together.
async fn pipeline(wal: &Wal, feed: &Feed<'_>, appended: &Appended) -> Result<(), Failure> {
    let dir = &feed.args.dir;
    // What the log has and is not known to be durable.
    let waiting = RefCell::new(VecDeque::new());
    let (tell, told) = smol::channel::bounded::<()>(1);
    let fill = async {
        // Dropped at the end, it tells that nothing more comes.
        let tell = tell;
        while let Some(record) = feed.next().await? {
            let bytes = record.len() as u64;
            let lsn = wal.enqueue(record).await.map_err(|error| reading(dir, &error))?;
            waiting.borrow_mut().push_back((lsn, bytes));
            let _ = tell.try_send(());
        }
        Ok(())
    };
    let drain = async {
        loop {
            let more = told.recv().await.is_ok();
            if !waiting.borrow().is_empty() {
                let durable = wal.flush().await.map_err(|error| reading(dir, &error))?;
                appended.durable_up_to(durable, &mut waiting.borrow_mut())?;
            }
            if !more {
                return Ok(());
            }
        }
    };
    let (filled, drained) = futures_util::future::join(fill, drain).await;
    filled.and(drained)
}

/// Where the records come from.
struct Feed<'a> {
    batches: &'a Receiver<Batch>,
    ready: RefCell<VecDeque<Bytes>>,
    args: &'a AppendArgs,
}

impl Feed<'_> {
    async fn next(&self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(record) = self.ready.borrow_mut().pop_front() {
                return Ok(Some(record));
            }
            match self.batches.recv().await {
                Ok(Ok(records)) => self.ready.borrow_mut().extend(records),
                Ok(Err(error)) => return Err(self.explain(&error)),
                Err(_) => return Ok(None),
            }
        }
    }

    fn explain(&self, error: &InputFailed) -> Failure {
        let input = self.args.input.display();
        let input = if self.args.input == Path::new("-") { "standard input".into() } else { input.to_string() };
        match error {
            InputFailed::Read(error) => Failure::work(format!("reading {input}: {error}")),
            InputFailed::LineTooLong { line, line_max } => Failure::work(format!(
                "{input}: line {line} is longer than a record may be, {line_max} bytes with segments of {}",
                size::show(self.args.segment_size)
            )),
        }
    }
}

/// What is durable, counted and acknowledged.
struct Appended {
    records: Cell<u64>,
    bytes: Cell<u64>,
    first: Cell<Lsn>,
    last: Cell<Lsn>,
    acks: Cell<bool>,
    bar: ProgressBar,
}

impl Appended {
    fn new(ack: bool, bar: ProgressBar) -> Appended {
        let (records, bytes, first, last) = Default::default();
        Appended { records, bytes, first, last, acks: Cell::new(ack), bar }
    }

    fn durable(&self, lsn: Lsn, bytes: u64) -> Result<(), Failure> {
        self.count(lsn, bytes);
        if self.acks.get() { self.say(format!("{lsn}\n")) } else { Ok(()) }
    }

    fn durable_up_to(&self, durable: Lsn, waiting: &mut VecDeque<(Lsn, u64)>) -> Result<(), Failure> {
        let mut lines = String::new();
        while let Some(&(lsn, bytes)) = waiting.front().filter(|(lsn, _)| *lsn <= durable) {
            waiting.pop_front();
            self.count(lsn, bytes);
            if self.acks.get() {
                lines.push_str(&format!("{lsn}\n"));
            }
        }
        if lines.is_empty() { Ok(()) } else { self.say(lines) }
    }

    fn count(&self, lsn: Lsn, bytes: u64) {
        self.records.set(self.records.get() + 1);
        self.bytes.set(self.bytes.get() + bytes);
        if self.first.get() == 0 || lsn < self.first.get() {
            self.first.set(lsn);
        }
        self.last.set(self.last.get().max(lsn));
        self.bar.inc(bytes);
    }

    /// Who does not listen any more misses the rest; the records are appended all the same.
    fn say(&self, lines: String) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.acks.set(false),
            Err(error) => return Err(Failure::work(format!("writing the output: {error}"))),
            Ok(()) => {}
        }
        Ok(())
    }

    fn report(&self, started: Instant, torn_tail_bytes: u64, interrupted: bool, driver: &'static str) -> Report {
        let (seconds, bytes) = (started.elapsed().as_secs_f64(), self.bytes.get());
        Report {
            records: self.records.get(),
            bytes,
            first_lsn: self.first.get(),
            last_lsn: self.last.get(),
            seconds,
            mibs: bytes as f64 / seconds.max(1e-9) / (1 << 20) as f64,
            torn_tail_bytes,
            interrupted,
            driver,
        }
    }
}

/// The sentence goes to stderr where the numbers of the records have stdout.
fn tell(args: &AppendArgs, report: &Report) -> Result<(), Failure> {
    if args.json {
        return output::print_json(report);
    }
    let Report { records, bytes, first_lsn, last_lsn, seconds, mibs, driver, .. } = report;
    let which = if *records == 0 { String::new() } else { format!(", {first_lsn} to {last_lsn}") };
    let line = format!("{records} records{which}, {bytes} bytes in {seconds:.3} s, {mibs:.1} MiB/s by {driver}");
    if args.ack {
        output::say(&line);
        return Ok(());
    }
    output::print(&line)
}
