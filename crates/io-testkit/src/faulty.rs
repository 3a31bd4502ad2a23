//! A driver that fails on demand.

use io_core::{
    Armed, Clock, Completion, Completions, Driver, DriverName, FileHandle, FileId, Full, IoVec, OpKind, OpSet,
    Progress, RawOp, Readiness, Token, Wait, errno,
};
use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What happens to an operation that a [`Rule`] meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The transfer is asked for at most so many bytes, and so is short for real: what was transferred, was.
    Short(u32),
    /// It is not run and answers this errno.
    Refuse(i32),
    /// It is run; whatever came of it, the answer is this errno.
    Garble(i32),
    /// It is run; its completion is kept back for so long (of the driver's time).
    Delay(Duration),
    /// It stays staged for so many submits, as if the kernel answered `EAGAIN`.
    PushBack(u32),
    /// It is not run and does not complete, until [`Faults::unwedge`]; cancelling it is in vain.
    Wedge,
}

/// Which operations meet which fault.
pub struct Rule {
    meets: Box<dyn Fn(&RawOp) -> bool + Send>,
    fault: Fault,
    spare: u32,
    times: u32,
}

impl Rule {
    /// Every operation meets this fault.
    pub fn new(fault: Fault) -> Rule {
        Rule { meets: Box::new(|_| true), fault, spare: 0, times: u32::MAX }
    }

    /// Every operation of this kind.
    pub fn of(kind: OpKind, fault: Fault) -> Rule {
        Rule::new(fault).when(move |op| op.kind() == kind)
    }

    /// Only operations of which this is true, too.
    #[must_use]
    pub fn when(self, more: impl Fn(&RawOp) -> bool + Send + 'static) -> Rule {
        let meets = self.meets;
        Rule { meets: Box::new(move |op| meets(op) && more(op)), ..self }
    }

    /// Not the first `spare` of them.
    #[must_use]
    pub fn after(self, spare: u32) -> Rule {
        Rule { spare, ..self }
    }

    /// Only so many of them.
    #[must_use]
    pub fn times(self, times: u32) -> Rule {
        Rule { times, ..self }
    }

    fn applies(&mut self, op: &RawOp) -> Option<Fault> {
        if self.times == 0 || !(self.meets)(op) {
            return None;
        }
        if self.spare > 0 {
            self.spare -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.fault)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({:?}, after {}, {} times)", self.fault, self.spare, self.times)
    }
}

/// The hand that steers a [`Faulty`] while somebody else owns it.
#[derive(Clone)]
pub struct Faults {
    orders: Arc<Mutex<Orders>>,
    readiness: Arc<dyn Readiness>,
}

#[derive(Default)]
struct Orders {
    rules: Vec<Rule>,
    broken: Option<(i32, bool)>,
    unwedge: bool,
    injected: u64,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule. Of several that meet an operation, the first that was added wins.
    pub fn add(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Forgets all rules. What has met its fault already keeps it.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Number of operations that met a fault so far: a test that injects nothing proves nothing.
    pub fn injected(&self) -> u64 {
        self.lock().injected
    }

    /// Lets all wedged operations run.
    pub fn unwedge(&self) {
        self.lock().unwedge = true;
        self.readiness.wake();
    }

    /// From now on every submit answers this errno and brings nothing to the system. With `deaf`, completions of what is in
    /// flight do not come any more either; without it they come beside the error.
    pub fn break_channel(&self, errno: i32, deaf: bool) {
        self.lock().broken = Some((errno, deaf));
        self.readiness.wake();
    }

    /// Undoes [`Faults::break_channel`].
    pub fn mend_channel(&self) {
        self.lock().broken = None;
        self.readiness.wake();
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let orders = self.lock();
        write!(f, "Faults({:?}, broken: {:?}, {} injected)", orders.rules, orders.broken, orders.injected)
    }
}

/// Any driver, with faults by [`Rule`]. It enters by the same door as the driver itself, so whatever is built on drivers can
/// be tested against every fault on every driver.
///
/// Fault model: what a fault leaves in flight is really in flight, what it refuses never reached the driver inside, and each
/// operation still completes exactly once unless the channel is broken or it is wedged.
pub struct Faulty<D> {
    inner: D,
    faults: Faults,
    /// Between prepare and completion, wherever they are held.
    outstanding: u32,
    /// In the order of their prepare.
    held: VecDeque<Held>,
    /// Staged in the inner driver and not answered: what is to happen to the answer.
    answers: HashMap<Token, Answer>,
    /// Completions that are kept back, and since when they are not any more.
    late: Vec<(Duration, Completion)>,
    clock: Arc<dyn Clock>,
}

struct Held {
    token: Token,
    op: RawOp,
    how: Hold,
}

enum Hold {
    Refused(i32),
    PushedBack(u32),
    Wedged {
        accepted: bool,
    },
    /// Staged while the channel is broken.
    Free,
}

#[derive(Default)]
struct Answer {
    garble: Option<i32>,
    delay: Option<Duration>,
    /// The shortened pieces of a vectored transfer, which the system reads until it has completed.
    _pieces: Option<Box<[IoVec]>>,
}

// SAFETY: the pieces are addresses that the core vouches for until the completion; `RawOp` is Send for the same reason.
unsafe impl Send for Answer {}

impl<D: Driver> Faulty<D> {
    /// Wraps a driver; without rules nothing changes.
    pub fn new(inner: D) -> (Faulty<D>, Faults) {
        let (readiness, clock) = (inner.readiness(), inner.clock());
        let faults = Faults { orders: Arc::default(), readiness };
        let faulty = Faulty {
            inner,
            faults: faults.clone(),
            outstanding: 0,
            held: VecDeque::new(),
            answers: HashMap::new(),
            late: Vec::new(),
            clock,
        };
        (faulty, faults)
    }

    /// Hands an operation to the inner driver.
    ///
    /// # Safety
    /// As [`Driver::prepare`].
    unsafe fn pass(&mut self, token: Token, op: &RawOp, answer: Answer) {
        // SAFETY: the caller's promise is passed on; shortened pieces live in `answers` until the completion.
        let staged = unsafe { self.inner.prepare(token, op) };
        staged.expect("what is held here and what is in the driver is at most its depth");
        self.answers.insert(token, answer);
    }

    /// Answers what was refused, lets go what has been held long enough. What that adds to the inner driver's progress.
    fn work_off_held(&mut self, broken: bool) -> (i64, u32) {
        let unwedge = std::mem::take(&mut self.faults.lock().unwedge);
        let now = self.clock.now();
        let (mut accepted, mut staged) = (0, 0);
        for _ in 0..self.held.len() {
            let Some(mut held) = self.held.pop_front() else { break };
            let go = match &mut held.how {
                Hold::Refused(errno) => {
                    self.late.push((now, Completion::new(held.token, -*errno)));
                    accepted += 1;
                    continue;
                }
                Hold::PushedBack(submits) if *submits > 0 => {
                    *submits -= 1;
                    false
                }
                Hold::PushedBack(_) | Hold::Free => !broken,
                Hold::Wedged { accepted: before } => {
                    // Counted when it was wedged, and so not again when the inner driver takes it.
                    let go = unwedge && !broken;
                    accepted += i64::from(!*before) - i64::from(go);
                    *before = true;
                    if !go {
                        self.held.push_back(held);
                        continue;
                    }
                    true
                }
            };
            if go {
                // SAFETY: the operation was prepared and has not completed, so the core keeps what it names.
                unsafe { self.pass(held.token, &held.op, Answer::default()) };
            } else {
                staged += 1;
                self.held.push_back(held);
            }
        }
        (accepted, staged)
    }

    /// Changes the inner driver's answers where rules said so; true if it kept one back.
    fn rework(&mut self, before: usize, out: &mut Completions) -> bool {
        let kept = self.late.len();
        let now = self.clock.now();
        let mut all: Vec<Completion> = out.drain().collect();
        for mut completion in all.split_off(before) {
            let answer = self.answers.remove(&completion.token).unwrap_or_default();
            if let Some(errno) = answer.garble {
                completion.result = -errno;
            }
            match answer.delay {
                Some(delay) => self.late.push((now + delay, completion)),
                None => {
                    self.outstanding -= 1;
                    all.push(completion);
                }
            }
        }
        all.into_iter().for_each(|completion| out.push(completion));
        self.late.len() > kept
    }

    fn push_late(&mut self, out: &mut Completions) {
        let now = self.clock.now();
        while out.room() > 0 {
            let Some(due) = self.late.iter().position(|(at, _)| *at <= now) else { break };
            out.push(self.late.remove(due).1);
            self.outstanding -= 1;
        }
    }

    /// How long the inner driver may wait so that nothing kept back here is late.
    fn until_due(&self, wait: Wait) -> Wait {
        let now = self.clock.now();
        let due = self.late.iter().map(|(at, _)| at.saturating_sub(now)).min();
        match (wait, due) {
            (Wait::AtMost(most), Some(due)) => Wait::AtMost(most.min(due)),
            (Wait::Forever, Some(due)) => Wait::AtMost(due),
            (wait, _) => wait,
        }
    }
}

/// The transfer cut to `most` bytes, and the pieces that it needs to live.
fn shorten(op: &RawOp, most: u32) -> (RawOp, Option<Box<[IoVec]>>) {
    let cut = |iov: *const IoVec, count: u32| {
        let mut room = most as usize;
        // SAFETY: the core vouches for the pieces from prepare to completion, and this is within prepare.
        let pieces = unsafe { std::slice::from_raw_parts(iov, count as usize) };
        let pieces = pieces.iter().map_while(|piece| {
            let len = piece.len.min(room);
            room -= len;
            (len > 0).then_some(IoVec { base: piece.base, len })
        });
        pieces.collect::<Box<[IoVec]>>()
    };
    let mut op = *op;
    let mut kept = None;
    match &mut op {
        RawOp::Read { len, .. } | RawOp::Write { len, .. } | RawOp::CopyRange { len, .. } => *len = most.min(*len),
        RawOp::ReadVectored { iov, count, .. } | RawOp::WriteVectored { iov, count, .. } => {
            let pieces = kept.insert(cut(*iov, *count));
            (*iov, *count) = (pieces.as_ptr(), pieces.len() as u32);
        }
        _ => {}
    }
    (op, kept)
}

// SAFETY: memory and files of an operation are touched by the inner driver only, which keeps silent after its completion; this
// wrapper pushes a completion after the inner one, or never gave the operation to the inner driver.
unsafe impl<D: Driver> Driver for Faulty<D> {
    fn name(&self) -> DriverName {
        self.inner.name()
    }

    fn depth(&self) -> u32 {
        self.inner.depth()
    }

    fn supports(&self) -> OpSet {
        self.inner.supports()
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.outstanding >= self.inner.depth() {
            return Err(Full);
        }
        self.outstanding += 1;
        let (fault, broken) = {
            let mut orders = self.faults.lock();
            let fault = orders.rules.iter_mut().find_map(|rule| rule.applies(op));
            orders.injected += u64::from(fault.is_some());
            (fault, orders.broken.is_some())
        };
        let (op, answer) = match fault {
            Some(Fault::Short(most)) => {
                let (op, pieces) = shorten(op, most);
                (op, Answer { _pieces: pieces, ..Answer::default() })
            }
            Some(Fault::Garble(errno)) => (*op, Answer { garble: Some(errno), ..Answer::default() }),
            Some(Fault::Delay(by)) => (*op, Answer { delay: Some(by), ..Answer::default() }),
            _ => (*op, Answer::default()),
        };
        let how = match fault {
            Some(Fault::Refuse(errno)) => Hold::Refused(errno),
            Some(Fault::PushBack(submits)) => Hold::PushedBack(submits),
            Some(Fault::Wedge) => Hold::Wedged { accepted: false },
            _ if broken => Hold::Free,
            _ => {
                // SAFETY: the caller's promise is passed on.
                unsafe { self.pass(token, &op, answer) };
                return Ok(());
            }
        };
        self.held.push_back(Held { token, op, how });
        Ok(())
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let broken = self.faults.lock().broken;
        let (begun, had) = (self.clock.now(), out.len());
        let (accepted, staged) = self.work_off_held(broken.is_some());
        if let Some((errno, deaf)) = broken {
            if !deaf {
                self.push_late(out);
                let before = out.len();
                // What was staged inside before the channel broke goes out with this; for all we know it was in flight.
                self.inner.submit(Wait::No, out)?;
                self.rework(before, out);
            }
            return Err(io::Error::from_raw_os_error(errno));
        }
        let mut progress = Progress::default();
        loop {
            self.push_late(out);
            let before = out.len();
            let left = match wait {
                _ if before > had || staged > 0 => Wait::No,
                Wait::AtMost(most) => Wait::AtMost((begun + most).saturating_sub(self.clock.now())),
                wait => wait,
            };
            let due = self.until_due(left);
            let step = self.inner.submit(due, out)?;
            (progress.accepted, progress.staged) = (progress.accepted + step.accepted, step.staged);
            let kept = self.rework(before, out);
            self.push_late(out);
            // The inner driver came back for something that stays here, or for the time that something here is due.
            let early = kept || (due != left && self.late.iter().any(|(at, _)| *at <= self.clock.now()));
            let over = matches!(left, Wait::No) || left == Wait::AtMost(Duration::ZERO);
            if !early || over || out.len() > had || out.room() == 0 {
                break;
            }
        }
        progress.accepted = u32::try_from(i64::from(progress.accepted) + accepted).unwrap_or(0);
        progress.staged += staged;
        Ok(progress)
    }

    fn cancel(&mut self, token: Token) {
        let Some(held) = self.held.iter_mut().find(|held| held.token == token) else {
            self.inner.cancel(token);
            return;
        };
        if matches!(held.how, Hold::PushedBack(_) | Hold::Free) {
            held.how = Hold::Refused(errno::ECANCELED);
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        self.inner.readiness()
    }

    fn arm(&mut self, armed: bool) -> Armed {
        let now = self.clock.now();
        let inner = self.inner.arm(armed);
        if self.late.iter().any(|(due, _)| *due <= now) {
            return Armed::ReadyNow;
        }
        if armed {
            // Nobody else rings for what is kept back here. A wake too many is allowed at any time.
            for (due, _) in &self.late {
                let (readiness, after) = (self.inner.readiness(), due.saturating_sub(now));
                std::thread::spawn(move || {
                    std::thread::sleep(after);
                    readiness.wake();
                });
            }
        }
        inner
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    fn register_file(&mut self, file: &FileHandle) -> io::Result<()> {
        self.inner.register_file(file)
    }

    fn unregister_file(&mut self, file: FileId) {
        self.inner.unregister_file(file);
    }

    unsafe fn register_memory(&mut self, base: NonNull<u8>, len: usize) -> io::Result<()> {
        // SAFETY: passed on.
        unsafe { self.inner.register_memory(base, len) }
    }

    fn unregister_memory(&mut self, base: NonNull<u8>) {
        self.inner.unregister_memory(base);
    }
}

impl<D> Drop for Faulty<D> {
    fn drop(&mut self) {
        // Pieces that the system may still read are never freed (I7).
        std::mem::forget(std::mem::take(&mut self.answers));
    }
}

impl<D: Driver> fmt::Debug for Faulty<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({}, {} outstanding, {} held)", self.inner.name(), self.outstanding, self.held.len())
    }
}
