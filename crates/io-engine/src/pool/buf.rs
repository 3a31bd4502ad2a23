//! One buffer of a pool.

use super::Inner;
use io_core::{IoBuf, IoBufMut};
use std::{
    alloc::{self, Layout},
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::Arc,
};

/// The class of buffers that are of none.
pub(super) const HEAP: u32 = u32::MAX;
const ALIGN: usize = 4096;

/// A buffer of a [`BufferPool`](crate::BufferPool), aligned to 4096 bytes; it returns when it is dropped.
///
/// A write writes its length, a read fills its capacity.
pub struct PoolBuf {
    pool: Arc<Inner>,
    memory: NonNull<u8>,
    len: usize,
    capacity: usize,
    class: u32,
    slot: u32,
}

// It is stored inline in an operation.
const _: () = assert!(size_of::<PoolBuf>() <= 56);

// SAFETY: the memory belongs to this value alone: its slot is out, or it was allocated for it.
unsafe impl Send for PoolBuf {}
// SAFETY: `&PoolBuf` only reads.
unsafe impl Sync for PoolBuf {}

impl PoolBuf {
    /// The caller has taken this slot of this class: `capacity` bytes at `memory`, all initialized.
    pub(super) fn pooled(pool: Arc<Inner>, class: u32, slot: u32, memory: NonNull<u8>, capacity: usize) -> PoolBuf {
        PoolBuf { pool, memory, len: 0, capacity, class, slot }
    }

    /// Zeroed memory of the heap, at least `len` bytes and one page.
    pub(super) fn of_heap(pool: Arc<Inner>, len: usize) -> PoolBuf {
        let capacity = len.max(1).checked_next_multiple_of(ALIGN).expect("capacity overflows");
        let layout = Layout::from_size_align(capacity, ALIGN).expect("capacity overflows");
        // SAFETY: the layout's size is not 0.
        let memory = unsafe { alloc::alloc_zeroed(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        PoolBuf { pool, memory, len: 0, capacity, class: HEAP, slot: 0 }
    }

    /// Number of bytes that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// True if it is memory of the heap, because the pool had none left or none that large.
    pub fn is_heap(&self) -> bool {
        self.class == HEAP
    }

    /// Sets the length. What was never written since the buffer was taken is zero, or what an earlier user left.
    ///
    /// # Panics
    /// If `len` is above the capacity.
    pub fn resize(&mut self, len: usize) {
        assert!(len <= self.capacity, "length {len} above the capacity {}", self.capacity);
        self.len = len;
    }

    /// Sets the length to 0.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let at = self.len;
        let len = at.checked_add(bytes.len()).expect("length overflows");
        self.resize(len);
        self[at..].copy_from_slice(bytes);
    }

    /// The buffer's bytes as [`Bytes`](bytes::Bytes), without a copy: the buffer returns to its pool when the last clone is dropped.
    /// While a part of it is kept, so is the whole buffer.
    #[cfg(feature = "bytes")]
    pub fn freeze(self) -> bytes::Bytes {
        bytes::Bytes::from_owner(self)
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        if self.class == HEAP {
            // SAFETY: allocated in `of_heap` with this very layout.
            unsafe {
                alloc::dealloc(self.memory.as_ptr(), Layout::from_size_align_unchecked(self.capacity, ALIGN));
            }
        }
        self.pool.release(self.class, self.slot, self.capacity);
    }
}

impl Deref for PoolBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` is at most the capacity, all of which is initialized (zeroed at the start) and this buffer's own.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for PoolBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PoolBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: the memory stays where it is until the value is dropped (`pool` keeps the arena) and belongs to it alone.
unsafe impl IoBuf for PoolBuf {
    fn as_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: all of the capacity is writable.
unsafe impl IoBufMut for PoolBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_ptr()
    }
    fn capacity(&self) -> usize {
        self.capacity
    }
    unsafe fn set_len(&mut self, len: usize) {
        self.len = len;
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.is_heap() { ", heap" } else { "" };
        write!(f, "PoolBuf({} of {} bytes{of})", self.len, self.capacity)
    }
}
