//! Mistakes that tests plant, to see that they are caught.

use std::cell::Cell;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Directories are not synced.
    NoDirectorySync,
    /// Records are acknowledged before they are durable.
    AckBeforeSync,
    /// All segments have the same salt.
    NoSalt,
    /// The checksum of a group does not cover its length.
    LengthNotCovered,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a mistake, for the calling thread, until it is told otherwise.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
