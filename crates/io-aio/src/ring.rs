//! The completion ring, read in user space.

use io_core::Token;
use libaio_sys::{AioRing, aio_context_t, io_event};
use std::sync::atomic::Ordering;

/// Reads a context's ring where the kernel has mapped it. Made only for a ring whose header is known; see [`AioRing`] for
/// the layout.
///
/// **Order.** The kernel writes an event, then a barrier, then `tail`: who loads `tail` with `Acquire` sees the events before
/// it. It overwrites an event only once `head` has passed it: who has copied events out stores `head` with `Release`, so
/// that the copies come first.
///
/// **One reader.** `head` also moves in io_getevents(2). Reading here and there at once would deliver an event twice, so both
/// happen under `&mut` of one driver (I6).
#[derive(Debug)]
pub(crate) struct UserRing {
    header: *const AioRing,
    events: *const io_event,
    nr: u32,
}

impl UserRing {
    /// The ring of `ctx`, or `None` if it is not the one that this code was written for.
    ///
    /// # Safety
    /// `ctx` comes from io_setup, and is destroyed only after the last use of the ring.
    pub(crate) unsafe fn of(ctx: aio_context_t) -> Option<UserRing> {
        let header = AioRing::of(ctx);
        // SAFETY: the kernel mapped at least a page there, and the header is within it (the caller's promise).
        let ring = unsafe { &*header };
        (ring.is_known() && ring.nr > 0).then(|| UserRing { header, events: AioRing::events(header), nr: ring.nr })
    }

    fn ring(&self) -> &AioRing {
        // SAFETY: mapped as long as the context is, which outlives `self` (promised to `of`). `head` and `tail`, which
        // change, are atomics; the rest is constant.
        unsafe { &*self.header }
    }

    /// Bytes that the kernel mapped, to the end of the last page.
    pub(crate) fn mapped_len(&self, page: usize) -> usize {
        (size_of::<AioRing>() + self.nr as usize * size_of::<io_event>()).next_multiple_of(page)
    }

    /// True if there is nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        let ring = self.ring();
        ring.head.load(Ordering::Relaxed) == ring.tail.load(Ordering::Acquire)
    }

    /// Takes events out, oldest first, as long as `take` says that it has room for another.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Event) -> bool) {
        let ring = self.ring();
        let tail = ring.tail.load(Ordering::Acquire);
        let start = ring.head.load(Ordering::Relaxed);
        // Both are below `nr` on every kernel; a mapping that somebody has scribbled over must not lead us out of it.
        assert!(start < self.nr && tail < self.nr, "the completion ring is damaged: head {start}, tail {tail}");
        let mut head = start;
        while head != tail {
            // SAFETY: below `nr`, so within the mapping; before `tail`, so written, and not overwritten until `head` moves.
            let event = Event::from(&unsafe { self.events.add(head as usize).read() });
            head = if head + 1 == self.nr { 0 } else { head + 1 };
            if !take(event) {
                break;
            }
        }
        if head != start {
            ring.head.store(head, Ordering::Release);
        }
    }
}

/// What the driver needs of an `io_event`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) token: Token,
    /// Address of the operation's iocb.
    pub(crate) iocb: usize,
    pub(crate) result: i32,
}

impl From<&io_event> for Event {
    #[inline]
    fn from(event: &io_event) -> Event {
        // A result fits: a transfer moves at most 0x7fff_f000 bytes, and errnos are small.
        Event { token: Token::from_u64(event.data), iocb: event.obj as usize, result: event.res as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libaio_sys::{AIO_RING_COMPAT_FEATURES, AIO_RING_HEADER_LENGTH, AIO_RING_INCOMPAT_FEATURES, AIO_RING_MAGIC};
    use std::sync::atomic::AtomicU32;

    const NR: u32 = 5;

    /// A ring as the kernel lays it out, with this test in the kernel's place.
    #[repr(C)]
    struct Fake {
        header: AioRing,
        events: [io_event; NR as usize],
    }

    impl Fake {
        fn new(at: u32) -> Box<Fake> {
            let header = AioRing {
                id: 0,
                nr: NR,
                head: AtomicU32::new(at),
                tail: AtomicU32::new(at),
                magic: AIO_RING_MAGIC,
                compat_features: AIO_RING_COMPAT_FEATURES,
                incompat_features: AIO_RING_INCOMPAT_FEATURES,
                header_length: AIO_RING_HEADER_LENGTH,
                io_events: [],
            };
            Box::new(Fake { header, events: [io_event { data: 0, obj: 0, res: 0, res2: 0 }; NR as usize] })
        }
    }

    fn push(fake: *mut Fake, data: u64, res: i64) {
        // SAFETY: one thread, and no reference to the events is alive.
        unsafe {
            let tail = (*fake).header.tail.load(Ordering::Relaxed);
            (*fake).events[tail as usize] = io_event { data, obj: 0, res, res2: 0 };
            (*fake).header.tail.store((tail + 1) % NR, Ordering::Release);
        }
    }

    fn ring_over(fake: *mut Fake) -> Option<UserRing> {
        // SAFETY: the fake is laid out as a ring, and each test keeps it until its end.
        unsafe { UserRing::of(fake.expose_provenance() as aio_context_t) }
    }

    fn drain(ring: &mut UserRing, room: usize) -> Vec<(u64, i32)> {
        let mut got = Vec::new();
        ring.drain(|event| {
            got.push((event.token.as_u64(), event.result));
            got.len() < room
        });
        got
    }

    #[test]
    fn events_come_in_order_across_the_wrap() {
        let fake = Box::into_raw(Fake::new(3));
        let mut ring = ring_over(fake).unwrap();
        assert!(ring.is_empty());
        for data in 0..4 {
            push(fake, data, 100 + data as i64);
        }
        assert!(!ring.is_empty());
        assert_eq!(drain(&mut ring, 10), [(0, 100), (1, 101), (2, 102), (3, 103)]);
        assert!(ring.is_empty());
        // SAFETY: made by into_raw above; the ring is not used any more.
        drop(unsafe { Box::from_raw(fake) });
    }

    #[test]
    fn what_does_not_fit_stays() {
        let fake = Box::into_raw(Fake::new(0));
        let mut ring = ring_over(fake).unwrap();
        for data in 0..4 {
            push(fake, data, -5);
        }
        assert_eq!(drain(&mut ring, 1), [(0, -5)]);
        assert_eq!(drain(&mut ring, 2), [(1, -5), (2, -5)]);
        assert_eq!(drain(&mut ring, 2), [(3, -5)]);
        // SAFETY: made by into_raw above; the ring is not used any more.
        drop(unsafe { Box::from_raw(fake) });
    }

    #[test]
    fn a_ring_of_another_layout_is_left_alone() {
        let mut fake = Fake::new(0);
        fake.header.magic = 1;
        let fake = Box::into_raw(fake);
        assert!(ring_over(fake).is_none());
        // SAFETY: made by into_raw above.
        drop(unsafe { Box::from_raw(fake) });
    }

    #[test]
    fn the_mapping_ends_with_a_page() {
        let fake = Box::into_raw(Fake::new(0));
        assert_eq!(ring_over(fake).unwrap().mapped_len(4096), 4096);
        // SAFETY: made by into_raw above.
        drop(unsafe { Box::from_raw(fake) });
    }
}
