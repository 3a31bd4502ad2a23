//! Moves chunks from one file to another, or compares them, on a file system or below an event loop; and the single operations
//! beside that.

use super::{compare::Comparer, mover::Mover, tasks};
use crate::{args::Front, exit::Failure, once, pick};
use indicatif::ProgressBar;
use io_fs::{
    AIOClient, AIOEventListener, AIOEventLoop, Advice, Arena, DriverName, FileHandle, FileSystem, IoConfig,
    LoopOptions, Op, OpenOptions, RenameMode, Unavailable,
};
use std::{cell::OnceCell, io, path::Path, rc::Rc};

/// A part of a file, and whether it goes past the page cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) direct: bool,
}

/// A file that is open, and how to open it once more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End<'a> {
    pub(crate) handle: &'a FileHandle,
    pub(crate) path: &'a Path,
    pub(crate) options: OpenOptions,
}

/// Why a copy failed, and where.
#[derive(Debug)]
pub(crate) enum Failed {
    Reading(u64, io::Error),
    Writing(u64, io::Error),
    ReadingBack(u64, io::Error),
    /// The source ended here, before its end.
    Ended(u64),
    /// Source and copy are not the same here.
    Differs(u64),
    /// The driver died with a chunk in flight.
    Lost(io::Error),
    Unavailable(Unavailable),
}

impl Failed {
    pub(crate) fn explain(self, from: &Path, to: &Path) -> Failure {
        let (from, to) = (from.display(), to.display());
        Failure::work(match self {
            Failed::Reading(at, error) => format!("reading {from} at byte {at}: {error}"),
            Failed::Writing(at, error) => format!("writing {to} at byte {at}: {error}"),
            Failed::ReadingBack(at, error) => format!("reading back {to} at byte {at}: {error}"),
            Failed::Ended(at) => format!("{from}: ended at byte {at} while it was copied; there is no copy"),
            Failed::Differs(at) => format!("{to}: differs from {from} at byte {at}; there is no copy"),
            Failed::Lost(error) => format!("the driver failed: {error}; there is no copy"),
            Failed::Unavailable(unavailable) => return unavailable.into(),
        })
    }
}

impl From<Unavailable> for Failed {
    fn from(unavailable: Unavailable) -> Failed {
        Failed::Unavailable(unavailable)
    }
}

/// The one request: begin.
#[derive(Debug)]
pub(crate) struct Start;

/// What a listener works with.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) span: Span,
    pub(crate) chunk: usize,
    pub(crate) lanes: u32,
    pub(crate) from: &'a FileHandle,
    pub(crate) to: &'a FileHandle,
    pub(crate) arena: &'a Arena,
    pub(crate) bar: &'a ProgressBar,
    /// The first failure.
    pub(crate) failed: Rc<OnceCell<Failed>>,
    pub(crate) client: AIOClient<Start>,
}

/// Who does the work, and buffers.
#[derive(Debug)]
pub(crate) struct Pump {
    hand: Hand,
    depth: u32,
    chunk: usize,
    arena: Arena,
}

#[derive(Debug)]
enum Hand {
    Facade(FileSystem),
    /// An event loop for each span, on a driver of this name.
    Loop(DriverName),
}

impl Pump {
    /// On this driver or the best one, with `bufs` buffers per chunk in flight.
    pub(crate) fn new(
        front: Front,
        driver: Option<DriverName>,
        depth: u32,
        chunk: usize,
        bufs: u32,
    ) -> Result<Pump, Unavailable> {
        let hand = if front == Front::Loop {
            // The driver that an automatic choice takes does all parts of the work.
            Hand::Loop(pick::make(driver, depth)?.name())
        } else {
            let mut config = IoConfig::default();
            config.driver = driver;
            // One thread copies.
            config.io_workers = 1;
            Hand::Facade(FileSystem::with_config(config)?)
        };
        Ok(Pump { hand, depth, chunk, arena: Arena::new(depth * bufs, chunk) })
    }

    /// The driver that works.
    pub(crate) fn driver(&self) -> DriverName {
        match &self.hand {
            Hand::Facade(fs) => fs.backend().driver(),
            Hand::Loop(name) => *name,
        }
    }

    pub(crate) fn copy(&self, span: Span, from: End<'_>, to: End<'_>, bar: &ProgressBar) -> Result<(), Failed> {
        match &self.hand {
            Hand::Facade(fs) => fs.block_on(tasks::copy(fs, from, to, self.tasks(span, bar))),
            Hand::Loop(name) => self.run_loop(*name, span, (from.handle, to.handle), bar, Mover::new),
        }
    }

    pub(crate) fn compare(&self, span: Span, from: End<'_>, to: End<'_>, bar: &ProgressBar) -> Result<(), Failed> {
        match &self.hand {
            Hand::Facade(fs) => fs.block_on(tasks::compare(fs, from, to, self.tasks(span, bar))),
            Hand::Loop(name) => self.run_loop(*name, span, (from.handle, to.handle), bar, Comparer::new),
        }
    }

    fn tasks<'a>(&'a self, span: Span, bar: &'a ProgressBar) -> tasks::Job<'a> {
        tasks::Job { span, chunk: self.chunk, tasks: self.depth, arena: &self.arena, bar }
    }

    fn run_loop<'a, L: AIOEventListener<Request = Start>>(
        &'a self,
        driver: DriverName,
        span: Span,
        (from, to): (&'a FileHandle, &'a FileHandle),
        bar: &'a ProgressBar,
        listener: impl FnOnce(Job<'a>) -> L,
    ) -> Result<(), Failed> {
        let failed = Rc::new(OnceCell::new());
        let driver = pick::make(Some(driver), self.depth)?;
        let lanes = self.depth.min(driver.depth());
        let (mut event_loop, client) = AIOEventLoop::new(driver, LoopOptions::default())?;
        event_loop.register_file(from);
        event_loop.register_file(to);
        event_loop.register_arena(&self.arena);
        client.send(Start).expect("the loop has not begun, and its channel has room");
        let (chunk, arena) = (self.chunk, &self.arena);
        event_loop.run(listener(Job { span, chunk, lanes, from, to, arena, bar, failed: failed.clone(), client }));
        let failed = Rc::into_inner(failed).expect("the loop has dropped its listener");
        failed.into_inner().map_or(Ok(()), Err)
    }

    fn once(&self, op: Op) -> io::Result<()> {
        match &self.hand {
            Hand::Facade(fs) => fs.block_on(fs.shards().operation(op, |answer| answer.result.map(drop))),
            Hand::Loop(name) => once::run(Some(*name), op).map(drop),
        }
    }

    /// Room for the whole file at once: a full disk is noticed before the first byte is copied. Where the file system cannot, the
    /// writes find out.
    pub(crate) fn allocate(&self, file: &FileHandle, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        once::if_supported(self.once(Op::allocate(file, 0, len, false)))
    }

    pub(crate) fn sync(&self, file: &FileHandle) -> io::Result<()> {
        self.once(Op::sync_all(file))
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.once(Op::sync_dir(dir)?)
    }

    /// Renames; fails if there is something of that name.
    pub(crate) fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.once(Op::rename(from, to, RenameMode::NoReplace)?)
    }

    /// Asks the kernel to forget the file's pages, so that a comparison reads the disk. Advice: it may be refused.
    pub(crate) fn forget_cached(&self, file: &FileHandle, len: u64) {
        let _ = self.once(Op::advise(file, 0, len, Advice::DontNeed));
    }
}
