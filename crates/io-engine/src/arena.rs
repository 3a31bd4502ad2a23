//! One mapping shared out as buffers of one size.

use crate::mapping::Mapping;
use io_core::{IoBuf, IoBufMut};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::{Arc, Mutex, PoisonError},
};

/// A block of memory handed out in buffers of one size. A buffer goes back when it is dropped; the block lives as long as the arena
/// or any buffer of it.
///
/// The block is aligned to 2 MiB and asks for huge pages where it is that large: large sequential transfers run twice as fast
/// (Linux, `MADV_HUGEPAGE`). Registered with a driver ([`Inflight::register_arena`](crate::Inflight::register_arena)), its pages
/// are pinned once instead of at each transfer.
#[derive(Clone)]
pub struct Arena(Arc<Block>);

struct Block {
    memory: Mapping,
    size: usize,
    free: Mutex<Vec<u32>>,
}

impl Arena {
    /// An arena of `count` buffers of `size` bytes each, rounded up to 4096.
    ///
    /// # Panics
    /// If the memory cannot be had, or `count` is 0.
    pub fn new(count: u32, size: usize) -> Arena {
        let size = size.next_multiple_of(4096).max(4096);
        let len = size.checked_mul(count as usize).expect("arena size overflows");
        let memory = Mapping::new(len).unwrap_or_else(|error| panic!("no memory for an arena of {len} bytes: {error}"));
        Arena(Arc::new(Block { memory, size, free: Mutex::new((0..count).rev().collect()) }))
    }

    /// Takes a buffer of length 0 and full capacity; `None` if all are out.
    pub fn take(&self) -> Option<ArenaBuf> {
        let index = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(ArenaBuf { block: self.0.clone(), index, len: 0 })
    }

    /// Size of a buffer in bytes.
    pub fn buf_size(&self) -> usize {
        self.0.size
    }

    /// Base and length of the block, kept for the life of the process from here on: a driver pins it and nobody knows until when.
    pub(crate) fn lend(&self) -> (NonNull<u8>, usize) {
        std::mem::forget(self.0.clone());
        (self.0.memory.base(), self.0.memory.len())
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} bytes in buffers of {})", self.0.memory.len(), self.0.size)
    }
}

/// One buffer of an [`Arena`].
pub struct ArenaBuf {
    block: Arc<Block>,
    index: u32,
    len: usize,
}

impl ArenaBuf {
    fn start(&self) -> *mut u8 {
        self.block.memory.base().as_ptr().wrapping_add(self.index as usize * self.block.size)
    }

    /// Number of bytes that fit.
    pub fn capacity(&self) -> usize {
        self.block.size
    }

    /// Sets the length; all of the memory is initialized, its old content shows.
    ///
    /// # Panics
    /// If `len` is above the capacity.
    pub fn resize(&mut self, len: usize) {
        assert!(len <= self.block.size);
        self.len = len;
    }
}

impl Drop for ArenaBuf {
    fn drop(&mut self) {
        self.block.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
    }
}

impl Deref for ArenaBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: this buffer alone owns its part of the block, all of which was zeroed at the start.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }
}

impl DerefMut for ArenaBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }
}

// SAFETY: the block stays where it is as long as a buffer holds it; this part of it belongs to this buffer.
unsafe impl IoBuf for ArenaBuf {
    fn as_ptr(&self) -> *const u8 {
        self.start()
    }
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: the whole part is writable and initialized.
unsafe impl IoBufMut for ArenaBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.start()
    }
    fn capacity(&self) -> usize {
        self.block.size
    }
    unsafe fn set_len(&mut self, len: usize) {
        self.len = len;
    }
}

impl fmt::Debug for ArenaBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArenaBuf({} of {} bytes)", self.len, self.block.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_disjoint_and_come_back() {
        let arena = Arena::new(3, 5000);
        assert_eq!(arena.buf_size(), 8192);
        let mut bufs: Vec<_> = std::iter::from_fn(|| arena.take()).collect();
        assert_eq!(bufs.len(), 3);
        for (i, buf) in bufs.iter_mut().enumerate() {
            buf.resize(8192);
            buf.fill(i as u8 + 1);
        }
        assert!(bufs.iter().enumerate().all(|(i, b)| b.iter().all(|&x| x == i as u8 + 1)));
        assert!(bufs.iter().all(|b| b.as_ptr() as usize % 4096 == 0));
        drop(bufs.pop());
        assert!(arena.take().is_some());
    }

    #[test]
    fn a_buffer_outlives_its_arena() {
        let mut buf = Arena::new(1, 4096).take().unwrap();
        buf.resize(10);
        assert_eq!(&*buf, [0; 10]);
    }
}
