//! The driver: what it is made of, and the contract that it keeps.

use crate::{
    UringOptions,
    answers::Answers,
    files::FileTable,
    memory::MemoryTable,
    probe,
    refusal::unavailable,
    ring::Ring,
    sqe::{self, Request},
    wake::Signals,
};
use io_core::{
    Armed, Completion, Completions, Driver, DriverName, FileHandle, FileId, Full, OpClass, OpKind, OpSet, Progress,
    RawOp, Readiness, Token, Unavailable, Wait, errno,
};
use io_uring::EnterFlags;
use std::{
    collections::VecDeque,
    fmt, io,
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
};

/// Makes a driver on a ring of its own.
///
/// # Errors
/// Why there can be none here, and what would change that. Refused registrations and missing set-up flags are no reason: see
/// [`UringDriver::setup`].
pub fn uring(options: UringOptions) -> Result<UringDriver, Unavailable> {
    let kinds = probe::supported()?;
    let refused = |(call, error): (&str, io::Error)| unavailable(call, &error);
    let mut signals = Signals::new().map_err(|error| refused(("eventfd", error)))?;
    let mut ring = Ring::new(&options).map_err(refused)?;
    let rings = ring.submitter().register_eventfd(signals.outside.raw()).is_ok();
    if !rings {
        if ring.flags().owner_thread {
            // Enabling a ring is a registration too. Where the call is forbidden, such a ring could never begin.
            ring = Ring::new(&options.clone().owner_thread(false)).map_err(refused)?;
        }
        signals.watch_ring(ring.fd()).map_err(|error| refused(("epoll_create1", error)))?;
    }
    ring.set_ringing(false);
    if (options.max_bounded_workers, options.max_unbounded_workers) != (0, 0) {
        // Linux 5.15; a wish. Before a ring is enabled any thread may ask.
        let mut most = [options.max_bounded_workers, options.max_unbounded_workers];
        let _ = ring.submitter().register_iowq_max_workers(&mut most);
    }
    let room = if ring.flags().sqpoll { ring.entries() / 2 } else { ring.entries() };
    let depth = room.min(options.depth.clamp(1, UringOptions::MAX_DEPTH));
    let setup = Setup {
        owner_thread: ring.flags().owner_thread,
        sqpoll: ring.flags().sqpoll,
        iopoll: ring.flags().iopoll,
        timed_wait: ring.has_timed_wait(),
        eventfd: rings,
        depth,
    };
    Ok(UringDriver {
        files: ManuallyDrop::new(FileTable::new(options.registered_files)),
        memory: MemoryTable::new(options.registered_memory),
        answers: ManuallyDrop::new(Answers::new(depth)),
        ready: VecDeque::with_capacity(depth as usize),
        cancels: Vec::with_capacity(2 * depth as usize),
        signals: Arc::new(signals),
        supports: if setup.iopoll { polled(kinds) } else { kinds },
        enabled: !setup.owner_thread,
        setup,
        used: 0,
        staged: 0,
        accepted: 0,
        cancels_in_flight: 0,
        armed: false,
        rung: false,
        wake_polled: false,
        process: std::process::id(),
        ring: ManuallyDrop::new(ring),
    })
}

/// What a polling ring takes: it carries direct transfers and nothing else (fio#1577).
fn polled(kinds: OpSet) -> OpSet {
    let transfers = kinds.kinds().filter(|kind| kind.is_transfer());
    transfers.fold(OpSet::EMPTY, |set, kind: OpKind| set.with(kind, OpClass::Direct).with(kind, OpClass::Allocating))
}

/// What a driver got of what it was asked for, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setup {
    /// One thread drives the ring (`SINGLE_ISSUER | DEFER_TASKRUN`, Linux 6.1).
    pub owner_thread: bool,
    /// A kernel thread polls for submissions.
    pub sqpoll: bool,
    /// Completions are polled for.
    pub iopoll: bool,
    /// Waits have a time within the one system call (`EXT_ARG`, Linux 5.11); else they take two.
    pub timed_wait: bool,
    /// The readiness is an eventfd that is silent while disarmed; else registering it was refused, and the ring itself is watched.
    pub eventfd: bool,
    /// Most operations in flight.
    pub depth: u32,
}

/// The io_uring driver; see [`uring`] and [`UringOptions`].
pub struct UringDriver {
    pub(crate) ring: ManuallyDrop<Ring>,
    pub(crate) files: ManuallyDrop<FileTable>,
    pub(crate) memory: MemoryTable,
    pub(crate) answers: ManuallyDrop<Answers>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) setup: Setup,
    pub(crate) supports: OpSet,
    /// Completions that are not in the ring (any more): of refused operations, and what arming found.
    pub(crate) ready: VecDeque<Completion>,
    /// Wishes to cancel that are not staged yet.
    pub(crate) cancels: Vec<Token>,
    /// Operations from `prepare` to the delivery of their completion; at most `setup.depth`, so `ready` never grows.
    pub(crate) used: u32,
    /// Operations in the submission queue that the kernel has not taken.
    pub(crate) staged: u32,
    /// Operations that went from staged to the kernel, or straight to their completion, and were not reported yet.
    pub(crate) accepted: u32,
    pub(crate) cancels_in_flight: u32,
    /// A ring for one thread is enabled by the first submit, which makes its thread the owner.
    pub(crate) enabled: bool,
    pub(crate) armed: bool,
    /// The outer eventfd may be readable from an earlier arming.
    rung: bool,
    /// The poll of the inner eventfd is in flight.
    pub(crate) wake_polled: bool,
    process: u32,
}

impl UringDriver {
    /// What this driver got of what it was asked for.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    fn disarm(&mut self) {
        if self.armed {
            self.armed = false;
            self.ring.set_ringing(false);
            self.signals.bell.unwatch();
        }
    }

    /// What rang may have rung for a thread in `Readiness::wait` that has not come back yet; it silences the descriptor itself.
    fn silence(&mut self) {
        if self.rung && !self.signals.bell.has_sleepers() {
            self.rung = false;
            self.signals.outside.drain();
            if self.signals.bell.relies_on_ring() {
                // Somebody lay down, and was rung for, between the look and the silence.
                self.signals.outside.write();
            }
        }
    }

    /// Operations that the kernel has and has not answered for.
    fn in_kernel(&mut self) -> u32 {
        if self.ring.state().hidden {
            // Finished, and only waiting for its owner; on another thread this is refused.
            let _ = self.ring.enter(0, 0, EnterFlags::GETEVENTS, None);
        }
        self.collect();
        // A polling kernel thread may have taken what nobody submitted.
        let unsubmitted = if self.setup.sqpoll { 0 } else { self.staged };
        self.used - self.ready.len() as u32 - unsubmitted
    }
}

// SAFETY: exactly one completion: a token is either refused, which makes the one completion in `ready`, or it is in a request,
// which the kernel answers once, and which is delivered from the ring or through `ready`. Silence: completions are delivered
// only after the kernel's own, after which it touches neither memory nor file of the request; `Answers` writes the typed answer
// before. Drop leaves the ring in place while the kernel works on anything.
unsafe impl Driver for UringDriver {
    fn name(&self) -> DriverName {
        DriverName::Uring
    }

    fn depth(&self) -> u32 {
        self.setup.depth
    }

    fn supports(&self) -> OpSet {
        self.supports
    }

    #[inline]
    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.used == self.setup.depth {
            return Err(Full);
        }
        let request = if self.supports.contains_kind(op.kind()) {
            let cx = sqe::Context { files: &self.files, memory: &self.memory, answers: &mut self.answers };
            // SAFETY: the caller's promise (`prepare`).
            unsafe { sqe::request(token, op, cx) }
        } else {
            Request::Refused(errno::EOPNOTSUPP)
        };
        match request {
            Request::Entry(entry) => {
                // SAFETY: the caller keeps memory and files valid (`prepare`), the driver keeps its own rooms (I5).
                if !unsafe { self.ring.push(&entry) } {
                    // Wishes to cancel, which the kernel pushes back, sit where this one would.
                    self.answers.forget(Token::from_u64(entry.get_user_data()));
                    return Err(Full);
                }
                self.staged += 1;
            }
            Request::Refused(code) => {
                self.ready.push_back(Completion::new(token, -code));
                self.accepted += 1;
            }
        }
        self.used += 1;
        Ok(())
    }

    #[inline]
    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        self.drive(wait, out)
    }

    fn cancel(&mut self, token: Token) {
        // A polling ring knows no cancelling.
        if self.used == 0 || self.setup.iopoll {
            return;
        }
        if self.cancels.len() == self.cancels.capacity() {
            // Room for every operation in flight and for as many whose completion its owner has not seen; more are repetitions.
            self.cancels.sort_unstable();
            self.cancels.dedup();
        }
        if self.cancels.len() < self.cancels.capacity() {
            self.cancels.push(self.answers.internal_of(token).unwrap_or(token));
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        self.signals.clone()
    }

    /// The race: the kernel puts a completion into the queue (or sets `TASKRUN`, where it is work that the owner has to run), makes a
    /// full barrier, and reads the flag to see whether it may ring. We clear the flag, make a full barrier, and read queue and
    /// `TASKRUN`. Of two such parties at least one sees the other's write: either the kernel finds the flag cleared and rings, or
    /// we find the completion and say `ReadyNow`. Without the fence our reads could be done before our write is visible, and a
    /// completion in between would be seen by nobody: what finishes while the flag is set never rings, not even later.
    ///
    /// `CQ_OVERFLOW` is looked at for the same reason: completions beyond the queue's size come into it by an enter only.
    fn arm(&mut self, armed: bool) -> Armed {
        // What rang for an earlier arming has been looked at by who arms again. A waker's call that nobody has answered stays in
        // the bell, and rings again below.
        self.silence();
        if !armed {
            self.disarm();
            return Armed::Waiting;
        }
        let called = if self.armed { self.signals.bell.is_called() } else { self.signals.bell.watch() };
        if called {
            self.signals.outside.write();
        }
        (self.armed, self.rung) = (true, true);
        self.ring.set_ringing(true);
        fence(Ordering::SeqCst);
        self.collect();
        let unpolled = self.setup.iopoll && self.used > 0;
        if !self.ready.is_empty() || self.ring.state().hidden || unpolled {
            self.disarm();
            return Armed::ReadyNow;
        }
        Armed::Waiting
    }

    fn register_file(&mut self, file: &FileHandle) -> io::Result<()> {
        self.files.register(&self.ring.submitter(), file)
    }

    fn unregister_file(&mut self, file: FileId) {
        self.files.unregister(&self.ring.submitter(), file);
    }

    unsafe fn register_memory(&mut self, base: NonNull<u8>, len: usize) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.memory.register(&self.ring.submitter(), base, len) }
    }

    fn unregister_memory(&mut self, base: NonNull<u8>) {
        self.memory.unregister(&self.ring.submitter(), base);
    }
}

impl Drop for UringDriver {
    /// With nothing in the kernel the ring is closed. Otherwise everything stays where it is for the life of the process: the kernel
    /// writes completions into the queues, metadata into the rooms (I7), and closing a ring does not finish its operations
    /// (cloud-hypervisor#8408). In a forked child it stays too: the queues are not mapped there, and what is at their addresses
    /// may be something else.
    fn drop(&mut self) {
        if self.process != std::process::id() || self.in_kernel() > 0 {
            return;
        }
        self.files.clear(&self.ring.submitter());
        // SAFETY: dropped here and nowhere else. The kernel has answered for every operation that it was given, so it writes
        // to the rooms no more; of the driver's own requests none refers to memory.
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.answers);
            ManuallyDrop::drop(&mut self.files);
        }
    }
}

impl fmt::Debug for UringDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UringDriver { setup, used, staged, armed, .. } = self;
        f.debug_struct("UringDriver")
            .field("setup", setup)
            .field("used", used)
            .field("staged", staged)
            .field("armed", armed)
            .finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn send<T: Send>() {}
    send::<UringDriver>();
};
