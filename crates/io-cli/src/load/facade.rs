//! The lanes as futures on the facade: on this thread alone, or as tasks of a runtime.

use super::{
    Load, Outcome, Work,
    lane::{Lane, Shared},
    meter::{Cost, Meter},
    record::Recorder,
    together::Together,
};
use crate::clock::Ticker;
use io_fs::{ArenaBuf, DriverName, File, FileSystem, IoBuf, IoConfig, LocalFs, Unavailable};
use std::{cell::RefCell, future::Future, io, num::NonZero, ops::Deref, panic, sync::Arc, thread};

/// What polls the futures.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Runtime {
    /// `FileSystem::block_on` on the calling thread.
    Local,
    /// `LocalFs::block_on` on the calling thread.
    LocalFs,
    /// So many workers of tokio.
    Tokio(NonZero<u32>),
    /// So many threads that run one executor of smol's.
    Smol(NonZero<u32>),
}

/// A file system and what its futures run on.
#[derive(Debug)]
pub(crate) struct Engine {
    fs: Fs,
    runtime: Runtime,
}

#[derive(Debug)]
enum Fs {
    Shared(FileSystem),
    Owned(LocalFs),
}

impl Engine {
    /// With room for `lanes` operations at once, on this driver or the best one.
    pub(crate) fn new(runtime: Runtime, driver: Option<DriverName>, lanes: u32) -> Result<Engine, Unavailable> {
        let mut config = IoConfig::default();
        config.driver = driver;
        config.sq_depth = config.sq_depth.max(lanes);
        config.queue_depth = config.queue_depth.max(lanes);
        let fs = match runtime {
            Runtime::LocalFs => Fs::Owned(LocalFs::with_config(config)?),
            Runtime::Local => {
                // One thread needs one.
                config.io_workers = 1;
                Fs::Shared(FileSystem::with_config(config)?)
            }
            Runtime::Tokio(_) | Runtime::Smol(_) => Fs::Shared(FileSystem::with_config(config)?),
        };
        Ok(Engine { fs, runtime })
    }

    /// The driver that works.
    pub(crate) fn driver(&self) -> DriverName {
        match &self.fs {
            Fs::Shared(fs) => fs.backend().driver(),
            Fs::Owned(fs) => fs.backend().driver(),
        }
    }

    /// Runs the load.
    ///
    /// # Errors
    /// If its file cannot be opened, or the runtime gets no threads.
    pub(crate) fn run(&self, load: &Load) -> io::Result<Outcome> {
        let file = self.block_on(self.open(load))?;
        file.file_system().shards().register_arena(&load.arena);
        let ticker = Ticker::new();
        match self.runtime {
            Runtime::Local | Runtime::LocalFs => Ok(self.run_here(load, &file, &ticker)),
            Runtime::Tokio(workers) => run_on_tokio(load, &file, &ticker, workers),
            Runtime::Smol(workers) => run_on_smol(load, &file, &ticker, workers),
        }
    }

    async fn open(&self, load: &Load) -> io::Result<File> {
        match &self.fs {
            Fs::Shared(fs) => fs.open_with(&load.path, load.options()).await,
            Fs::Owned(fs) => fs.open_with(&load.path, load.options()).await.map(|file| file.deref().clone()),
        }
    }

    /// What polls the futures.
    pub(crate) fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// The file system, where it is not one thread's own.
    pub(crate) fn file_system(&self) -> Option<&FileSystem> {
        match &self.fs {
            Fs::Shared(fs) => Some(fs),
            Fs::Owned(_) => None,
        }
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.fs {
            Fs::Shared(fs) => fs.block_on(future),
            Fs::Owned(fs) => fs.block_on(future),
        }
    }

    /// All lanes on this thread, which counts them in one place.
    fn run_here(&self, load: &Load, file: &File, ticker: &Ticker) -> Outcome {
        let recorder = RefCell::new(Recorder::new(ticker.clone()));
        let mut lanes: Vec<_> = (0..load.lanes).map(|id| Runner::new(load, file, id, &recorder)).collect();
        let (race, meter) = Race::start(load, ticker);
        let ended = match (lanes.pop(), lanes.is_empty()) {
            // Alone, a lane needs no set that finds out whom to poll.
            (Some(lane), true) => vec![self.block_on(lane.run(&race))],
            (last, _) => self.block_on(Together::new(lanes.into_iter().chain(last).map(|lane| lane.run(&race)))),
        };
        let cost = meter.stop();
        for lane in ended {
            lane.end(load);
        }
        recorder.into_inner().outcome(load.bs, cost)
    }
}

fn run_on_tokio(load: &Load, file: &File, ticker: &Ticker, workers: NonZero<u32>) -> io::Result<Outcome> {
    let (ended, cost) = on_tokio(workers, || spawnable(load, file, ticker))?;
    Ok(outcome_of(ended, load, cost, ticker))
}

fn run_on_smol(load: &Load, file: &File, ticker: &Ticker, workers: NonZero<u32>) -> io::Result<Outcome> {
    let (ended, cost) = on_smol(workers, || spawnable(load, file, ticker))?;
    Ok(outcome_of(ended, load, cost, ticker))
}

/// Runs futures as tasks of tokio, from when the meter was started to the end of the last one.
pub(super) fn on_tokio<F>(
    workers: NonZero<u32>,
    begin: impl FnOnce() -> (Vec<F>, Meter),
) -> io::Result<(Vec<F::Output>, Cost)>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(workers.get() as usize).enable_all().build()?;
    runtime.block_on(async {
        let (futures, meter) = begin();
        let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
        let mut ended = Vec::with_capacity(tasks.len());
        for task in tasks {
            ended.push(task.await.unwrap_or_else(|failed| panic::resume_unwind(failed.into_panic())));
        }
        Ok((ended, meter.stop()))
    })
}

/// As [`on_tokio`], with threads that run one executor of smol's.
pub(super) fn on_smol<F>(
    workers: NonZero<u32>,
    begin: impl FnOnce() -> (Vec<F>, Meter),
) -> io::Result<(Vec<F::Output>, Cost)>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let executor = smol::Executor::new();
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    thread::scope(|scope| {
        // Dropped with this closure, also by a panic: the threads end then.
        let _stop = stop;
        for _ in 0..workers.get() {
            thread::Builder::new().spawn_scoped(scope, || smol::block_on(executor.run(stopped.recv())))?;
        }
        smol::block_on(async {
            let (futures, meter) = begin();
            let tasks: Vec<_> = futures.into_iter().map(|future| executor.spawn(future)).collect();
            let mut ended = Vec::with_capacity(tasks.len());
            for task in tasks {
                ended.push(task.await);
            }
            Ok((ended, meter.stop()))
        })
    })
}

/// Lanes that count by themselves, so that threads share nothing, and the clock that they run against.
fn spawnable(
    load: &Load,
    file: &File,
    ticker: &Ticker,
) -> (Vec<impl Future<Output = Runner<Recorder>> + Send + 'static>, Meter) {
    let lanes: Vec<_> = (0..load.lanes).map(|id| Runner::new(load, file, id, Recorder::new(ticker.clone()))).collect();
    let (race, meter) = Race::start(load, ticker);
    let race = Arc::new(race);
    (lanes.into_iter().map(|lane| lane.run(race.clone())).collect(), meter)
}

fn outcome_of(ended: Vec<Runner<Recorder>>, load: &Load, cost: Cost, ticker: &Ticker) -> Outcome {
    let mut all = Recorder::new(ticker.clone());
    for lane in ended {
        all.merge(lane.end(load));
    }
    all.outcome(load.bs, cost)
}

/// What the lanes of a run share.
struct Race {
    load: Load,
    shared: Shared,
    deadline: u64,
}

impl Race {
    fn start(load: &Load, ticker: &Ticker) -> (Race, Meter) {
        let meter = Meter::start();
        let deadline = ticker.after(ticker.now(), load.until.time);
        (Race { load: load.clone(), shared: Shared::default(), deadline }, meter)
    }
}

/// Where a lane counts: in a recorder of its own, or in the one of its thread.
trait Tally: Sized {
    fn with<T>(&mut self, count: impl FnOnce(&mut Recorder) -> T) -> T;
}

impl Tally for Recorder {
    #[inline]
    fn with<T>(&mut self, count: impl FnOnce(&mut Recorder) -> T) -> T {
        count(self)
    }
}

impl Tally for &RefCell<Recorder> {
    #[inline]
    fn with<T>(&mut self, count: impl FnOnce(&mut Recorder) -> T) -> T {
        count(&mut self.borrow_mut())
    }
}

struct Runner<T> {
    file: File,
    lane: Lane,
    /// `None` of a lane that has done nothing, or whose last operation failed.
    buf: Option<ArenaBuf>,
    tally: T,
}

impl<T: Tally> Runner<T> {
    fn new(load: &Load, file: &File, id: u32, tally: T) -> Runner<T> {
        let lane = Lane::new(load, id);
        let mut buf = load.arena.take().expect("the arena has a buffer for each lane");
        buf.resize(load.bs);
        lane.fill(load, &mut buf);
        Runner { file: file.clone(), lane, buf: Some(buf), tally }
    }

    /// One operation after the other, until the time or the operations are used up, or one fails.
    async fn run(mut self, race: impl Deref<Target = Race>) -> Runner<T> {
        let load = &race.load;
        let mut buf = self.buf.take().expect("a lane runs once");
        let mut now = self.tally.with(|recorder| recorder.ticker.now());
        let mut ran = false;
        while self.lane.next(load, &race.shared, &mut buf) {
            let (result, back) = self.operate(load, buf).await;
            buf = back;
            self.lane.landed(load, result.is_ok());
            if let Err(error) = result {
                self.tally.with(|recorder| recorder.failed(error));
                return self;
            }
            let lane = &self.lane;
            now = self.tally.with(|recorder| {
                let now = recorder.done(now);
                if !lane.writes {
                    recorder.check(load, lane.offset, &buf);
                }
                now
            });
            ran = true;
            if now >= race.deadline {
                break;
            }
        }
        self.buf = ran.then_some(buf);
        self
    }

    #[inline]
    async fn operate(&self, load: &Load, buf: ArenaBuf) -> (io::Result<()>, ArenaBuf) {
        let all = |n: usize| if n == load.bs { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        if !self.lane.writes {
            let (read, buf) = self.file.read_at(buf.slice(..load.bs), self.lane.offset).await;
            return (read.and_then(all), buf.into_inner());
        }
        let (written, buf) = match load.work {
            Work::WalAppend => self.file.write_durable_at(buf, self.lane.offset).await,
            _ => self.file.write_at(buf, self.lane.offset).await,
        };
        (written.and_then(all), buf)
    }

    /// Compares the block that was read last, outside the timed part.
    fn end(mut self, load: &Load) -> T {
        if let (Some(buf), false) = (&self.buf, load.work.is_write()) {
            let offset = self.lane.offset;
            self.tally.with(|recorder| recorder.check_last(load, offset, buf));
        }
        self.tally
    }
}
