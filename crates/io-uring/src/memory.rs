//! Registered memory: transfers within it need no pinning of pages.

use io_uring::Submitter;
use std::{io, ptr::NonNull};

/// Longest buffer that one place of the ring's table takes.
const PLACE_MAX: usize = 1 << 30;

/// The registered regions, sorted by address, cut into pieces of at most a GiB.
#[derive(Debug)]
pub(crate) struct MemoryTable {
    pieces: Vec<Piece>,
    places: Box<[bool]>,
    made: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start: usize,
    end: usize,
    /// Start of the region that it is a piece of.
    region: usize,
    place: u16,
}

impl MemoryTable {
    pub(crate) fn new(places: u32) -> MemoryTable {
        let places = (places as usize).min(1 << 14);
        MemoryTable { pieces: Vec::with_capacity(places), places: vec![false; places].into(), made: false }
    }

    /// The place of the registered piece that `len` bytes at `base` lie within.
    #[inline]
    pub(crate) fn place(&self, base: *const u8, len: u32) -> Option<u16> {
        if self.pieces.is_empty() {
            return None;
        }
        self.search(base.addr(), len as usize)
    }

    fn search(&self, start: usize, len: usize) -> Option<u16> {
        let after = self.pieces.partition_point(|piece| piece.start <= start);
        let piece = self.pieces.get(after.checked_sub(1)?)?;
        // A length that wraps around is behind every end.
        (start.saturating_add(len) <= piece.end).then_some(piece.place)
    }

    /// Registers a region.
    ///
    /// # Safety
    /// The memory stays valid until it is unregistered or the ring is closed.
    pub(crate) unsafe fn register(
        &mut self,
        submitter: &Submitter<'_>,
        base: NonNull<u8>,
        len: usize,
    ) -> io::Result<()> {
        let (start, end) = (base.as_ptr().addr(), base.as_ptr().addr().checked_add(len));
        let Some(end) = end.filter(|&end| end > start) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if self.pieces.iter().any(|piece| piece.start < end && start < piece.end) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "this memory is registered, or a part of it"));
        }
        if self.places.is_empty() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        if !self.made {
            // Linux 5.19. Older rings can register only all their memory at once, which waits for all that is in flight.
            submitter.register_buffers_sparse(self.places.len() as u32).map_err(|error| {
                match error.raw_os_error() {
                    Some(libc::EINVAL) => io::ErrorKind::Unsupported.into(),
                    _ => error,
                }
            })?;
            self.made = true;
        }
        for piece in (start..end).step_by(PLACE_MAX) {
            let len = PLACE_MAX.min(end - piece);
            let added = self.free_place().and_then(|place| {
                let at = base.as_ptr().wrapping_add(piece - start);
                // SAFETY: the caller keeps the memory valid.
                unsafe { update(submitter, place, at, len)? };
                Ok(Piece { start: piece, end: piece + len, region: start, place })
            });
            match added {
                Ok(piece) => self.insert(piece),
                Err(error) => {
                    self.unregister(submitter, base);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives the registration of the region at `base` back. Operations in flight keep theirs.
    pub(crate) fn unregister(&mut self, submitter: &Submitter<'_>, base: NonNull<u8>) {
        let region = base.as_ptr().addr();
        let gone: Vec<Piece> = self.pieces.iter().filter(|piece| piece.region == region).copied().collect();
        self.pieces.retain(|piece| piece.region != region);
        for piece in gone {
            // SAFETY: an empty place refers to no memory.
            if unsafe { update(submitter, piece.place, std::ptr::null_mut(), 0) }.is_ok() {
                self.places[piece.place as usize] = false;
            }
            // Else the pages stay pinned and the place taken, but nothing refers to it any more.
        }
    }

    fn free_place(&self) -> io::Result<u16> {
        let places = &self.places;
        places
            .iter()
            .position(|taken| !taken)
            .map(|place| place as u16)
            .ok_or_else(|| io::Error::other(format!("all {} places for registered memory are taken", places.len())))
    }

    fn insert(&mut self, piece: Piece) {
        self.places[piece.place as usize] = true;
        let at = self.pieces.partition_point(|other| other.start < piece.start);
        self.pieces.insert(at, piece);
    }
}

/// # Safety
/// `len` bytes at `base` stay valid until the place is updated again or the ring is closed.
unsafe fn update(submitter: &Submitter<'_>, place: u16, base: *mut u8, len: usize) -> io::Result<()> {
    let buffer = libc::iovec { iov_base: base.cast(), iov_len: len };
    // SAFETY: passed on.
    unsafe { submitter.register_buffers_update(place.into(), &[buffer], None) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn table() -> MemoryTable {
        let mut table = MemoryTable::new(8);
        for (place, start, end) in [(0, 4096, 8192), (1, 100, 200), (2, 8192, 9000)] {
            table.insert(Piece { start, end, region: start, place });
        }
        table
    }

    #[test]
    fn a_transfer_is_within_one_piece_or_not_at_all() {
        let table = table();
        let place = |at: usize, len| table.place(std::ptr::without_provenance(at), len);
        assert_eq!(place(4096, 4096), Some(0));
        assert_eq!(place(5000, 1), Some(0));
        assert_eq!(place(4096, 4097), None, "the next piece is another buffer");
        assert_eq!(place(8191, 2), None);
        assert_eq!(place(8192, 808), Some(2));
        assert_eq!(place(99, 1), None);
        assert_eq!(place(150, 50), Some(1));
        assert_eq!(place(250, 1), None);
        assert_eq!(place(usize::MAX, u32::MAX), None);
        assert_eq!(MemoryTable::new(0).place(std::ptr::without_provenance(1), 1), None);
    }
}
