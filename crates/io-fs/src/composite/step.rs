//! One operation within a call of several.

use io_engine::Operation;
use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

thread_local! {
    /// Whether the call that this thread polls at this moment is to end soon.
    static CANCELLED: Cell<bool> = const { Cell::new(false) };
}

/// As long as it lives, this thread polls a call.
pub(super) struct Within(bool);

impl Within {
    #[inline]
    pub(super) fn call(cancelled: bool) -> Within {
        Within(CANCELLED.replace(cancelled))
    }
}

impl Drop for Within {
    #[inline]
    fn drop(&mut self) {
        CANCELLED.set(self.0);
    }
}

/// True if the call that is being polled is to end soon.
#[inline]
pub(crate) fn is_cancelled() -> bool {
    CANCELLED.get()
}

/// An operation that ends soon if the call that it is a step of is to. What must not be left undone is awaited without this.
pub(crate) struct Step<T> {
    operation: Operation<T>,
    asked: bool,
}

pub(crate) fn step<T>(operation: Operation<T>) -> Step<T> {
    Step { operation, asked: false }
}

impl<T> Step<T> {
    /// Asks the operation for its end, once.
    pub(crate) fn ask(&mut self) {
        if !std::mem::replace(&mut self.asked, true) {
            self.operation.cancel();
        }
    }

    /// True if it was asked for its end: what it answers may be less than there is.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked
    }
}

impl<T> Future for Step<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if is_cancelled() {
            self.ask();
        }
        Pin::new(&mut self.operation).poll(cx)
    }
}
