//! The driver: staging, submission, completions, waiting.

use crate::AioOptions;
use crate::bell::Bell;
use crate::context::{Context, is_directory, refused};
use crate::iocb::{encode, poll_readable, reads, ringing};
use crate::probe;
use crate::ring::Event;
use crate::slots::{Slots, State};
use io_core::{
    Armed, Completion, Completions, Driver, DriverName, Full, OpSet, Progress, RawOp, Readiness, Token, Unavailable,
    Wait, errno,
};
use libaio_sys::iocb;
use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
    time::{Duration, Instant},
};

/// The token of the driver's own poll on the poke.
const POLL: Token = Token::internal(0);
/// How long a poll of a readable descriptor may take before we believe that it will not complete.
const PATIENCE: Duration = Duration::from_secs(5);

/// Drives Linux AIO. Made by [`aio`](crate::aio).
pub struct AioDriver {
    context: Context,
    slots: Slots,
    bell: Arc<Bell>,
    depth: u32,
    supports: OpSet,
    /// iocbs to submit, oldest first; those before `next` are submitted. Never grows.
    staged: Vec<*mut iocb>,
    next: usize,
    /// Completions that wait in the driver for room: refused, cancelled before submission, not AIO's. With what is staged and
    /// in flight they are never more than the depth.
    finished: VecDeque<Completion>,
    /// Of those, how many no `submit` has reported as accepted yet.
    unreported: u32,
    poll: Poll,
    /// Operations carry the bell.
    ringing: bool,
}

/// Where the driver's own poll is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    Idle,
    Staged,
    InFlight,
    /// The kernel does not take it, with this errno: nothing could end a sleep.
    Refused(i32),
}

// SAFETY: `staged` points into `slots`, which goes with it; all else is Send. The kernel does not care which thread submits.
unsafe impl Send for AioDriver {}

impl AioDriver {
    pub(crate) fn new(options: AioOptions) -> Result<AioDriver, Unavailable> {
        let AioOptions { depth, user_ring, readiness_fd } = options;
        if depth == 0 || depth > Token::MAX_SLOT {
            let reason = format!("a depth of {depth} cannot be had");
            let remedy = format!("ask for a depth between 1 and {}", Token::MAX_SLOT);
            return Err(Unavailable::new(DriverName::Aio, reason, remedy));
        }
        let bell = Arc::new(Bell::new()?);
        let (context, depth) = Context::setup(depth, user_ring)?;
        let mut driver = AioDriver {
            context,
            slots: Slots::new(depth),
            bell,
            depth,
            supports: OpSet::EMPTY,
            // Twice the room, so that what is left over is moved to the front once per depth and not once per operation.
            staged: Vec::with_capacity(2 * (depth as usize + 1)),
            next: 0,
            finished: VecDeque::with_capacity(depth as usize),
            unreported: 0,
            poll: Poll::Idle,
            ringing: readiness_fd,
        };
        driver.try_waking()?;
        match probe::kinds(&mut driver) {
            Ok(kinds) => driver.supports = kinds,
            Err(unavailable) => {
                // An operation has not come back, and may still: see `Driver` on dropping.
                std::mem::forget(driver);
                return Err(unavailable);
            }
        }
        Ok(driver)
    }

    /// Sends a wake-up once round through the kernel: so submission, the poll and waiting are known to work.
    fn try_waking(&mut self) -> Result<(), Unavailable> {
        self.stage_poll();
        self.push();
        match self.poll {
            Poll::InFlight => self.bell.poke(),
            Poll::Refused(code) => return Err(refused("io_submit", code)),
            Poll::Idle | Poll::Staged => return Err(refused("io_submit", errno::EAGAIN)),
        }
        let deadline = Instant::now() + PATIENCE;
        while self.poll == Poll::InFlight {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.context.sleep(1, Some(left)) {
                Ok([]) if left.is_zero() => {
                    let reason = "io_submit: a poll of a readable eventfd does not complete";
                    return Err(Unavailable::new(DriverName::Aio, reason, "use the driver threadpool"));
                }
                Ok([]) | Err(errno::EINTR) => {}
                Ok(_) => self.poll_fired(),
                Err(code) => return Err(refused("io_getevents", code)),
            }
        }
        Ok(())
    }

    #[inline]
    fn enqueue(&mut self, iocb: *mut iocb) {
        if self.staged.len() == self.staged.capacity() {
            self.staged.drain(..self.next);
            self.next = 0;
        }
        self.staged.push(iocb);
    }

    /// Makes sure that a sleep can be ended.
    #[inline]
    fn stage_poll(&mut self) {
        if matches!(self.poll, Poll::Idle | Poll::Refused(_)) {
            let poll = iocb { aio_data: POLL.as_u64(), ..poll_readable(self.bell.poke_fd()) };
            let at = self.slots.set_own(poll);
            self.enqueue(at);
            self.poll = Poll::Staged;
        }
    }

    fn poll_fired(&mut self) {
        self.bell.clear_poke();
        self.poll = Poll::Idle;
    }

    /// Brings what is staged to the kernel, and returns how many operations are done with staging.
    ///
    /// io_submit stops at the first iocb that it refuses, and tells the reason only when that one is the first. So: submit;
    /// after a short count submit the rest; after an error the first of the rest has its answer, and the others go on.
    fn push(&mut self) -> u32 {
        let mut accepted = std::mem::take(&mut self.unreported);
        while self.next < self.staged.len() {
            // SAFETY: the pointers are into `slots`, whose iocbs stay (I5); what the operations name is the promise that
            // `prepare` was given.
            match unsafe { self.context.submit(&self.staged[self.next..]) } {
                // The kernel pushes back: no room in the context, or no memory for a request.
                Ok(0) | Err(errno::EAGAIN) => break,
                Ok(n) => {
                    for &at in &self.staged[self.next..self.next + n] {
                        if self.slots.token_at(at) == POLL {
                            self.poll = Poll::InFlight;
                        } else {
                            self.slots.accepted(at);
                            accepted += 1;
                        }
                    }
                    self.next += n;
                }
                Err(errno::EINTR) => {}
                Err(code) => {
                    let at = self.staged[self.next];
                    self.next += 1;
                    if self.slots.token_at(at) == POLL {
                        self.poll = Poll::Refused(code);
                    } else {
                        let (token, iocb) = self.slots.withdraw(at);
                        self.finished.push_back(Completion::new(token, -reason(code, &iocb)));
                        accepted += 1;
                    }
                }
            }
        }
        if self.next == self.staged.len() {
            self.staged.clear();
            self.next = 0;
        }
        accepted
    }

    /// Operations that were prepared, and whose completion has not been pushed.
    #[inline]
    fn used(&self) -> u32 {
        (self.slots.used() + self.finished.len()) as u32
    }

    /// Operations that are staged; the poll is none.
    fn staged(&self) -> u32 {
        (self.staged.len() - self.next) as u32 - u32::from(self.poll == Poll::Staged)
    }

    /// Pushes what is complete, as far as there is room.
    fn reap(&mut self, out: &mut Completions) -> io::Result<()> {
        while out.room() > 0 {
            let Some(completion) = self.finished.pop_front() else { break };
            out.push(completion);
        }
        if out.room() == 0 {
            return Ok(());
        }
        let mut fired = false;
        let answer = self.context.drain(out.room(), |event| {
            if event.token == POLL {
                fired = true;
            } else {
                out.push(self.slots.complete(event));
            }
            out.room() > 0
        });
        if fired {
            self.poll_fired();
        }
        answer.map_err(io::Error::from_raw_os_error)
    }

    /// Makes sure that the poll is in flight, before a sleep. It may have fired for a poke that came late, after the sleep that
    /// it was to end. `false`: the kernel pushes back, and nothing could end the sleep in time.
    fn is_wakeable(&mut self) -> io::Result<bool> {
        if self.poll == Poll::Idle {
            self.stage_poll();
            self.push();
        }
        match self.poll {
            Poll::InFlight => Ok(true),
            Poll::Refused(code) => Err(io::Error::from_raw_os_error(code)),
            Poll::Idle | Poll::Staged => Ok(false),
        }
    }

    /// Sleeps until a completion, a wake, or the end of the time.
    fn sleep(&mut self, at_most: Option<Duration>, out: &mut Completions) -> io::Result<()> {
        if !self.is_wakeable()? {
            return Ok(());
        }
        let deadline = at_most.and_then(|time| Instant::now().checked_add(time));
        if !self.bell.sleepers().begin_submit() {
            return Ok(());
        }
        let answer = self.sleep_until(deadline, out);
        self.bell.sleepers().end_submit();
        answer
    }

    fn sleep_until(&mut self, deadline: Option<Instant>, out: &mut Completions) -> io::Result<()> {
        let before = out.len();
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.context.sleep(out.room(), left) {
                Ok(events) => {
                    let mut fired = false;
                    for event in events.iter().map(Event::from) {
                        if event.token == POLL {
                            fired = true;
                        } else {
                            out.push(self.slots.complete(event));
                        }
                    }
                    if fired {
                        self.poll_fired();
                    }
                }
                Err(errno::EINTR) => {}
                Err(code) => return Err(io::Error::from_raw_os_error(code)),
            }
            let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if out.len() > before || over || self.bell.sleepers().is_notified() {
                return Ok(());
            }
            if !self.is_wakeable()? {
                return Ok(());
            }
        }
    }

    /// True if completions are there.
    fn has_completions(&mut self) -> bool {
        match self.context.has_events() {
            Some(there) => there || !self.finished.is_empty(),
            None => {
                // Only a system call tells, and it takes out what it finds.
                let mut fired = false;
                let answer = self.context.drain(self.depth as usize, |event| {
                    if event.token == POLL {
                        fired = true;
                    } else {
                        self.finished.push_back(self.slots.complete(event));
                    }
                    true
                });
                if fired {
                    self.poll_fired();
                }
                // Whoever comes to reap learns of the error there.
                answer.is_err() || !self.finished.is_empty()
            }
        }
    }
}

/// Why an operation was refused, as the plain call says it: io_submit answers EINVAL for what has no asynchronous way to be
/// read, which for a directory hides the reason.
fn reason(code: i32, iocb: &iocb) -> i32 {
    let hidden = code == errno::EINVAL && reads(iocb) && is_directory(iocb.aio_fildes as i32);
    if hidden { errno::EISDIR } else { code }
}

// SAFETY: an operation's iocb is submitted once, and is free again only with its one completion (`Slots` asserts it), so
// I2 and I3 are the kernel's own: it pushes an event when it has finished with memory and file. Refused operations were never
// the kernel's. Drop waits for the kernel (io_destroy), and leaves the iocbs in place if that fails.
unsafe impl Driver for AioDriver {
    fn name(&self) -> DriverName {
        DriverName::Aio
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn supports(&self) -> OpSet {
        self.supports
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.used() == self.depth {
            return Err(Full);
        }
        match encode(op) {
            Some(iocb) => {
                let iocb = if self.ringing { ringing(iocb, self.bell.bell()) } else { iocb };
                let at = self.slots.stage(token, iocb);
                self.enqueue(at);
            }
            None => {
                self.finished.push_back(Completion::new(token, -errno::EOPNOTSUPP));
                self.unreported += 1;
            }
        }
        Ok(())
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let at_most = match wait {
            Wait::No => None,
            Wait::AtMost(time) => Some(Some(time)),
            Wait::Forever => Some(None),
        };
        if at_most.is_some() {
            // Goes to the kernel with the rest, so that a steady loop pays nothing for being wakeable.
            self.stage_poll();
        }
        let progress = Progress { accepted: self.push(), staged: self.staged() };
        let before = out.len();
        self.reap(out)?;
        if let Some(at_most) = at_most {
            if out.len() == before && out.room() > 0 && progress.staged == 0 {
                self.sleep(at_most, out)?;
            }
        }
        Ok(progress)
    }

    fn cancel(&mut self, token: Token) {
        match self.slots.find(token) {
            None | Some((_, State::Free)) => {}
            Some((iocb, State::Staged)) => {
                let at = (self.next..self.staged.len()).find(|&at| self.staged[at] == iocb);
                self.staged.remove(at.expect("what is staged is in the queue"));
                let (token, _) = self.slots.withdraw(iocb);
                self.finished.push_back(Completion::new(token, -errno::ECANCELED));
                self.unreported += 1;
            }
            Some((iocb, State::InFlight)) => {
                // The kernel can cancel what has a cancel function: of files, those of some character devices. It answers
                // EINVAL for all else, and then nothing has happened.
                // SAFETY: in flight, so the iocb is one that the kernel knows.
                unsafe { self.context.cancel(iocb) }
            }
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        self.bell.clone()
    }

    fn arm(&mut self, armed: bool) -> Armed {
        if !armed {
            self.bell.disarm();
            return Armed::Waiting;
        }
        self.ringing = true;
        let woken = self.bell.arm();
        // The kernel moves the tail, then rings; here the bell was silenced, now comes the look at the tail. If the silencing
        // took a ring away, the tail of that completion has moved before, and the fence keeps our look from being older than
        // the silencing. If it did not, the ring is still to come, and finds the watcher.
        fence(Ordering::SeqCst);
        if woken || self.has_completions() || self.slots.silent() > 0 { Armed::ReadyNow } else { Armed::Waiting }
    }
}

impl Drop for AioDriver {
    fn drop(&mut self) {
        if !self.context.destroy() {
            self.slots.leak();
        }
    }
}

impl fmt::Debug for AioDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AioDriver")
            .field("depth", &self.depth)
            .field("used", &self.used())
            .field("staged", &self.staged())
            .field("finished", &self.finished.len())
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}
