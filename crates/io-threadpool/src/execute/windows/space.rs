//! What a file occupies and how long it is.

use super::{check, handle, metadata::standard_info, position};
use crate::execute::Answer;
use io_core::{Advice, Lifetime, RawFile, errno};
use std::{ffi::c_void, ptr};
use windows_sys::Win32::{
    Storage::FileSystem::{
        FILE_ALLOCATION_INFO, FILE_END_OF_FILE_INFO, FILE_INFO_BY_HANDLE_CLASS, FileAllocationInfo, FileEndOfFileInfo,
        SetFileInformationByHandle,
    },
    System::{
        IO::DeviceIoControl,
        Ioctl::{FILE_ZERO_DATA_INFORMATION, FSCTL_SET_SPARSE, FSCTL_SET_ZERO_DATA},
    },
};

/// Sets the end of the file.
pub(crate) fn truncate(file: RawFile, len: u64) -> Answer<()> {
    set(file, FileEndOfFileInfo, &FILE_END_OF_FILE_INFO { EndOfFile: position(len)? })
}

/// Reserves space up to the end of the range, then grows the file unless `keep_size`.
pub(crate) fn allocate(file: RawFile, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
    let end = position(end(offset, len)?)?;
    let info = standard_info(handle(file))?;
    // A smaller allocation would cut the file.
    if info.AllocationSize < end {
        set(file, FileAllocationInfo, &FILE_ALLOCATION_INFO { AllocationSize: end }).map_err(|code| match code {
            errno::ENOSYS => errno::EOPNOTSUPP,
            code => code,
        })?;
    }
    if !keep_size && info.EndOfFile < end {
        return truncate(file, end as u64);
    }
    Ok(())
}

/// Makes the file sparse and zeroes the range, which gives its space back where the file system can.
pub(crate) fn punch_hole(file: RawFile, offset: u64, len: u64) -> Answer<()> {
    end(offset, len)?;
    control(file, FSCTL_SET_SPARSE, ptr::null(), 0)?;
    zero(file, offset, len)
}

/// Zeroes the range; what lies behind the end of the file is added to it unless `keep_size`.
pub(crate) fn zero_range(file: RawFile, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
    let end = end(offset, len)?;
    zero(file, offset, len)?;
    if !keep_size && (standard_info(handle(file))?.EndOfFile as u64) < end {
        return truncate(file, end);
    }
    Ok(())
}

fn end(offset: u64, len: u64) -> Answer<u64> {
    offset.checked_add(len).filter(|_| len > 0).ok_or(errno::EINVAL)
}

fn zero(file: RawFile, offset: u64, len: u64) -> Answer<()> {
    let range = FILE_ZERO_DATA_INFORMATION {
        FileOffset: position(offset)?,
        BeyondFinalZero: position(offset.saturating_add(len))?,
    };
    control(file, FSCTL_SET_ZERO_DATA, ptr::from_ref(&range).cast(), size_of_val(&range))
}

fn control(file: RawFile, code: u32, input: *const c_void, len: usize) -> Answer<()> {
    let mut answered = 0;
    // SAFETY: `len` bytes of input are there; there is no output; the handle is synchronous, so the call is over afterwards.
    check(unsafe {
        DeviceIoControl(handle(file), code, input, len as u32, ptr::null_mut(), 0, &mut answered, ptr::null_mut())
    })
}

fn set<T>(file: RawFile, class: FILE_INFO_BY_HANDLE_CLASS, info: &T) -> Answer<()> {
    // SAFETY: `info` is the structure of this class.
    check(unsafe { SetFileInformationByHandle(handle(file), class, ptr::from_ref(info).cast(), size_of::<T>() as u32) })
}

pub(crate) fn advise(_file: RawFile, _offset: u64, _len: u64, _advice: Advice) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}

pub(crate) fn write_hint(_file: RawFile, _lifetime: Lifetime) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}
