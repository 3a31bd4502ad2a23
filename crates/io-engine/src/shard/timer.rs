//! A time to wait for, in the engine's own time.

use super::{Shards, deadlines::Key};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// A future that is over at a time of the engine's clock: real time, or the simulator's.
#[must_use = "time passes for who waits"]
pub struct Deadline {
    shards: Shards,
    at: Duration,
    key: Option<Key>,
}

impl Shards {
    /// Waits so long, counted from here on.
    pub fn deadline(&self, at_most: Duration) -> Deadline {
        Deadline { shards: self.clone(), at: self.now().saturating_add(at_most), key: None }
    }
}

impl Future for Deadline {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let deadlines = this.shards.deadlines();
        let left = this.at.saturating_sub(deadlines.now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        match this.key {
            Some(key) => deadlines.replace(key, cx.waker()),
            None => this.key = Some(deadlines.set(this.at, cx.waker().clone())),
        }
        this.shards.help_until(left, cx);
        Poll::Pending
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shards.deadlines().clear(key);
        }
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deadline({:?})", self.at)
    }
}
