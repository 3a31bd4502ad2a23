//! Byte-range locks: `LockFileEx` and `UnlockFileEx`.
//!
//! They belong to the handle, as open file description locks do. Unlike those they are mandatory, a range is given back exactly
//! as it was taken, and a handle's own lock stands in its way: there is no changing from shared to exclusive.

use super::{check, handle, overlapped, position};
use crate::execute::Answer;
use io_core::{LockHolder, RawFile, errno};
use windows_sys::Win32::{
    Foundation::ERROR_NOT_LOCKED,
    Storage::FileSystem::{LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx},
};

pub(crate) fn try_lock(file: RawFile, offset: u64, len: u64, exclusive: bool) -> Answer<()> {
    let (low, high) = length(offset, len)?;
    let flags = LOCKFILE_FAIL_IMMEDIATELY | if exclusive { LOCKFILE_EXCLUSIVE_LOCK } else { 0 };
    let mut at = overlapped(offset);
    // SAFETY: `at` outlives the call, which does not wait.
    check(unsafe { LockFileEx(handle(file), flags, 0, low, high, &mut at) })
}

/// Giving back what is not locked is fine, as on Unix.
pub(crate) fn unlock(file: RawFile, offset: u64, len: u64) -> Answer<()> {
    let (low, high) = length(offset, len)?;
    let mut at = overlapped(offset);
    // SAFETY: `at` outlives the call.
    match check(unsafe { UnlockFileEx(handle(file), 0, low, high, &mut at) }) {
        Err(code) if code == ERROR_NOT_LOCKED as i32 => Ok(()),
        answer => answer,
    }
}

/// There is no call for this: the range is locked and given back at once. Of the holder one learns whether it shares.
pub(crate) fn query_lock(file: RawFile, offset: u64, len: u64, exclusive: bool) -> Answer<Option<LockHolder>> {
    match try_lock(file, offset, len, exclusive) {
        Ok(()) => unlock(file, offset, len).map(|()| None),
        Err(errno::EAGAIN) => {
            let shares = exclusive && try_lock(file, offset, len, false).is_ok();
            if shares {
                unlock(file, offset, len)?;
            }
            Ok(Some(LockHolder { exclusive: !shares, offset, len, pid: None }))
        }
        Err(code) => Err(code),
    }
}

/// Low and high half of a range's length, where 0 means to the end of all files.
fn length(offset: u64, len: u64) -> Answer<(u32, u32)> {
    position(offset)?;
    position(len)?;
    let len = if len == 0 { i64::MAX as u64 - offset } else { len };
    Ok((len as u32, (len >> 32) as u32))
}
