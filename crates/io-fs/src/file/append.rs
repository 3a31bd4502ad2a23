//! Appending.

use super::{AppendFailed, File, ShortWrite, errors, written_of};
use crate::composite::{Composite, Step, Steps, is_cancelled, sealed::Sealed, step};
use io_engine::{
    Answer, NoPlace, Operation, Place, append_by_kernel,
    core::{BufResult, IoBuf, Op, RwFlags, errno},
};
use std::{
    fmt,
    future::Future,
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

impl File {
    /// Writes the buffer's bytes to the end of the file, all of them or an error, and answers the offset that they went to.
    ///
    /// All handles of the process share one cursor for each inode; places are given out in the order of the calls, whichever of the
    /// futures is polled first. Other writes that grow the file move the cursor, and a truncation takes it back unless appends are under
    /// way. `O_APPEND` is never set. Other processes do not know the cursor:
    /// [`FileSystem::open_append`](crate::FileSystem::open_append) keeps them out, and [`File::append_shared`] is for files that
    /// several processes append to.
    ///
    /// A future that is dropped before it was polled gives its place back if nobody has got the next one, and leaves a gap that reads
    /// as zeros otherwise. One that is dropped later may or may not have written. One that is cancelled answers whether it has.
    ///
    /// # Errors
    /// [`AppendFailed`] with the gap that stays, if one does. `InvalidInput` if the process has appended to the inode by
    /// [`File::append_shared`].
    pub fn append<B: IoBuf>(&self, buf: B) -> Composite<AppendSteps<B>> {
        let stage = match Place::reserve(&self.0.handle, buf.len() as u64) {
            Ok(place) => Stage::Placed(place, buf),
            Err(error) => Stage::Refused(error, buf),
        };
        Composite::new(self.0.fs.shards(), AppendSteps { file: self.clone(), stage })
    }

    /// Writes the buffer's bytes to where the file ends at that moment (`RWF_APPEND`), for files that several processes append to. Where
    /// that was is not known to anybody but the kernel.
    ///
    /// # Errors
    /// [`AppendFailed`]. A short append is one: its rest cannot follow, because others may have appended meanwhile. `InvalidInput` if the
    /// process appends to the inode with the cursor ([`File::append`]); `Unsupported` where the system has no such thing.
    pub fn append_shared<B: IoBuf>(&self, buf: B) -> Operation<BufResult<(), B>> {
        let checked = append_by_kernel(&self.0.handle);
        let piece = (super::direct::address(&buf), buf.len() as u64);
        let op = Op::write(&self.0.handle, buf, 0).with_flags(RwFlags::APPEND);
        match checked {
            Err(error) => self.refuse(op, no_place(error), refused_of),
            Ok(()) => self.run_checked(self.check_pieces([piece].into_iter(), 0, true), op, appended_of),
        }
    }
}

/// The steps of [`File::append`]: to ask for the size, if nobody has yet, and to write.
pub struct AppendSteps<B: IoBuf> {
    file: File,
    stage: Stage<B>,
}

enum Stage<B: IoBuf> {
    /// It has its place, and nothing was begun.
    Placed(Place, B),
    Refused(NoPlace, B),
    Asking(Place, B, Step<io::Result<u64>>),
    Writing(Place, u64, Step<BufResult<usize, B>>),
    Over,
}

// Nothing inside is pinned: what is under way is the engine's.
impl<B: IoBuf> Unpin for AppendSteps<B> {}
impl<B: IoBuf> Sealed for AppendSteps<B> {}

impl<B: IoBuf> Steps for AppendSteps<B> {
    fn ask(&mut self) {
        match &mut self.stage {
            Stage::Asking(_, _, size) => size.ask(),
            Stage::Writing(_, _, write) => write.ask(),
            Stage::Placed(..) | Stage::Refused(..) | Stage::Over => {}
        }
    }
}

impl<B: IoBuf> Future for AppendSteps<B> {
    type Output = BufResult<u64, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BufResult<u64, B>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::Writing(place, offset, write) => {
                    let Poll::Ready((result, buf)) = Pin::new(write).poll(cx) else { return Poll::Pending };
                    if matches!(result, Ok(n) if n as u64 == place.len()) {
                        let offset = *offset;
                        this.stage = Stage::Over;
                        return Poll::Ready((Ok(offset), buf));
                    }
                    let Stage::Writing(place, ..) = mem::replace(&mut this.stage, Stage::Over) else { unreachable!() };
                    return Poll::Ready((Err(not_written(place, result)), buf));
                }
                Stage::Asking(place, _, size) => {
                    let Poll::Ready(size) = Pin::new(size).poll(cx) else { return Poll::Pending };
                    let size = size.map(|size| place.learn_size(size));
                    let Stage::Asking(place, buf, _) = mem::replace(&mut this.stage, Stage::Over) else {
                        unreachable!()
                    };
                    match size {
                        Ok(()) => this.stage = Stage::Placed(place, buf),
                        Err(cause) => return Poll::Ready((Err(failed(place, 0, cause)), buf)),
                    }
                }
                _ => match mem::replace(&mut this.stage, Stage::Over) {
                    Stage::Refused(error, buf) => return Poll::Ready((Err(no_place(error)), buf)),
                    // A write that is refused before it begins would keep its place for nothing.
                    Stage::Placed(place, buf) if is_cancelled() => {
                        let cause = io::Error::from_raw_os_error(errno::ECANCELED);
                        return Poll::Ready((Err(failed(place, 0, cause)), buf));
                    }
                    Stage::Placed(mut place, buf) => {
                        this.stage = match place.offset() {
                            Some(offset) => {
                                place.keep();
                                Stage::Writing(place, offset, step(this.file.write_at(buf, offset)))
                            }
                            None => Stage::Asking(place, buf, step(this.file.size())),
                        };
                    }
                    _ => panic!("an append was polled after it was over"),
                },
            }
        }
    }
}

impl<B: IoBuf> fmt::Debug for AppendSteps<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppendSteps")
    }
}

#[cold]
fn not_written(place: Place, result: io::Result<usize>) -> io::Error {
    let cause = match result {
        Ok(n) => errors::cut_short(n as u64),
        Err(error) => error,
    };
    let written = ShortWrite::in_error(&cause).map_or(0, |short| short.written);
    failed(place, written, cause)
}

/// What an append by the kernel answers.
fn appended_of<B: IoBuf>(answer: Answer) -> BufResult<(), B> {
    let len = answer.op.as_ref().map_or(0, |op| op.len());
    let (result, buf) = written_of(answer);
    let (written, cause) = match result {
        Ok(n) if n as u64 == len => return (Ok(()), buf),
        Ok(n) => (n as u64, io::Error::new(io::ErrorKind::WriteZero, "the system took a part of it only")),
        Err(error) => (0, error),
    };
    (Err(AppendFailed { offset: None, len, written, reclaimed: false, cause }.into()), buf)
}

/// What is refused before it begins has appended nothing.
fn refused_of<B: IoBuf>(answer: Answer) -> BufResult<(), B> {
    let (result, buf) = written_of(answer);
    (result.map(drop), buf)
}

fn failed(place: Place, written: u64, cause: io::Error) -> io::Error {
    let (offset, len) = (place.offset(), place.len());
    let reclaimed = place.give_back();
    AppendFailed { offset, len, written, reclaimed, cause }.into()
}

#[cold]
fn no_place(error: NoPlace) -> io::Error {
    let text = match error {
        NoPlace::OtherWay => "this process appends to the file by the other one of append and append_shared",
        NoPlace::TooLong => "the file would be longer than a file can be",
    };
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
