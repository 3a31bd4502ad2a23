//! Submissions on their way to the core.

use std::{collections::VecDeque, fmt};

/// A bounded queue of submissions, as deep as the loop.
pub struct IOQueue<S> {
    items: VecDeque<S>,
    depth: usize,
}

impl<S> IOQueue<S> {
    pub(crate) fn with_depth(depth: u32) -> IOQueue<S> {
        IOQueue { items: VecDeque::with_capacity(depth as usize), depth: depth as usize }
    }

    /// How many more submissions fit.
    pub fn room(&self) -> usize {
        self.depth - self.items.len()
    }

    /// Number of submissions that wait.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Appends a submission; they are staged in this order.
    ///
    /// # Errors
    /// The submission back if there is no room.
    pub fn push(&mut self, submission: S) -> Result<(), S> {
        if self.room() == 0 {
            return Err(submission);
        }
        self.items.push_back(submission);
        Ok(())
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<S> {
        self.items.pop_front()
    }
}

impl<S> fmt::Debug for IOQueue<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IOQueue({} of {})", self.items.len(), self.depth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_hands_back() {
        let mut queue = IOQueue::with_depth(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(3)));
        assert_eq!((queue.pop(), queue.room(), queue.len()), (Some(1), 1, 1));
    }
}
