//! Operations that are in flight before anybody waits for them.

use io_engine::Operation;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// An operation that has begun, or its outcome.
pub(super) enum Begun<T> {
    Going(Operation<T>),
    Done(T),
    Taken,
}

impl<T> Begun<T> {
    /// Begins an operation. Its completion wakes nobody before somebody polls it.
    pub(super) fn begin(mut operation: Operation<T>) -> Begun<T> {
        match Pin::new(&mut operation).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Begun::Done(outcome),
            Poll::Pending => Begun::Going(operation),
        }
    }

    /// The outcome, once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        match std::mem::replace(self, Begun::Taken) {
            Begun::Done(outcome) => Poll::Ready(outcome),
            Begun::Going(mut operation) => {
                let polled = Pin::new(&mut operation).poll(cx);
                if polled.is_pending() {
                    *self = Begun::Going(operation);
                }
                polled
            }
            Begun::Taken => panic!("the outcome was taken already"),
        }
    }
}

impl<T> fmt::Debug for Begun<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Begun::Going(operation) => operation.fmt(f),
            Begun::Done(_) => f.write_str("done"),
            Begun::Taken => f.write_str("taken"),
        }
    }
}
