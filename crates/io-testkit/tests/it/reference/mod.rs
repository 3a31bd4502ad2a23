//! A driver as small as it can be and still right: a few threads, each of which does one operation after the other.

mod execute;

use io_core::{
    Armed, Completion, Completions, Driver, DriverName, Full, OpSet, Progress, RawOp, Readiness, Token, Unavailable,
    Wait, errno,
};
use std::{
    collections::{HashSet, VecDeque},
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    task::Waker,
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub(crate) fn open(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    Ok(Box::new(Reference::new(depth)))
}

/// More than one: an operation that blocks must not hold up the others.
const WORKERS: usize = 3;

pub(crate) struct Reference {
    depth: u32,
    staged: VecDeque<(Token, RawOp)>,
    outstanding: u32,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    bell: OwnedFd,
}

#[derive(Default)]
struct State {
    work: VecDeque<(Token, RawOp)>,
    ready: VecDeque<Completion>,
    unwanted: HashSet<Token>,
    subscribers: Vec<Waker>,
    armed: bool,
    rung: bool,
    woken: bool,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Tells everybody who sleeps; wakers run without the lock.
    fn ring(&self, mut state: MutexGuard<'_, State>) {
        state.rung = true;
        let wakers = std::mem::take(&mut state.subscribers);
        if state.armed {
            self.write();
        }
        self.changed.notify_all();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn write(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the descriptor is open and the eight bytes are there.
        unsafe { libc::write(self.bell.as_raw_fd(), one.as_ptr().cast(), 8) };
    }

    fn silence(&self, state: &mut State) {
        state.rung = false;
        let mut count = [0u8; 8];
        // SAFETY: the descriptor is open, non-blocking, and there is room for the eight bytes.
        unsafe { libc::read(self.bell.as_raw_fd(), count.as_mut_ptr().cast(), 8) };
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some((token, op)) = state.work.pop_front() {
                let unwanted = state.unwanted.remove(&token);
                drop(state);
                // SAFETY: the operation was staged and is not completed, so the core keeps what it names.
                let result = if unwanted { -errno::ECANCELED } else { unsafe { execute::execute(&op) } };
                state = self.lock();
                state.ready.push_back(Completion::new(token, result));
                if state.armed {
                    self.ring(state);
                    state = self.lock();
                } else {
                    self.changed.notify_all();
                }
            } else if state.stop {
                return;
            } else {
                state = self.changed.wait(state).unwrap();
            }
        }
    }
}

impl Reference {
    pub(crate) fn new(depth: u32) -> Reference {
        // SAFETY: the call takes no memory; its answer is a new descriptor that nobody else owns.
        let bell = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)) };
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new(), bell });
        let start = |_| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.run())
        };
        let workers = (0..WORKERS).map(start).collect();
        Reference { depth, staged: VecDeque::new(), outstanding: 0, shared, workers }
    }
}

// SAFETY: a worker is done with an operation when it pushes its completion; drop waits for the workers.
unsafe impl Driver for Reference {
    fn name(&self) -> DriverName {
        crate::REFERENCE
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn supports(&self) -> OpSet {
        OpSet::ALL
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.outstanding == self.depth {
            return Err(Full);
        }
        self.outstanding += 1;
        self.staged.push_back((token, *op));
        Ok(())
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let begun = Instant::now();
        let accepted = self.staged.len() as u32;
        let mut state = self.shared.lock();
        state.work.extend(self.staged.drain(..));
        self.shared.changed.notify_all();
        while out.room() > 0 && state.ready.is_empty() && !state.woken {
            state = match wait {
                Wait::No => break,
                Wait::Forever => self.shared.changed.wait(state).unwrap(),
                Wait::AtMost(most) => {
                    let Some(left) = most.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else { break };
                    self.shared.changed.wait_timeout(state, left).unwrap().0
                }
            }
        }
        // A look is no wait: only a submit that may wait uses a wake up.
        if wait != Wait::No && out.room() > 0 {
            state.woken = false;
        }
        self.shared.silence(&mut state);
        while out.room() > 0 && !state.ready.is_empty() {
            out.push(state.ready.pop_front().expect("looked"));
            self.outstanding -= 1;
        }
        Ok(Progress { accepted, staged: 0 })
    }

    fn cancel(&mut self, token: Token) {
        let mut state = self.shared.lock();
        let queued = |queue: &VecDeque<(Token, RawOp)>| queue.iter().any(|(other, _)| *other == token);
        if queued(&self.staged) || queued(&state.work) {
            state.unwanted.insert(token);
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        self.shared.clone()
    }

    fn arm(&mut self, armed: bool) -> Armed {
        let mut state = self.shared.lock();
        state.armed = armed;
        if !state.ready.is_empty() {
            return Armed::ReadyNow;
        }
        if armed && state.woken {
            // It came while nobody watched the descriptor.
            self.shared.write();
        }
        Armed::Waiting
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for worker in self.workers.drain(..) {
            worker.join().expect("workers never panic");
        }
    }
}

impl Readiness for Shared {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.bell.as_fd())
    }

    fn wait(&self, at_most: Option<Duration>) {
        let begun = Instant::now();
        let mut state = self.lock();
        while !state.rung && !state.woken {
            let Some(most) = at_most else {
                state = self.changed.wait(state).unwrap();
                continue;
            };
            let Some(left) = most.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else { return };
            state = self.changed.wait_timeout(state, left).unwrap().0;
        }
        state.woken = false;
    }

    fn wake(&self) {
        let mut state = self.lock();
        state.woken = true;
        self.ring(state);
    }

    fn subscribe(&self, when_ready: Waker) {
        let mut state = self.lock();
        if state.rung || state.woken {
            drop(state);
            when_ready.wake();
        } else {
            state.subscribers.push(when_ready);
        }
    }
}
