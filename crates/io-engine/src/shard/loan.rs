//! Memory that is lent to the shards' drivers and comes back.

use super::{Reaping, Shards, core::Shard};
use crate::{Carrier, Inflight};
use std::{
    io,
    ptr::NonNull,
    sync::{Arc, Weak},
};

/// The way to one shard's driver, for registrations of memory. It does not keep the shard.
#[derive(Debug)]
pub(crate) struct Borrower(Weak<Shard>);

impl Shards {
    /// True for an engine of one thread alone ([`Shards::owned`]): while that thread does something else, nobody moves it on.
    pub fn is_owned(&self) -> bool {
        self.reaping() == Reaping::Owner
    }

    /// One for each shard.
    pub(crate) fn borrowers(&self) -> Vec<Borrower> {
        self.shards().iter().map(|shard| Borrower(Arc::downgrade(shard))).collect()
    }
}

impl Borrower {
    /// Registers memory with the shard's driver.
    ///
    /// # Errors
    /// Those of [`Driver::register_memory`](io_core::Driver::register_memory), and `NotFound` if the shard is gone.
    ///
    /// # Safety
    /// The memory stays valid until [`Borrower::give_back`], which has to be called even if the shard seems gone.
    pub(crate) unsafe fn lend(&self, base: NonNull<u8>, len: usize) -> io::Result<()> {
        let shard = self.0.upgrade().ok_or(io::ErrorKind::NotFound)?;
        // SAFETY: passed on. A shard that is gone has dropped its driver, or leaked it with operations in flight; the buffers of those
        // are leaked with it (I7), so that memory which is given back was in none of them.
        let lent = shard.with_core(|core| unsafe { core.register_memory(base, len) });
        lent.unwrap_or_else(|| Err(super::owner::refusal()))
    }

    /// True while what is registered can serve anybody: the shard is there, and its driver lives.
    pub(crate) fn is_alive(&self) -> bool {
        self.0.upgrade().is_some_and(|shard| shard.death.get().is_none())
    }

    /// Gives the registration back. No operation on this memory may be in flight or begin after.
    pub(crate) fn give_back(&self, base: NonNull<u8>) {
        if let Some(shard) = self.0.upgrade() {
            let base = Base(base);
            shard.have_done(move |core| base.give_back(core));
        }
    }
}

/// An address that goes to the thread that it was registered by.
struct Base(NonNull<u8>);

// SAFETY: nothing is read or written there; the driver looks for the number only (I6).
unsafe impl Send for Base {}

impl Base {
    fn give_back<S: Carrier>(self, core: &mut Inflight<S>) {
        core.unregister_memory(self.0);
    }
}
