//! What a ring can be asked for.

use std::{sync::OnceLock, time::Duration};

/// How to make a [`UringDriver`](crate::UringDriver). The default suits a ring that any thread may drive.
///
/// ```
/// use io_uring_driver::UringOptions;
/// let options = UringOptions::default().depth(64).owner_thread(true);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UringOptions {
    /// Most operations in flight at once. A ring that the system has no memory for is made smaller (see
    /// [`Driver::depth`](io_core::Driver::depth)).
    pub depth: u32,
    /// One thread submits and reaps: the one that first calls [`Driver::submit`](io_core::Driver::submit), which may be another
    /// than the one that made the driver. Faster (`SINGLE_ISSUER | DEFER_TASKRUN`, Linux 6.1; without effect before), but no
    /// other thread gets anything out of the ring, and when the thread has ended nothing completes any more.
    pub owner_thread: bool,
    /// A kernel thread polls for submissions and goes to sleep after this time without one (`SQPOLL`, Linux 5.11). It takes a
    /// processor from everybody else, so nobody gets it who did not ask.
    pub sqpoll: Option<Duration>,
    /// Completions are polled for, not waited for (`IOPOLL`): `O_DIRECT` transfers on devices with polling queues, nothing else.
    pub iopoll: bool,
    /// Most kernel worker threads for regular files (`IOWQ_MAX_WORKERS`, Linux 5.15), per submitting thread. Left to itself
    /// the kernel starts one per blocked operation (liburing#420). 0 leaves it to the kernel.
    pub max_bounded_workers: u32,
    /// The same for everything else (pipes, sockets, devices).
    pub max_unbounded_workers: u32,
    /// Places for [`Driver::register_file`](io_core::Driver::register_file).
    pub registered_files: u32,
    /// Places for [`Driver::register_memory`](io_core::Driver::register_memory); a region takes one per GiB.
    pub registered_memory: u32,
}

impl Default for UringOptions {
    fn default() -> UringOptions {
        // Asked once: the answer takes reading half a dozen files.
        static CPUS: OnceLock<u32> = OnceLock::new();
        let cpus = *CPUS.get_or_init(|| std::thread::available_parallelism().map_or(2, |n| n.get() as u32));
        UringOptions {
            depth: 256,
            owner_thread: false,
            sqpoll: None,
            iopoll: false,
            max_bounded_workers: (2 * cpus).clamp(4, 16),
            max_unbounded_workers: 4,
            registered_files: 64,
            registered_memory: 16,
        }
    }
}

impl UringOptions {
    /// Most entries of a submission queue (`IORING_MAX_ENTRIES`).
    pub(crate) const MAX_DEPTH: u32 = 32768;

    /// Sets [`depth`](UringOptions::depth); what is outside `1..=32768` becomes the nearest that is inside.
    #[must_use]
    pub fn depth(mut self, depth: u32) -> UringOptions {
        self.depth = depth;
        self
    }

    /// Sets [`owner_thread`](UringOptions::owner_thread).
    #[must_use]
    pub fn owner_thread(mut self, owner_thread: bool) -> UringOptions {
        self.owner_thread = owner_thread;
        self
    }

    /// Sets [`sqpoll`](UringOptions::sqpoll).
    #[must_use]
    pub fn sqpoll(mut self, idle: Option<Duration>) -> UringOptions {
        self.sqpoll = idle;
        self
    }

    /// Sets [`iopoll`](UringOptions::iopoll).
    #[must_use]
    pub fn iopoll(mut self, iopoll: bool) -> UringOptions {
        self.iopoll = iopoll;
        self
    }

    /// Sets [`max_bounded_workers`](UringOptions::max_bounded_workers) and
    /// [`max_unbounded_workers`](UringOptions::max_unbounded_workers).
    #[must_use]
    pub fn max_workers(mut self, bounded: u32, unbounded: u32) -> UringOptions {
        (self.max_bounded_workers, self.max_unbounded_workers) = (bounded, unbounded);
        self
    }

    /// Sets [`registered_files`](UringOptions::registered_files).
    #[must_use]
    pub fn registered_files(mut self, places: u32) -> UringOptions {
        self.registered_files = places;
        self
    }

    /// Sets [`registered_memory`](UringOptions::registered_memory).
    #[must_use]
    pub fn registered_memory(mut self, places: u32) -> UringOptions {
        self.registered_memory = places;
        self
    }
}
