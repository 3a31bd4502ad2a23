//! Chunks as futures on a file system: each task moves or compares one after the other.

use super::pump::{End, Failed, Span};
use crate::load::Together;
use futures_util::future;
use indicatif::ProgressBar;
use io_fs::{Arena, ArenaBuf, File, FileSystem, IoBuf};
use std::{
    cell::{Cell, OnceCell},
    future::Future,
    io,
};

/// What the tasks of a span share; all run on one thread.
#[derive(Debug)]
pub(crate) struct Job<'a> {
    pub(crate) span: Span,
    pub(crate) chunk: usize,
    pub(crate) tasks: u32,
    pub(crate) arena: &'a Arena,
    pub(crate) bar: &'a ProgressBar,
}

#[derive(Debug)]
struct Running<'a> {
    job: Job<'a>,
    from: File,
    to: File,
    next: Cell<u64>,
    /// The first failure.
    failed: OnceCell<Failed>,
}

/// Moves the span's chunks.
pub(crate) async fn copy(fs: &FileSystem, from: End<'_>, to: End<'_>, job: Job<'_>) -> Result<(), Failed> {
    let running = Running::open(fs, from, to, job).await?;
    running.all(|| running.moving(running.buf())).await;
    running.end()
}

/// Compares the span's chunks.
pub(crate) async fn compare(fs: &FileSystem, from: End<'_>, to: End<'_>, job: Job<'_>) -> Result<(), Failed> {
    let running = Running::open(fs, from, to, job).await?;
    running.all(|| running.comparing(running.buf(), running.buf())).await;
    running.end()
}

impl<'a> Running<'a> {
    async fn open(fs: &FileSystem, from: End<'_>, to: End<'_>, job: Job<'a>) -> Result<Running<'a>, Failed> {
        fs.shards().register_arena(job.arena);
        let from = open(fs, from).await.map_err(|error| Failed::Reading(job.span.from, error))?;
        let to = open(fs, to).await.map_err(|error| Failed::Writing(job.span.from, error))?;
        Ok(Running { next: Cell::new(job.span.from), failed: OnceCell::new(), job, from, to })
    }

    async fn all<F: Future>(&self, task: impl Fn() -> F) {
        Together::new((0..self.job.tasks).map(|_| task())).await;
    }

    fn end(self) -> Result<(), Failed> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }

    fn buf(&self) -> ArenaBuf {
        self.job.arena.take().expect("the arena has buffers for each task")
    }

    /// The next chunk; `None` at the end, and after a failure.
    fn next(&self) -> Option<(u64, usize)> {
        let at = self.next.get();
        let left = self.job.span.to - at;
        if left == 0 || self.failed.get().is_some() {
            return None;
        }
        let len = left.min(self.job.chunk as u64) as usize;
        self.next.set(at + len as u64);
        Some((at, len))
    }

    fn fail(&self, failed: Failed) {
        // The first one tells.
        let _ = self.failed.set(failed);
    }

    async fn moving(&self, mut buf: ArenaBuf) {
        while let Some((at, len)) = self.next() {
            let (read, back) = self.from.read_at(buf.slice(..len), at).await;
            buf = back.into_inner();
            match read {
                Ok(n) if n == len => buf.resize(len),
                Ok(n) => return self.fail(Failed::Ended(at + n as u64)),
                Err(error) => return self.fail(Failed::Reading(at, error)),
            }
            let (written, back) = self.to.write_at(buf, at).await;
            buf = back;
            match written {
                Ok(n) if n == len => self.job.bar.inc(len as u64),
                Ok(_) => return self.fail(Failed::Writing(at, io::ErrorKind::WriteZero.into())),
                Err(error) => return self.fail(Failed::Writing(at, error)),
            }
        }
    }

    async fn comparing(&self, mut source: ArenaBuf, mut copy: ArenaBuf) {
        while let Some((at, len)) = self.next() {
            let reads =
                future::join(self.from.read_at(source.slice(..len), at), self.to.read_at(copy.slice(..len), at));
            let ((original, source_back), (found, copy_back)) = reads.await;
            (source, copy) = (source_back.into_inner(), copy_back.into_inner());
            let n = match (original, found) {
                (Ok(n), _) if n < len => return self.fail(Failed::Ended(at + n as u64)),
                (Err(error), _) => return self.fail(Failed::Reading(at, error)),
                (_, Err(error)) => return self.fail(Failed::ReadingBack(at, error)),
                (Ok(_), Ok(n)) => n,
            };
            if source[..n] != copy[..n] || n < len {
                let same = source.iter().zip(&copy[..n]).take_while(|(a, b)| a == b).count();
                return self.fail(Failed::Differs(at + same as u64));
            }
            self.job.bar.inc(len as u64);
        }
    }
}

/// Opens an end again, as a file of this file system; another file of that name is none.
async fn open(fs: &FileSystem, end: End<'_>) -> io::Result<File> {
    let file = fs.open_with(end.path, end.options).await?;
    if file.handle().facts().inode != end.handle.facts().inode {
        return Err(io::Error::other(format!("{}: is another file by now", end.path.display())));
    }
    Ok(file)
}
