//! What the loop asks of its listener.

use super::{IOQueue, IOSubmission};
use std::{io, time::Instant};

/// The caller's own name for a submission.
pub type AIOKey = u64;

/// How a submission counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AIOKind {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A sync.
    Sync,
    /// Anything else.
    Other,
}

/// Turns requests into submissions and completions into answers, on the loop's thread.
///
/// The loop, not the listener, owns a submission from the moment it is queued until its completion, and hands it back by value:
/// its buffer is nobody else's while the kernel may touch it. Calls for one submission come in this order, each exactly once:
/// `on_submit`, then `on_complete` or `quarantined`.
pub trait AIOEventListener {
    /// What clients send.
    type Request;
    /// What the loop runs.
    type Submission: IOSubmission;

    /// Turns a request into submissions.
    ///
    /// # Errors
    /// The request back, if the queue has not enough room for it ([`IOQueue::room`]). The loop offers it again when there is more
    /// room, and takes nothing else from its clients before. What was pushed before giving the request back is run all the same.
    fn on_request(
        &mut self,
        request: Self::Request,
        queue: &mut IOQueue<Self::Submission>,
    ) -> Result<(), Self::Request>;

    /// A request did not fit although the queue was empty and nothing was in flight: it needs more than the loop's depth.
    fn on_refused(&mut self, request: Self::Request) {
        let _ = request;
    }

    /// A submission is about to be staged.
    fn on_submit(&mut self, submission: &Self::Submission) {
        let _ = submission;
    }

    /// A submission is answered. Bytes transferred: fewer than asked for only at the end of a file (or for flags that forbid a
    /// continuation). On an error the buffer holds what was transferred before it. What is pushed to the queue is run next.
    fn on_complete(
        &mut self,
        submission: Self::Submission,
        result: io::Result<usize>,
        queue: &mut IOQueue<Self::Submission>,
    ) -> AIOKind;

    /// After the completions of one round.
    fn on_batch_complete(&mut self, reads: usize, writes: usize) {
        let _ = (reads, writes);
    }

    /// Now and then, and before the loop ends.
    fn on_stats(&mut self, stats: &AIOStats) {
        let _ = stats;
    }

    /// The driver died with this submission in flight. It has no answer and its memory does not come back: the kernel may still
    /// hold it. Pages lent by [`UnsafeAIO`](super::UnsafeAIO) stay lent for ever.
    fn quarantined(&mut self, key: AIOKey, reason: &io::Error) {
        let _ = (key, reason);
    }

    /// The loop has ended: everything is answered, and the driver is gone.
    fn end_loop(self)
    where
        Self: Sized,
    {
    }
}

/// Counters of a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AIOStats {
    /// Submissions queued, and a request that waits for room.
    pub queuing: usize,
    /// Submissions in flight.
    pub running: usize,
    /// Reads answered.
    pub finished_reads: usize,
    /// Writes answered.
    pub finished_writes: usize,
    /// Everything else answered.
    pub finished_others: usize,
    /// Rounds that submitted without waiting.
    pub io_submit_count: usize,
    /// Time in them, in nanoseconds; estimated from one round in sixty-four.
    pub io_submit_nanos: usize,
    /// Rounds that submitted and waited.
    pub io_wait_count: usize,
    /// Time in them, in nanoseconds; estimated from one round in sixty-four.
    pub io_wait_nanos: usize,
}

impl AIOStats {
    pub(crate) const SAMPLE: usize = 64;

    /// Adds the counters of another loop.
    pub fn merge(&mut self, other: &AIOStats) {
        self.queuing += other.queuing;
        self.running += other.running;
        self.finished_reads += other.finished_reads;
        self.finished_writes += other.finished_writes;
        self.finished_others += other.finished_others;
        self.io_submit_count += other.io_submit_count;
        self.io_submit_nanos += other.io_submit_nanos;
        self.io_wait_count += other.io_wait_count;
        self.io_wait_nanos += other.io_wait_nanos;
    }

    #[inline]
    pub(crate) fn note_submit(&mut self, started: Option<Instant>, waited: bool) {
        let nanos = started.map_or(0, |started| started.elapsed().as_nanos() as usize * Self::SAMPLE);
        if waited {
            self.io_wait_count += 1;
            self.io_wait_nanos += nanos;
        } else {
            self.io_submit_count += 1;
            self.io_submit_nanos += nanos;
        }
    }
}
