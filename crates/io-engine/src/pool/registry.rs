//! Which arenas are registered with which drivers.

use crate::shard::Borrower;
use std::{
    ptr::NonNull,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// An arena's memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent {
    pub(super) base: NonNull<u8>,
    pub(super) len: usize,
}

// SAFETY: an address and a length; nobody reads or writes through them here.
unsafe impl Send for Lent {}

/// The arenas, and the drivers that they are registered with. Dropped with the pool's last buffer, before the arenas, it takes all
/// registrations back.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    arenas: Vec<Lent>,
    drivers: Vec<Attached>,
    refused: u32,
}

#[derive(Debug)]
struct Attached {
    borrower: Borrower,
    registered: Vec<NonNull<u8>>,
    /// It refused once; what it lacks (memory that may be locked, places, the very feature) does not come back by itself.
    refuses: bool,
}

// SAFETY: the addresses are names of registrations here; nobody reads or writes through them.
unsafe impl Send for Attached {}

impl Registry {
    /// Registers all arenas, and those to come, with these drivers.
    pub(super) fn attach(&self, borrowers: Vec<Borrower>) {
        let mut state = self.lock();
        let State { arenas, drivers, refused } = &mut *state;
        for borrower in borrowers {
            let mut attached = Attached { borrower, registered: Vec::new(), refuses: false };
            arenas.iter().for_each(|&arena| attached.register(arena, refused));
            drivers.push(attached);
        }
    }

    /// A new arena.
    pub(super) fn add(&self, arena: Lent) {
        let mut state = self.lock();
        let State { arenas, drivers, refused } = &mut *state;
        arenas.push(arena);
        drivers.iter_mut().for_each(|attached| attached.register(arena, refused));
    }

    /// Registrations that serve somebody, and refusals there were. Those with a driver that died serve nobody: its successor does without.
    pub(super) fn counts(&self) -> (u32, u32) {
        let state = self.lock();
        let alive = state.drivers.iter().filter(|attached| attached.borrower.is_alive());
        (alive.map(|attached| attached.registered.len() as u32).sum(), state.refused)
    }

    /// The lock is held while drivers register, which is a system call: only who attaches, grows a pool or asks for counters waits.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attached {
    fn register(&mut self, arena: Lent, refused: &mut u32) {
        if self.refuses {
            return;
        }
        // SAFETY: the arena stays mapped until the pool's `Inner` is dropped, whose first field gives every registration back before
        // the arenas go. No operation on it is in flight then (I1, I7): its buffer would have kept the `Inner`.
        match unsafe { self.borrower.lend(arena.base, arena.len) } {
            Ok(()) => self.registered.push(arena.base),
            Err(_) => {
                self.refuses = true;
                *refused += 1;
            }
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for attached in &state.drivers {
            attached.registered.iter().for_each(|&base| attached.borrower.give_back(base));
        }
    }
}
