//! From file to file, through memory: there is no call for ranges.

use super::{
    handle, metadata, position,
    transfer::{read_once, write_once},
};
use crate::execute::Answer;
use io_core::{AlignedBuf, RawFile, RawOp, errno};

/// Bytes that are carried at once.
const CARRIED: usize = 256 << 10;

/// May copy less than was asked; 0 is the end of the source.
pub(crate) fn copy_range(from: RawFile, from_offset: u64, to: RawFile, to_offset: u64, len: u32) -> Answer {
    let len = len.min(RawOp::MAX_TRANSFER) as usize;
    position(from_offset)?;
    position(to_offset)?;
    if overlap(from, from_offset, to, to_offset, len)? {
        return Err(errno::EINVAL);
    }
    let mut buf = AlignedBuf::zeroed(len.min(CARRIED));
    let mut done = 0;
    while done < len {
        let want = (len - done).min(buf.len()) as u32;
        let at = done as u64;
        let carried = read_once(handle(from), buf.as_mut_ptr(), want, from_offset.saturating_add(at)).and_then(|got| {
            if got == 0 {
                return Ok(0);
            }
            match write_once(handle(to), buf.as_ptr(), got, to_offset.saturating_add(at)) {
                Ok(0) => Err(errno::EIO),
                answer => answer,
            }
        });
        match carried {
            Ok(0) => break,
            Ok(moved) => done += moved as usize,
            // What is copied is copied; the error comes again with the rest.
            Err(_) if done > 0 => break,
            Err(code) => return Err(code),
        }
    }
    Ok(done as i32)
}

/// Whether the two ranges lie in one file and touch.
fn overlap(from: RawFile, from_offset: u64, to: RawFile, to_offset: u64, len: usize) -> Answer<bool> {
    let (a, b) = (metadata::stat_file(from)?, metadata::stat_file(to)?);
    Ok((a.dev, a.ino) == (b.dev, b.ino) && from_offset.abs_diff(to_offset) < len as u64)
}

pub(crate) fn clone_range(_from: RawFile, _from_at: u64, _to: RawFile, _to_at: u64, _len: u64) -> Answer<()> {
    Err(errno::EOPNOTSUPP)
}
