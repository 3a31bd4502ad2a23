//! Calls of several steps as futures that can be cancelled and given a time, as a single [`Operation`] can.

mod late;
mod step;

pub use late::{CompositeTimedOut, TimedComposite};
pub(crate) use step::{Step, is_cancelled, step};

use crate::BoxFuture;
use io_engine::{Operation, Shards};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use step::Within;

/// A call that is more than one operation: an append, a durable write, a replacement. It begins when it is first polled.
///
/// Dropping it loses the interest in its answer. The step that is under way goes on to its own end, as an [`Operation`] does; steps that
/// have not begun are not done. What the call has made and nobody is to see (a temporary file) is removed by the file system.
#[must_use = "a call that nobody polls does not begin"]
pub struct Composite<S> {
    steps: S,
    shards: Shards,
    cancelled: bool,
}

/// The steps of a [`Composite`]; only those of this crate are.
pub trait Steps: Future + Unpin + sealed::Sealed {
    /// The step that is under way is to be asked for its end.
    #[doc(hidden)]
    fn ask(&mut self);
}

pub(crate) mod sealed {
    /// What a wish to end does to a step is this crate's business.
    pub trait Sealed {}
}

impl<S: Steps> Composite<S> {
    pub(crate) fn new(shards: &Shards, steps: S) -> Composite<S> {
        Composite { steps, shards: shards.clone(), cancelled: false }
    }

    /// Wishes that the call ended soon. The step that is under way is asked for its end ([`Operation::cancel`]), and no other one begins
    /// but those that clean up. A call that is past the point of no return (a replacement that renames, a durable write that syncs) goes
    /// on to its end. It is still to be awaited: the answer brings the buffer, and tells what became of the call.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        self.steps.ask();
    }

    /// Waits for the answer no longer than `at_most`, counted from here on in the engine's time. After that the caller gets a
    /// [ticket](CompositeTimedOut::ticket) instead.
    pub fn with_timeout(self, at_most: Duration) -> TimedComposite<S> {
        TimedComposite::new(self, at_most)
    }

    /// The outcome, if it is there by now; else the call back, which goes on.
    ///
    /// A call moves from step to step when it is polled, and this polls it: who does nothing but ask now and then takes a step each time.
    ///
    /// # Errors
    /// The call, while it goes on.
    pub fn try_claim(mut self) -> Result<S::Output, Composite<S>> {
        match Pin::new(&mut self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Ok(outcome),
            Poll::Pending => Err(self),
        }
    }
}

impl<S: Steps> Future for Composite<S> {
    type Output = S::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Output> {
        let _within = Within::call(self.cancelled);
        Pin::new(&mut self.steps).poll(cx)
    }
}

impl<S> fmt::Debug for Composite<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.cancelled { "Composite(cancelled)" } else { "Composite" })
    }
}

/// The steps of a call that is seldom enough to be boxed.
pub struct BoxedSteps<T> {
    future: BoxFuture<'static, T>,
    /// Who is to poll again when a step is to be asked for its end: only from within can it be reached.
    waker: Option<Waker>,
}

impl<T> BoxedSteps<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> BoxedSteps<T> {
        BoxedSteps { future: Box::pin(future), waker: None }
    }
}

impl<T> sealed::Sealed for BoxedSteps<T> {}

impl<T> Steps for BoxedSteps<T> {
    fn ask(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Future for BoxedSteps<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        self.future.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for BoxedSteps<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxedSteps")
    }
}

const _: () = {
    const fn is_send<T: Send + Unpin>() {}
    is_send::<Composite<BoxedSteps<()>>>();
    is_send::<Step<()>>();
    is_send::<Operation<()>>();
};
