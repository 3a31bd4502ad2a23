//! The steady state allocates nothing.

use super::{bench_free_loop, setups};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does everything.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Reads, syncs, metadata, refused operations, wishes to cancel, wakes and arming, over and over.
#[test]
fn the_steady_state_allocates_nothing() {
    for options in setups() {
        let mut driver = super::driver!(options);
        bench_free_loop::run(&mut driver, 20);
        let before = ALLOCATIONS.get();
        bench_free_loop::run(&mut driver, 1000);
        assert_eq!(ALLOCATIONS.get() - before, 0, "{driver:?}");
    }
}
