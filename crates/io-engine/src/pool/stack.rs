//! The free slots of a class: a stack, because the buffer that was used last is the one still in the cache.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A lock-free stack of numbers below a bound, each in it at most once.
///
/// The head holds the number on top (plus one; 0 is empty) in its lower 24 bits, and above them how often it was changed: a thread
/// that slept between reading the head and exchanging it finds it changed, even if the same number is on top again. It would have to
/// sleep through exactly 2⁴⁰ changes, hours of them, to be wrong.
#[derive(Debug)]
pub(super) struct Stack {
    head: Head,
    /// For each number in the stack the one below it (plus one).
    below: Box<[AtomicU32]>,
}

/// On cache lines of its own: every thread writes to it.
#[derive(Debug)]
#[repr(align(128))]
struct Head(AtomicU64);

const TOP: u64 = (1 << 24) - 1;

impl Stack {
    /// An empty stack for numbers below `bound`.
    pub(super) fn new(bound: u32) -> Stack {
        assert!(u64::from(bound) <= TOP, "{bound} buffers of one size are too many");
        Stack { head: Head(AtomicU64::new(0)), below: (0..bound).map(|_| AtomicU32::new(0)).collect() }
    }

    pub(super) fn pop(&self) -> Option<u32> {
        let mut head = self.head.0.load(Ordering::Acquire);
        loop {
            let top = (head & TOP) as u32;
            let number = top.checked_sub(1)?;
            // It may be another thread's by now, and this number nonsense: then the head has changed, too.
            let below = self.below[number as usize].load(Ordering::Relaxed);
            match self.exchange(head, below) {
                Ok(()) => return Some(number),
                Err(now) => head = now,
            }
        }
    }

    pub(super) fn push(&self, number: u32) {
        let mut head = self.head.0.load(Ordering::Relaxed);
        loop {
            self.below[number as usize].store((head & TOP) as u32, Ordering::Relaxed);
            match self.exchange(head, number + 1) {
                Ok(()) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Release: who pops a number sees the links below it, and what its last owner wrote into the buffer. Acquire: the other side.
    fn exchange(&self, head: u64, top: u32) -> Result<(), u64> {
        let changes = (head & !TOP).wrapping_add(TOP + 1);
        let next = changes | u64::from(top);
        self.head.0.compare_exchange_weak(head, next, Ordering::AcqRel, Ordering::Acquire).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicBool, thread};

    #[test]
    fn last_in_first_out() {
        let stack = Stack::new(3);
        assert_eq!(stack.pop(), None);
        stack.push(2);
        stack.push(0);
        assert_eq!((stack.pop(), stack.pop(), stack.pop()), (Some(0), Some(2), None));
    }

    #[test]
    fn the_count_of_changes_wraps() {
        let stack = Stack::new(1);
        stack.head.0.store(!TOP, Ordering::Relaxed);
        stack.push(0);
        assert_eq!((stack.pop(), stack.pop()), (Some(0), None));
    }

    #[test]
    fn threads_never_have_the_same_number_and_lose_none() {
        const BOUND: u32 = 5;
        let stack = Stack::new(BOUND);
        (0..BOUND).for_each(|number| stack.push(number));
        let taken: Vec<_> = (0..BOUND).map(|_| AtomicBool::new(false)).collect();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50_000 {
                        let (a, b) = (stack.pop(), stack.pop());
                        for number in [a, b].into_iter().flatten() {
                            assert!(!taken[number as usize].swap(true, Ordering::Relaxed));
                        }
                        for number in [a, b].into_iter().flatten() {
                            taken[number as usize].store(false, Ordering::Relaxed);
                            stack.push(number);
                        }
                    }
                });
            }
        });
        let mut left: Vec<_> = std::iter::from_fn(|| stack.pop()).collect();
        left.sort();
        assert_eq!(left, (0..BOUND).collect::<Vec<_>>());
    }
}
