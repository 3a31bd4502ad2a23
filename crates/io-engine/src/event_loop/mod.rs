//! One thread, one core, one listener: the front end with the protocol of a storage engine's I/O thread.
//!
//! A turn of the loop is four lines: intake → prepare → submit → complete. It waits for requests and completions at once, so a
//! request never sits in the channel because some other operation is slow, and an idle loop uses no CPU.

mod client;
mod listener;
mod queue;
mod submission;

use client::Questions;
pub use client::{AIOClient, Refused, SendAsync, TrySendError};
pub use listener::{AIOEventListener, AIOKey, AIOKind, AIOStats};
pub use queue::IOQueue;
pub use submission::{AIO, AnySubmission, IOSubmission, UnsafeAIO};

use crate::{Arena, Carrier, Finished, Inflight, InflightOptions, trace::event_warn};
use io_core::{Driver, FileHandle, Gate, OpClass, Unavailable, Wait};
use std::{
    fmt,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// What travels from clients to the loop.
pub enum AIOMessage<T> {
    /// A request.
    Req(T),
    /// Finish what is queued and in flight, then end.
    Shutdown,
}

impl<T> fmt::Debug for AIOMessage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AIOMessage::Req(_) => "Req",
            AIOMessage::Shutdown => "Shutdown",
        })
    }
}

/// Settings of an event loop.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoopOptions {
    /// Requests that the channel holds before `send` waits.
    pub channel: usize,
    /// Direct operations that are staged before they are submitted without waiting for the rest of the round. Holding a whole
    /// round back leaves the device idle; one at a time costs a system call each.
    pub submit_every: u32,
    /// At shutdown, how long operations in flight are waited for before they are given up as lost. `None`: as long as it takes.
    pub drain: Option<Duration>,
    /// Rounds between two calls of [`AIOEventListener::on_stats`].
    pub stats_every: u32,
    /// Settings of the core.
    pub core: InflightOptions,
}

impl Default for LoopOptions {
    fn default() -> Self {
        LoopOptions { channel: 256, submit_every: 4, drain: None, stats_every: 256, core: InflightOptions::default() }
    }
}

/// A loop that is ready to run, with requests of type `T`.
///
/// ```
/// use io_engine::{AIO, AIOEventListener, AIOEventLoop, AIOKind, DriverOptions, IOQueue, LoopOptions, core::*, select};
///
/// struct Reader(flume::Sender<std::io::Result<Vec<u8>>>, FileHandle);
///
/// impl AIOEventListener for Reader {
///     type Request = u64; // an offset
///     type Submission = AIO<Vec<u8>>;
///
///     fn on_request(&mut self, offset: u64, queue: &mut IOQueue<AIO<Vec<u8>>>) -> Result<(), u64> {
///         let read = AIO::read(0, &self.1, Vec::with_capacity(5), offset);
///         queue.push(read).map_err(|_| offset)
///     }
///
///     fn on_complete(&mut self, read: AIO<Vec<u8>>, result: std::io::Result<usize>, _: &mut IOQueue<AIO<Vec<u8>>>) -> AIOKind {
///         let kind = read.kind();
///         let _ = self.0.send(result.map(|_| read.into_buf()));
///         kind
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("f");
/// std::fs::write(&path, b"hello world")?;
/// let file = io_engine::open(&path, OpenOptions::READ)?;
/// let driver = select(&DriverOptions::default())?.driver;
/// let (event_loop, client) = AIOEventLoop::new(driver, LoopOptions::default())?;
/// let (answers, answer) = flume::unbounded();
/// let thread = event_loop.start_thread(Reader(answers, file));
/// client.send(6).unwrap();
/// assert_eq!(answer.recv()??, b"world");
/// client.shutdown();
/// thread.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AIOEventLoop<T> {
    driver: Box<dyn Driver>,
    files: Vec<FileHandle>,
    arenas: Vec<Arena>,
    rx: flume::Receiver<AIOMessage<T>>,
    questions: Arc<Questions>,
    gate: Arc<Gate>,
    options: LoopOptions,
}

impl<T> fmt::Debug for AIOEventLoop<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AIOEventLoop({})", self.driver.name())
    }
}

impl<T> AIOEventLoop<T> {
    /// A loop over `driver` and its first client.
    ///
    /// # Errors
    /// Nothing today; a loop that needs more from the system than the driver has may say so here.
    pub fn new(driver: Box<dyn Driver>, options: LoopOptions) -> Result<(AIOEventLoop<T>, AIOClient<T>), Unavailable> {
        let (tx, rx) = flume::bounded(options.channel.max(1));
        let (gate, questions) = (Arc::new(Gate::default()), Arc::<Questions>::default());
        let client = AIOClient::new(tx, questions.clone(), driver.readiness(), gate.clone());
        Ok((AIOEventLoop { driver, files: Vec::new(), arenas: Vec::new(), rx, questions, gate, options }, client))
    }

    /// Registers a file with the driver when the loop starts, for the life of the loop; never one that carries a lock. Where it
    /// cannot be registered it works all the same.
    pub fn register_file(&mut self, file: &FileHandle) {
        self.files.push(file.clone());
    }

    /// Registers an arena's memory with the driver when the loop starts. Where it cannot be registered it works all the same.
    pub fn register_arena(&mut self, arena: &Arena) {
        self.arenas.push(arena.clone());
    }

    /// Runs the loop on a thread of its own, named `AIOEventLoop`.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    pub fn start_thread<L>(self, listener: L) -> JoinHandle<()>
    where
        T: Send + 'static,
        L: AIOEventListener<Request = T> + Send + 'static,
    {
        let run = move || self.run(listener);
        thread::Builder::new().name("AIOEventLoop".into()).spawn(run).expect("the system starts a thread")
    }

    /// Runs the loop on this thread until a client shuts it down, or until all clients are gone.
    pub fn run<L: AIOEventListener<Request = T>>(self, listener: L) {
        let core = Inflight::new(self.driver, self.options.core).unwrap_or_else(|unavailable| panic!("{unavailable}"));
        let mut turn = Turn {
            queue: IOQueue::with_depth(core.depth()),
            core,
            listener,
            rx: self.rx,
            questions: self.questions,
            gate: self.gate,
            options: self.options,
            held: None,
            held_room: 0,
            stopping: None,
            stats: AIOStats::default(),
            rounds: 0,
            staged_direct: 0,
        };
        for file in &self.files {
            let _ = turn.core.register_file(file);
        }
        for arena in &self.arenas {
            let _ = turn.core.register_arena(arena);
        }
        loop {
            turn.intake();
            turn.prepare();
            turn.submit();
            turn.complete();
            if turn.is_over() {
                break;
            }
        }
        turn.end();
    }
}

/// The state of a running loop.
struct Turn<T, L: AIOEventListener<Request = T>> {
    core: Inflight<L::Submission>,
    queue: IOQueue<L::Submission>,
    listener: L,
    rx: flume::Receiver<AIOMessage<T>>,
    questions: Arc<Questions>,
    gate: Arc<Gate>,
    options: LoopOptions,
    /// A request that did not fit; nothing is taken from the channel before it.
    held: Option<T>,
    /// The room that was not enough for it.
    held_room: usize,
    /// When the loop was told to end, on the core's clock.
    stopping: Option<Duration>,
    stats: AIOStats,
    rounds: u32,
    staged_direct: u32,
}

impl<T, L: AIOEventListener<Request = T>> Turn<T, L> {
    /// Requests become submissions in the queue, as long as it has room.
    fn intake(&mut self) {
        // Not by way of the channel, which may be full, or not be looked into because there is no place for a request.
        if self.gate.is_closed() {
            self.stop();
        }
        self.questions.answer(|| (self.core.stats(), self.core.dump()));
        if let Some(request) = self.held.take() {
            self.request(request);
        }
        while self.held.is_none() && self.queue.room() > 0 {
            match self.rx.try_recv() {
                Ok(AIOMessage::Req(request)) => self.request(request),
                Ok(AIOMessage::Shutdown) => self.stop(),
                Err(flume::TryRecvError::Empty) => return,
                Err(flume::TryRecvError::Disconnected) => return self.stop(),
            }
        }
    }

    fn request(&mut self, request: T) {
        if let Err(request) = self.listener.on_request(request, &mut self.queue) {
            if self.queue.is_empty() && self.core.in_flight() == 0 {
                // It will never fit: there is no more room to be had than all of it.
                self.listener.on_refused(request);
            } else {
                self.held = Some(request);
                self.held_room = self.queue.room();
            }
        }
    }

    fn stop(&mut self) {
        if self.stopping.is_none() {
            self.gate.close();
            self.stopping = Some(self.core.now());
        }
    }

    /// Submissions go from the queue into slots of the core, as long as there are free ones.
    #[inline]
    fn prepare(&mut self) {
        while self.core.room() > 0 {
            let Some(submission) = self.queue.pop() else { return };
            let direct = submission.op().class() != OpClass::Buffered;
            self.listener.on_submit(&submission);
            let accepted = self.core.accept(submission);
            debug_assert!(accepted.is_ok(), "there was room");
            self.staged_direct += u32::from(direct);
        }
    }

    /// Into the kernel, and to sleep if there is nothing else to do.
    fn submit(&mut self) {
        let wait = if self.must_not_sleep() {
            Wait::No
        } else if let Some(left) = self.left_to_drain() {
            Wait::AtMost(left)
        } else {
            Wait::Forever
        };
        let started = self.timed().then(Instant::now);
        self.core.submit(wait);
        #[cfg(feature = "tracing")]
        crate::trace::tell();
        self.staged_direct = 0;
        self.stats.note_submit(started, wait != Wait::No);
    }

    /// A clock costs as much as a cached read's own bookkeeping: one round in sixty-four is timed, and counts for all.
    fn timed(&self) -> bool {
        self.rounds % AIOStats::SAMPLE as u32 == 0
    }

    fn must_not_sleep(&self) -> bool {
        let work_in_hand = self.core.room() > 0 && !self.queue.is_empty();
        let requests_wait = self.held.is_none() && self.queue.room() > 0 && !self.rx.is_empty();
        // The queue has moved on into the core since it was offered.
        let may_fit_now = self.held.is_some() && self.queue.room() > self.held_room;
        let over = self.stopping.is_some() && self.nothing_left();
        work_in_hand || requests_wait || may_fit_now || over
    }

    /// Completions go to the listener, by value. What it answers them with is submitted every few operations.
    fn complete(&mut self) {
        let (mut reads, mut writes) = (0, 0);
        while let Some(Finished { carrier, result, .. }) = self.core.next_finished() {
            match self.listener.on_complete(carrier, result, &mut self.queue) {
                AIOKind::Read => reads += 1,
                AIOKind::Write => writes += 1,
                AIOKind::Sync | AIOKind::Other => self.stats.finished_others += 1,
            }
            if !self.queue.is_empty() {
                self.prepare();
                if self.staged_direct >= self.options.submit_every {
                    self.staged_direct = 0;
                    self.core.submit(Wait::No);
                }
            }
        }
        while let Some((submission, reason)) = self.core.next_lost() {
            event_warn!(key = submission.key(), %reason, "an operation is lost in a dead driver");
            self.listener.quarantined(submission.key(), &reason);
        }
        self.stats.finished_reads += reads;
        self.stats.finished_writes += writes;
        if reads + writes > 0 {
            self.listener.on_batch_complete(reads, writes);
        }
        self.rounds = self.rounds.wrapping_add(1);
        if self.options.stats_every > 0 && self.rounds % self.options.stats_every == 0 {
            self.report();
        }
    }

    fn report(&mut self) {
        self.stats.queuing = self.queue.len() + usize::from(self.held.is_some());
        self.stats.running = self.core.in_flight() as usize;
        self.listener.on_stats(&self.stats);
    }

    /// How long what is in flight is waited for; `None`: as long as it takes.
    fn left_to_drain(&self) -> Option<Duration> {
        let (since, drain) = (self.stopping?, self.options.drain?);
        Some(drain.saturating_sub(self.core.now().saturating_sub(since)))
    }

    fn nothing_left(&self) -> bool {
        self.queue.is_empty() && self.held.is_none() && self.core.in_flight() == 0
    }

    /// The loop ends when it was told to, all senders are out of the channel, and everything in it is answered.
    fn is_over(&mut self) -> bool {
        if self.stopping.is_none() {
            return false;
        }
        if self.left_to_drain() == Some(Duration::ZERO) && !self.nothing_left() {
            self.core.abandon();
            self.complete();
        }
        if !self.nothing_left() || !self.rx.is_empty() {
            return false;
        }
        // A sender that came through the gate before it closed may still push: only an empty gate makes "empty" final.
        self.gate.is_empty() && self.rx.is_empty()
    }

    fn end(mut self) {
        self.report();
        drop(self.core);
        self.listener.end_loop();
    }
}

impl<T> AIOEventLoop<T> {
    /// Why the loop's driver was chosen is the chooser's to say; this is which it is.
    pub fn driver_name(&self) -> io_core::DriverName {
        self.driver.name()
    }
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<AIOEventLoop<u64>>();
    is_send::<AIOClient<u64>>();
};
