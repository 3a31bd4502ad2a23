//! When a task whose operations all complete inline lets its neighbours run.
//!
//! Such a task never waits, and would keep its thread for itself. So it yields after a number of inline completions that each thread finds
//! by measuring how long its tasks are away: where many wait for their turn, a round of them has to stay short (p99.9 of tasks side by
//! side), and where nobody waits, yielding is for nothing and costs as much as several reads from memory.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Fewest and most inline completions in a row, at one to two microseconds each.
const IN_A_ROW_MIN: u32 = 16;
const IN_A_ROW_MAX: u32 = 256;
/// Away for longer than this: too many wait.
const LONG: Duration = Duration::from_micros(500);
/// Away for less than this: hardly anybody does.
const SHORT: Duration = Duration::from_micros(100);

thread_local! {
    /// Inline completions since the thread's tasks yielded last, and after how many they will.
    static IN_A_ROW: Cell<(u32, u32)> = const { Cell::new((0, 2 * IN_A_ROW_MIN)) };
}

/// When a task yielded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Away(Instant);

/// Counts one more inline completion of this thread; if its task is to yield, from when on.
#[inline]
pub(crate) fn completed_inline() -> Option<Away> {
    IN_A_ROW.with(|row| {
        let (n, limit) = row.get();
        if n + 1 < limit {
            row.set((n + 1, limit));
            return None;
        }
        row.set((0, limit));
        Some(Away(Instant::now()))
    })
}

/// A task of this thread waits for the system: its neighbours run by themselves.
#[inline]
pub(crate) fn waits() {
    IN_A_ROW.with(|row| row.set((0, row.get().1)));
}

impl Away {
    /// The task is back, perhaps on another thread.
    pub(crate) fn back(self) {
        self.back_after(self.0.elapsed());
    }

    fn back_after(self, away: Duration) {
        IN_A_ROW.with(|row| {
            let (n, limit) = row.get();
            let limit = match away {
                away if away > LONG => (limit / 2).max(IN_A_ROW_MIN),
                away if away < SHORT => (limit * 2).min(IN_A_ROW_MAX),
                _ => limit,
            };
            row.set((n, limit));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until_it_yields() -> (u32, Away) {
        let mut n = 1;
        loop {
            if let Some(away) = completed_inline() {
                return (n, away);
            }
            n += 1;
        }
    }

    #[test]
    fn alone_it_goes_on_for_long_and_in_a_crowd_it_does_not() {
        for _ in 0..10 {
            until_it_yields().1.back_after(Duration::from_micros(3));
        }
        assert_eq!(until_it_yields().0, IN_A_ROW_MAX);
        for _ in 0..10 {
            until_it_yields().1.back_after(Duration::from_millis(2));
        }
        assert_eq!(until_it_yields().0, IN_A_ROW_MIN);
        completed_inline();
        waits();
        assert_eq!(until_it_yields().0, IN_A_ROW_MIN);
    }
}
