//! What the driver and its workers share, and the workers.
//!
//! Everything is behind one lock: the queue of jobs, the completions, the count of workers, and who sleeps. A worker takes the
//! lock once per operation, to leave a result and to take the next job. Nothing is done under the lock but moving entries
//! between queues that were allocated for the full depth, and raising the descriptor that follows them.
//!
//! **No job is forgotten.** A worker goes idle only when the queue is empty, so whatever is queued while some are idle came
//! after they went to sleep, and each such job brought a wake for one of them, as long as there was one not yet woken for an
//! earlier job. Where there is none, all workers are busy or coming, and each looks into the queue before it goes idle.

use crate::readiness::{Bell, Due};
#[cfg(unix)]
use crate::signal::Signal;
use io_core::{Completion, Completions, RawOp, Readiness, Token, errno};
use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

/// What does one operation: [`execute`](crate::execute), and something that misbehaves in tests.
///
/// # Safety
/// As there.
pub(crate) type Run = unsafe fn(&RawOp) -> i32;

/// One operation on its way to a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) token: Token,
    pub(crate) op: RawOp,
}

pub(crate) type Guard<'a> = MutexGuard<'a, State>;

/// What lies behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) done: VecDeque<Completion>,
    pub(crate) bell: Bell,
    /// Workers that wait for a job.
    idle: usize,
    /// Workers that will look for a job without being woken: they are being started, or ring for their last one.
    coming: usize,
    /// All workers, those above included.
    workers: usize,
    closing: bool,
    /// Places of workers that have left and can be joined.
    left: Vec<usize>,
}

/// What driver, workers and sleepers share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Idle workers sleep here.
    idlers: Condvar,
    /// Threads in `submit` and `wait` sleep here.
    pub(crate) sleepers: Condvar,
    /// `None` where there is none to be had (descriptors used up); sleepers need it not.
    #[cfg(unix)]
    pub(crate) signal: Option<Signal>,
    /// The readiness of the driver that the pool stands in for.
    pub(crate) other: Option<Arc<dyn Readiness>>,
    max_workers: usize,
    idle_time: Duration,
    run: Run,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

/// What a call of [`Shared::exchange`] leaves to be done without the lock.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// Idle workers to wake.
    wake: usize,
    /// Workers to start.
    pub(crate) start: usize,
}

impl Shared {
    pub(crate) fn new(
        depth: usize,
        max_workers: usize,
        idle_time: Duration,
        other: Option<Arc<dyn Readiness>>,
        run: Run,
    ) -> Shared {
        Shared {
            state: Mutex::new(State {
                jobs: VecDeque::with_capacity(depth),
                done: VecDeque::with_capacity(depth),
                bell: Bell::default(),
                idle: 0,
                coming: 0,
                workers: 0,
                closing: false,
                left: Vec::with_capacity(max_workers),
            }),
            idlers: Condvar::new(),
            sleepers: Condvar::new(),
            #[cfg(unix)]
            signal: if other.is_some() { None } else { Signal::new().ok() },
            other,
            max_workers,
            idle_time,
            run,
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        // Nothing under this lock panics half-way; a poisoned one is as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait_on<'a>(&self, bell: &Condvar, state: Guard<'a>, most: Option<Duration>) -> Guard<'a> {
        match most {
            None => bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(most) => bell.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Queues what is staged and takes what is done, both at one time under the lock. `left` receives the places of workers
    /// that are to be joined.
    pub(crate) fn exchange(&self, staged: &mut VecDeque<Job>, out: &mut Completions, left: &mut Vec<usize>) -> Orders {
        let mut state = self.lock();
        let before = state.jobs.len();
        state.jobs.extend(staged.drain(..));
        let jobs = state.jobs.len();
        let start = jobs.saturating_sub(state.idle + state.coming).min(self.max_workers - state.workers);
        state.coming += start;
        state.workers += start;
        let wake = (jobs - before).min(state.idle.saturating_sub(before));
        left.append(&mut state.left);
        self.reap(state, out);
        Orders { wake, start }
    }

    /// Takes what is done, as far as there is room.
    pub(crate) fn reap(&self, mut state: Guard<'_>, out: &mut Completions) {
        let count = out.room().min(state.done.len());
        state.done.drain(..count).for_each(|completion| out.push(completion));
        self.level(&mut state);
    }

    /// Wakes the idle workers that [`Orders`] speak of.
    pub(crate) fn wake_idle(&self, orders: &Orders) {
        for _ in 0..orders.wake {
            self.idlers.notify_one();
        }
    }

    /// `count` workers could not be started. If there are no others, what is queued fails with the reason; others would go on
    /// with it.
    pub(crate) fn not_started(&self, count: usize, code: i32) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        state.coming -= count;
        state.workers -= count;
        let mut due = Due::default();
        if state.workers == 0 {
            while let Some(job) = state.jobs.pop_front() {
                due = self.publish(&mut state, Completion::new(job.token, -code), &mut wakers).and(due);
            }
        }
        drop(state);
        self.ring(due, &mut wakers);
    }

    /// Takes a job out of the queue and answers it with `ECANCELED`, if no worker has it yet.
    pub(crate) fn cancel_queued(&self, token: Token) {
        let mut state = self.lock();
        let Some(at) = state.jobs.iter().position(|job| job.token == token) else { return };
        state.jobs.remove(at);
        self.complete(state, Completion::new(token, -errno::ECANCELED));
    }

    /// Leaves a completion and rings for it.
    pub(crate) fn complete(&self, mut state: Guard<'_>, completion: Completion) {
        let mut wakers = Vec::new();
        let due = self.publish(&mut state, completion, &mut wakers);
        drop(state);
        self.ring(due, &mut wakers);
    }

    fn publish(&self, state: &mut Guard<'_>, completion: Completion, wakers: &mut Vec<Waker>) -> Due {
        let was_empty = state.done.is_empty();
        state.done.push_back(completion);
        self.completed(&mut state.bell, was_empty, wakers)
    }

    /// Tells the workers to end. What no worker has begun is forgotten: nobody is left who could reap it.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.jobs.clear();
        drop(state);
        self.idlers.notify_all();
    }

    /// The life of the worker at `place`.
    pub(crate) fn work(&self, place: usize) {
        let mut wakers = Vec::new();
        let mut state = self.lock();
        state.coming -= 1;
        loop {
            let (unlocked, next) = self.next_job(state);
            state = unlocked;
            let Some(mut job) = next else { break };
            loop {
                drop(state);
                let result = self.perform(&job.op);
                state = self.lock();
                let due = self.publish(&mut state, Completion::new(job.token, result), &mut wakers);
                if due.is_nobody() && wakers.is_empty() {
                    break;
                }
                let next = state.jobs.pop_front();
                // Who is rung answers with the next job, and we are there for it before a new thread would be. With wakers
                // that is not so sure: they are foreign code, and may take their time.
                let coming = next.is_none() && wakers.is_empty();
                state.coming += usize::from(coming);
                drop(state);
                // A waker's panic is not the other operations' trouble.
                let _ = catch_unwind(AssertUnwindSafe(|| self.ring(due, &mut wakers)));
                wakers.clear();
                state = self.lock();
                state.coming -= usize::from(coming);
                match next {
                    Some(next) => job = next,
                    None => break,
                }
            }
        }
        state.workers -= 1;
        state.left.push(place);
    }

    /// Waits for a job; `None`: the pool closes, or there was none for long.
    fn next_job<'a>(&'a self, mut state: Guard<'a>) -> (Guard<'a>, Option<Job>) {
        let mut bored = false;
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return (state, Some(job));
            }
            if state.closing || bored {
                return (state, None);
            }
            state.idle += 1;
            let waited = self.idlers.wait_timeout(state, self.idle_time);
            let (unlocked, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = unlocked;
            state.idle -= 1;
            bored = timeout.timed_out();
        }
    }

    /// Does one operation. A panic is this operation's error and nobody else's.
    fn perform(&self, op: &RawOp) -> i32 {
        // SAFETY: who prepared the operation promised that its memory and files are valid and lent until its completion is
        // delivered (I1), which is after this call (I3); each job is taken out of the queue once (I2).
        catch_unwind(AssertUnwindSafe(|| unsafe { (self.run)(op) })).unwrap_or(-errno::EIO)
    }
}
