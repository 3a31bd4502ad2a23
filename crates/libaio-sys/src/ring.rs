//! The completion ring of a context, as the kernel maps it into the process.
//!
//! A context's value is the ring's address. The kernel writes completions behind the header and moves `tail`; whoever
//! reaps copies them out and moves `head`. io_getevents(2) does that in the kernel; doing it here saves the system call.
//! The layout is no documented interface, but libaio has read it since its first release; [`AIO_RING_MAGIC`] is there so
//! that a reader can tell whether it is still this one, and goes back to io_getevents(2) where it is not.
//!
//! ```text
//! ctx + 0    id
//!     + 4    nr                  events in the ring: more than asked for, the kernel fills whole pages
//!     + 8    head                next event to reap, 0 .. nr; moved by who reaps
//!     + 12   tail                next event to write, 0 .. nr; moved by the kernel; head == tail: empty
//!     + 16   magic
//!     + 20   compat_features
//!     + 24   incompat_features
//!     + 28   header_length
//!     + 32   io_event[nr]
//! ```

use core::sync::atomic::AtomicU32;

use crate::{aio_context_t, io_event};

/// [`AioRing::magic`] of a ring that has this layout.
pub const AIO_RING_MAGIC: u32 = 0xa10a_10a1;
/// [`AioRing::compat_features`] of every kernel so far; unknown bits may be ignored.
pub const AIO_RING_COMPAT_FEATURES: u32 = 1;
/// [`AioRing::incompat_features`] of every kernel so far; with any other value the ring must not be read.
pub const AIO_RING_INCOMPAT_FEATURES: u32 = 0;
/// [`AioRing::header_length`] of this layout in bytes.
pub const AIO_RING_HEADER_LENGTH: u32 = 32;

/// Heads the completion ring, 32 bytes: `struct aio_ring` of `fs/aio.c`. [`AioRing::nr`] events follow.
///
/// `head` and `tail` are the two fields that change, and so they are atomics. **Order:** load `tail` with `Acquire`
/// before reading events (the kernel writes an event, then a barrier, then `tail`); store `head` with `Release` after
/// copying them (the kernel may overwrite an event as soon as it sees the new head). Both are indices below `nr`, not
/// running counters: `head` wraps to 0 at `nr`.
///
/// **One reader.** The kernel moves `head` too, in io_getevents(2). Reaping here while another thread reaps, here or
/// there, delivers events twice or loses them; nothing in the ring guards against it.
///
/// **Fork.** The mapping is inherited by children and stays shared: a child that moves `head` takes its parent's events
/// away. `madvise(MADV_DONTFORK)` on the ring prevents it.
#[repr(C)]
#[derive(Debug)]
pub struct AioRing {
    /// The kernel's own index of the context.
    pub id: u32,
    /// Events that the ring holds; constant for the life of the context.
    pub nr: u32,
    /// Index of the next event to reap, below `nr`.
    pub head: AtomicU32,
    /// Index of the next event that the kernel will write, below `nr`.
    pub tail: AtomicU32,
    /// [`AIO_RING_MAGIC`].
    pub magic: u32,
    /// [`AIO_RING_COMPAT_FEATURES`].
    pub compat_features: u32,
    /// [`AIO_RING_INCOMPAT_FEATURES`].
    pub incompat_features: u32,
    /// [`AIO_RING_HEADER_LENGTH`].
    pub header_length: u32,
    /// Where the events begin, and what aligns the header. Reach them through [`AioRing::events`].
    pub io_events: [io_event; 0],
}

impl AioRing {
    /// Returns where the ring of `ctx` is mapped. Valid to dereference from [`crate::io_setup`] to [`crate::io_destroy`].
    pub fn of(ctx: aio_context_t) -> *const Self {
        core::ptr::with_exposed_provenance(ctx as usize)
    }

    /// Returns where the first of the [`AioRing::nr`] events of `ring` is.
    ///
    /// Takes and returns a raw pointer because a reference to the header would not reach beyond it.
    pub fn events(ring: *const Self) -> *const io_event {
        ring.wrapping_add(1).cast()
    }

    /// Tells whether this header describes the layout of this module. Where it does not, reap with io_getevents(2).
    pub fn is_known(&self) -> bool {
        self.magic == AIO_RING_MAGIC
            && self.incompat_features == AIO_RING_INCOMPAT_FEATURES
            && self.header_length == AIO_RING_HEADER_LENGTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> AioRing {
        AioRing {
            id: 0,
            nr: 128,
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            magic: AIO_RING_MAGIC,
            compat_features: AIO_RING_COMPAT_FEATURES,
            incompat_features: AIO_RING_INCOMPAT_FEATURES,
            header_length: AIO_RING_HEADER_LENGTH,
            io_events: [],
        }
    }

    #[test]
    fn a_header_is_known_by_magic_features_and_length() {
        assert!(known().is_known());
        assert!(!AioRing { magic: AIO_RING_MAGIC.swap_bytes(), ..known() }.is_known());
        assert!(!AioRing { incompat_features: 1, ..known() }.is_known());
        assert!(!AioRing { header_length: 64, ..known() }.is_known());
        assert!(AioRing { compat_features: 3, ..known() }.is_known(), "compatible features do not matter");
    }

    #[test]
    fn events_begin_at_header_length() {
        let ring = AioRing::of(0x7000_0000);
        assert_eq!(ring.addr(), 0x7000_0000);
        assert_eq!(AioRing::events(ring).addr(), 0x7000_0000 + AIO_RING_HEADER_LENGTH as usize);
    }
}
