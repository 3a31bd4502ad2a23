//! The buffers of a vectored transfer, as one buffer.

use crate::{IoBuf, IoBufMut};

/// Its own IoBuf answers are empty: the operation keeps the pieces.
pub(super) struct Many<B>(pub(super) Vec<B>);

// SAFETY: no bytes are promised.
unsafe impl<B: IoBuf> IoBuf for Many<B> {
    fn as_ptr(&self) -> *const u8 {
        std::ptr::dangling()
    }
    fn len(&self) -> usize {
        0
    }
}

// SAFETY: no bytes are promised; `set_len` hands the transferred bytes out in the order of the pieces, each up to its capacity,
// which is how the kernel filled them.
unsafe impl<B: IoBufMut> IoBufMut for Many<B> {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        std::ptr::dangling_mut()
    }
    fn capacity(&self) -> usize {
        0
    }
    unsafe fn set_len(&mut self, mut len: usize) {
        for buf in &mut self.0 {
            let part = len.min(buf.capacity());
            // SAFETY: the first `part` bytes of this piece were read into.
            unsafe { buf.set_len(part) };
            len -= part;
        }
    }
}
