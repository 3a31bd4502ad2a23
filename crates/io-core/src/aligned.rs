//! A buffer for direct I/O.

use crate::{IoBuf, IoBufMut};
use std::{
    alloc::{self, Layout},
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

/// A heap buffer with an alignment, a fixed capacity and a length, freed with the layout it was allocated with.
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
    align: usize,
}

// SAFETY: the block belongs to this value alone.
unsafe impl Send for AlignedBuf {}
// SAFETY: `&AlignedBuf` only reads.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// The alignment that every common device accepts, in bytes.
    pub const DEFAULT_ALIGN: usize = 4096;

    /// An empty buffer of `capacity` bytes at the default alignment; its memory is zeroed.
    ///
    /// # Panics
    /// If the memory cannot be had (as `Vec` does), or the capacity is above `isize::MAX`.
    pub fn with_capacity(capacity: usize) -> AlignedBuf {
        AlignedBuf::with_align(capacity, Self::DEFAULT_ALIGN)
    }

    /// An empty buffer of `capacity` bytes at an alignment of `align` bytes; its memory is zeroed.
    ///
    /// # Panics
    /// If `align` is not a power of two, and as [`AlignedBuf::with_capacity`].
    pub fn with_align(capacity: usize, align: usize) -> AlignedBuf {
        assert!(align.is_power_of_two(), "alignment {align} is not a power of two");
        let layout = Layout::from_size_align(capacity.max(1), align).expect("capacity overflows");
        // SAFETY: the layout's size is not 0.
        let ptr = unsafe { alloc::alloc_zeroed(layout) };
        let ptr = NonNull::new(ptr).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        AlignedBuf { ptr, len: 0, capacity, align }
    }

    /// A buffer of `len` zero bytes at the default alignment.
    ///
    /// # Panics
    /// As [`AlignedBuf::with_capacity`].
    pub fn zeroed(len: usize) -> AlignedBuf {
        let mut buf = AlignedBuf::with_capacity(len);
        buf.len = len;
        buf
    }

    /// A copy of `bytes` at the default alignment.
    ///
    /// # Panics
    /// As [`AlignedBuf::with_capacity`].
    pub fn copy_of(bytes: &[u8]) -> AlignedBuf {
        let mut buf = AlignedBuf::zeroed(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }

    /// Number of bytes that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Alignment of the memory, in bytes.
    pub fn align(&self) -> usize {
        self.align
    }

    /// Sets the length; bytes that were never written are zero.
    ///
    /// # Panics
    /// If `len` is above the capacity.
    pub fn resize(&mut self, len: usize) {
        assert!(len <= self.capacity, "length {len} above the capacity {}", self.capacity);
        self.len = len;
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated in `with_align` with this very layout.
        unsafe {
            alloc::dealloc(self.ptr.as_ptr(), Layout::from_size_align_unchecked(self.capacity.max(1), self.align))
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` is at most the capacity, and all of the block was zeroed at the start.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} of {} bytes, align {})", self.len, self.capacity, self.align)
    }
}

// SAFETY: the block stays where it is until the value is dropped; `len` bytes are initialized.
unsafe impl IoBuf for AlignedBuf {
    fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: all of the capacity is writable.
unsafe impl IoBufMut for AlignedBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }
    fn capacity(&self) -> usize {
        self.capacity
    }
    unsafe fn set_len(&mut self, len: usize) {
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zeroed() {
        for align in [1, 512, 4096, 1 << 21] {
            let mut buf = AlignedBuf::with_align(10_000, align);
            assert_eq!(buf.as_ptr() as usize % align, 0);
            assert!(buf.is_empty());
            buf.resize(10_000);
            assert!(buf.iter().all(|&b| b == 0));
        }
    }

    #[test]
    fn an_empty_buffer_is_fine() {
        assert!(AlignedBuf::zeroed(0).is_empty());
    }

    #[test]
    #[should_panic(expected = "not a power of two")]
    fn odd_alignments_panic() {
        AlignedBuf::with_align(10, 3);
    }
}
