//! The lanes on threads with the blocking calls of `std`: the baseline.

use super::{
    Load, Outcome, Work,
    lane::{Lane, Shared},
    meter::Meter,
    record::Recorder,
};
use crate::{clock::Ticker, files};
use std::{
    io,
    sync::{Condvar, Mutex, PoisonError},
    thread,
};

/// Runs each lane on a thread of its own; a single one on the calling thread.
///
/// # Errors
/// If the system gives no more threads.
pub(crate) fn run(load: &Load) -> io::Result<Outcome> {
    let shared = Shared::default();
    let ticker = Ticker::new();
    if load.lanes == 1 {
        let mut worker = Worker::new(load, &shared, 0, ticker.clone());
        let meter = Meter::start();
        worker.run(ticker.after(ticker.now(), load.until.time));
        let cost = meter.stop();
        return Ok(worker.end().outcome(load.bs, cost));
    }
    let gate = Gate::default();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for id in 0..load.lanes {
            let (shared, gate, ticker) = (&shared, &gate, ticker.clone());
            let lane = move || {
                let mut worker = Worker::new(load, shared, id, ticker);
                if let Some(deadline) = gate.wait() {
                    worker.run(deadline);
                }
                worker
            };
            match thread::Builder::new().spawn_scoped(scope, lane) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    gate.open(threads.len(), || None);
                    return Err(error);
                }
            }
        }
        let mut meter = None;
        gate.open(threads.len(), || {
            meter = Some(Meter::start());
            Some(ticker.after(ticker.now(), load.until.time))
        });
        let workers: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        let cost = meter.map(|meter| meter.stop()).unwrap_or_default();
        let mut all = Recorder::new(ticker);
        for worker in workers {
            all.merge(worker.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).end());
        }
        Ok(all.outcome(load.bs, cost))
    })
}

struct Worker<'a> {
    load: &'a Load,
    shared: &'a Shared,
    lane: Lane,
    buf: io_fs::ArenaBuf,
    recorder: Recorder,
    /// Where the last good operation was, if the last one was good.
    last: Option<u64>,
}

impl<'a> Worker<'a> {
    fn new(load: &'a Load, shared: &'a Shared, id: u32, ticker: Ticker) -> Worker<'a> {
        let lane = Lane::new(load, id);
        let mut buf = load.arena.take().expect("the arena has a buffer for each lane");
        buf.resize(load.bs);
        lane.fill(load, &mut buf);
        Worker { load, shared, lane, buf, recorder: Recorder::new(ticker), last: None }
    }

    fn run(&mut self, deadline: u64) {
        let load = self.load;
        let mut now = self.recorder.ticker.now();
        // At least one, however late the thread came to run.
        while self.lane.next(load, self.shared, &mut self.buf) {
            let result = self.operate();
            self.lane.landed(load, result.is_ok());
            if let Err(error) = result {
                self.last = None;
                return self.recorder.failed(error);
            }
            now = self.recorder.done(now);
            self.last = Some(self.lane.offset);
            if !self.lane.writes {
                self.recorder.check(load, self.lane.offset, &self.buf);
            }
            if now >= deadline {
                break;
            }
        }
    }

    fn operate(&mut self) -> io::Result<()> {
        let (file, offset) = (files::std_file(&self.load.file), self.lane.offset);
        if !self.lane.writes {
            let n = files::read_full_at(file, &mut self.buf, offset)?;
            return if n == self.load.bs { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        files::write_full_at(file, &self.buf, offset)?;
        if self.load.work == Work::WalAppend { file.sync_data() } else { Ok(()) }
    }

    fn end(mut self) -> Recorder {
        if let Some(offset) = self.last.filter(|_| !self.load.work.is_write()) {
            self.recorder.check_last(self.load, offset, &self.buf);
        }
        self.recorder
    }
}

/// Lets all threads begin at once, with a deadline, or go home.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: usize,
    /// Set when the gate is open.
    deadline: Option<Option<u64>>,
}

impl Gate {
    fn wait(&self) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ready += 1;
        self.changed.notify_all();
        loop {
            if let Some(deadline) = state.deadline {
                return deadline;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until so many threads are ready, then opens.
    fn open(&self, threads: usize, deadline: impl FnOnce() -> Option<u64>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.ready < threads {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.deadline = Some(deadline());
        self.changed.notify_all();
    }
}
