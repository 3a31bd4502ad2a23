//! Copies chunks: each lane reads one, writes it, and takes the next.

use super::pump::{Failed, Job, Start};
use io_fs::{AIO, AIOEventListener, AIOKey, AIOKind, AnySubmission, ArenaBuf, IOQueue, IoBuf, Slice};
use std::io;

pub(crate) struct Mover<'a> {
    job: Job<'a>,
    next: u64,
    /// Of each lane: where its chunk is, and how long.
    chunks: Vec<(u64, usize)>,
    running: u32,
}

type Submission = AnySubmission<()>;

impl<'a> Mover<'a> {
    pub(crate) fn new(job: Job<'a>) -> Mover<'a> {
        let chunks = vec![(0, 0); job.lanes as usize];
        Mover { next: job.span.from, chunks, running: job.lanes, job }
    }

    /// The lane's next chunk, or its end.
    fn go_on(&mut self, lane: usize, buf: ArenaBuf, queue: &mut IOQueue<Submission>) {
        let left = self.job.span.to - self.next;
        if left == 0 || self.job.failed.get().is_some() {
            return self.end_lane();
        }
        let len = left.min(self.job.chunk as u64) as usize;
        self.chunks[lane] = (self.next, len);
        let read = AIO::read(lane as AIOKey, self.job.from, buf.slice(..len), self.next);
        self.next += len as u64;
        push(queue, read.into_any());
    }

    fn fail(&mut self, failed: Failed) {
        // The first one tells.
        let _ = self.job.failed.set(failed);
        self.end_lane();
    }

    fn end_lane(&mut self) {
        self.running -= 1;
        if self.running == 0 {
            self.job.client.shutdown();
        }
    }
}

impl AIOEventListener for Mover<'_> {
    type Request = Start;
    type Submission = Submission;

    fn on_request(&mut self, _: Start, queue: &mut IOQueue<Submission>) -> Result<(), Start> {
        for lane in 0..self.chunks.len() {
            let buf = self.job.arena.take().expect("the arena has a buffer for each lane");
            self.go_on(lane, buf, queue);
        }
        Ok(())
    }

    fn on_complete(&mut self, done: Submission, result: io::Result<usize>, queue: &mut IOQueue<Submission>) -> AIOKind {
        let (lane, kind) = (done.key as usize, done.kind());
        let (at, len) = self.chunks[lane];
        match (kind, result) {
            (AIOKind::Read, Ok(n)) if n == len => {
                let mut buf = buf_of::<Slice<ArenaBuf>>(done).into_inner();
                buf.resize(len);
                push(queue, AIO::write(lane as AIOKey, self.job.to, buf, at).into_any());
            }
            (AIOKind::Read, Ok(n)) => self.fail(Failed::Ended(at + n as u64)),
            (AIOKind::Read, Err(error)) => self.fail(Failed::Reading(at, error)),
            (_, Ok(n)) if n == len => {
                self.job.bar.inc(len as u64);
                self.go_on(lane, buf_of::<ArenaBuf>(done), queue);
            }
            (_, Ok(_)) => self.fail(Failed::Writing(at, io::ErrorKind::WriteZero.into())),
            (_, Err(error)) => self.fail(Failed::Writing(at, error)),
        }
        kind
    }

    fn quarantined(&mut self, _: AIOKey, reason: &io::Error) {
        self.fail(Failed::Lost(io::Error::new(reason.kind(), reason.to_string())));
    }
}

pub(crate) fn buf_of<B: IoBuf>(done: Submission) -> B {
    let buf = done.into_any_buf().and_then(|buf| buf.downcast().ok());
    buf.expect("the buffer is of the type that it was sent with")
}

pub(crate) fn push(queue: &mut IOQueue<Submission>, submission: Submission) {
    assert!(
        queue.push(submission).is_ok(),
        "a lane has one operation at a time, and the loop is as deep as lanes are many"
    );
}
