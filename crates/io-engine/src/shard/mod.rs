//! The second front end: any thread submits and reaps, and futures wait.
//!
//! A shard is a core behind a mutex, picked by thread. Who polls an operation first stages, submits and reaps in one hold of the lock,
//! and has the answer at once if the operation completed inline; else the answer goes to a result cell, and whoever knows first that
//! it is there delivers it (see `watch`). Buffers served from the page cache never meet a second thread, which is what every engine
//! behind a channel loses its time with.

mod admission;
mod aftermath;
mod block_on;
mod cell;
mod core;
mod deadlines;
mod fair;
mod flow;
mod metrics;
mod op_box;
mod owner;
mod shared;
mod timer;
#[allow(unsafe_code)] // buffers inside buffers
mod together;
mod watch;

#[allow(unsafe_code)] // a system call on an operation that nobody else has
mod at_once;

#[allow(unsafe_code)] // memory is lent to drivers
mod loan;

#[cfg(all(unix, any(feature = "tokio", feature = "smol")))]
mod reactor;

pub(crate) use cell::Cell;
pub use flow::{Operation, Ticket, Timed, TimedOut};
pub(crate) use loan::Borrower;
pub use metrics::{Latency, LatencyBucket, OpMetrics, Via};
pub use op_box::OpBox;
pub use timer::Deadline;
pub(crate) use together::Together;

use crate::{
    Arena, Died, InFlightOp, InflightOptions, Stats,
    inode::{Inode, Sharing, SyncKind},
    shard::{
        admission::{Admission, Queued, Weight},
        at_once::AtOnce,
        cell::Way,
        core::{Begun, Shard},
        deadlines::Deadlines,
        metrics::AtOnceMeter,
        shared::SyncTurn,
        together::Joined,
    },
};
use io_core::{BufResult, Driver, DriverName, FileHandle, FileId, IoBuf, IoBufMut, Op, OpKind, Unavailable, errno};
use std::{
    cell::Cell as StdCell,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

/// What an operation answers.
#[derive(Debug)]
pub struct Answer {
    /// The operation with its buffer and its typed answer; `None` for a sync that others had a part in.
    pub op: Option<OpBox>,
    /// Bytes transferred (0 for what transfers none), or the error.
    pub result: io::Result<usize>,
}

/// On which thread operations enter the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubmitFrom {
    /// On the one that polls: the fastest way. The completions of direct reads then interrupt that thread's `epoll_wait` and timed
    /// sleeps (`EINTR`), and while it sleeps uninterruptibly they wait for it (Linux 6.18, measured; Linux AIO does neither).
    #[default]
    Caller,
    /// On the engine's own threads: a hop more, and none of that.
    EngineThread,
}

/// Who reaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaping {
    /// The reaper thread of each shard, and whoever knows before.
    Threads,
    /// Nobody but those who wait, because time is virtual: no threads, so that a run repeats.
    Polls,
    /// The one thread that the engine belongs to.
    Owner,
}

/// Settings of an engine.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ShardOptions {
    /// Most operations admitted at once, over all shards; more wait in turn.
    pub ops_max: u32,
    /// Most bytes of operations admitted at once.
    pub bytes_max: u64,
    /// Where operations enter the kernel.
    pub submit_from: SubmitFrom,
    /// Largest buffered read that is tried on the caller's thread first, in bytes; 0: none is.
    pub at_once_max: u32,
    /// Settings of the cores.
    pub core: InflightOptions,
}

impl Default for ShardOptions {
    fn default() -> Self {
        ShardOptions {
            ops_max: 1024,
            bytes_max: 1 << 30,
            submit_from: SubmitFrom::Caller,
            at_once_max: 64 << 10,
            core: InflightOptions { transfer_max: 4 << 20 },
        }
    }
}

static ENGINES: AtomicU64 = AtomicU64::new(1);

/// The engine behind futures: one or more shards, each with a driver of its own. Clones are the same engine.
///
/// It lives until the last clone and the last operation are gone; dropping never waits, the reaper threads finish what is in flight.
#[derive(Clone)]
pub struct Shards(Arc<Inner>);

struct Inner {
    shards: Box<[Arc<Shard>]>,
    admission: Arc<Admission>,
    deadlines: Arc<Deadlines>,
    reaping: Reaping,
    submit_from: SubmitFrom,
    at_once: AtOnce,
    at_once_meter: AtOnceMeter,
    driver: DriverName,
    /// No other engine of the process has it.
    number: u64,
}

impl Shards {
    /// An engine over these drivers, one shard each. A simulator has to be the only one: its run repeats because it has no threads
    /// beside it.
    ///
    /// # Errors
    /// If a shard's offload pool cannot be made.
    ///
    /// # Panics
    /// Without a driver.
    pub fn new(drivers: Vec<Box<dyn Driver>>, options: ShardOptions) -> Result<Shards, Unavailable> {
        let reaping = match drivers.first().expect("an engine has at least one driver").name() {
            DriverName::Sim => Reaping::Polls,
            _ => Reaping::Threads,
        };
        Shards::with_reaping(drivers, options, reaping)
    }

    /// An engine for one thread alone, which has to run its futures with [`Shards::block_on`]. The driver may be one for its owner
    /// only: asked from another thread it then answers nothing but errors.
    ///
    /// # Errors
    /// As [`Shards::new`].
    pub fn owned(driver: Box<dyn Driver>, options: ShardOptions) -> Result<Shards, Unavailable> {
        let simulated = driver.name() == DriverName::Sim;
        Shards::with_reaping(vec![driver], options, if simulated { Reaping::Polls } else { Reaping::Owner })
    }

    fn with_reaping(
        drivers: Vec<Box<dyn Driver>>,
        options: ShardOptions,
        reaping: Reaping,
    ) -> Result<Shards, Unavailable> {
        assert!(reaping != Reaping::Polls || drivers.len() == 1, "a simulated engine has one shard");
        let admission = Arc::new(Admission::new(options.ops_max, options.bytes_max));
        let driver = drivers[0].name();
        let clock = drivers[0].clock();
        let shard = |(index, driver)| Shard::new(index, driver, options.core, admission.clone(), reaping).map(Arc::new);
        let shards = drivers.into_iter().enumerate().map(shard).collect::<Result<_, _>>()?;
        let at_once = if reaping == Reaping::Polls { AtOnce::NEVER } else { AtOnce::up_to(options.at_once_max) };
        Ok(Shards(Arc::new(Inner {
            shards,
            admission,
            deadlines: Deadlines::new(clock, reaping == Reaping::Threads),
            reaping,
            submit_from: if reaping == Reaping::Threads { options.submit_from } else { SubmitFrom::Caller },
            at_once,
            at_once_meter: AtOnceMeter::default(),
            driver,
            number: ENGINES.fetch_add(1, Ordering::Relaxed),
        })))
    }

    /// An operation, to be polled. Its outcome is what `make` makes of the answer.
    pub fn operation<T>(&self, op: Op, make: fn(Answer) -> T) -> Operation<T> {
        Operation::new(self.clone(), op, make)
    }

    /// A read into the buffer's capacity at `offset`. If its data is in memory it is done at once, on the thread that polls.
    #[inline]
    pub fn read_at<B: IoBufMut>(&self, file: &FileHandle, buf: B, offset: u64) -> Operation<BufResult<usize, B>> {
        Operation::read(self.clone(), file, buf, offset)
    }

    /// A write of the buffer's bytes at `offset`.
    #[inline]
    pub fn write_at<B: IoBuf>(&self, file: &FileHandle, buf: B, offset: u64) -> Operation<BufResult<usize, B>> {
        self.operation(Op::write(file, buf, offset), flow::transfer_of)
    }

    /// What the drivers that died have left, by shard; `None`: that one's lives.
    pub fn deaths(&self) -> Vec<Option<Died>> {
        self.0.shards.iter().map(|shard| shard.death.get().copied()).collect()
    }

    /// The driver of the shards, as it was given; of those that died since, see [`Shards::deaths`].
    pub fn driver_name(&self) -> DriverName {
        self.0.driver
    }

    /// True if a pool of threads stands beside the drivers, for what they cannot do: not beside a simulator, nor beside a pool.
    pub fn has_offload(&self) -> bool {
        !matches!(self.0.driver, DriverName::Sim | DriverName::ThreadPool)
    }

    /// The time that deadlines are in.
    pub fn now(&self) -> Duration {
        self.0.deadlines.now()
    }

    /// Counters, one set a shard.
    pub fn stats(&self) -> Vec<Stats> {
        self.0.shards.iter().map(|shard| shard.stats()).collect()
    }

    /// What was done, by kind and by who did it, over all shards, with how long it took.
    pub fn metrics(&self) -> Vec<OpMetrics> {
        let mut all: Vec<_> = self.0.at_once_meter.metrics().into_iter().collect();
        self.0.shards.iter().for_each(|shard| shard.add_metrics(&mut all));
        all.sort_by_key(|row| (row.kind, row.via));
        all
    }

    /// What is in flight and for how long, longest first.
    pub fn dump(&self) -> Vec<InFlightOp> {
        let mut all: Vec<_> = self.0.shards.iter().flat_map(|shard| shard.dump()).collect();
        all.sort_by_key(|op| std::cmp::Reverse(op.age));
        all
    }

    /// Operations in flight that nobody waits for any more, and the bytes of their buffers.
    pub fn orphans(&self) -> (u32, u64) {
        self.0.admission.orphans()
    }

    /// Operations admitted now, their bytes, and operations that wait for admission.
    pub fn load(&self) -> (u32, u64, usize) {
        self.0.admission.levels()
    }

    /// The limits of admission: operations and bytes.
    pub fn limits(&self) -> (u32, u64) {
        self.0.admission.limits()
    }

    /// Threads that the engine has started so far for itself (offload pools apart).
    pub fn threads(&self) -> usize {
        let reapers = self.0.shards.iter().filter(|shard| shard.watch.has_reaper()).count();
        reapers + usize::from(self.0.deadlines.has_thread_now())
    }

    /// Registers a file with every shard, for files that are used a lot; see [`Driver::register_file`].
    pub fn register_file(&self, file: &FileHandle) {
        for shard in &self.0.shards {
            shard.with_core(|core| {
                let _ = core.register_file(file);
            });
        }
    }

    /// Gives a file's registrations back.
    pub fn unregister_file(&self, file: FileId) {
        for shard in &self.0.shards {
            shard.have_done(move |core| core.unregister_file(file));
        }
    }

    /// Registers an arena's memory with every shard, as far as the system allows; how many shards took it.
    pub fn register_arena(&self, arena: &Arena) -> usize {
        let taken = |shard: &&Arc<Shard>| shard.with_core(|core| core.register_arena(arena).is_ok()) == Some(true);
        self.0.shards.iter().filter(taken).count()
    }

    /// Submits and reaps on every shard, without waiting. For executors of their own; nobody has to.
    pub fn turn(&self) {
        for shard in &self.0.shards {
            shard.turn_in_passing();
        }
    }
}

impl Shards {
    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.0.shards
    }

    pub(crate) fn reaping(&self) -> Reaping {
        self.0.reaping
    }

    /// True if the engine belongs to another thread than the calling one.
    #[inline]
    pub(crate) fn is_foreign(&self) -> bool {
        self.0.reaping == Reaping::Owner && self.0.shards[0].is_foreign()
    }

    pub(crate) fn submit_from(&self) -> SubmitFrom {
        self.0.submit_from
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    pub(crate) fn deadlines(&self) -> &Arc<Deadlines> {
        &self.0.deadlines
    }

    /// The calling thread's shard.
    #[inline]
    pub(crate) fn home(&self) -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: StdCell<usize> = const { StdCell::new(usize::MAX) };
        }
        if self.0.shards.len() == 1 {
            return 0;
        }
        let mut mine = MINE.get();
        if mine == usize::MAX {
            mine = NEXT.fetch_add(1, Ordering::Relaxed);
            MINE.set(mine);
        }
        mine % self.0.shards.len()
    }

    #[inline]
    pub(crate) fn at_once(&self) -> &AtOnce {
        &self.0.at_once
    }

    #[inline]
    pub(crate) fn at_once_meter(&self) -> &AtOnceMeter {
        &self.0.at_once_meter
    }

    /// Begins an operation. The answer at once, or the cell in which it will be.
    #[inline]
    pub(crate) fn begin(&self, op: OpBox, weight: Weight, together: bool) -> Result<Answer, Arc<Cell>> {
        if self.is_foreign() {
            return Ok(Answer { op: Some(op), result: Err(owner::refusal()) });
        }
        match op.kind() {
            OpKind::SyncData => return Err(self.begin_sync(&op, SyncKind::Data)),
            OpKind::SyncAll => return Err(self.begin_sync(&op, SyncKind::All)),
            OpKind::Write if together => return self.begin_together(op, weight),
            _ => {}
        }
        self.begin_alone(op, weight)
    }

    fn begin_together(&self, op: OpBox, weight: Weight) -> Result<Answer, Arc<Cell>> {
        let inode = Inode::arc_of(op.file().expect("a write has a file"));
        match together::join(&inode, self.0.number, op) {
            Joined::Begins(batches, cell) => {
                batches.into_iter().for_each(|batch| self.push(Queued::Batch(batch)));
                Err(cell)
            }
            Joined::Waits(cell) => Err(cell),
            Joined::Alone(op) => self.begin_alone(op, weight),
        }
    }

    fn begin_alone(&self, op: OpBox, weight: Weight) -> Result<Answer, Arc<Cell>> {
        if self.0.submit_from == SubmitFrom::EngineThread || !self.0.admission.enter(weight) {
            return Err(self.queue(op));
        }
        self.begin_on_some_shard(op, weight)
    }

    fn begin_on_some_shard(&self, mut op: OpBox, weight: Weight) -> Result<Answer, Arc<Cell>> {
        let shards = &self.0.shards;
        let seat = shards.iter().position(|shard| block_on::is_seated(shard));
        let home = seat.unwrap_or_else(|| self.home());
        let (mut locked, mut at) = (false, home);
        loop {
            let shard = &shards[at];
            // A lock is held for a moment only, but another shard's may be free.
            let try_only = seat.is_none() && shards.len() > 1 && !locked;
            match shard.begin(op, weight, try_only, seat == Some(at)) {
                Ok(Begun::Done(answer)) => {
                    self.attend_if_busy(shard);
                    return Ok(answer);
                }
                Ok(Begun::Under(cell)) => {
                    self.attend_if_busy(shard);
                    return Err(cell);
                }
                Ok(Begun::Full(back)) | Err(back) => op = back,
            }
            at = (at + 1) % shards.len();
            if at == home {
                if locked || !try_only {
                    // Every shard is full.
                    self.0.admission.leave(weight);
                    return Err(self.queue(op));
                }
                locked = true;
            }
        }
    }

    /// Lets an operation wait for its turn.
    fn queue(&self, op: OpBox) -> Arc<Cell> {
        let cell = Cell::queued(op, None);
        self.push(Queued::Cell(cell.clone()));
        cell
    }

    /// Somebody waits for a sync; the operation itself is not needed, but its file.
    fn begin_sync(&self, op: &Op, kind: SyncKind) -> Arc<Cell> {
        let file = op.file().expect("a sync has a file");
        let inode = Inode::arc_of(file);
        for batch in together::flush(&inode, self.0.number) {
            self.push(Queued::Batch(batch));
        }
        let cell = Cell::under(Way::Shared, None);
        let sharing = Sharing { kind, engine: self.0.shards[0].owner_number() };
        if inode.join_shared(sharing, file, cell.clone()) {
            self.push(Queued::Sync(SyncTurn::new(inode, sharing)));
        }
        cell
    }

    /// Appends to the queue, and looks whether there is room after all: whoever made some in between may not have seen it.
    fn push(&self, queued: Queued) {
        self.0.admission.push(queued);
        let shard = &self.0.shards[self.home()];
        if self.0.submit_from == SubmitFrom::EngineThread {
            return shard.call_engine_thread();
        }
        shard.turn_in_passing();
        self.attend_if_busy(shard);
    }

    #[inline]
    fn attend_if_busy(&self, shard: &Arc<Shard>) {
        if self.0.reaping == Reaping::Threads && shard.busy() > 0 {
            #[cfg(all(unix, any(feature = "tokio", feature = "smol")))]
            if self.0.submit_from == SubmitFrom::Caller {
                reactor::watch(shard);
            }
            // Also on behalf of a thread that has the seat: it may compute for long, or wait for somebody who waits for this.
            shard.watch.attend(shard);
        }
    }

    /// Where nobody else does, who waits moves things on.
    #[inline]
    pub(crate) fn help(&self, cell: &Cell, cx: &mut Context<'_>) {
        if self.0.reaping == Reaping::Threads && self.0.shards[0].watch.has_reaper() {
            return;
        }
        self.help_by_hand(cell, cx);
    }

    #[cold]
    fn help_by_hand(&self, cell: &Cell, cx: &mut Context<'_>) {
        let shard = match cell.way() {
            Some(Way::Shard(index, _)) => &self.0.shards[index],
            _ => &self.0.shards[0],
        };
        let watched = shard.watch.has_others() && !block_on::is_away(shard);
        if watched || (self.0.reaping == Reaping::Threads && shard.watch.has_reaper()) {
            return;
        }
        match self.0.reaping {
            // It began on the engine's own thread, which wakes who waits when it comes by.
            Reaping::Owner if shard.is_foreign() => {}
            // Somebody else's executor runs the task: time moves to the next completion, and the waker is woken.
            Reaping::Polls => match shard.turn().due {
                None => shard.readiness.subscribe(cx.waker().clone()),
                // What was pushed back, or pauses, is not on its way to any completion: time moves to when it is to go on.
                Some(due) => {
                    shard.readiness.wait(Some(due));
                    cx.waker().wake_by_ref();
                }
            },
            // Slow, but nothing stands still: a ring of one thread answers that thread only, and no reaper thread could be had.
            Reaping::Owner | Reaping::Threads => {
                shard.turn();
                cx.waker().wake_by_ref();
            }
        }
    }

    /// As [`Shards::help`], for who waits no longer than `left`.
    pub(crate) fn help_until(&self, left: Duration, cx: &mut Context<'_>) {
        let shard = &self.0.shards[0];
        if self.0.reaping == Reaping::Polls && (!shard.watch.has_others() || block_on::is_away(shard)) {
            shard.readiness.wait(Some(left));
            cx.waker().wake_by_ref();
        }
    }

    /// Wishes that the operation of this cell ended soon.
    pub(crate) fn cancel(&self, cell: &Cell) {
        if let Some((op, waker)) = cell.unqueue() {
            let result = Err(io::Error::from_raw_os_error(errno::ECANCELED));
            let answered = cell.finish(Answer { op: Some(op), result });
            drop(answered);
            self.0.admission.note_gone();
            if let Some(waker) = waker {
                waker.wake();
            }
            return;
        }
        if let Some(Way::Shard(index, token)) = cell.way() {
            self.0.shards[index].cancel(token, self.0.submit_from);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.deadlines.stop();
        for shard in &self.shards {
            shard.stop();
        }
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shards({} of {})", self.0.shards.len(), self.0.driver)
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    const fn is_send<T: Send>() {}
    is_shared::<Shards>();
    is_send::<Operation<io::Result<()>>>();
};
