//! Who may still put something into a channel that is about to end.
//!
//! An event loop ends when the channel is empty *for good*. A sender that looked, found it open and was then held up could push
//! after the last look; its request would be lost although `send` said yes. So senders pass a gate: in, push, out. Once the gate
//! is closed nobody comes in, and when it is empty what is in the channel is all there will ever be.

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicUsize, Ordering};

const CLOSED: usize = 1 << (usize::BITS - 1);

/// Counts who is inside; closed, it lets nobody in. See `AIOClient` of the engine for its use.
#[derive(Debug)]
pub struct Gate(AtomicUsize);

impl Default for Gate {
    fn default() -> Self {
        Gate(AtomicUsize::new(0))
    }
}

impl Gate {
    /// Comes in, unless the gate is closed.
    pub fn enter(&self) -> Option<Inside<'_>> {
        // The count goes up before the look at the bit: a closer that then finds the gate empty is sure of it. AcqRel pairs with `is_empty`: the loop that sees the sender gone sees what it pushed.
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        let inside = Inside(self); // leaves again at once where the gate is closed
        if before & CLOSED == 0 { Some(inside) } else { None }
    }

    /// Lets nobody in from now on.
    pub fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// True after [`Gate::close`].
    pub fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }

    /// True if nobody is inside.
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire) & !CLOSED == 0
    }
}

/// Somebody who is inside.
#[derive(Debug)]
pub struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_lets_nobody_in_but_everybody_out() {
        let gate = Gate::default();
        let inside = gate.enter().unwrap();
        gate.close();
        assert!(gate.enter().is_none());
        assert!(gate.is_closed() && !gate.is_empty());
        drop(inside);
        assert!(gate.is_empty());
    }
}

#[cfg(all(test, loom))]
mod loom_models {
    use super::*;
    use loom::{
        sync::{Arc, Mutex},
        thread,
    };

    /// Whoever came through the gate has its item found by the loop's last look; whoever did not knows that it did not.
    #[test]
    fn loom_nothing_is_pushed_after_the_last_look() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let gate = Arc::new(Gate::default());
            let channel = Arc::new(Mutex::new(0));
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let (gate, channel) = (gate.clone(), channel.clone());
                    thread::spawn(move || match gate.enter() {
                        Some(_inside) => {
                            *channel.lock().unwrap() += 1;
                            1
                        }
                        None => 0,
                    })
                })
                .collect();
            gate.close();
            while !gate.is_empty() {
                thread::yield_now();
            }
            let last_look = *channel.lock().unwrap();
            let accepted: i32 = senders.into_iter().map(|s| s.join().unwrap()).sum();
            assert_eq!(accepted, last_look);
        });
    }
}
