//! The driver over the pool.

use crate::{
    execute::execute,
    pool::{Job, Run, Shared},
    probe,
    readiness::deadline,
};
use io_core::{
    Armed, Completion, Completions, Driver, DriverName, Full, OpSet, Progress, RawOp, Readiness, Token, Unavailable,
    Wait, errno,
};
use std::{
    collections::VecDeque,
    fmt, io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

/// Settings of a pool.
#[derive(Clone)]
pub struct ThreadPoolOptions {
    /// Most operations in flight, queued ones included: 1 to 2²⁰.
    pub depth: u32,
    /// Most threads: 1 to 1024. A thread is started when an operation is queued and none is idle.
    pub max_threads: usize,
    /// A thread that has had nothing to do for this long ends.
    pub idle: Duration,
    /// For a pool that stands in for another driver: that driver's readiness. The pool has none of its own then, and wakes
    /// this one after each completion.
    pub readiness: Option<Arc<dyn Readiness>>,
}

impl Default for ThreadPoolOptions {
    /// A depth of 256; four threads per processor, at least 4 and at most 64; ten seconds.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        ThreadPoolOptions {
            depth: 256,
            max_threads: (4 * processors).clamp(4, 64),
            idle: Duration::from_secs(10),
            readiness: None,
        }
    }
}

impl fmt::Debug for ThreadPoolOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolOptions")
            .field("depth", &self.depth)
            .field("max_threads", &self.max_threads)
            .field("idle", &self.idle)
            .field("readiness", &self.readiness.as_ref().map(|_| "of another driver"))
            .finish()
    }
}

const DEPTH_MAX: u32 = 1 << 20;
const THREADS_MAX: usize = 1024;

/// Makes a pool. No thread is started yet.
///
/// # Errors
/// [`Unavailable`] for settings out of range; nothing else keeps a pool from running.
pub fn threadpool(options: ThreadPoolOptions) -> Result<ThreadPoolDriver, Unavailable> {
    ThreadPoolDriver::with_run(options, execute)
}

/// A bounded pool of threads that do operations with the platform's blocking calls.
///
/// Operations are begun in the order in which they were prepared, and run side by side. An operation that is cancelled before
/// a thread has begun it answers `ECANCELED`; one that runs answers its own result. An operation that panics answers `EIO`. If
/// no thread can be had, operations answer that error (`EAGAIN`).
///
/// Dropping the driver forgets what is queued and joins the threads, so it waits for the operations that run, however long
/// they take; afterwards nothing touches any operation's memory or file.
pub struct ThreadPoolDriver {
    shared: Arc<Shared>,
    depth: u32,
    /// Staged, queued, running, or done and not reaped.
    in_flight: u32,
    staged: VecDeque<Job>,
    supports: OpSet,
    /// A place per thread.
    threads: Vec<Option<JoinHandle<()>>>,
    /// Places of threads to be joined.
    left: Vec<usize>,
}

impl ThreadPoolDriver {
    fn with_run(options: ThreadPoolOptions, run: Run) -> Result<ThreadPoolDriver, Unavailable> {
        let ThreadPoolOptions { depth, max_threads, idle, readiness } = options;
        let out_of_range = |what: &str, value: usize, most: usize| {
            let reason = format!("{what} of {value} is out of range");
            Unavailable::new(DriverName::ThreadPool, reason, format!("ask for 1 to {most}"))
        };
        if !(1..=DEPTH_MAX).contains(&depth) {
            return Err(out_of_range("a depth", depth as usize, DEPTH_MAX as usize));
        }
        if !(1..=THREADS_MAX).contains(&max_threads) {
            return Err(out_of_range("a number of threads", max_threads, THREADS_MAX));
        }
        Ok(ThreadPoolDriver {
            shared: Arc::new(Shared::new(depth as usize, max_threads, idle, readiness, run)),
            depth,
            in_flight: 0,
            staged: VecDeque::with_capacity(depth as usize),
            supports: probe::supports(),
            threads: (0..max_threads).map(|_| None).collect(),
            left: Vec::with_capacity(max_threads),
        })
    }

    /// Joins the threads that have left, and starts new ones in free places.
    fn start(&mut self, count: usize) {
        for place in self.left.drain(..) {
            // It has nothing to do any more but to end.
            let _ = self.threads[place].take().map(JoinHandle::join);
        }
        for started in 0..count {
            let place = self.threads.iter().position(Option::is_none).expect("workers are at most as many as places");
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name(format!("io-pool-{place}"));
            match thread.spawn(move || shared.work(place)) {
                Ok(thread) => self.threads[place] = Some(thread),
                Err(error) => {
                    let code = error.raw_os_error().filter(|&code| code > 0).unwrap_or(errno::EAGAIN);
                    return self.shared.not_started(count - started, code);
                }
            }
        }
    }

    /// Sleeps until there is a completion, a wake, or the time is over, and takes what is done.
    fn sleep(&mut self, at_most: Option<Duration>, out: &mut Completions) {
        let until = deadline(at_most);
        if let Some(other) = &self.shared.other {
            // The workers wake it, and so does who wakes us.
            if self.shared.lock().done.is_empty() {
                other.wait(at_most);
            }
            return self.shared.reap(self.shared.lock(), out);
        }
        let mut state = self.shared.lock();
        let mut over = false;
        while !over && state.done.is_empty() && !self.shared.use_wake(&mut state) {
            (state, over) = self.shared.sleep(state, until);
        }
        self.shared.reap(state, out);
    }
}

// SAFETY: a worker touches an operation's memory and file within `perform` only, and leaves its completion afterwards (I3);
// dropping the driver joins the workers, so nothing is touched on its behalf after that.
unsafe impl Driver for ThreadPoolDriver {
    fn name(&self) -> DriverName {
        DriverName::ThreadPool
    }

    fn depth(&self) -> u32 {
        self.depth
    }

    fn supports(&self) -> OpSet {
        self.supports
    }

    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        if self.in_flight == self.depth {
            return Err(Full);
        }
        self.in_flight += 1;
        self.staged.push_back(Job { token, op: *op });
        Ok(())
    }

    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        let accepted = self.staged.len() as u32;
        let before = out.len();
        let orders = self.shared.exchange(&mut self.staged, out, &mut self.left);
        self.shared.wake_idle(&orders);
        if orders.start > 0 || !self.left.is_empty() {
            self.start(orders.start);
        }
        if out.len() == before && out.room() > 0 {
            match wait {
                Wait::No => {}
                Wait::AtMost(most) => self.sleep(Some(most), out),
                Wait::Forever => self.sleep(None, out),
            }
        }
        self.in_flight -= (out.len() - before) as u32;
        Ok(Progress { accepted, staged: 0 })
    }

    fn cancel(&mut self, token: Token) {
        if let Some(at) = self.staged.iter().position(|job| job.token == token) {
            self.staged.remove(at);
            let state = self.shared.lock();
            self.shared.complete(state, Completion::new(token, -errno::ECANCELED));
        } else {
            self.shared.cancel_queued(token);
        }
    }

    fn readiness(&self) -> Arc<dyn Readiness> {
        match &self.shared.other {
            Some(other) => other.clone(),
            None => self.shared.clone(),
        }
    }

    fn arm(&mut self, armed: bool) -> Armed {
        let mut state = self.shared.lock();
        self.shared.arm_descriptor(&mut state, armed);
        if armed && !state.done.is_empty() { Armed::ReadyNow } else { Armed::Waiting }
    }
}

impl Drop for ThreadPoolDriver {
    fn drop(&mut self) {
        self.shared.close();
        for thread in self.threads.iter_mut().filter_map(Option::take) {
            // A waker that a worker runs may hold the last reference to us; that worker ends by itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for ThreadPoolDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThreadPoolDriver({} of {} in flight)", self.in_flight, self.depth)
    }
}
