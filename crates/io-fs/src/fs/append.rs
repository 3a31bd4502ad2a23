//! Keeping the appenders of other processes out.

use super::{FileSystem, nothing_of};
use io_engine::core::{FileHandle, Op};
use std::{io, path::Path};

/// The byte that stands for the end of the file: the last one that a lock can cover, where no content ever is.
const END: u64 = i64::MAX as u64 - 1;

/// Takes the lock of a file's end for this handle.
pub(super) async fn keep_others_out(fs: &FileSystem, file: &FileHandle, path: &Path) -> io::Result<()> {
    fs.run(Op::try_lock(file, END, 1, true), nothing_of).await.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => {
            let text = format!("{} is open for appending elsewhere", path.display());
            io::Error::new(io::ErrorKind::WouldBlock, text)
        }
        _ => error,
    })
}
