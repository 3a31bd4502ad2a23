//! The writing side of a cursor: a buffer that is being filled, and writes in flight.

use super::{CursorOptions, Transfer, detached};
use crate::File;
use io_engine::core::AlignedBuf;
use std::{
    error, fmt, io,
    sync::Arc,
    task::{Context, Poll},
};

/// A write behind a [`Cursor`](crate::Cursor) failed. Of its bytes, some at the front may have been written.
#[derive(Clone, Debug)]
pub struct WriteFailed {
    offset: u64,
    len: usize,
    error: Arc<io::Error>,
}

impl WriteFailed {
    /// Where the write began.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes it had.
    pub fn bytes(&self) -> usize {
        self.len
    }

    /// What the system said.
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for WriteFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "writing {} bytes at offset {} failed: {}", self.len, self.offset, self.error)
    }
}

impl error::Error for WriteFailed {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&*self.error)
    }
}

impl From<WriteFailed> for io::Error {
    /// The same kind of error, with the whole story as its source.
    fn from(failed: WriteFailed) -> io::Error {
        io::Error::new(failed.error.kind(), failed)
    }
}

/// A write in flight.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) transfer: Transfer<AlignedBuf>,
    offset: u64,
    len: usize,
}

impl Write {
    fn begin(file: &File, buf: AlignedBuf, offset: u64) -> Write {
        let len = buf.len();
        Write { transfer: Transfer::begin(file.write_at(buf, offset)), offset, len }
    }

    /// The buffer, or what went wrong.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<AlignedBuf, WriteFailed>> {
        self.transfer.poll(cx).map(|(result, buf)| {
            let error = match result {
                Ok(written) if written == self.len => return Ok(buf),
                Ok(_) => io::ErrorKind::WriteZero.into(),
                Err(error) => error,
            };
            Err(WriteFailed { offset: self.offset, len: self.len, error: Arc::new(error) })
        })
    }
}

/// Contiguous while there is anything in it: who moves the position drains it first, so that no two writes overlap.
#[derive(Debug, Default)]
pub(super) struct Writer {
    filling: Option<(AlignedBuf, u64)>,
    going: Vec<Write>,
    spare: Vec<AlignedBuf>,
    failed: Option<WriteFailed>,
}

impl Writer {
    /// Takes as much as fits of what is written at `position`. Pending while the buffer is full and as many writes are in flight as
    /// may be.
    ///
    /// # Errors
    /// That of the first write that failed. Nothing was taken.
    pub(super) fn poll_put(
        &mut self,
        file: &File,
        position: u64,
        bytes: &[u8],
        options: &CursorOptions,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.collect(cx);
        if self.is_full(options) {
            if self.going.len() >= options.write_behind && self.failed.is_none() {
                return Poll::Pending;
            }
            self.emit(file);
        }
        self.report()?;
        let spare = &mut self.spare;
        let fresh = || (spare.pop().unwrap_or_else(|| AlignedBuf::with_capacity(options.chunk)), position);
        let (buf, _) = self.filling.get_or_insert_with(fresh);
        let len = buf.len();
        let taken = bytes.len().min(options.chunk - len);
        buf.resize(len + taken);
        buf[len..].copy_from_slice(&bytes[..taken]);
        if self.is_full(options) && self.going.len() < options.write_behind {
            self.emit(file);
        }
        Poll::Ready(Ok(taken))
    }

    /// Begins to write what is buffered, and waits for all writes.
    ///
    /// # Errors
    /// That of the first write that failed.
    pub(super) fn poll_drain(&mut self, file: &File, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.emit(file);
        self.collect(cx);
        if self.going.is_empty() { Poll::Ready(self.report()) } else { Poll::Pending }
    }

    /// True if nothing is buffered or in flight, and nothing failed.
    pub(super) fn is_idle(&self) -> bool {
        self.filling.is_none() && self.going.is_empty() && self.failed.is_none()
    }

    /// The first failure, which is then forgotten, together with what is buffered behind it.
    pub(super) fn take_failure(&mut self) -> Option<WriteFailed> {
        let failed = self.failed.take()?;
        self.filling = None;
        Some(failed)
    }

    /// Nobody waits any more: what is buffered is written all the same, and what is in flight goes on.
    pub(super) fn detach(&mut self, file: &File) {
        self.emit(file);
        detached::run(file, std::mem::take(&mut self.going));
    }

    fn is_full(&self, options: &CursorOptions) -> bool {
        self.filling.as_ref().is_some_and(|(buf, _)| buf.len() >= options.chunk)
    }

    /// Begins to write what is buffered; behind a failure it is dropped instead, since its caller will hear of that.
    fn emit(&mut self, file: &File) {
        let Some((mut buf, offset)) = self.filling.take() else { return };
        if self.failed.is_some() {
            buf.resize(0);
            self.spare.push(buf);
            return;
        }
        self.going.push(Write::begin(file, buf, offset));
    }

    /// Collects the writes that are over.
    fn collect(&mut self, cx: &mut Context<'_>) {
        let Writer { going, spare, failed, .. } = self;
        going.retain_mut(|write| match write.poll(cx) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                match outcome {
                    Ok(mut buf) => {
                        buf.resize(0);
                        spare.push(buf);
                    }
                    Err(failure) => {
                        failed.get_or_insert(failure);
                    }
                }
                false
            }
        });
    }

    fn report(&self) -> io::Result<()> {
        match &self.failed {
            Some(failed) => Err(failed.clone().into()),
            None => Ok(()),
        }
    }
}
