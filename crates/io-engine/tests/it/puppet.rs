//! A driver on strings: every completion, refusal, push-back, wedge and death is the test's decision, and everything that the
//! engine does to the driver is written down.
//!
//! It never does anything by itself: what the script does not answer stays in flight until the test answers it.

use io_engine::core::{
    Armed, Completion, Completions, Driver, DriverName, Full, OpKind, OpSet, Progress, RawOp, Readiness, RwFlags,
    Token, Wait, errno,
};
use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

/// What the script does with an operation that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The operation is done for real and its result answered.
    Run,
    /// Only so many bytes of the transfer are done, for real.
    Short(u32),
    /// Nothing is done; this is the answer.
    Answer(i32),
    /// It stays in flight until the test says more.
    Hold,
}

/// What a cancel request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancels {
    /// Nothing, as of a disk read that is under way.
    InVain,
    /// The operation answers `ECANCELED`.
    InTime,
}

/// One call of `prepare`, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub token: Token,
    pub kind: OpKind,
    pub offset: u64,
    pub len: u32,
    pub addr: usize,
    pub flags: RwFlags,
}

impl Seen {
    pub fn of(token: Token, op: &RawOp) -> Seen {
        let pieces = |iov: *const io_engine::core::IoVec, count: u32| {
            // SAFETY: within `prepare` the core vouches for the pieces.
            let pieces = unsafe { std::slice::from_raw_parts(iov, count as usize) };
            (pieces.first().map_or(0, |p| p.base as usize), pieces.iter().map(|p| p.len as u32).sum())
        };
        let (offset, (addr, len), flags) = match *op {
            RawOp::Read { buf, len, offset, flags, .. } => (offset, (buf as usize, len), flags),
            RawOp::Write { buf, len, offset, flags, .. } => (offset, (buf as usize, len), flags),
            RawOp::ReadVectored { iov, count, offset, flags, .. }
            | RawOp::WriteVectored { iov, count, offset, flags, .. } => (offset, pieces(iov, count), flags),
            RawOp::CopyRange { from_offset, len, .. } => (from_offset, (0, len), RwFlags::NONE),
            _ => (0, (0, 0), RwFlags::NONE),
        };
        Seen { token, kind: op.kind(), offset, len, addr, flags }
    }
}

type Script = Box<dyn FnMut(&Seen) -> Reply + Send>;
type Before = Box<dyn FnMut(Wait) + Send>;

struct State {
    script: Script,
    staged: VecDeque<(Token, RawOp)>,
    flying: Vec<(Token, RawOp)>,
    ready: VecDeque<Completion>,
    seen: Vec<Seen>,
    cancelled: Vec<Token>,
    cancels: Cancels,
    full: u32,
    push_back: u32,
    broken: Option<(i32, bool)>,
    woken: bool,
    dropped: bool,
}

struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    /// Called at the beginning of every submit.
    before_submit: Mutex<Option<Before>>,
    /// How long `wake` keeps its caller after it has rung: holds a window open that is a few instructions wide otherwise.
    drag: Mutex<Duration>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Puppet")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until `ready` says so, a wake, or the time is over.
    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        at_most: Option<Duration>,
        ready: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let until = at_most.and_then(|most| Instant::now().checked_add(most));
        loop {
            if std::mem::take(&mut state.woken) || ready(&state) {
                return state;
            }
            let left = until.map_or(Duration::from_secs(3600), |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return state;
            }
            state = self.bell.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Readiness for Shared {
    #[cfg(unix)]
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn wait(&self, at_most: Option<Duration>) {
        drop(self.sleep(self.lock(), at_most, |state| !state.ready.is_empty()));
    }

    fn wake(&self) {
        self.lock().woken = true;
        self.bell.notify_all();
        let drag = *self.drag.lock().unwrap_or_else(PoisonError::into_inner);
        if !drag.is_zero() {
            std::thread::sleep(drag);
        }
    }

    fn subscribe(&self, when_ready: Waker) {
        when_ready.wake();
    }
}

/// The driver.
pub struct Puppet {
    shared: Arc<Shared>,
    name: DriverName,
    depth: u32,
    supports: OpSet,
}

/// What the test holds the puppet by.
#[derive(Clone, Debug)]
pub struct Strings(Arc<Shared>);

impl Puppet {
    /// A driver of a stranger's name, with the offload pool beside it, that does everything for real.
    pub fn new(depth: u32) -> (Puppet, Strings) {
        let state = State {
            script: Box::new(|_| Reply::Run),
            staged: VecDeque::new(),
            flying: Vec::new(),
            ready: VecDeque::new(),
            seen: Vec::new(),
            cancelled: Vec::new(),
            cancels: Cancels::InVain,
            full: 0,
            push_back: 0,
            broken: None,
            woken: false,
            dropped: false,
        };
        let drag = Mutex::new(Duration::ZERO);
        let shared =
            Arc::new(Shared { state: Mutex::new(state), bell: Condvar::new(), before_submit: Mutex::default(), drag });
        let strings = Strings(shared.clone());
        (Puppet { shared, name: DriverName::Other("puppet"), depth, supports: OpSet::ALL }, strings)
    }

    /// The engine gives no offload pool to a driver of this name.
    pub fn without_pool(mut self) -> Puppet {
        self.name = DriverName::ThreadPool;
        self
    }

    pub fn supporting(mut self, supports: OpSet) -> Puppet {
        self.supports = supports;
        self
    }

    pub fn boxed(self) -> Box<dyn Driver> {
        Box::new(self)
    }
}

impl Strings {
    /// What happens to operations that are submitted from now on.
    pub fn script(&self, script: impl FnMut(&Seen) -> Reply + Send + 'static) {
        self.0.lock().script = Box::new(script);
    }

    /// What happens at the beginning of every submit, in the last moment before the driver sleeps.
    pub fn before_submit(&self, before: impl FnMut(Wait) + Send + 'static) {
        *self.0.before_submit.lock().unwrap() = Some(Box::new(before));
    }

    /// Everything stays in flight from now on.
    pub fn hold_all(&self) {
        self.script(|_| Reply::Hold);
    }

    /// The held operation answers this; nothing is done.
    #[track_caller]
    pub fn answer(&self, token: Token, result: i32) {
        let mut state = self.0.lock();
        let at = state.flying.iter().position(|&(t, _)| t == token).expect("the operation is in flight");
        state.flying.remove(at);
        state.ready.push_back(Completion::new(token, result));
        drop(state);
        self.0.bell.notify_all();
    }

    /// All held operations answer this.
    pub fn release_held_with(&self, result: i32) {
        for token in self.flying() {
            self.answer(token, result);
        }
    }

    /// What is in flight, in the order of submission.
    pub fn flying(&self) -> Vec<Token> {
        self.0.lock().flying.iter().map(|&(token, _)| token).collect()
    }

    /// Every `prepare` so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.lock().seen.clone()
    }

    /// Every cancel request so far.
    pub fn cancelled(&self) -> Vec<Token> {
        self.0.lock().cancelled.clone()
    }

    pub fn cancels(&self, cancels: Cancels) {
        self.0.lock().cancels = cancels;
    }

    /// The next so many `prepare`s answer `Full`.
    pub fn refuse_next(&self, prepares: u32) {
        self.0.lock().full = prepares;
    }

    /// For so many submits what is staged stays staged.
    pub fn push_back(&self, submits: u32) {
        self.0.lock().push_back = submits;
    }

    /// Every submit fails from now on; `deaf`: and brings no completions.
    pub fn break_channel(&self, code: i32, deaf: bool) {
        self.0.lock().broken = Some((code, deaf));
        self.0.lock().woken = true;
        self.0.bell.notify_all();
    }

    /// A broken channel's completions are read again.
    pub fn hear_again(&self) {
        if let Some((_, deaf)) = &mut self.0.lock().broken {
            *deaf = false;
        }
    }

    pub fn wake(&self) {
        self.0.wake();
    }

    /// True once the driver was dropped.
    pub fn dropped(&self) -> bool {
        self.0.lock().dropped
    }

    /// Keeps everybody who wakes the driver for so long, after the wake has taken effect.
    pub fn drag_wakes(&self, by: Duration) {
        *self.0.drag.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }
}

/// The operation, done for real.
fn run(op: &RawOp) -> i32 {
    // SAFETY: called for operations that were prepared and have not completed, so the core keeps what they name.
    unsafe { io_threadpool::execute(op) }
}

/// A part of it.
fn run_short(op: &RawOp, most: u32) -> i32 {
    let mut op = *op;
    let mut kept = Vec::new();
    match &mut op {
        RawOp::Read { len, .. } | RawOp::Write { len, .. } | RawOp::CopyRange { len, .. } => *len = most.min(*len),
        RawOp::ReadVectored { iov, count, .. } | RawOp::WriteVectored { iov, count, .. } => {
            let mut room = most as usize;
            // SAFETY: as in `run`.
            for piece in unsafe { std::slice::from_raw_parts(*iov, *count as usize) } {
                let len = piece.len.min(room);
                room -= len;
                kept.push(io_engine::core::IoVec { base: piece.base, len });
            }
            kept.retain(|piece| piece.len > 0);
            (*iov, *count) = (kept.as_ptr(), kept.len() as u32);
        }
        _ => {}
    }
    run(&op)
}

// SAFETY: an operation's memory is touched within `submit`, `release` and `release_all` only, before its completion is queued.
unsafe impl Driver for Puppet {
    fn name(&self) -> DriverName {
        self.name
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn supports(&self) -> OpSet {
        self.supports
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        let mut state = self.shared.lock();
        if state.full > 0 {
            state.full -= 1;
            return Err(Full);
        }
        let known = |&(t, _): &(Token, RawOp)| t == token;
        assert!(!state.staged.iter().any(known) && !state.flying.iter().any(known), "{token:?} is staged twice");
        let outstanding = state.staged.len() + state.flying.len() + state.ready.len();
        if outstanding >= self.depth as usize {
            return Err(Full);
        }
        state.seen.push(Seen::of(token, op));
        state.staged.push_back((token, *op));
        Ok(())
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        if let Some(before) = &mut *self.shared.before_submit.lock().unwrap() {
            before(wait);
        }
        let mut state = self.shared.lock();
        let (broken, deaf) = match state.broken {
            Some((code, deaf)) => (Some(code), deaf),
            None => (None, false),
        };
        let mut progress = Progress::default();
        if broken.is_some() {
        } else if state.push_back > 0 && !state.staged.is_empty() {
            state.push_back -= 1;
            progress.staged = state.staged.len() as u32;
        } else {
            while let Some((token, op)) = state.staged.pop_front() {
                progress.accepted += 1;
                let seen = Seen::of(token, &op);
                let result = match (state.script)(&seen) {
                    Reply::Run => run(&op),
                    Reply::Short(most) => run_short(&op, most),
                    Reply::Answer(result) => result,
                    Reply::Hold => {
                        state.flying.push((token, op));
                        continue;
                    }
                };
                state.ready.push_back(Completion::new(token, result));
            }
        }
        let had = out.len();
        let mut reap = |state: &mut State| {
            while out.room() > 0 && !deaf {
                let Some(completion) = state.ready.pop_front() else { break };
                out.push(completion);
            }
            out.len() > had || out.room() == 0
        };
        let ready = reap(&mut state);
        if let Some(code) = broken {
            return Err(io::Error::from_raw_os_error(code));
        }
        if !ready && progress.staged == 0 {
            let at_most = match wait {
                Wait::No => return Ok(progress),
                Wait::AtMost(most) => Some(most),
                Wait::Forever => None,
            };
            let mut state =
                self.shared.sleep(state, at_most, |state| !state.ready.is_empty() || state.broken.is_some());
            if let Some((code, _)) = state.broken {
                return Err(io::Error::from_raw_os_error(code));
            }
            reap(&mut state);
        }
        Ok(progress)
    }

    fn cancel(&mut self, token: Token) {
        let mut state = self.shared.lock();
        state.cancelled.push(token);
        if state.cancels == Cancels::InTime {
            let at = state.flying.iter().position(|&(t, _)| t == token);
            let staged = state.staged.iter().position(|&(t, _)| t == token);
            if let Some(at) = at {
                state.flying.remove(at);
            }
            if let Some(at) = staged {
                state.staged.remove(at);
            }
            if at.is_some() || staged.is_some() {
                state.ready.push_back(Completion::new(token, -errno::ECANCELED));
            }
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        self.shared.clone()
    }

    fn arm(&mut self, armed: bool) -> Armed {
        if armed && !self.shared.lock().ready.is_empty() { Armed::ReadyNow } else { Armed::Waiting }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.shared.lock().dropped = true;
    }
}
