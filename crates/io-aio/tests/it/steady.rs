//! What the steady state costs: no allocation, and no system call but io_submit and io_getevents.

use crate::fixture::{Blocks, driver, every_way, options};
use io_core::{Completions, Driver, Op, RawOp, Token, Wait};
use io_testkit::{BLOCK, confine::Confinement, in_child};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Keeps every operation in flight over and over again, until so many have completed.
fn steady(driver: &mut dyn Driver, ops: &mut [Op], out: &mut Completions, reads: usize) {
    let mut generations = 0;
    let mut prepare = |driver: &mut dyn Driver, ops: &mut [Op], slot: usize| {
        generations += 1;
        let raw = ops[slot].raw(0, RawOp::MAX_TRANSFER);
        // SAFETY: the operations rest in their slice until the end of `steady`, which reaps them all.
        unsafe { driver.prepare(Token::new(slot as u32, generations), &raw) }.expect("there is room for as many");
    };
    for slot in 0..ops.len() {
        prepare(driver, ops, slot);
    }
    let (mut begun, mut ended) = (ops.len(), 0);
    while ended < begun {
        driver.submit(Wait::Forever, out).expect("the channel works");
        for at in 0..out.len() {
            let done = out.as_slice()[at];
            assert_eq!(done.result, BLOCK as i32);
            ended += 1;
            if begun < reads {
                prepare(driver, ops, done.token.slot() as usize);
                begun += 1;
            }
        }
        out.clear();
    }
}

#[test]
fn no_operation_allocates() {
    let blocks = Blocks::new(32);
    for options in every_way(32) {
        let mut driver = driver(options);
        let mut ops: Vec<Op> = (0..32).map(|i| blocks.read(i)).collect();
        let mut out = Completions::with_limit(32);
        let before = ALLOCATIONS.get();
        steady(&mut driver, &mut ops, &mut out, 3000);
        assert_eq!(ALLOCATIONS.get() - before, 0, "{options:?}");
    }
    assert!(ALLOCATIONS.get() > 0, "the counter counts");
}

/// In a child whose every other system call ends it.
#[test]
fn no_system_call_but_two() {
    in_child!("two calls", Confinement::none(), || {
        let mut blocks = Blocks::new(32);
        blocks.remove();
        let mut driver = driver(options(32));
        let mut ops: Vec<Op> = (0..32).map(|i| blocks.read(i)).collect();
        let mut out = Completions::with_limit(32);
        // The first sleep arms the poll that wakers need; that is a submission too, but let it be over.
        steady(&mut driver, &mut ops, &mut out, 32);
        let readiness = driver.readiness();
        let calls = [libc::SYS_io_submit, libc::SYS_io_getevents, libc::SYS_exit_group];
        let rules: BTreeMap<i64, Vec<_>> = calls.into_iter().map(|call| (call, Vec::new())).collect();
        let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
        let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch);
        let filter = BpfProgram::try_from(filter.expect("a filter")).expect("a program");
        seccompiler::apply_filter(&filter).expect("seccomp");
        steady(&mut driver, &mut ops, &mut out, 3000);
        // Nobody sleeps, so a wake is free.
        readiness.wake();
        readiness.wake();
        driver.submit(Wait::Forever, &mut out).expect("the channel works");
        // Not through `_exit`: a sanitizer takes calls of its own to functions that do not return.
        // SAFETY: the only way out that the filter leaves; no memory is passed.
        unsafe { libc::syscall(libc::SYS_exit_group, 0) };
    });
}
