//! Errors that say what was left behind.

use io_engine::{Answer, core::errno};
use std::{error, fmt, io};

/// A write that failed in the middle: a beginning of the buffer is in the file.
///
/// It sits inside an [`io::Error`] of the same kind as the system's; see [`ShortWrite::in_error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortWrite {
    /// Bytes that were written, from the beginning of the buffer.
    pub written: u64,
    /// The system's code for what stopped it.
    pub code: i32,
}

impl ShortWrite {
    /// The short write inside an error, if it is one.
    pub fn in_error(error: &io::Error) -> Option<ShortWrite> {
        error.get_ref().and_then(|inner| inner.downcast_ref::<ShortWrite>()).copied()
    }
}

impl fmt::Display for ShortWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} bytes were written", io::Error::from_raw_os_error(self.code), self.written)
    }
}

impl error::Error for ShortWrite {}

impl From<ShortWrite> for io::Error {
    fn from(short: ShortWrite) -> io::Error {
        io::Error::new(io::Error::from_raw_os_error(short.code).kind(), short)
    }
}

/// An append that failed. What it wrote stays where it was; appends that got their places later keep them.
///
/// It sits inside an [`io::Error`] of the same kind as its cause; see [`AppendFailed::in_error`].
#[derive(Debug)]
pub struct AppendFailed {
    /// Where its place began; `None` if that never came to be known, because the system was asked in vain for the size of the file, or
    /// because the kernel chose the place ([`File::append_shared`](crate::File::append_shared)).
    pub offset: Option<u64>,
    /// Length of the place.
    pub len: u64,
    /// Bytes that are known to be written, from the beginning of the place.
    pub written: u64,
    /// True: it was the last place, and the next append begins at the same offset. False: the rest of the place stays a gap, which
    /// reads as zeros once something is written behind it.
    pub reclaimed: bool,
    /// Why.
    pub cause: io::Error,
}

impl AppendFailed {
    /// The failed append inside an error, if it is one.
    pub fn in_error(error: &io::Error) -> Option<&AppendFailed> {
        error.get_ref().and_then(|inner| inner.downcast_ref())
    }

    /// The gap that stays in the file: its offset and its length. `None`: none stays, or nobody knows where.
    pub fn gap(&self) -> Option<(u64, u64)> {
        let len = self.len - self.written;
        self.offset.filter(|_| !self.reclaimed && len > 0).map(|offset| (offset + self.written, len))
    }
}

impl fmt::Display for AppendFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an append of {} bytes failed ({}) with {} written", self.len, self.cause, self.written)?;
        match (self.offset, self.gap()) {
            (_, Some((offset, len))) => write!(f, "; it leaves a gap of {len} bytes at offset {offset}"),
            (Some(offset), None) if self.reclaimed => write!(f, "; the next one goes to offset {offset}, too"),
            _ => Ok(()),
        }
    }
}

impl error::Error for AppendFailed {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.cause)
    }
}

impl From<AppendFailed> for io::Error {
    fn from(failed: AppendFailed) -> io::Error {
        io::Error::new(failed.cause.kind(), failed)
    }
}

/// An error, with how far the operation got if it is a write that got anywhere.
#[cold]
pub(super) fn with_written(mut answer: Answer) -> Answer {
    let written = answer.op.as_ref().filter(|op| op.kind().is_write()).map_or(0, |op| op.done());
    let code = answer.result.as_ref().err().and_then(io::Error::raw_os_error);
    if let Some(code) = code.filter(|_| written > 0) {
        answer.result = Err(ShortWrite { written, code }.into());
    }
    answer
}

/// What a write answers that was to write all and was cut short by a cancel.
pub(super) fn cut_short(written: u64) -> io::Error {
    ShortWrite { written, code: errno::ECANCELED }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_behind_is_found_and_said() {
        let error: io::Error = ShortWrite { written: 7, code: errno::ENOSPC }.into();
        assert_eq!(error.kind(), io::Error::from_raw_os_error(errno::ENOSPC).kind());
        assert_eq!(ShortWrite::in_error(&error).unwrap().written, 7);
        let failed =
            |reclaimed| AppendFailed { offset: Some(100), len: 10, written: 4, reclaimed, cause: cut_short(4) };
        assert_eq!(failed(false).gap(), Some((104, 6)));
        assert_eq!(failed(true).gap(), None);
        assert!(failed(false).to_string().ends_with("a gap of 6 bytes at offset 104"), "{}", failed(false));
        assert!(AppendFailed::in_error(&failed(true).into()).unwrap().reclaimed);
    }
}
