//! Waiting for a time, on the engine's clock.

use super::{Shards, deadlines::Key};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

/// Waits until a time of the engine's clock, which is virtual on the simulator. Made by [`Shards::sleep`].
#[must_use = "nobody sleeps before it is polled"]
pub struct Sleep {
    shards: Shards,
    at: Duration,
    key: Option<Key>,
}

impl Shards {
    /// Sleeps for so long, counted from here on. It needs no runtime; what deadlines of operations cost, it costs.
    pub fn sleep(&self, time: Duration) -> Sleep {
        Sleep { shards: self.clone(), at: self.now().saturating_add(time), key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let shards = this.shards.clone();
        let deadlines = shards.deadlines();
        let left = this.at.saturating_sub(deadlines.now());
        if left.is_zero() {
            if let Some(key) = this.key.take() {
                deadlines.clear(key);
            }
            return Poll::Ready(());
        }
        match this.key {
            Some(key) => deadlines.replace(key, cx.waker()),
            None => this.key = Some(deadlines.set(this.at, cx.waker().clone())),
        }
        shards.help_until(left, cx);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shards.deadlines().clear(key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep(until {:?})", self.at)
    }
}
