//! Delays in the time of the driver's clock.

use std::time::Duration;

/// Slots that wait for a moment, few and short-lived: a list beats a heap.
#[derive(Debug, Default)]
pub(crate) struct Timers(Vec<(Duration, u32)>);

impl Timers {
    /// Room for `slots` timers, so that none allocates later.
    pub(crate) fn with_room(slots: u32) -> Timers {
        Timers(Vec::with_capacity(slots as usize))
    }

    /// Wakes `slot` at `at`.
    pub(crate) fn set(&mut self, slot: u32, at: Duration) {
        self.0.push((at, slot));
    }

    /// Forgets the timer of `slot`; true if there was one.
    pub(crate) fn clear(&mut self, slot: u32) -> bool {
        let before = self.0.len();
        self.0.retain(|&(_, s)| s != slot);
        self.0.len() != before
    }

    /// The next moment at which something is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.iter().map(|&(at, _)| at).min()
    }

    /// Takes one slot that is due.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<u32> {
        let due = self.0.iter().position(|&(at, _)| at <= now)?;
        Some(self.0.swap_remove(due).1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_once() {
        let ms = Duration::from_millis;
        let mut timers = Timers::with_room(4);
        timers.set(1, ms(5));
        timers.set(2, ms(3));
        timers.set(3, ms(9));
        assert_eq!(timers.next(), Some(ms(3)));
        assert!(timers.clear(3) && !timers.clear(3));
        assert_eq!(timers.pop_due(ms(2)), None);
        let mut due = [timers.pop_due(ms(5)).unwrap(), timers.pop_due(ms(5)).unwrap()];
        due.sort();
        assert_eq!(due, [1, 2]);
        assert!(timers.is_empty());
    }
}
