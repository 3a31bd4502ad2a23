//! Reads and writes beyond the plain ones: exact, vectored, with options.

use super::{
    File,
    direct::{address, explained, settled},
    errors, transfer_of, written_of,
};
use io_engine::{
    Answer, Operation,
    core::{BufResult, IoBuf, IoBufMut, Op, RwFlags},
};
use std::io;

/// How one transfer is done.
///
/// ```
/// use io_fs::TransferOptions;
///
/// let scan = TransferOptions::new().dont_cache();
/// let urgent = TransferOptions::new().ioprio(1 << 13);
/// assert_ne!(scan, urgent);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferOptions {
    flags: RwFlags,
    ioprio: u16,
}

impl TransferOptions {
    /// As plain transfers are done.
    pub const fn new() -> TransferOptions {
        TransferOptions { flags: RwFlags::NONE, ioprio: 0 }
    }

    /// Through the page cache, but without leaving anything there (`RWF_DONTCACHE`, Linux 6.14). Answers `Unsupported` where kernel or
    /// file system do not have it.
    #[must_use]
    pub fn dont_cache(mut self) -> TransferOptions {
        self.flags |= RwFlags::DONTCACHE;
        self
    }

    /// With `WouldBlock` in place of waiting for a device or a lock (`RWF_NOWAIT`). A transfer may be short then.
    #[must_use]
    pub fn no_wait(mut self) -> TransferOptions {
        self.flags |= RwFlags::NOWAIT;
        self
    }

    /// With this I/O priority: class and level as in ioprio_set(2), class in the upper three bits. Drivers that cannot say it to the
    /// kernel for one operation leave it out.
    #[must_use]
    pub const fn ioprio(mut self, ioprio: u16) -> TransferOptions {
        self.ioprio = ioprio;
        self
    }
}

impl File {
    /// As [`File::read_at`], with options.
    ///
    /// # Errors
    /// As there, and as [`TransferOptions`] says.
    pub fn read_at_with<B: IoBufMut>(
        &self,
        mut buf: B,
        offset: u64,
        options: TransferOptions,
    ) -> Operation<BufResult<usize, B>> {
        let at = buf.as_mut_ptr() as usize;
        let piece = (settled(at, &buf), buf.capacity() as u64);
        let checked = self.check_pieces([piece].into_iter(), offset, false);
        let op = Op::read(&self.0.handle, buf, offset).with_flags(options.flags).with_ioprio(options.ioprio);
        self.run_checked(checked, op, transfer_of)
    }

    /// As [`File::write_at`], with options.
    ///
    /// # Errors
    /// As there, and as [`TransferOptions`] says.
    pub fn write_at_with<B: IoBuf>(
        &self,
        buf: B,
        offset: u64,
        options: TransferOptions,
    ) -> Operation<BufResult<usize, B>> {
        let piece = (address(&buf), buf.len() as u64);
        let checked = self.check_pieces([piece].into_iter(), offset, true);
        let op = Op::write(&self.0.handle, buf, offset).with_flags(options.flags).with_ioprio(options.ioprio);
        self.run_checked(checked, op, written_of)
    }

    /// Fills the buffer's capacity from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; the buffer comes back with what there was. Else as [`File::read_at`].
    pub fn read_exact_at<B: IoBufMut>(&self, mut buf: B, offset: u64) -> Operation<BufResult<(), B>> {
        let at = buf.as_mut_ptr() as usize;
        let piece = (settled(at, &buf), buf.capacity() as u64);
        let checked = self.check_pieces([piece].into_iter(), offset, false);
        self.run_checked(checked, Op::read(&self.0.handle, buf, offset), exact_of)
    }

    /// Writes all of the buffer's bytes. The same as [`File::write_at`], which writes all of them, too, but for the answer: a write that
    /// is cancelled in the middle is an error here.
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn write_all_at<B: IoBuf>(&self, buf: B, offset: u64) -> Operation<BufResult<(), B>> {
        let piece = (address(&buf), buf.len() as u64);
        let checked = self.check_pieces([piece].into_iter(), offset, true);
        self.run_checked(checked, Op::write(&self.0.handle, buf, offset), all_of)
    }

    /// Reads into the capacity of one buffer after the other, as one operation (preadv(2)). The answer is the bytes of all; each buffer
    /// comes back with the length that it got.
    ///
    /// # Errors
    /// As [`File::read_at`].
    pub fn read_vectored_at<B: IoBufMut>(&self, mut bufs: Vec<B>, offset: u64) -> Operation<BufResult<usize, Vec<B>>> {
        let pieces = bufs.iter_mut().map(|buf| (buf.as_mut_ptr() as usize, buf.capacity() as u64));
        let checked = self.check_pieces(pieces, offset, false);
        self.run_checked(checked, Op::read_vectored(&self.0.handle, bufs, offset), pieces_of)
    }

    /// Writes one buffer after the other, as one operation (pwritev(2)): all of them or an error, as [`File::write_at`].
    ///
    /// # Errors
    /// As [`File::write_at`].
    pub fn write_vectored_at<B: IoBuf>(&self, bufs: Vec<B>, offset: u64) -> Operation<BufResult<usize, Vec<B>>> {
        let pieces = bufs.iter().map(|buf| (buf.as_ptr() as usize, buf.len() as u64));
        let checked = self.check_pieces(pieces, offset, true);
        self.run_checked(checked, Op::write_vectored(&self.0.handle, bufs, offset), pieces_of)
    }

    pub(super) fn run_checked<T>(&self, checked: io::Result<()>, op: Op, make: fn(Answer) -> T) -> Operation<T> {
        if self.0.direct.is_some() {
            self.0.note_transfer();
        }
        match checked {
            Ok(()) => self.run(op, make),
            Err(error) => self.refuse(op, error, make),
        }
    }
}

fn exact_of<B: 'static>(answer: Answer) -> BufResult<(), B> {
    let want = answer.op.as_ref().map_or(0, |op| op.len());
    let (result, buf) = explained(answer);
    let result = result.and_then(|n| if n as u64 == want { Ok(()) } else { Err(ends_before(n, want)) });
    (result, buf)
}

#[cold]
fn ends_before(n: usize, want: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the file ends {n} bytes into a read of {want}"))
}

fn all_of<B: 'static>(answer: Answer) -> BufResult<(), B> {
    let want = answer.op.as_ref().map_or(0, |op| op.len());
    let (result, buf) = explained(answer);
    let result = result.and_then(|n| if n as u64 == want { Ok(()) } else { Err(errors::cut_short(n as u64)) });
    (result, buf)
}

fn pieces_of<B: IoBuf>(mut answer: Answer) -> BufResult<usize, Vec<B>> {
    if answer.result.is_err() {
        answer = errors::with_written(answer);
    }
    let op = answer.op.expect("a transfer's answer brings its operation");
    let bufs = op.into_bufs().unwrap_or_else(|_| unreachable!("the operation was made with these buffers"));
    (answer.result, bufs)
}
