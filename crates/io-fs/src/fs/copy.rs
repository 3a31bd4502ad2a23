//! Files copied by the shortest way there is.

use super::{FileSystem, nothing_of, replace::regular, temporary::Temporary};
use crate::composite::{BoxedSteps, Composite, step};
use io_engine::{
    Answer,
    core::{AlignedBuf, FileHandle, Metadata, Op, OpenOptions, RenameMode, errno},
};
use std::{io, path::Path};

/// Bytes that one operation copies within the system: large enough to cost nothing, small enough to be over soon.
const RANGE: u64 = 16 << 20;

/// Bytes that are read and written at once where the system does not copy.
const PIECE: usize = 1 << 20;

/// How a copy is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    overwrite: bool,
}

impl CopyOptions {
    /// Nothing is overwritten.
    pub const fn new() -> CopyOptions {
        CopyOptions { overwrite: false }
    }

    /// Replaces a file that is there, as one step.
    #[must_use]
    pub const fn overwrite(mut self, overwrite: bool) -> CopyOptions {
        self.overwrite = overwrite;
        self
    }
}

/// What was copied, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Bytes of content.
    pub bytes: u64,
    /// How they came there.
    pub way: CopyWay,
}

/// How the content of a copy came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyWay {
    /// Both files refer to the same blocks until one of them is written (reflink): no byte was moved.
    Reflink,
    /// The driver copied from file to file: copy_file_range(2), and past the caller's memory where the kernel has no such thing.
    Range,
    /// By reading and writing, because the driver could do neither.
    ReadWrite,
}

impl FileSystem {
    /// Copies a file. Nothing is overwritten; see [`FileSystem::copy_with`].
    ///
    /// # Errors
    /// As [`FileSystem::copy_with`].
    pub fn copy(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Composite<BoxedSteps<io::Result<Copied>>> {
        self.copy_with(from, to, CopyOptions::new())
    }

    /// Copies content and permission bits (without set-user-ID and set-group-ID) of a regular file, by reflink where the file system
    /// has that. Holes may be filled. Links are followed on both sides.
    ///
    /// The copy is made under a temporary name, synced, and renamed as [`FileSystem::replace`] does it: what has the new name is whole
    /// and durable, or as it was before. A source that is written at the same time is copied as it is met.
    ///
    /// # Errors
    /// `AlreadyExists` if something has the new name and overwriting was not asked for, also if it comes there only meanwhile.
    /// `InvalidInput` if both names are of one file, or the source is no regular file; `IsADirectory`. `Unsupported` if nothing is to
    /// be overwritten and the file system cannot promise that (no `RENAME_NOREPLACE`: NFS, FreeBSD). Else those of the system calls on
    /// the way. Each of them leaves both names as they were; of failed syncs, see [`FileSystem::replace`].
    pub fn copy_with(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        options: CopyOptions,
    ) -> Composite<BoxedSteps<io::Result<Copied>>> {
        let (fs, from, to) = (self.clone(), from.as_ref().to_path_buf(), to.as_ref().to_path_buf());
        Composite::new(self.shards(), BoxedSteps::new(async move { fs.copying(&from, &to, options).await }))
    }

    async fn copying(&self, from: &Path, to: &Path, options: CopyOptions) -> io::Result<Copied> {
        regular(&self.metadata(from).await?, from)?;
        let source = self.open_handle(from, OpenOptions::READ.into()).await?;
        let model = step(self.run(Op::stat(&source), super::metadata_of)).await?;
        regular(&model, from)?;
        if !options.overwrite && self.symlink_metadata(to).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is there already", to.display())));
        }
        let place = self.place_of(to).await?;
        if let Some(old) = &place.old {
            let same_inode = (old.dev, old.ino) == (model.dev, model.ino) && old.ino != 0;
            if same_inode || self.canonicalize(from).await? == place.path {
                let text = format!("{} and {} are the same file", from.display(), to.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        }
        let temporary = Temporary::make(self, place.dir(), 0o600).await?;
        let copied = match self.fill_from(&source, &model, &temporary).await {
            Ok(copied) => copied,
            Err(error) => {
                temporary.remove().await;
                return Err(error);
            }
        };
        if options.overwrite {
            temporary.publish(&place.path, RenameMode::Replace).await?;
        } else {
            temporary.publish(&place.path, RenameMode::NoReplace).await.map_err(explained)?;
        }
        Ok(copied)
    }

    async fn fill_from(&self, source: &FileHandle, model: &Metadata, target: &Temporary) -> io::Result<Copied> {
        let copied = self.copy_content(source, target.file().handle(), model.size).await?;
        let mut model = *model;
        model.mode &= 0o777;
        target.permit_as(&model).await?;
        Ok(copied)
    }

    async fn copy_content(&self, source: &FileHandle, target: &FileHandle, size: u64) -> io::Result<Copied> {
        // A file that says to be empty may have content all the same (/proc), and a clone of it would not.
        if size > 0 {
            match step(self.run(Op::clone_range(source, 0, target, 0, 0), nothing_of)).await {
                Ok(()) => {
                    let metadata = step(self.run(Op::stat(target), super::metadata_of)).await?;
                    return Ok(Copied { bytes: metadata.size, way: CopyWay::Reflink });
                }
                Err(error) if has_no_such_way(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut bytes = 0;
        loop {
            match step(self.run(Op::copy_range(source, bytes, target, bytes, RANGE), moved)).await {
                Ok(0) => return Ok(Copied { bytes, way: CopyWay::Range }),
                Ok(n) => bytes += n as u64,
                Err(error) if has_no_such_way(&error) => break,
                Err(error) => return Err(error),
            }
        }
        let bytes = self.carry(source, target, bytes).await?;
        Ok(Copied { bytes, way: CopyWay::ReadWrite })
    }

    /// Reads and writes from an offset to the end, and answers where that is.
    async fn carry(&self, source: &FileHandle, target: &FileHandle, mut at: u64) -> io::Result<u64> {
        let mut buf = AlignedBuf::zeroed(PIECE);
        loop {
            let (read, back) = step(self.run(Op::read(source, buf, at), piece)).await;
            let read = read?;
            if read == 0 {
                return Ok(at);
            }
            let (written, back) = step(self.run(Op::write(target, back, at), piece)).await;
            if written? != read {
                return Err(io::ErrorKind::WriteZero.into());
            }
            at += read as u64;
            buf = back;
        }
    }
}

fn moved(answer: Answer) -> io::Result<usize> {
    answer.result
}

fn piece(answer: Answer) -> (io::Result<usize>, AlignedBuf) {
    let op = answer.op.expect("a transfer's answer brings its operation");
    let buf = op.into_buf().unwrap_or_else(|_| unreachable!("the operation was made with this buffer"));
    (answer.result, buf)
}

/// Two file systems, two kinds of file, or a system without the call: another way may lead there.
fn has_no_such_way(error: &io::Error) -> bool {
    let codes = [errno::EOPNOTSUPP, errno::EXDEV, errno::EINVAL, errno::ENOSYS, errno::EPERM, errno::EACCES];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// The rename that was to replace nothing: where the file system has no such mode, it calls that an invalid argument.
fn explained(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno::EINVAL | errno::EOPNOTSUPP | errno::ENOSYS) => io::Error::new(
            io::ErrorKind::Unsupported,
            "this file system cannot rename without replacing, so a copy could overwrite what comes there meanwhile; \
             ask for overwriting if that is fine",
        ),
        _ => error,
    }
}
