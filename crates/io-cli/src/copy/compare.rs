//! Compares chunks: each lane reads one from the source, the same one from the copy, and takes the next.

use super::{
    mover::{buf_of, push},
    pump::{Failed, Job, Start},
};
use io_fs::{AIO, AIOEventListener, AIOKey, AIOKind, AnySubmission, ArenaBuf, IOQueue, IoBuf, Slice};
use std::io;

pub(crate) struct Comparer<'a> {
    job: Job<'a>,
    next: u64,
    lanes: Vec<Lane>,
    running: u32,
}

#[derive(Default)]
struct Lane {
    at: u64,
    len: usize,
    /// Read from the source, while the copy is being read.
    source: Option<ArenaBuf>,
    /// Free for the copy, while the source is being read.
    spare: Option<ArenaBuf>,
}

type Submission = AnySubmission<()>;

impl<'a> Comparer<'a> {
    pub(crate) fn new(job: Job<'a>) -> Comparer<'a> {
        let lanes: Vec<Lane> = (0..job.lanes).map(|_| Lane::default()).collect();
        Comparer { next: job.span.from, lanes, running: job.lanes, job }
    }

    fn go_on(&mut self, id: usize, buf: ArenaBuf, spare: ArenaBuf, queue: &mut IOQueue<Submission>) {
        let left = self.job.span.to - self.next;
        if left == 0 || self.job.failed.get().is_some() {
            return self.end_lane();
        }
        let len = left.min(self.job.chunk as u64) as usize;
        self.lanes[id] = Lane { at: self.next, len, source: None, spare: Some(spare) };
        let read = AIO::read(id as AIOKey, self.job.from, buf.slice(..len), self.next);
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

impl AIOEventListener for Comparer<'_> {
    type Request = Start;
    type Submission = Submission;

    fn on_request(&mut self, _: Start, queue: &mut IOQueue<Submission>) -> Result<(), Start> {
        for id in 0..self.lanes.len() {
            let take = || self.job.arena.take().expect("the arena has two buffers for each lane");
            let (buf, spare) = (take(), take());
            self.go_on(id, buf, spare, queue);
        }
        Ok(())
    }

    fn on_complete(&mut self, done: Submission, result: io::Result<usize>, queue: &mut IOQueue<Submission>) -> AIOKind {
        let id = done.key as usize;
        let lane = &mut self.lanes[id];
        let (at, len) = (lane.at, lane.len);
        let buf = buf_of::<Slice<ArenaBuf>>(done).into_inner();
        match (lane.source.take(), result) {
            (None, Ok(n)) if n == len => {
                lane.source = Some(buf);
                let spare = lane.spare.take().expect("free while the source is read");
                push(queue, AIO::read(id as AIOKey, self.job.to, spare.slice(..len), at).into_any());
            }
            (None, Ok(n)) => self.fail(Failed::Ended(at + n as u64)),
            (None, Err(error)) => self.fail(Failed::Reading(at, error)),
            (Some(source), Ok(n)) if source[..n] == buf[..n] => {
                if n < len {
                    self.fail(Failed::Differs(at + n as u64));
                } else {
                    self.job.bar.inc(len as u64);
                    self.go_on(id, source, buf, queue);
                }
            }
            (Some(source), Ok(n)) => {
                let same = source.iter().zip(&buf[..n]).take_while(|(a, b)| a == b).count();
                self.fail(Failed::Differs(at + same as u64));
            }
            (Some(_), Err(error)) => self.fail(Failed::ReadingBack(at, error)),
        }
        AIOKind::Read
    }

    fn quarantined(&mut self, _: AIOKey, reason: &io::Error) {
        self.fail(Failed::Lost(io::Error::new(reason.kind(), reason.to_string())));
    }
}
