//! One ring: set up with what this kernel has, entered with what this call needs.

use crate::UringOptions;
use io_core::errno;
use io_uring::{
    EnterFlags, IoUring, cqueue, squeue,
    types::{SubmitArgs, Timespec},
};
use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

/// Fewest entries that a smaller ring may have.
const SMALLEST: u32 = 8;

/// A ring and what it was set up with.
pub(crate) struct Ring {
    io: IoUring,
    flags: Flags,
}

/// Set-up flags that the ring was made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG | R_DISABLED` (Linux 6.1).
    pub(crate) owner_thread: bool,
    /// `SUBMIT_ALL` (5.18): a refused request does not keep back the ones behind it.
    pub(crate) submit_all: bool,
    /// `NO_SQARRAY` (6.6): one read less per submission.
    pub(crate) no_sqarray: bool,
    /// `SQPOLL`.
    pub(crate) sqpoll: bool,
    /// `IOPOLL`.
    pub(crate) iopoll: bool,
}

/// What the ring says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// Requests that the kernel has not taken.
    pub(crate) staged: u32,
    /// Completions wait for an enter: as deferred work, or because the completion queue was full.
    pub(crate) hidden: bool,
    /// The kernel thread of an SQPOLL ring sleeps.
    pub(crate) needs_wakeup: bool,
}

/// How the kernel took an enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It took this many requests.
    Took(u32),
    /// The time was over.
    TimedOut,
    /// A signal came first.
    Interrupted,
    /// It has no room for requests or completions now.
    PushedBack,
}

impl Ring {
    /// Makes a ring for these options, with as many of the wished flags as the kernel knows, and as large as it has memory for.
    ///
    /// # Errors
    /// The call that was refused, and its error.
    pub(crate) fn new(options: &UringOptions) -> Result<Ring, (&'static str, io::Error)> {
        let mut entries = options.depth.clamp(1, UringOptions::MAX_DEPTH).next_power_of_two().max(SMALLEST);
        if options.sqpoll.is_some() {
            // The polling thread gives places back a batch at a time, after the first of them may have completed: then a full depth
            // is prepared anew beside the old one.
            entries = (2 * entries).min(UringOptions::MAX_DEPTH);
        }
        let mut rungs = ladder(options).into_iter().peekable();
        let mut flags = rungs.next().expect("a ladder has rungs");
        loop {
            let error = match build(options, flags, entries) {
                Ok(io) => {
                    let ring = Ring { io, flags };
                    ring.may_enter().map_err(|error| ("io_uring_enter", error))?;
                    return Ok(ring);
                }
                Err(error) => error,
            };
            match error.raw_os_error() {
                // Many kernels charge the rings of the unprivileged to RLIMIT_MEMLOCK (those until 5.11; again in 6.18).
                Some(errno::ENOMEM) if entries > SMALLEST => entries /= 2,
                // An unknown flag, or (5.10 and SQPOLL) one for the privileged.
                Some(errno::EINVAL | errno::EPERM) if rungs.peek().is_some() => {
                    flags = rungs.next().expect("just peeked");
                }
                _ => return Err(("io_uring_setup", error)),
            }
        }
    }

    /// Seccomp filters know setup and enter apart. Nothing is submitted, and a ring that is still disabled has no owner yet.
    fn may_enter(&self) -> io::Result<()> {
        // SAFETY: no argument is passed.
        match unsafe { self.io.submitter().enter::<libc::sigset_t>(0, 0, 0, None) } {
            Ok(_) => Ok(()),
            // The answer of a disabled ring: the call itself is allowed.
            Err(error) if self.flags.owner_thread && error.raw_os_error() == Some(libc::EBADFD) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn flags(&self) -> Flags {
        self.flags
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.io.as_raw_fd()
    }

    /// Entries of the submission queue.
    pub(crate) fn entries(&self) -> u32 {
        self.io.params().sq_entries()
    }

    /// Waits can have a time (`EXT_ARG`, Linux 5.11).
    pub(crate) fn has_timed_wait(&self) -> bool {
        self.io.params().is_feature_ext_arg()
    }

    /// Enables a ring that was made disabled; from here on the calling thread owns it.
    pub(crate) fn enable(&self) -> io::Result<()> {
        self.io.submitter().register_enable_rings()
    }

    /// For registrations; each is optional and its refusal the caller's matter.
    pub(crate) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.io.submitter()
    }

    /// Puts a request into the queue; `false` if there is no room.
    ///
    /// # Safety
    /// What the request points to stays valid until its completion.
    #[inline]
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: passed on.
        unsafe { self.io.submission().push(entry).is_ok() }
    }

    #[inline]
    pub(crate) fn completion(&mut self) -> cqueue::CompletionQueue<'_> {
        self.io.completion()
    }

    /// What the shared memory says, without entering the kernel.
    #[inline]
    pub(crate) fn state(&mut self) -> State {
        let sqpoll = self.flags.sqpoll;
        let sq = self.io.submission();
        State {
            staged: sq.len() as u32,
            hidden: sq.taskrun() || sq.cq_overflow(),
            needs_wakeup: sqpoll && sq.need_wakeup(),
        }
    }

    /// Allows or forbids the kernel to ring the registered eventfd.
    pub(crate) fn set_ringing(&mut self, on: bool) {
        let cq = self.io.completion();
        if on { cq.enable_eventfd() } else { cq.disable_eventfd() }
    }

    /// Enters the kernel: submits `to_submit` requests, and if `min_complete` is not 0 waits for as many completions, with a
    /// time only if [`has_timed_wait`](Ring::has_timed_wait).
    ///
    /// # Errors
    /// What is neither of the four answers in [`Entered`]: the ring is broken, or this thread may not drive it.
    #[inline]
    pub(crate) fn enter(
        &self,
        to_submit: u32,
        min_complete: u32,
        mut flags: EnterFlags,
        at_most: Option<Duration>,
    ) -> io::Result<Entered> {
        let submitter = self.io.submitter();
        let entered = match at_most {
            None => {
                // SAFETY: no argument is passed. What the staged requests point to is valid (`push`).
                unsafe { submitter.enter::<libc::sigset_t>(to_submit, min_complete, flags.bits(), None) }
            }
            Some(at_most) => {
                let at_most = Timespec::from(at_most);
                let args = SubmitArgs::new().timespec(&at_most);
                flags |= EnterFlags::EXT_ARG;
                // SAFETY: the argument is of the type that EXT_ARG asks for, and a local that outlives the call, as does
                // the time it points to.
                unsafe { submitter.enter(to_submit, min_complete, flags.bits(), Some(&args)) }
            }
        };
        match entered {
            Ok(took) => Ok(Entered::Took(took as u32)),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME) => Ok(Entered::TimedOut),
                Some(errno::EINTR) => Ok(Entered::Interrupted),
                Some(errno::EAGAIN | errno::EBUSY) => Ok(Entered::PushedBack),
                _ => Err(error),
            },
        }
    }
}

/// The flags to try, best first. What a kernel does not know it refuses with `EINVAL`, all flags together.
fn ladder(options: &UringOptions) -> Vec<Flags> {
    let asked = Flags { sqpoll: options.sqpoll.is_some(), iopoll: options.iopoll, ..Flags::default() };
    let mut rungs = Vec::with_capacity(7);
    let newest = Flags { submit_all: true, no_sqarray: true, ..asked };
    if options.owner_thread && !asked.sqpoll && !asked.iopoll {
        rungs.push(Flags { owner_thread: true, ..newest });
        rungs.push(Flags { owner_thread: true, no_sqarray: false, ..newest });
    }
    rungs.extend([newest, Flags { no_sqarray: false, ..newest }, asked]);
    if asked.sqpoll {
        rungs.push(Flags { sqpoll: false, ..asked });
    }
    rungs
}

fn build(options: &UringOptions, flags: Flags, entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    // A forked child that touched the queues would move them under its parent.
    builder.dontfork();
    if flags.owner_thread {
        // Disabled at first: the thread that enables the ring owns it, and that is the first one to submit.
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_r_disabled();
    }
    if flags.no_sqarray {
        builder.setup_no_sqarray();
    }
    if flags.submit_all {
        builder.setup_submit_all();
    }
    if flags.iopoll {
        builder.setup_iopoll();
    }
    if flags.sqpoll {
        let idle = options.sqpoll.unwrap_or_default().as_millis().clamp(1, u32::MAX as u128);
        builder.setup_sqpoll(idle as u32);
    }
    // Every operation may be answered, and every wish to cancel one, before anybody looks.
    builder.setup_cqsize(2 * entries.max(SMALLEST));
    let io = builder.build(entries)?;
    if !io.params().is_feature_nodrop() {
        // Before 5.5 completions get lost when the queue is full.
        return Err(io::Error::from_raw_os_error(errno::EOPNOTSUPP));
    }
    if flags.sqpoll && !io.params().is_feature_sqpoll_nonfixed() {
        return Err(io::Error::from_raw_os_error(errno::EINVAL));
    }
    Ok(io)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_ends_without_any_new_flag() {
        let plain = ladder(&UringOptions::default().owner_thread(true));
        assert!(plain[0].owner_thread && plain[0].no_sqarray);
        assert_eq!(plain.last(), Some(&Flags::default()));
        let sqpoll = ladder(&UringOptions::default().owner_thread(true).sqpoll(Some(Duration::from_millis(5))));
        assert!(sqpoll.iter().all(|flags| !flags.owner_thread), "not with a polling thread");
        assert!(sqpoll[0].sqpoll && !sqpoll.last().unwrap().sqpoll);
        let iopoll = ladder(&UringOptions::default().iopoll(true));
        assert!(iopoll.iter().all(|flags| flags.iopoll), "what was asked for explicitly stays");
    }
}
