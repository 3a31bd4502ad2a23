//! The six system calls over `syscall(2)`.
//!
//! `syscall(2)` returns -1 and sets errno; the kernel and libaio return `-errno`. Taking the one for the other makes every
//! failure look like EPERM (-1), so the decoding stands in one place, [`check`], and nothing else looks at the sign.

use core::ffi::{c_int, c_long, c_ulong};
use core::mem::MaybeUninit;
use core::ptr;
use core::time::Duration;

use libc::{ENOSYS, syscall};

use crate::{aio_context_t, io_event, iocb};

/// Creates a context that takes at least `nr_events` operations in flight, and returns it.
///
/// The kernel rounds up (whole pages, and a multiple of the CPUs), and charges `nr_events` to the machine-wide
/// `fs.aio-max-nr`. From io_setup(2).
///
/// # Errors
///
/// EAGAIN: `fs.aio-max-nr` is used up. EINVAL: `nr_events` is 0 or absurd. ENOMEM. ENOSYS: a kernel without AIO, or a
/// seccomp filter (EPERM with others). Nothing is created.
///
/// # Safety
///
/// The context's ring becomes part of the address space, at the address that is the context's value. Until
/// [`io_destroy`] the caller keeps everyone from unmapping it and from writing to it, except as [`crate::AioRing`] says.
pub unsafe fn io_setup(nr_events: u32) -> Result<aio_context_t, i32> {
    let mut ctx: aio_context_t = 0;
    // SAFETY: ctx is a local that the kernel writes during the call only; it must be 0 before, and is.
    check(unsafe { syscall(libc::SYS_io_setup, nr_events as c_ulong, &raw mut ctx) })?;
    Ok(ctx)
}

/// Destroys a context: cancels what can be cancelled, waits for the rest, unmaps the ring.
///
/// It blocks until no operation of the context is in flight; completions not yet reaped are lost. From io_destroy(2).
///
/// # Errors
///
/// EINVAL: no such context, or another thread is destroying it. ENOSYS, EPERM.
///
/// # Safety
///
/// `ctx` is the caller's own and nobody uses it or its ring any more: the kernel may give the same value to the next
/// context, in this or in another thread.
pub unsafe fn io_destroy(ctx: aio_context_t) -> Result<(), i32> {
    // SAFETY: no memory of ours is passed; what the unmapping may hit, the caller has promised.
    check(unsafe { syscall(libc::SYS_io_destroy, ctx) })?;
    Ok(())
}

/// Submits operations in order, and returns how many the kernel has accepted.
///
/// It stops at the first iocb that it refuses: the count is then short, and the reason is learnt only by submitting again
/// from that iocb on. So an error always concerns `iocbs[0]`, and nothing was accepted. `Ok(0)` for an empty slice.
///
/// Buffered reads that miss the page cache, buffered writes and extending writes may block in here until they are done.
/// From io_submit(2).
///
/// # Errors
///
/// Of the context: EINVAL (no such context), EAGAIN (its events are used up). Of the first iocb: EBADF, EFAULT, EINVAL
/// (opcode, reserved fields, offset), EOPNOTSUPP (RWF_* flags), EAGAIN. ENOSYS, EPERM.
///
/// # Safety
///
/// `ctx` comes from [`io_setup`] and is not destroyed. Every pointer leads to an iocb that the kernel may read and
/// write (`aio_key`) during the call, and that nothing else uses as long as the operation is in flight. Until its
/// completion, the memory that an accepted iocb names stays valid for what its opcode does; the kernel holds a
/// reference to the file, so its descriptor may be closed.
pub unsafe fn io_submit(ctx: aio_context_t, iocbs: &[*mut iocb]) -> Result<usize, i32> {
    // SAFETY: pointer and length are of one live slice, which the kernel only reads; the rest is the caller's promise.
    check(unsafe { syscall(libc::SYS_io_submit, ctx, iocbs.len() as c_long, iocbs.as_ptr()) })
}

/// Asks for the cancellation of an operation in flight.
///
/// The kernel does not fill `result`, whatever io_cancel(2) says (seen on 6.18): a cancellation that began answers
/// EINPROGRESS, and the operation's completion arrives through the ring like any other, exactly once. Of the operations
/// of this header only [`crate::IOCB_CMD_POLL`] can be cancelled; reads and writes of files never.
///
/// # Errors
///
/// EINPROGRESS: cancelled, the completion follows or is already there. EINVAL: no such context, or the operation is
/// not in flight or cannot be cancelled. EFAULT. ENOSYS, EPERM. The operation's completion still comes in every case.
///
/// # Safety
///
/// `ctx` as for [`io_submit`]. The kernel reads `iocb` and may write `result` during the call.
pub unsafe fn io_cancel(ctx: aio_context_t, iocb: *mut iocb, result: *mut io_event) -> Result<(), i32> {
    // SAFETY: both pointers are used during the call only, and the caller has promised that they are valid for it.
    check(unsafe { syscall(libc::SYS_io_cancel, ctx, iocb, result) })?;
    Ok(())
}

/// Reaps at least `min_nr` completions, if need be after waiting for them, and returns how many it wrote to `events`.
///
/// Fewer than `min_nr` after `timeout`, or when a signal arrived after the first one. No `timeout` waits for ever, a zero
/// one not at all; one beyond the kernel's range is cut to it. From io_getevents(2).
///
/// # Errors
///
/// EINTR: a signal handler ran and nothing was reaped. EINVAL: no such context, or `min_nr` exceeds `events`. EFAULT.
/// ENOSYS (also on the few machines whose number for the call libc does not know), EPERM.
///
/// # Safety
///
/// `ctx` as for [`io_submit`]; nobody else reaps its ring in user space meanwhile. The first *n* events are
/// initialised on `Ok(n)`.
pub unsafe fn io_getevents(
    ctx: aio_context_t,
    min_nr: usize,
    events: &mut [MaybeUninit<io_event>],
    timeout: Option<Duration>,
) -> Result<usize, i32> {
    let Some(number) = IO_GETEVENTS else { return Err(ENOSYS) };
    let timeout = timeout.map(Timespec::from);
    // SAFETY: the kernel writes at most events.len() events, and reads the time, during the call; both live longer.
    check(unsafe {
        syscall(number, ctx, min_nr as c_long, events.len() as c_long, events.as_mut_ptr(), Timespec::ptr(&timeout))
    })
}

/// Reaps as [`io_getevents`] does, with the thread's signal mask set to `sigmask` for the time of the call.
///
/// Mask and wait are one step, as in ppoll(2): a signal that is blocked outside ends the wait even if it came before. From
/// Linux 4.18.
///
/// # Errors
///
/// As [`io_getevents`]; EINTR also for a signal that was pending before the call. ENOSYS before Linux 4.18, and on
/// machines whose number for the call is not known here.
///
/// # Safety
///
/// As for [`io_getevents`].
pub unsafe fn io_pgetevents(
    ctx: aio_context_t,
    min_nr: usize,
    events: &mut [MaybeUninit<io_event>],
    timeout: Option<Duration>,
    sigmask: Option<&libc::sigset_t>,
) -> Result<usize, i32> {
    let Some(number) = IO_PGETEVENTS else { return Err(ENOSYS) };
    let timeout = timeout.map(Timespec::from);
    let mask = KernelSigset { mask: sigmask.map_or(ptr::null(), ptr::from_ref), size: KERNEL_SIGSET_SIZE };
    // SAFETY: as in io_getevents; the mask is read during the call, and a sigset_t is never smaller than the kernel's.
    check(unsafe {
        syscall(
            number,
            ctx,
            min_nr as c_long,
            events.len() as c_long,
            events.as_mut_ptr(),
            Timespec::ptr(&timeout),
            &raw const mask,
        )
    })
}

/// The timespec of these calls: two longs, whatever the C library's own has become.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timespec {
    seconds: c_long,
    nanoseconds: c_long,
}

impl From<Duration> for Timespec {
    fn from(duration: Duration) -> Self {
        // Below 10⁹, so it fits a long of 32 bits.
        let nanoseconds = duration.subsec_nanos() as c_long;
        Timespec { seconds: c_long::try_from(duration.as_secs()).unwrap_or(c_long::MAX), nanoseconds }
    }
}

impl Timespec {
    pub(crate) fn ptr(timeout: &Option<Self>) -> *const Self {
        timeout.as_ref().map_or(ptr::null(), ptr::from_ref)
    }
}

/// The last argument of io_pgetevents: `struct __aio_sigset` of `fs/aio.c`.
#[repr(C)]
struct KernelSigset {
    mask: *const libc::sigset_t,
    size: usize,
}

/// Bytes of the kernel's own sigset_t: 64 signals, on every machine that [`IO_PGETEVENTS`] knows.
const KERNEL_SIGSET_SIZE: usize = 8;
const _: () = assert!(size_of::<libc::sigset_t>() >= KERNEL_SIGSET_SIZE);

/// The number of io_getevents. These machines have it under no number that libc knows, or (x32) with another timespec.
#[cfg(any(target_arch = "riscv32", target_arch = "m68k", all(target_arch = "x86_64", target_pointer_width = "32")))]
const IO_GETEVENTS: Option<c_long> = None;
#[cfg(not(any(
    target_arch = "riscv32",
    target_arch = "m68k",
    all(target_arch = "x86_64", target_pointer_width = "32")
)))]
const IO_GETEVENTS: Option<c_long> = Some(libc::SYS_io_getevents);

/// The number of io_pgetevents, which libc lacks for most machines.
const IO_PGETEVENTS: Option<c_long> = if IO_GETEVENTS.is_none() {
    None
} else if cfg!(target_arch = "x86_64") {
    Some(333)
} else if cfg!(any(target_arch = "aarch64", target_arch = "riscv64", target_arch = "loongarch64")) {
    Some(292)
} else if cfg!(target_arch = "x86") {
    Some(385)
} else if cfg!(target_arch = "arm") {
    Some(399)
} else if cfg!(target_arch = "s390x") {
    Some(382)
} else if cfg!(any(target_arch = "powerpc", target_arch = "powerpc64")) {
    Some(388)
} else {
    None
};

/// Decodes the answer of `syscall(2)`: a count, or -1 with the reason in errno.
fn check(answer: c_long) -> Result<usize, i32> {
    usize::try_from(answer).map_err(|_| errno())
}

fn errno() -> c_int {
    // SAFETY: the C library returns the address of this thread's own errno, which is always there.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_keep_their_parts_and_are_cut_to_the_range() {
        let time = Timespec::from(Duration::new(3, 999_999_999));
        assert_eq!(time, Timespec { seconds: 3, nanoseconds: 999_999_999 });
        assert_eq!(Timespec::from(Duration::MAX).seconds, c_long::MAX);
        assert!(Timespec::ptr(&None).is_null());
    }

    #[test]
    fn a_failed_call_is_errno_not_minus_the_answer() {
        // What went wrong elsewhere: the -1 of syscall(2) was read as -EPERM.
        // SAFETY: 0 is no context; the kernel finds none and touches nothing.
        assert_eq!(unsafe { io_destroy(0) }, Err(libc::EINVAL));
        // SAFETY: as above; there is room for one event.
        let reaped = unsafe { io_getevents(0, 0, &mut [MaybeUninit::uninit()], Some(Duration::ZERO)) };
        assert_eq!(reaped, Err(libc::EINVAL));
        assert_eq!(check(7), Ok(7));
    }
}
