//! The same six functions over `libaio.so`, for the test that proves both equal. Needs libaio's development files.
//!
//! Signatures, errors and obligations are those of the functions of the same names at the crate's root. libaio returns
//! `-errno` where `syscall(2)` returns -1; its context is a pointer to an incomplete type where the kernel's is a long of
//! the same size and value.

use core::ffi::{c_int, c_long};
use core::mem::MaybeUninit;
use core::ptr;
use core::time::Duration;

use crate::sys::Timespec;
use crate::{aio_context_t, io_event, iocb};

/// The C declarations, under names of their own because the wrappers take theirs.
mod ffi {
    use super::{MaybeUninit, Timespec, aio_context_t, c_int, c_long, io_event, iocb};

    #[link(name = "aio")]
    unsafe extern "C" {
        pub(super) fn io_setup(nr_events: c_int, ctx: *mut aio_context_t) -> c_int;
        pub(super) fn io_destroy(ctx: aio_context_t) -> c_int;
        pub(super) fn io_submit(ctx: aio_context_t, nr: c_long, iocbs: *const *mut iocb) -> c_int;
        pub(super) fn io_cancel(ctx: aio_context_t, iocb: *mut iocb, result: *mut io_event) -> c_int;
        pub(super) fn io_getevents(
            ctx: aio_context_t,
            min_nr: c_long,
            nr: c_long,
            events: *mut MaybeUninit<io_event>,
            timeout: *const Timespec,
        ) -> c_int;
        pub(super) fn io_pgetevents(
            ctx: aio_context_t,
            min_nr: c_long,
            nr: c_long,
            events: *mut MaybeUninit<io_event>,
            timeout: *const Timespec,
            sigmask: *const libc::sigset_t,
        ) -> c_int;
    }
}

/// Creates a context through libaio.
///
/// # Errors
///
/// As [`crate::io_setup`].
///
/// # Safety
///
/// As for [`crate::io_setup`].
pub unsafe fn io_setup(nr_events: u32) -> Result<aio_context_t, i32> {
    let mut ctx: aio_context_t = 0;
    // SAFETY: ctx is a local of a pointer's size, written during the call only; it must be 0 before, and is. The cast
    // keeps the bits, and the kernel reads them as unsigned again.
    check(unsafe { ffi::io_setup(nr_events as c_int, &raw mut ctx) })?;
    Ok(ctx)
}

/// Destroys a context through libaio.
///
/// # Errors
///
/// As [`crate::io_destroy`].
///
/// # Safety
///
/// As for [`crate::io_destroy`].
pub unsafe fn io_destroy(ctx: aio_context_t) -> Result<(), i32> {
    // SAFETY: no memory of ours is passed; what the unmapping may hit, the caller has promised.
    check(unsafe { ffi::io_destroy(ctx) })?;
    Ok(())
}

/// Submits through libaio.
///
/// # Errors
///
/// As [`crate::io_submit`].
///
/// # Safety
///
/// As for [`crate::io_submit`].
pub unsafe fn io_submit(ctx: aio_context_t, iocbs: &[*mut iocb]) -> Result<usize, i32> {
    // SAFETY: pointer and length are of one live slice, which is only read; the rest is the caller's promise.
    check(unsafe { ffi::io_submit(ctx, iocbs.len() as c_long, iocbs.as_ptr()) })
}

/// Cancels through libaio.
///
/// # Errors
///
/// As [`crate::io_cancel`].
///
/// # Safety
///
/// As for [`crate::io_cancel`].
pub unsafe fn io_cancel(ctx: aio_context_t, iocb: *mut iocb, result: *mut io_event) -> Result<(), i32> {
    // SAFETY: both pointers are used during the call only, and the caller has promised that they are valid for it.
    check(unsafe { ffi::io_cancel(ctx, iocb, result) })?;
    Ok(())
}

/// Reaps through libaio, which reads the ring's header first and, with a zero timeout and an empty ring, answers 0 without
/// asking the kernel. So a wrong context is a crash here, not an error, and a wrong `min_nr` may go unnoticed.
///
/// # Errors
///
/// As [`crate::io_getevents`].
///
/// # Safety
///
/// As for [`crate::io_getevents`], and the ring is mapped.
pub unsafe fn io_getevents(
    ctx: aio_context_t,
    min_nr: usize,
    events: &mut [MaybeUninit<io_event>],
    timeout: Option<Duration>,
) -> Result<usize, i32> {
    let timeout = timeout.map(Timespec::from);
    // SAFETY: at most events.len() events are written, and the time is read, during the call; both live longer.
    check(unsafe {
        ffi::io_getevents(ctx, min_nr as c_long, events.len() as c_long, events.as_mut_ptr(), Timespec::ptr(&timeout))
    })
}

/// Reaps through libaio with a signal mask; from libaio 0.3.112.
///
/// # Errors
///
/// As [`crate::io_pgetevents`].
///
/// # Safety
///
/// As for [`crate::io_pgetevents`].
pub unsafe fn io_pgetevents(
    ctx: aio_context_t,
    min_nr: usize,
    events: &mut [MaybeUninit<io_event>],
    timeout: Option<Duration>,
    sigmask: Option<&libc::sigset_t>,
) -> Result<usize, i32> {
    let timeout = timeout.map(Timespec::from);
    // SAFETY: as in io_getevents; the mask is read during the call only.
    check(unsafe {
        ffi::io_pgetevents(
            ctx,
            min_nr as c_long,
            events.len() as c_long,
            events.as_mut_ptr(),
            Timespec::ptr(&timeout),
            sigmask.map_or(ptr::null(), ptr::from_ref),
        )
    })
}

/// Decodes libaio's answer: a count, or `-errno`.
fn check(answer: c_int) -> Result<usize, i32> {
    usize::try_from(answer).map_err(|_| -answer)
}
