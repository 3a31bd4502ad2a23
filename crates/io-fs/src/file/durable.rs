//! Writes that are durable when they are answered.

use super::{
    File,
    append_lock::{DurableWriter, InodeState},
    direct::address,
    errors,
    planner::{Company, DurabilityRow, DurableRoute, LaneKey, Trip},
    written_of,
};
use crate::{
    FileSystem,
    composite::{Composite, Step, Steps, sealed::Sealed, step},
};
use io_engine::{
    core::{BufResult, IoBuf, Op, RwFlags, errno},
    sync_on_pool,
};
use std::{
    fmt,
    future::Future,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// How often the sync behind a write is asked for when it fails because somebody else's write did.
const SYNCS_MAX: u32 = 3;

impl File {
    /// Writes the buffer's bytes at `offset`, all of them, and answers when they are durable.
    ///
    /// It goes one of three ways, whichever was measured to be faster for this device and about this number of writers at once
    /// ([`FileSystem::durability_table`]): one write with `RWF_DSYNC`, which is one for all if several writers write places that follow
    /// one another, or a write and an fdatasync that it shares with others, done by the driver or by the offload pool.
    ///
    /// # Errors
    /// As [`File::write_at`] and [`File::sync_data`]: whatever fails, the write is not known to be durable, and if it was the sync (or
    /// an `RWF_DSYNC` write that had begun), every later one of the inode answers [`SyncFailed`](crate::SyncFailed), and
    /// [`File::in_doubt`] says which bytes are concerned.
    pub fn write_durable_at<B: IoBuf>(&self, buf: B, offset: u64) -> Composite<DurableSteps<B>> {
        let steps = DurableSteps { file: self.clone(), offset, trip: None, on_pool: false, stage: Stage::New(buf) };
        Composite::new(self.0.fs.shards(), steps)
    }
}

impl FileSystem {
    /// What was measured about durable writes, and which way they go; for reports.
    pub fn durability_table(&self) -> Vec<DurabilityRow> {
        self.0.planner.table()
    }
}

/// The steps of [`File::write_durable_at`].
pub struct DurableSteps<B: IoBuf> {
    file: File,
    offset: u64,
    trip: Option<Journey>,
    /// Its sync goes to the pool.
    on_pool: bool,
    stage: Stage<B>,
}

/// A write on its way, and what is needed to say what it took.
struct Journey {
    writer: DurableWriter,
    trip: Trip,
    company: Company,
    began: Duration,
    settled: bool,
}

enum Stage<B: IoBuf> {
    New(B),
    Dsync(Step<BufResult<usize, B>>, usize, Instead),
    Write(Step<BufResult<usize, B>>, usize),
    Sync(Step<io::Result<()>>, usize, B, u32),
    Over,
}

/// What a write with `RWF_DSYNC` stands for.
enum Instead {
    Itself,
    /// Its sync failed with this, because of somebody else's write.
    Sync(io::Error),
}

// Nothing inside is pinned: what is under way is the engine's.
impl<B: IoBuf> Unpin for DurableSteps<B> {}
impl<B: IoBuf> Sealed for DurableSteps<B> {}

impl<B: IoBuf> Steps for DurableSteps<B> {
    fn ask(&mut self) {
        match &mut self.stage {
            Stage::Dsync(write, ..) | Stage::Write(write, _) => write.ask(),
            Stage::Sync(sync, ..) => sync.ask(),
            Stage::New(_) | Stage::Over => {}
        }
    }
}

impl<B: IoBuf> Future for DurableSteps<B> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BufResult<usize, B>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::New(_) => this.begin(),
                Stage::Dsync(write, len, _) => {
                    let Poll::Ready((result, buf)) = Pin::new(write).poll(cx) else { return Poll::Pending };
                    let result = result.and_then(|n| all(n, *len));
                    if let Some(answer) = this.after_dsync(result, buf) {
                        return Poll::Ready(answer);
                    }
                }
                Stage::Write(write, len) => {
                    let Poll::Ready((result, buf)) = Pin::new(write).poll(cx) else { return Poll::Pending };
                    match result.and_then(|n| all(n, *len)) {
                        Ok(n) => this.stage = this.sync(n, buf, 1),
                        Err(error) => return Poll::Ready(this.over(Err(error), buf)),
                    }
                }
                Stage::Sync(sync, ..) => {
                    let Poll::Ready(result) = Pin::new(sync).poll(cx) else { return Poll::Pending };
                    if let Some(answer) = this.after_sync(result) {
                        return Poll::Ready(answer);
                    }
                }
                Stage::Over => panic!("a durable write was polled after it was over"),
            }
        }
    }
}

impl<B: IoBuf> DurableSteps<B> {
    fn begin(&mut self) {
        let Stage::New(buf) = mem::replace(&mut self.stage, Stage::Over) else { return };
        let (fs, facts) = (&self.file.0.fs, self.file.0.handle.facts());
        let writer = InodeState::of(&self.file.0.handle).enter_durable();
        let writers = writer.company();
        let company = Company::of(writers);
        let key = LaneKey { device: facts.inode.map_or(0, |inode| inode.dev), direct: facts.direct, company };
        let began = fs.shards().now();
        let trip = fs.0.planner.begin(key, writers, fs.shards().has_offload(), began);
        let settled = fs.0.config.durable_route;
        let route = settled.unwrap_or(trip.route);
        let together = writer.count() > 1;
        self.trip = Some(Journey { writer, trip, company, began, settled: settled.is_some() });
        self.on_pool = route == DurableRoute::WriteThenPoolSync;
        self.stage = match route {
            DurableRoute::Dsync => self.dsync(buf, Instead::Itself, together),
            DurableRoute::WriteThenSync | DurableRoute::WriteThenPoolSync => self.write(buf),
        };
    }

    fn dsync(&self, buf: B, instead: Instead, together: bool) -> Stage<B> {
        let (len, piece) = (buf.len(), (address(&buf), buf.len() as u64));
        let checked = self.file.check_pieces([piece].into_iter(), self.offset, true);
        let op = Op::write(&self.file.0.handle, buf, self.offset).with_flags(RwFlags::DSYNC);
        let write = match checked {
            Ok(()) if together => self.file.0.fs.shards().write_together(op, written_of),
            checked => self.file.run_checked(checked, op, written_of),
        };
        Stage::Dsync(step(write), len, instead)
    }

    fn write(&self, buf: B) -> Stage<B> {
        let len = buf.len();
        Stage::Write(step(self.file.write_at(buf, self.offset)), len)
    }

    fn sync(&self, n: usize, buf: B, syncs: u32) -> Stage<B> {
        sync_on_pool(&self.file.0.handle, self.on_pool);
        Stage::Sync(step(self.file.sync_data()), n, buf, syncs)
    }

    fn after_dsync(&mut self, result: io::Result<usize>, buf: B) -> Option<BufResult<usize, B>> {
        let Stage::Dsync(_, _, instead) = mem::replace(&mut self.stage, Stage::Over) else { unreachable!() };
        match (result, instead) {
            (Err(error), Instead::Itself) if is_unknown(&error) => {
                if let Some(Journey { trip, .. }) = &self.trip {
                    self.file.0.fs.0.planner.refused(*trip);
                }
                self.stage = self.write(buf);
                None
            }
            (Err(error), Instead::Sync(first)) if is_unknown(&error) => Some(self.over(Err(first), buf)),
            (result, _) => Some(self.over(result, buf)),
        }
    }

    /// A sync waits for all writes of the inode that were accepted before it, and fails with them. Somebody else's failed write is not
    /// this write's failure: unless the inode is marked, the next sync may succeed.
    fn after_sync(&mut self, result: io::Result<()>) -> Option<BufResult<usize, B>> {
        let Stage::Sync(_, n, buf, syncs) = mem::replace(&mut self.stage, Stage::Over) else { unreachable!() };
        match result {
            Ok(()) => Some(self.over(Ok(n), buf)),
            Err(error) if self.file.in_doubt().is_some() => Some(self.over(Err(error), buf)),
            Err(_) if syncs < SYNCS_MAX => {
                self.stage = self.sync(n, buf, syncs + 1);
                None
            }
            // Others write and fail without a break. What does not wait for them: the same bytes once more, by the other route.
            Err(error) => {
                self.stage = self.dsync(buf, Instead::Sync(error), false);
                None
            }
        }
    }

    fn over(&mut self, result: io::Result<usize>, buf: B) -> BufResult<usize, B> {
        self.stage = Stage::Over;
        if let Some(Journey { writer, trip, company, began, settled }) = self.trip.take() {
            // Who was alone at first and is not at the end was slowed by others.
            let stayed_alone = company != Company::ALONE || writer.count() == 1;
            if !settled && result.is_ok() && stayed_alone {
                let fs = &self.file.0.fs;
                fs.0.planner.done(trip, fs.shards().now().saturating_sub(began));
            }
        }
        (result, buf)
    }
}

impl<B: IoBuf> fmt::Debug for DurableSteps<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DurableSteps")
    }
}

/// True if the system does not know `RWF_DSYNC` here; nothing was written then.
fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(errno::EOPNOTSUPP)
}

fn all(n: usize, len: usize) -> io::Result<usize> {
    if n == len { Ok(n) } else { Err(errors::cut_short(n as u64)) }
}
