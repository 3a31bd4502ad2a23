//! The clock of the timed part.
//!
//! A cached read takes well under a microsecond, and `std::time::Instant` costs 26 ns of it where the time-stamp counter costs
//! 10 (measured on a virtual machine). So the timed part counts ticks, one reading per completion, and only the histogram
//! sees nanoseconds.

use std::time::Duration;

/// Counts ticks; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ticker(quanta::Clock);

impl Ticker {
    /// A ticker; the first one in a process calibrates for some milliseconds at most.
    pub(crate) fn new() -> Ticker {
        Ticker(quanta::Clock::new())
    }

    /// Ticks by now.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.0.raw()
    }

    /// Nanoseconds between two readings.
    #[inline]
    pub(crate) fn nanos(&self, from: u64, to: u64) -> u64 {
        self.0.delta_as_nanos(from, to)
    }

    /// The reading at which `time` will have passed since `from`; never, for a time that is too long to count.
    pub(crate) fn after(&self, from: u64, time: Duration) -> u64 {
        let nanos_per_tick = self.0.delta_as_nanos(0, 1 << 40) as f64 / (1u64 << 40) as f64;
        let ticks = time.as_secs_f64() * 1e9 / nanos_per_tick;
        // A float to integer cast saturates.
        from.saturating_add(ticks as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn ticks_are_real_time() {
        let ticker = Ticker::new();
        let (before, tick, begun) = (Instant::now(), ticker.now(), Instant::now());
        let end = ticker.after(tick, Duration::from_millis(30));
        while ticker.now() < end {
            std::hint::spin_loop();
        }
        let (least, end, most) = (begun.elapsed().as_secs_f64(), ticker.now(), before.elapsed().as_secs_f64());
        let counted = ticker.nanos(tick, end) as f64 / 1e9;
        assert!(counted >= 0.0299 && counted >= least * 0.99 && counted <= most * 1.01, "{least} {counted} {most}");
        assert_eq!(ticker.after(tick, Duration::MAX), u64::MAX);
    }
}
