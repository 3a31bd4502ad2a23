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
    /// A depth of 256; eight threads per processor, at least 16 and at most 64: they wait more than they work;
    /// ten seconds.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        ThreadPoolOptions {
            depth: 256,
            max_threads: (8 * processors).clamp(16, 64),
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

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::{Op, StatTarget};
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        task::{Wake, Waker},
    };

    /// What the operations stand for here: an offset that panics, and all others.
    ///
    /// # Safety
    /// None is needed.
    unsafe fn misbehaving(op: &RawOp) -> i32 {
        match op {
            RawOp::Stat { target: StatTarget::File(_), .. } => 17,
            _ => panic!("expected by the test"),
        }
    }

    fn driver(max_threads: usize) -> ThreadPoolDriver {
        let options = ThreadPoolOptions { max_threads, depth: 8, ..ThreadPoolOptions::default() };
        ThreadPoolDriver::with_run(options, misbehaving).unwrap()
    }

    fn good_and_bad() -> (RawOp, RawOp) {
        // SAFETY: the number lies outside the range of descriptors.
        let file = unsafe {
            io_core::FileHandle::from_raw(io_core::RawFile::new(1 << 40), Box::new(()), io_core::FileFacts::default())
        };
        let raw = |mut op: Op| op.raw(0, 1);
        (raw(Op::stat(&file)), raw(Op::sync_all(&file)))
    }

    fn quietly<T>(run: impl FnOnce() -> T) -> T {
        std::panic::set_hook(Box::new(|_| {}));
        let answer = run();
        let _ = std::panic::take_hook();
        answer
    }

    /// A panic in a worker once took the operation with it, and whoever waited for it.
    #[test]
    fn a_panic_is_an_error_of_its_operation_only() {
        let (good, bad) = good_and_bad();
        let mut driver = driver(1);
        let mut out = Completions::with_limit(8);
        quietly(|| {
            for round in 0..3 {
                for slot in 0..8 {
                    // SAFETY: `misbehaving` touches nothing that the operations name.
                    unsafe { driver.prepare(Token::new(slot, round), if slot % 2 == 0 { &good } else { &bad }) }
                        .unwrap();
                }
                let mut done = Vec::new();
                while done.len() < 8 {
                    driver.submit(Wait::Forever, &mut out).unwrap();
                    done.extend(out.drain());
                }
                for completion in done {
                    let expected = if completion.token.slot() % 2 == 0 { 17 } else { -errno::EIO };
                    assert_eq!(completion.result, expected);
                }
            }
        });
    }

    struct Panics(AtomicU32);

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("expected by the test");
        }
    }

    #[test]
    fn a_waker_that_panics_takes_no_thread_with_it() {
        let (good, _) = good_and_bad();
        let mut driver = driver(1);
        let mut out = Completions::with_limit(8);
        let waker = Arc::new(Panics(AtomicU32::new(0)));
        quietly(|| {
            for round in 0..4 {
                driver.readiness().subscribe(Waker::from(waker.clone()));
                // SAFETY: as above.
                unsafe { driver.prepare(Token::new(0, round), &good) }.unwrap();
                while out.is_empty() {
                    driver.submit(Wait::Forever, &mut out).unwrap();
                }
                assert_eq!(out.drain().next().unwrap().result, 17);
            }
        });
        drop(driver);
        assert_eq!(waker.0.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn the_depth_counts_until_the_completion_is_taken() {
        let (good, _) = good_and_bad();
        let mut driver = driver(2);
        // SAFETY: as above.
        let prepare = |driver: &mut ThreadPoolDriver, slot| unsafe { driver.prepare(Token::new(slot, 0), &good) };
        for slot in 0..8 {
            prepare(&mut driver, slot).unwrap();
        }
        assert_eq!(prepare(&mut driver, 8), Err(Full));
        let mut out = Completions::with_limit(1);
        assert_eq!(driver.submit(Wait::Forever, &mut out).unwrap(), Progress { accepted: 8, staged: 0 });
        assert_eq!(out.len(), 1);
        prepare(&mut driver, 8).unwrap();
        assert_eq!(prepare(&mut driver, 9), Err(Full));
        // Without room it does not wait, and takes what is staged.
        assert_eq!(driver.submit(Wait::Forever, &mut out).unwrap(), Progress { accepted: 1, staged: 0 });
        assert_eq!(out.len(), 1);
    }

    /// The last reference to a driver may be with a waker that one of its own threads runs.
    #[test]
    fn a_driver_may_be_dropped_by_its_own_thread() {
        struct Holder(std::sync::Mutex<Option<ThreadPoolDriver>>, std::sync::mpsc::Sender<()>);
        impl Wake for Holder {
            fn wake(self: Arc<Self>) {
                drop(self.0.lock().unwrap().take());
                self.1.send(()).unwrap();
            }
        }
        let (good, _) = good_and_bad();
        let mut driver = driver(1);
        let (tx, rx) = std::sync::mpsc::channel();
        let holder = Arc::new(Holder(std::sync::Mutex::new(None), tx));
        let mut locked = holder.0.lock().unwrap();
        driver.readiness().subscribe(Waker::from(holder.clone()));
        // SAFETY: as above.
        unsafe { driver.prepare(Token::new(0, 0), &good) }.unwrap();
        driver.submit(Wait::No, &mut Completions::with_limit(1)).unwrap();
        *locked = Some(driver);
        drop(locked);
        rx.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}
