//! The buffers of one size.

use super::{ClassStats, line::Line, options::SizeClass, registry::Lent, stack::Stack};
use crate::mapping::{HUGE, Mapping};
use std::{
    ptr::NonNull,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
};

/// A class grows in so many steps: each arena takes a place in a ring's table of registered memory, of which there are few.
const ARENAS: usize = 4;

/// Or in more, if they were larger than this: a registered arena is memory in use, all of it.
const ARENA_MAX: usize = 32 << 20;

/// Slots, numbered through all arenas of the class.
#[derive(Debug)]
pub(super) struct Class {
    size: usize,
    slots_max: u32,
    slots_per_arena: u32,
    arenas: Box<[OnceLock<Mapping>]>,
    /// Held by who maps the next arena.
    growing: Mutex<()>,
    free: Stack,
    line: Line,
    total: AtomicU32,
    out: AtomicU32,
    high_water: AtomicU32,
    exhausted: AtomicU64,
    fallbacks: AtomicU64,
}

impl Class {
    pub(super) fn new(SizeClass { size, bytes_max }: SizeClass) -> Class {
        let slots_max = u32::try_from((bytes_max / size).max(1)).expect("too many buffers of one size");
        // Whole huge pages; where the class is too small for one, a single arena.
        let arena = (slots_max as usize * size).div_ceil(ARENAS).min(ARENA_MAX).next_multiple_of(HUGE);
        let slots_per_arena = (arena / size).clamp(1, slots_max as usize) as u32;
        let arenas = slots_max.div_ceil(slots_per_arena);
        Class {
            size,
            slots_max,
            slots_per_arena,
            arenas: (0..arenas).map(|_| OnceLock::new()).collect(),
            growing: Mutex::new(()),
            free: Stack::new(slots_max),
            line: Line::default(),
            total: AtomicU32::new(0),
            out: AtomicU32::new(0),
            high_water: AtomicU32::new(0),
            exhausted: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Start of a slot's memory.
    pub(super) fn memory(&self, slot: u32) -> NonNull<u8> {
        let arena = self.arenas[(slot / self.slots_per_arena) as usize].get().expect("a slot's arena is mapped");
        let at = (slot % self.slots_per_arena) as usize * self.size;
        NonNull::new(arena.base().as_ptr().wrapping_add(at)).expect("memory is not at address 0")
    }

    /// A free slot, for which an arena may have to be mapped; `None` if all are out, or others wait already. `grown` hears of a new
    /// arena, outside of all locks.
    #[inline]
    pub(super) fn take(&self, grown: impl FnOnce(Lent)) -> Option<u32> {
        if self.line.len() > 0 {
            return None;
        }
        match self.pop() {
            Some(slot) => Some(slot),
            None if self.total.load(Ordering::Acquire) < self.slots_max => self.grow(grown),
            None => None,
        }
    }

    /// A slot is free again.
    #[inline]
    pub(super) fn give(&self, slot: u32) {
        // Before it can be taken: it must not count twice.
        self.out.fetch_sub(1, Ordering::Relaxed);
        self.free.push(slot);
        if self.line.is_waited_in() {
            self.line.serve(|| self.pop());
        }
    }

    /// Waits in line.
    pub(super) fn join(&self, waker: &Waker) -> u64 {
        let ticket = self.line.join(waker);
        self.line.serve(|| self.pop());
        ticket
    }

    /// The slot that somebody waited for, if it is there.
    pub(super) fn claim(&self, ticket: u64, waker: &Waker) -> Option<u32> {
        self.line.claim(ticket, waker)
    }

    /// Somebody waits no longer; a slot that was already theirs goes to the next one.
    pub(super) fn leave(&self, ticket: u64) {
        if let Some(slot) = self.line.leave(ticket) {
            self.give(slot);
        }
    }

    /// True if there is not a single buffer.
    pub(super) fn is_empty(&self) -> bool {
        self.total.load(Ordering::Relaxed) == 0
    }

    pub(super) fn note_exhausted(&self) {
        self.exhausted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_fallback(&self) {
        self.fallbacks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> ClassStats {
        let total = self.total.load(Ordering::Relaxed);
        let out = self.out.load(Ordering::Relaxed);
        ClassStats {
            size: self.size,
            total_max: self.slots_max,
            total,
            free: total.saturating_sub(out),
            out,
            high_water: self.high_water.load(Ordering::Relaxed),
            waiting: self.line.len(),
            exhausted: self.exhausted.load(Ordering::Relaxed),
            fallbacks: self.fallbacks.load(Ordering::Relaxed),
        }
    }

    #[inline]
    fn pop(&self) -> Option<u32> {
        let slot = self.free.pop()?;
        self.note_out();
        Some(slot)
    }

    #[inline]
    fn note_out(&self) {
        let out = self.out.fetch_add(1, Ordering::Relaxed) + 1;
        if out > self.high_water.load(Ordering::Relaxed) {
            self.high_water.fetch_max(out, Ordering::Relaxed);
        }
    }

    #[cold]
    fn grow(&self, grown: impl FnOnce(Lent)) -> Option<u32> {
        let growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have done it meanwhile.
        if let Some(slot) = self.pop() {
            return Some(slot);
        }
        let first = self.total.load(Ordering::Relaxed);
        let count = self.slots_per_arena.min(self.slots_max - first);
        if count == 0 {
            return None;
        }
        // Refused by the system, this is as good as exhausted, and tried again with the next request.
        let mapping = Mapping::new(count as usize * self.size).ok()?;
        let lent = Lent { base: mapping.base(), len: mapping.len() };
        let fresh = self.arenas[(first / self.slots_per_arena) as usize].set(mapping);
        assert!(fresh.is_ok(), "an arena is mapped once");
        self.note_out();
        (first + 1..first + count).rev().for_each(|slot| self.free.push(slot));
        // Last: who finds nothing meanwhile comes here and waits, instead of believing that all are out.
        self.total.store(first + count, Ordering::Release);
        drop(growing);
        // Who came to wait while the system was asked.
        if self.line.is_waited_in() {
            self.line.serve(|| self.pop());
        }
        grown(lent);
        Some(first)
    }
}
