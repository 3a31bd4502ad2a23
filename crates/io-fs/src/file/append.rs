//! Appending.

use super::{AppendFailed, File, ShortWrite, errors, written_of};
use io_engine::{
    NoPlace, Place, append_by_kernel,
    core::{BufResult, IoBuf, Op, RwFlags},
};
use std::{future::Future, io};

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
    /// as zeros otherwise. One that is dropped later may or may not have written.
    ///
    /// # Errors
    /// [`AppendFailed`] with the gap that stays, if one does. `InvalidInput` if the process has appended to the inode by
    /// [`File::append_shared`].
    pub fn append<B: IoBuf>(&self, buf: B) -> impl Future<Output = BufResult<u64, B>> + Send + use<B> {
        append(self.clone(), Place::reserve(&self.0.handle, buf.len() as u64), buf)
    }

    /// Writes the buffer's bytes to where the file ends at that moment (`RWF_APPEND`), for files that several processes append to. Where
    /// that was is not known to anybody but the kernel.
    ///
    /// # Errors
    /// [`AppendFailed`]. A short append is one: its rest cannot follow, because others may have appended meanwhile. `InvalidInput` if the
    /// process appends to the inode with the cursor ([`File::append`]); `Unsupported` where the system has no such thing.
    pub async fn append_shared<B: IoBuf>(&self, buf: B) -> BufResult<(), B> {
        if let Err(error) = append_by_kernel(&self.0.handle) {
            return (Err(no_place(error)), buf);
        }
        let len = buf.len() as u64;
        let piece = (super::direct::address(&buf), len);
        let checked = self.check_pieces([piece].into_iter(), 0, true);
        let op = Op::write(&self.0.handle, buf, 0).with_flags(RwFlags::APPEND);
        let (result, buf) = self.run_checked(checked, op, written_of).await;
        let (written, cause) = match result {
            Ok(n) if n as u64 == len => return (Ok(()), buf),
            Ok(n) => (n as u64, io::Error::new(io::ErrorKind::WriteZero, "the system took a part of it only")),
            Err(error) => (0, error),
        };
        (Err(AppendFailed { offset: None, len, written, reclaimed: false, cause }.into()), buf)
    }
}

async fn append<B: IoBuf>(file: File, place: Result<Place, NoPlace>, buf: B) -> BufResult<u64, B> {
    let mut place = match place {
        Ok(place) => place,
        Err(error) => return (Err(no_place(error)), buf),
    };
    if place.offset().is_none() {
        match file.size().await {
            Ok(size) => place.learn_size(size),
            Err(cause) => return (Err(failed(place, 0, cause)), buf),
        }
    }
    let offset = place.offset().expect("the size was told above, or before");
    place.keep();
    let (result, buf) = file.write_at(buf, offset).await;
    let cause = match result {
        Ok(n) if n as u64 == place.len() => return (Ok(offset), buf),
        Ok(n) => errors::cut_short(n as u64),
        Err(error) => error,
    };
    let written = ShortWrite::in_error(&cause).map_or(0, |short| short.written);
    (Err(failed(place, written, cause)), buf)
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
