//! Calls of several steps that somebody waits for no longer than a time.

use super::{Composite, Steps};
use io_engine::Deadline;
use std::{
    error, fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// A call whose answer is waited for no longer than a time; see [`Composite::with_timeout`].
#[must_use = "a call that nobody polls does not begin"]
pub struct TimedComposite<S> {
    composite: Option<Composite<S>>,
    deadline: Deadline,
}

impl<S: Steps> TimedComposite<S> {
    pub(super) fn new(composite: Composite<S>, at_most: Duration) -> TimedComposite<S> {
        let deadline = composite.shards.deadline(at_most);
        TimedComposite { composite: Some(composite), deadline }
    }

    /// As [`Composite::cancel`].
    pub fn cancel(&mut self) {
        if let Some(composite) = &mut self.composite {
            composite.cancel();
        }
    }
}

impl<S: Steps> Future for TimedComposite<S> {
    type Output = Result<S::Output, CompositeTimedOut<S>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let composite = self.composite.as_mut().expect("a timed call was polled after it was over");
        if let Poll::Ready(outcome) = Pin::new(composite).poll(cx) {
            self.composite = None;
            return Poll::Ready(Ok(outcome));
        }
        if Pin::new(&mut self.deadline).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let ticket = self.composite.take().expect("polled above");
        #[cfg(feature = "tracing")]
        tracing::warn!(call = std::any::type_name::<S>(), "a call was given up by the clock");
        Poll::Ready(Err(CompositeTimedOut { ticket }))
    }
}

impl<S> fmt::Debug for TimedComposite<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedComposite").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// The time was over before the answer came. The step under way goes on; the ticket is the rest of the call.
pub struct CompositeTimedOut<S> {
    /// The call, without a time: awaited it goes on, cancelled it ends soon, dropped it goes no further than the step under way.
    pub ticket: Composite<S>,
}

impl<S> fmt::Debug for CompositeTimedOut<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompositeTimedOut").field("ticket", &self.ticket).finish()
    }
}

impl<S> fmt::Display for CompositeTimedOut<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call took longer than it was given; its ticket is the rest of it")
    }
}

impl<S> error::Error for CompositeTimedOut<S> {}

impl<S> From<CompositeTimedOut<S>> for io::Error {
    /// `TimedOut` without the ticket: outcome and buffer are given up.
    fn from(timed_out: CompositeTimedOut<S>) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, timed_out.to_string())
    }
}
