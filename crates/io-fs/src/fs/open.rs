//! Opening files.

use super::{FileSystem, output_of, unexpected};
use crate::{File, FileOptions, composite::step, file::opened_for_append};
use io_engine::{
    Answer, Operation,
    core::{FileHandle, Op, OpenOptions, Output, errno},
};
use std::{io, path::Path};

impl FileSystem {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(path, OpenOptions::READ).await
    }

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn open_rw(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(path, OpenOptions::READ_WRITE).await
    }

    /// Makes a file and opens it for reading and writing. One that exists is cut to length 0; to replace its content as one step, see
    /// [`FileSystem::replace`].
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(path, OpenOptions { truncate: true, ..OpenOptions::CREATE }).await
    }

    /// Opens a file for appending, reading and writing; makes it if it is missing.
    ///
    /// All handles of this process that were opened so share one lock of the inode, which keeps out the appenders of other processes as
    /// long as one of the handles lives. It is a lock on the last possible byte of the file: reads, writes and locks of other ranges
    /// are nobody's business but their own.
    ///
    /// # Errors
    /// Those of open(2). `WouldBlock` if another process has the file open for appending; a file that was missing is made all the same.
    pub async fn open_append(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let handle = self.open_handle(path.as_ref(), OpenOptions::CREATE.into()).await?;
        opened_for_append(self, handle, path.as_ref()).await
    }

    /// Opens a file with these options: [`OpenOptions`] or [`FileOptions`].
    ///
    /// # Errors
    /// Those of open(2); `EINVAL` for options without any access, or which cut a file that they may not write.
    pub async fn open_with(&self, path: impl AsRef<Path>, options: impl Into<FileOptions>) -> io::Result<File> {
        let handle = self.open_handle(path.as_ref(), options.into()).await?;
        Ok(File::opened(self, handle).await)
    }

    pub(super) async fn open_handle(&self, path: &Path, options: FileOptions) -> io::Result<FileHandle> {
        let plain = options.plain();
        if !options.falls_back() {
            return self.open_plainly(path, plain).await;
        }
        if plain.create_new {
            return self.make_then_ask(path, plain).await;
        }
        match self.open_plainly(path, plain).await {
            Err(error) if refuses_direct(&error) => {
                told_buffered(path, &error);
                self.open_plainly(path, OpenOptions { direct: false, ..plain }).await
            }
            answer => answer,
        }
    }

    /// A new file that is direct if it can be. Linux makes the file before it refuses `O_DIRECT`, so asking again for a new one would
    /// find it: it is made buffered, and then opened once more.
    async fn make_then_ask(&self, path: &Path, options: OpenOptions) -> io::Result<FileHandle> {
        let buffered = self.open_plainly(path, OpenOptions { direct: false, ..options }).await?;
        let again = OpenOptions { create: false, create_new: false, truncate: false, no_follow: true, ..options };
        match self.open_plainly(path, again).await {
            // Somebody may have put another file there in between.
            Ok(direct) if buffered.facts().inode.is_some() && direct.facts().inode == buffered.facts().inode => {
                Ok(direct)
            }
            Ok(_) => Ok(buffered),
            Err(error) => {
                told_buffered(path, &error);
                Ok(buffered)
            }
        }
    }

    async fn open_plainly(&self, path: &Path, options: OpenOptions) -> io::Result<FileHandle> {
        step(self.open_op(path, options)?).await
    }
}

impl FileSystem {
    /// One open(2), without anything else.
    pub(super) fn open_op(&self, path: &Path, options: OpenOptions) -> io::Result<Operation<io::Result<FileHandle>>> {
        Ok(self.run(Op::open(path, options)?, file_of))
    }
}

/// A file that was to be direct, and may be buffered, is buffered.
#[cold]
fn told_buffered(path: &Path, error: &io::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(path = %path.display(), %error, "the file cannot be direct; it is opened buffered");
    let _ = (path, error);
}

fn refuses_direct(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(errno::EINVAL | errno::EOPNOTSUPP))
}

fn file_of(answer: Answer) -> io::Result<FileHandle> {
    match output_of(answer)? {
        Output::File(file) => Ok(file),
        other => Err(unexpected("an open", &other)),
    }
}
