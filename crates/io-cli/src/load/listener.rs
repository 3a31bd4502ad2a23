//! The lanes below an event loop: a listener that answers each completion with the lane's next operation.

use super::{
    Load, Outcome, Work,
    lane::{Lane, Shared},
    meter::{Cost, Meter},
    record::Recorder,
};
use crate::clock::Ticker;
use io_fs::{
    AIO, AIOClient, AIOEventListener, AIOEventLoop, AIOKey, AIOKind, AnySubmission, ArenaBuf, Driver, IOQueue, IoBuf,
    LoopOptions, Slice, Unavailable,
};
use std::io;

/// Runs the load on an event loop over `driver`, on this thread, with file and buffers registered.
///
/// # Errors
/// If the driver is less deep than the load has lanes.
pub(crate) fn run(driver: Box<dyn Driver>, load: &Load) -> Result<Outcome, Unavailable> {
    let (name, depth) = (driver.name(), driver.depth());
    if depth < load.lanes {
        let reason = format!("it has room for {depth} operations only, {} are wanted", load.lanes);
        return Err(Unavailable::new(name, reason, "raise the limit on locked memory (ulimit -l), or ask for less"));
    }
    let mut outcome = None;
    let (mut event_loop, client) = AIOEventLoop::new(driver, LoopOptions::default())?;
    event_loop.register_file(&load.file);
    event_loop.register_arena(&load.arena);
    client.send(Start).expect("the loop has not begun, and its channel has room");
    event_loop.run(Lanes {
        load,
        shared: Shared::default(),
        lanes: (0..load.lanes).map(|id| Lane::new(load, id)).collect(),
        parked: (0..load.lanes).map(|_| None).collect(),
        running: 0,
        deadline: 0,
        meter: None,
        cost: Cost::default(),
        recorder: Recorder::new(Ticker::new()),
        client,
        outcome: &mut outcome,
    });
    Ok(outcome.expect("the loop ends when its lanes have ended"))
}

/// The one request: begin.
#[derive(Debug)]
struct Start;

struct Lanes<'a> {
    load: &'a Load,
    shared: Shared,
    lanes: Vec<Lane>,
    /// Buffers that are not in flight: of lanes that sync, or that have ended after a good read.
    parked: Vec<Option<ArenaBuf>>,
    running: u32,
    deadline: u64,
    meter: Option<Meter>,
    cost: Cost,
    recorder: Recorder,
    client: AIOClient<Start>,
    outcome: &'a mut Option<Outcome>,
}

type Submission = AnySubmission<()>;

impl AIOEventListener for Lanes<'_> {
    type Request = Start;
    type Submission = Submission;

    fn on_request(&mut self, _: Start, queue: &mut IOQueue<Submission>) -> Result<(), Start> {
        let mut bufs = Vec::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            let mut buf = self.load.arena.take().expect("the arena has a buffer for each lane");
            buf.resize(self.load.bs);
            lane.fill(self.load, &mut buf);
            bufs.push(buf);
        }
        self.meter = Some(Meter::start());
        let now = self.recorder.ticker.now();
        self.deadline = self.recorder.ticker.after(now, self.load.until.time);
        for (id, buf) in bufs.into_iter().enumerate() {
            self.running += 1;
            if self.go_on(id, now, buf, queue).is_some() {
                self.end_lane(id, None);
            }
        }
        Ok(())
    }

    #[inline]
    fn on_complete(&mut self, done: Submission, result: io::Result<usize>, queue: &mut IOQueue<Submission>) -> AIOKind {
        let (id, kind) = (done.key as usize, done.kind());
        let buf = match kind {
            AIOKind::Read => buf_of::<Slice<ArenaBuf>>(done).into_inner(),
            AIOKind::Write => buf_of::<ArenaBuf>(done),
            _ => self.parked[id].take().expect("a lane that syncs has parked its buffer"),
        };
        match result {
            Ok(n) if n == self.load.bs || kind == AIOKind::Sync => {}
            Ok(_) => return self.failed(id, io::ErrorKind::UnexpectedEof.into(), kind),
            Err(error) => return self.failed(id, error, kind),
        }
        if kind == AIOKind::Write && self.load.work == Work::WalAppend {
            self.parked[id] = Some(buf);
            push(queue, AIO::sync_data(id as AIOKey, &self.load.file).into_any());
            return kind;
        }
        let lane = &mut self.lanes[id];
        lane.landed(self.load, true);
        let now = self.recorder.done(lane.started);
        if kind == AIOKind::Read {
            self.recorder.check(self.load, lane.offset, &buf[..self.load.bs]);
        }
        let last = if now < self.deadline { self.go_on(id, now, buf, queue) } else { Some(buf) };
        if last.is_some() {
            self.end_lane(id, last);
        }
        kind
    }

    fn quarantined(&mut self, key: AIOKey, reason: &io::Error) {
        self.failed(key as usize, io::Error::new(reason.kind(), reason.to_string()), AIOKind::Other);
    }

    fn end_loop(mut self) {
        for (lane, buf) in self.lanes.iter().zip(&self.parked) {
            if let Some(buf) = buf {
                self.recorder.check_last(self.load, lane.offset, buf);
            }
        }
        *self.outcome = Some(self.recorder.outcome(self.load.bs, self.cost));
    }
}

impl Lanes<'_> {
    /// The lane's next operation; the buffer back if there is none.
    #[inline]
    #[must_use]
    fn go_on(&mut self, id: usize, now: u64, mut buf: ArenaBuf, queue: &mut IOQueue<Submission>) -> Option<ArenaBuf> {
        let (load, lane) = (self.load, &mut self.lanes[id]);
        if !lane.next(load, &self.shared, &mut buf) {
            return Some(buf);
        }
        lane.started = now;
        let key = id as AIOKey;
        let submission = if lane.writes {
            AIO::write(key, &load.file, buf, lane.offset).into_any()
        } else {
            AIO::read(key, &load.file, buf.slice(..load.bs), lane.offset).into_any()
        };
        push(queue, submission);
        None
    }

    /// A lane that failed once has ended: a disk that is full or broken is not asked a million times.
    #[cold]
    fn failed(&mut self, id: usize, error: io::Error, kind: AIOKind) -> AIOKind {
        self.recorder.failed(error);
        self.lanes[id].landed(self.load, false);
        self.end_lane(id, None);
        kind
    }

    fn end_lane(&mut self, id: usize, buf: Option<ArenaBuf>) {
        self.parked[id] = buf;
        self.running -= 1;
        if self.running == 0 {
            // Here, and not when the loop has ended: taking a ring down is no part of the work.
            self.cost = self.meter.as_ref().map(Meter::stop).unwrap_or_default();
            self.client.shutdown();
        }
    }
}

#[inline]
fn buf_of<B: IoBuf>(done: Submission) -> B {
    let buf = done.into_any_buf().and_then(|buf| buf.downcast().ok());
    buf.expect("the buffer is of the type that it was sent with")
}

#[inline]
fn push(queue: &mut IOQueue<Submission>, submission: Submission) {
    assert!(
        queue.push(submission).is_ok(),
        "a lane has one operation at a time, and the loop is as deep as lanes are many"
    );
}
