//! The one seam: what every driver implements and every core drives.

use crate::{Clock, Completions, DriverName, FileHandle, FileId, MonotonicClock, OpSet, RawOp, Token};
use std::{io, ptr::NonNull, sync::Arc, task::Waker, time::Duration};

/// Brings operations to a system and their completions back.
///
/// One thread at a time drives a driver (I6). It stages operations with [`prepare`](Driver::prepare), and
/// [`submit`](Driver::submit) brings them to the system and completions back. What an implementation must provide:
///
/// - **Exactly one completion** for each accepted token (I2), refused operations included: an operation that the system will
///   not take becomes its own completion, and the others go on.
/// - **No loss at the edge**: `Full` stages nothing; what does not fit into the caller's batch stays for the next call.
/// - **Wakes are sticky** ([`Readiness::wake`]): a wake that nobody was waiting for ends the next wait, also one that was rung before
///   the readiness was armed. A [`Wait::No`] does not use it up.
/// - **Arming is honest**: with nothing left to reap, `arm(true)` answers [`Armed::Waiting`], and the descriptor is quiet.
/// - An operation of a kind that [`supports`](Driver::supports) does not name completes with `-EOPNOTSUPP`, or is done anyway.
///
/// # Safety
/// *Silence* (I3). After the completion for a token is pushed, neither the driver nor anything behind it touches the memory or
/// the file that the operation named. Dropping a driver with operations in flight must leave what the system may still touch
/// on the driver's behalf (ring mapping, iocbs) in place: the core drains first, and otherwise leaks the driver.
pub unsafe trait Driver: Send {
    /// The driver's name.
    fn name(&self) -> DriverName;

    /// The most operations in flight at once, staged ones and cancels included; constant.
    fn depth(&self) -> u32;

    /// What this driver does on this system without blocking its submitter, probed by doing it. The engine offloads the rest.
    fn supports(&self) -> OpSet;

    /// Stages one operation. Never enters the kernel, never allocates.
    ///
    /// # Errors
    /// [`Full`]: `depth` operations are staged or in flight; nothing was staged.
    ///
    /// # Safety
    /// Until this token's completion is delivered, the memory and the files that `op` names stay valid and unmoved, nobody
    /// mutates a write's memory or touches a read's, and the token is not staged again.
    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full>;

    /// Submits what is staged, waits as told, and pushes at most `out.room()` completions.
    ///
    /// It comes back from waiting when there is at least one completion, when it was woken, or when the time is over. With no
    /// room in `out`, with completions already there, or with staged operations that the kernel will not take now, it does not
    /// wait. An interrupting signal is retried inside.
    ///
    /// # Errors
    /// Only when the channel to the system itself is broken. What is in flight then stays so.
    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress>;

    /// Wishes that the operation ended soon. It still completes exactly once, with its own result or `-ECANCELED`; nothing
    /// happens if it has completed already, and nothing at all may be what a driver can do. Takes effect at the next submit.
    fn cancel(&mut self, token: Token);

    /// What sleepers outside the driver sleep on, and what ends a [`Wait`] from outside.
    fn readiness(&self) -> Arc<dyn Readiness>;

    /// Arms or disarms the readiness for what is in flight. Armed, it becomes ready when a completion arrives.
    fn arm(&mut self, armed: bool) -> Armed;

    /// The clock that this driver's time runs on.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(MonotonicClock::new())
    }

    /// Registers a file, so that the operations on it need no look-up in the kernel. The registration keeps the file open until
    /// [`unregister_file`](Driver::unregister_file): never register a file that carries a lock.
    ///
    /// # Errors
    /// `Unsupported` where there is no such thing; the system's answer otherwise. The file works unregistered all the same.
    fn register_file(&mut self, file: &FileHandle) -> io::Result<()> {
        let _ = file;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a registration back; no effect without one.
    fn unregister_file(&mut self, file: FileId) {
        let _ = file;
    }

    /// Registers memory, so that transfers into it need no pinning of pages. Operations whose buffer lies within are recognized
    /// by address when they are prepared.
    ///
    /// # Errors
    /// As [`register_file`](Driver::register_file); the memory works unregistered all the same.
    ///
    /// # Safety
    /// The memory stays valid until [`unregister_memory`](Driver::unregister_memory) or until the driver is dropped.
    unsafe fn register_memory(&mut self, base: NonNull<u8>, len: usize) -> io::Result<()> {
        let _ = (base, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives the registration of the memory at `base` back; no effect without one.
    fn unregister_memory(&mut self, base: NonNull<u8>) {
        let _ = base;
    }
}

/// What sleepers sleep on. It lives apart from the driver, as long as any waker, so that nobody sleeps under a lock.
pub trait Readiness: Send + Sync {
    /// An eventfd that a runtime's reactor can watch for reading, where the platform has one.
    #[cfg(unix)]
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>>;

    /// Sleeps until the driver has something to say, a wake, or `at_most` is over.
    fn wait(&self, at_most: Option<Duration>);

    /// Ends the current wait, in [`Driver::submit`] or here, or the next one: sticky. Costs no system call if nobody sleeps.
    fn wake(&self);

    /// Wakes `when_ready` once at the next readiness or wake; for platforms and drivers without a descriptor.
    fn subscribe(&self, when_ready: Waker);
}

/// How long [`Driver::submit`] waits for the first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// At most this long.
    AtMost(Duration),
    /// Until there is one, or a wake.
    Forever,
}

/// What [`Driver::submit`] brought to the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Operations that went from staged to in flight (or straight to their completion) in this call.
    pub accepted: u32,
    /// Operations that are still staged: the kernel pushes back. Call again after a pause or a completion.
    pub staged: u32,
}

/// Nothing was staged: the depth is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The answer of [`Driver::arm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "ReadyNow means that nothing will ring for what is there already"]
pub enum Armed {
    /// The next completion makes the readiness ready.
    Waiting,
    /// Completions are there already; reap them, nothing will ring for them.
    ReadyNow,
}

const _: Option<&dyn Driver> = None;
const _: Option<&dyn Readiness> = None;

// SAFETY: all promises are the inner driver's.
unsafe impl<D: Driver + ?Sized> Driver for Box<D> {
    fn name(&self) -> DriverName {
        (**self).name()
    }
    fn depth(&self) -> u32 {
        (**self).depth()
    }
    fn supports(&self) -> OpSet {
        (**self).supports()
    }
    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        // SAFETY: passed on.
        unsafe { (**self).prepare(token, op) }
    }
    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        (**self).submit(wait, out)
    }
    fn cancel(&mut self, token: Token) {
        (**self).cancel(token)
    }
    fn readiness(&self) -> Arc<dyn Readiness> {
        (**self).readiness()
    }
    fn arm(&mut self, armed: bool) -> Armed {
        (**self).arm(armed)
    }
    fn clock(&self) -> Arc<dyn Clock> {
        (**self).clock()
    }
    fn register_file(&mut self, file: &FileHandle) -> io::Result<()> {
        (**self).register_file(file)
    }
    fn unregister_file(&mut self, file: FileId) {
        (**self).unregister_file(file)
    }
    unsafe fn register_memory(&mut self, base: NonNull<u8>, len: usize) -> io::Result<()> {
        // SAFETY: passed on.
        unsafe { (**self).register_memory(base, len) }
    }
    fn unregister_memory(&mut self, base: NonNull<u8>) {
        (**self).unregister_memory(base)
    }
}
