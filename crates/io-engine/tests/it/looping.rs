//! An event loop on a thread, with a listener that writes down every call and watches their order.

use crate::{order::sticky_code, world::PATIENCE};
use io_engine::{
    AIO, AIOClient, AIOEventListener, AIOEventLoop, AIOKey, AIOKind, AIOStats, IOQueue, IOSubmission, LoopOptions,
    core::{AlignedBuf, Driver, Op},
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A request: operations one after the other, or all at once. Their keys are `id * 100`, `id * 100 + 1`, …
pub struct Req {
    pub id: u64,
    pub ops: VecDeque<Op>,
    pub chained: bool,
}

impl Req {
    pub fn one(id: u64, op: Op) -> Req {
        Req::all(id, [op])
    }

    /// All at once.
    pub fn all(id: u64, ops: impl IntoIterator<Item = Op>) -> Req {
        Req { id, ops: ops.into_iter().collect(), chained: false }
    }

    /// Each after the one before is answered.
    pub fn chain(id: u64, ops: impl IntoIterator<Item = Op>) -> Req {
        Req { chained: true, ..Req::all(id, ops) }
    }
}

impl std::fmt::Debug for Req {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Req({}, {} operations)", self.id, self.ops.len())
    }
}

/// What a chain does next.
pub struct Rest(VecDeque<Op>);

/// One call of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Request(u64),
    /// Given back for lack of room.
    Back(u64),
    Refused(u64),
    Submit(AIOKey),
    /// The result, and what a read into an `AlignedBuf` has read.
    Complete(AIOKey, Answer, Option<Vec<u8>>),
    Quarantined(AIOKey, Option<i32>),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Moved(usize),
    Errno(i32),
    Sticky(i32),
}

impl Answer {
    pub fn of(result: &io::Result<usize>) -> Answer {
        match result {
            Ok(n) => Answer::Moved(*n),
            Err(error) => match (error.raw_os_error(), sticky_code(error)) {
                (Some(code), _) => Answer::Errno(code),
                (None, Some(code)) => Answer::Sticky(code),
                (None, None) => panic!("an error of no kind: {error:?}"),
            },
        }
    }
}

type Hook = Box<dyn FnMut(&Call) + Send>;

#[derive(Default)]
struct Notes {
    calls: Vec<Call>,
    stats: Option<AIOStats>,
    batches: (usize, usize),
}

/// What the listener wrote down.
#[derive(Default)]
pub struct Record {
    notes: Mutex<Notes>,
    more: Condvar,
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// Waits until a call is there of which this is true.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut is_it: impl FnMut(&Call) -> bool) -> Call {
        let begun = Instant::now();
        let mut notes = self.lock();
        loop {
            if let Some(call) = notes.calls.iter().find(|call| is_it(call)) {
                return call.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{what} never came; so far: {:?}", tail(&notes.calls));
            notes = self.more.wait_timeout(notes, Duration::from_millis(100)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    #[track_caller]
    pub fn completed(&self, key: AIOKey) -> Answer {
        match self
            .wait_for(&format!("the completion of {key}"), |call| matches!(call, Call::Complete(k, ..) if *k == key))
        {
            Call::Complete(_, answer, _) => answer,
            _ => unreachable!("looked for above"),
        }
    }

    fn note(&self, call: Call, hook: &mut Option<Hook>) {
        let mut notes = self.lock();
        notes.calls.push(call.clone());
        drop(notes);
        self.more.notify_all();
        if let Some(hook) = hook {
            hook(&call);
        }
    }
}

fn tail(calls: &[Call]) -> &[Call] {
    &calls[calls.len().saturating_sub(20)..]
}

/// Writes everything down, and asserts on the spot what must hold of every listener's calls.
pub struct Watch {
    record: Arc<Record>,
    hook: Option<Hook>,
    /// What was submitted and has not come back.
    out: HashMap<AIOKey, bool>,
}

type Queue = IOQueue<AIO<(), Rest>>;

impl Watch {
    fn push(&mut self, key: AIOKey, op: Op, rest: VecDeque<Op>, queue: &mut Queue) {
        assert!(self.out.insert(key, false).is_none(), "the test uses key {key} twice");
        let pushed = queue.push(AIO::op(key, op).with_tag(Rest(rest)));
        assert!(pushed.is_ok(), "there was room");
    }
}

impl AIOEventListener for Watch {
    type Request = Req;
    type Submission = AIO<(), Rest>;

    fn on_request(&mut self, mut request: Req, queue: &mut Queue) -> Result<(), Req> {
        let needs = if request.chained { 1 } else { request.ops.len() };
        if needs > queue.room() {
            self.record.note(Call::Back(request.id), &mut self.hook);
            return Err(request);
        }
        self.record.note(Call::Request(request.id), &mut self.hook);
        let key = request.id * 100;
        if request.chained {
            let first = request.ops.pop_front().expect("a chain of at least one");
            self.push(key, first, request.ops, queue);
        } else {
            for (nth, op) in request.ops.into_iter().enumerate() {
                self.push(key + nth as u64, op, VecDeque::new(), queue);
            }
        }
        Ok(())
    }

    fn on_refused(&mut self, request: Req) {
        self.record.note(Call::Refused(request.id), &mut self.hook);
    }

    fn on_submit(&mut self, submission: &Self::Submission) {
        let key = submission.key();
        let submitted = self.out.get_mut(&key).expect("submitted, but never pushed");
        assert!(!std::mem::replace(submitted, true), "{key} is submitted twice");
        self.record.note(Call::Submit(key), &mut self.hook);
    }

    fn on_complete(&mut self, submission: Self::Submission, result: io::Result<usize>, queue: &mut Queue) -> AIOKind {
        let (key, kind) = (submission.key(), submission.kind());
        let submitted = self.out.remove(&key);
        assert_eq!(submitted, Some(true), "{key} is completed twice, or before it was submitted");
        let mut submission = submission;
        let mut rest = std::mem::take(&mut submission.tag.0);
        let read = if kind == AIOKind::Read { submission.into_op().into_buf::<AlignedBuf>().ok() } else { None };
        let read = read.map(|buf| buf.to_vec());
        self.record.note(Call::Complete(key, Answer::of(&result), read), &mut self.hook);
        if let Some(next) = rest.pop_front() {
            self.push(key + 1, next, rest, queue);
        }
        kind
    }

    fn on_batch_complete(&mut self, reads: usize, writes: usize) {
        let mut notes = self.record.lock();
        notes.batches.0 += reads;
        notes.batches.1 += writes;
    }

    fn on_stats(&mut self, stats: &AIOStats) {
        self.record.lock().stats = Some(*stats);
    }

    fn quarantined(&mut self, key: AIOKey, reason: &io::Error) {
        let submitted = self.out.remove(&key);
        assert_eq!(submitted, Some(true), "{key} is given up, and was answered or never submitted");
        self.record.note(Call::Quarantined(key, reason.raw_os_error()), &mut self.hook);
    }

    fn end_loop(mut self) {
        assert!(self.out.is_empty(), "the loop has ended without an answer to {:?}", self.out);
        let notes = self.record.lock();
        let stats = notes.stats.expect("on_stats comes before the end");
        assert_eq!((stats.queuing, stats.running), (0, 0));
        assert_eq!((stats.finished_reads, stats.finished_writes), notes.batches, "batches do not add up");
        drop(notes);
        self.record.note(Call::End, &mut self.hook);
    }
}

/// A loop that runs.
pub struct Loop {
    pub client: Option<AIOClient<Req>>,
    pub record: Arc<Record>,
    pub thread: Option<JoinHandle<()>>,
}

impl Loop {
    pub fn start(driver: Box<dyn Driver>) -> Loop {
        Loop::with(driver, LoopOptions::default(), None)
    }

    pub fn with(driver: Box<dyn Driver>, options: LoopOptions, hook: Option<Hook>) -> Loop {
        let (event_loop, client) = AIOEventLoop::new(driver, options).expect("a loop over a driver");
        let record = Arc::<Record>::default();
        let watch = Watch { record: record.clone(), hook, out: HashMap::new() };
        Loop { client: Some(client), record, thread: Some(event_loop.start_thread(watch)) }
    }

    pub fn client(&self) -> &AIOClient<Req> {
        self.client.as_ref().expect("not dropped yet")
    }

    #[track_caller]
    pub fn send(&self, request: Req) {
        assert!(self.client().send(request).is_ok(), "the loop takes no requests");
    }

    /// Waits for the thread; `true` if it panicked.
    #[track_caller]
    pub fn join(&mut self) -> bool {
        let thread = self.thread.take().expect("joined once");
        let begun = Instant::now();
        while !thread.is_finished() {
            assert!(begun.elapsed() < PATIENCE, "the loop does not end; last calls: {:?}", tail(&self.record.calls()));
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.join().is_err()
    }

    /// Shuts the loop down, waits for its end and checks that it was one.
    #[track_caller]
    pub fn finish(mut self) -> Vec<Call> {
        if let Some(client) = &self.client {
            client.shutdown();
        }
        assert!(!self.join(), "the loop panicked");
        let calls = self.record.calls();
        assert_eq!(calls.iter().filter(|call| **call == Call::End).count(), 1, "end_loop");
        assert_eq!(calls.last(), Some(&Call::End));
        calls
    }
}

/// The calls that concern one request, in their order.
pub fn of_request(calls: &[Call], id: u64) -> Vec<Call> {
    let concerns = |call: &&Call| match call {
        Call::Request(i) | Call::Back(i) | Call::Refused(i) => *i == id,
        Call::Submit(key) | Call::Complete(key, ..) | Call::Quarantined(key, _) => key / 100 == id,
        Call::End => false,
    };
    calls.iter().filter(concerns).cloned().collect()
}
