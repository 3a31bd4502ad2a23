//! Reads and writes at an offset: `ReadFile` and `WriteFile` with an `OVERLAPPED` that carries it.

use super::{check, durable, handle, last, overlapped, position};
use crate::execute::Answer;
use io_core::{IoVec, RawFile, RawOp, RwFlags, errno};
use windows_sys::Win32::{
    Foundation::{ERROR_HANDLE_EOF, ERROR_IO_INCOMPLETE, ERROR_IO_PENDING, HANDLE},
    Storage::FileSystem::{ReadFile, WriteFile},
    System::IO::{GetOverlappedResult, OVERLAPPED},
};

/// The offset of a write that goes to the end of the file, wherever that is by then.
const AT_THE_END: u64 = u64::MAX;

/// # Safety
/// `len` bytes at `buf` are writable and nobody else's until this returns.
pub(crate) unsafe fn read(file: RawFile, buf: *mut u8, len: u32, offset: u64, flags: RwFlags, ioprio: u16) -> Answer {
    // SAFETY: the piece is the caller's memory.
    unsafe { read_vectored(file, &IoVec { base: buf, len: len as usize }, 1, offset, flags, ioprio) }
}

/// # Safety
/// `len` bytes at `buf` are readable and do not change until this returns.
pub(crate) unsafe fn write(
    file: RawFile,
    buf: *const u8,
    len: u32,
    offset: u64,
    flags: RwFlags,
    ioprio: u16,
) -> Answer {
    // SAFETY: the piece is the caller's memory, and a write only reads it.
    unsafe { write_vectored(file, &IoVec { base: buf.cast_mut(), len: len as usize }, 1, offset, flags, ioprio) }
}

/// # Safety
/// `count` pieces are readable at `iov`, and the memory they name is writable and nobody else's, until this returns.
pub(crate) unsafe fn read_vectored(
    file: RawFile,
    iov: *const IoVec,
    count: u32,
    offset: u64,
    flags: RwFlags,
    _ioprio: u16,
) -> Answer {
    // A read has nothing to make durable.
    if !RwFlags::DSYNC.contains(flags) {
        return Err(errno::EOPNOTSUPP);
    }
    // SAFETY: the caller lends the pieces and their memory.
    unsafe { each(iov, count, offset, |base, len, at| read_once(handle(file), base, len, at)) }
}

/// # Safety
/// `count` pieces are readable at `iov`, and the memory they name is readable and does not change, until this returns.
pub(crate) unsafe fn write_vectored(
    file: RawFile,
    iov: *const IoVec,
    count: u32,
    offset: u64,
    flags: RwFlags,
    _ioprio: u16,
) -> Answer {
    if !(RwFlags::DSYNC | RwFlags::APPEND).contains(flags) {
        return Err(errno::EOPNOTSUPP);
    }
    let append = flags.contains(RwFlags::APPEND);
    let write = |base: *mut u8, len, at| write_once(handle(file), base, len, if append { AT_THE_END } else { at });
    // SAFETY: the caller lends the pieces and their memory.
    let moved = unsafe { each(iov, count, offset, write)? };
    if flags.contains(RwFlags::DSYNC) {
        durable::sync_data(file)?;
    }
    Ok(moved)
}

/// Moves piece after piece until one is short. An error after the first byte comes again with the rest.
///
/// # Safety
/// `count` pieces are readable at `iov`.
unsafe fn each(
    iov: *const IoVec,
    count: u32,
    offset: u64,
    mut call: impl FnMut(*mut u8, u32, u64) -> Answer<u32>,
) -> Answer {
    position(offset)?;
    let mut done = 0u32;
    for index in 0..count.min(RawOp::MAX_PIECES) as usize {
        // SAFETY: below `count`.
        let piece = unsafe { *iov.add(index) };
        let len = piece.len.min((RawOp::MAX_TRANSFER - done) as usize) as u32;
        match call(piece.base, len, offset.saturating_add(u64::from(done))) {
            Ok(moved) => {
                done += moved;
                if moved < len || done == RawOp::MAX_TRANSFER {
                    break;
                }
            }
            Err(_) if done > 0 => break,
            Err(code) => return Err(code),
        }
    }
    Ok(done as i32)
}

/// Reads once; 0 at the end of the file.
pub(super) fn read_once(file: HANDLE, base: *mut u8, len: u32, offset: u64) -> Answer<u32> {
    let mut at = overlapped(offset);
    // SAFETY: the caller lends the memory; the call is over before `at` is gone (`finished` sees to that).
    let answer = finished(file, &mut at, |at, moved| unsafe { ReadFile(file, base, len, moved, at) });
    match answer {
        Err(code) if code == ERROR_HANDLE_EOF as i32 => Ok(0),
        answer => answer,
    }
}

/// Writes once.
pub(super) fn write_once(file: HANDLE, base: *const u8, len: u32, offset: u64) -> Answer<u32> {
    let mut at = overlapped(offset);
    // SAFETY: as in `read_once`.
    finished(file, &mut at, |at, moved| unsafe { WriteFile(file, base, len, moved, at) })
}

/// Makes a call and stays until it is over, even if the handle was opened for overlapped I/O by somebody else: the system must
/// not touch the memory after we have answered (I3).
fn finished(
    file: HANDLE,
    at: &mut OVERLAPPED,
    call: impl FnOnce(*mut OVERLAPPED, *mut u32) -> windows_sys::core::BOOL,
) -> Answer<u32> {
    let mut moved = 0;
    let at: *mut OVERLAPPED = at;
    let mut outcome = check(call(at, &mut moved));
    while let Err(code) = outcome {
        if code != ERROR_IO_PENDING as i32 && code != ERROR_IO_INCOMPLETE as i32 {
            break;
        }
        // SAFETY: `at` is alive. Waiting ends with any operation on the handle; the second call says whether it was ours.
        outcome = unsafe {
            GetOverlappedResult(file, at, &mut moved, 1);
            if GetOverlappedResult(file, at, &mut moved, 0) == 0 { Err(last()) } else { Ok(()) }
        };
    }
    outcome.map(|()| moved)
}
