//! Wakes and readiness: none is lost, none is answered twice.

use crate::Cx;
use io_core::Wait;
use std::time::Duration;

/// A wake before the wait ends it at once, and only that one: sticky, and consumed.
pub fn before_the_wait(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let clock = bench.driver().clock();
    let readiness = bench.driver().readiness();
    for _ in 0..3 {
        readiness.wake();
        let begun = clock.now();
        bench.reap(Wait::AtMost(Duration::from_secs(10)));
        assert!(clock.now() - begun < Duration::from_secs(5), "the wake was lost");
        let begun = clock.now();
        bench.reap(Wait::AtMost(Duration::from_millis(20)));
        assert!(clock.now() - begun >= Duration::from_millis(20), "the wake was there twice");
    }
}
