//! Memory of its own pages, for buffers that the kernel transfers into.

use std::{io, ptr::NonNull};

#[cfg(not(unix))]
use io_core::AlignedBuf;

/// Huge pages are this large on the platforms where they double sequential throughput.
pub(crate) const HUGE: usize = 2 << 20;

/// A zeroed block of whole pages. From 1 MiB on it is aligned to huge pages and asks for them (Linux, `MADV_HUGEPAGE`), before
/// anything has touched it: the advice does nothing for pages that are there already. What nobody touches costs no memory; a last huge
/// page that is used for more than its half is whole.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    /// Bytes that are mapped, for what is behind the block as well.
    #[cfg(unix)]
    mapped: usize,
    #[cfg(not(unix))]
    _owner: AlignedBuf,
}

// SAFETY: the block belongs to this value, which itself never touches it; who hands parts of it out answers for them.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// A block of `len` bytes, which has to be a multiple of 4096.
    ///
    /// # Errors
    /// Those of mmap(2): the address space or the memory that may be promised is used up.
    #[cfg(unix)]
    pub(crate) fn new(len: usize) -> io::Result<Mapping> {
        assert!(len > 0 && len % 4096 == 0, "{len} bytes are not whole pages");
        let mapped = if len % HUGE >= HUGE / 2 { len.next_multiple_of(HUGE) } else { len };
        let slack = if mapped >= HUGE { HUGE } else { 0 };
        let asked = mapped.checked_add(slack).ok_or(io::ErrorKind::OutOfMemory)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the system's choice touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), asked, access, private, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = start.cast::<u8>();
        let before = if slack > 0 { start.align_offset(HUGE) } else { 0 };
        let base = start.wrapping_add(before);
        unmap(start, before);
        unmap(base.wrapping_add(mapped), slack - before);
        advise_huge(base, mapped);
        Ok(Mapping { base: NonNull::new(base).expect("the first page is never mapped"), len, mapped })
    }

    /// A block of `len` bytes, which has to be a multiple of 4096.
    ///
    /// # Errors
    /// Never; see [`AlignedBuf::with_align`].
    #[cfg(not(unix))]
    pub(crate) fn new(len: usize) -> io::Result<Mapping> {
        assert!(len > 0 && len % 4096 == 0, "{len} bytes are not whole pages");
        let mut owner = AlignedBuf::with_align(len, if len >= HUGE { HUGE } else { 4096 });
        let base = NonNull::new(owner.as_mut_ptr()).expect("allocations are not null");
        Ok(Mapping { base, len, _owner: owner })
    }

    /// Start of the block.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(unix)]
impl Drop for Mapping {
    fn drop(&mut self) {
        unmap(self.base.as_ptr(), self.mapped);
    }
}

/// Gives pages of a mapping back that nobody has a use for any more.
#[cfg(unix)]
fn unmap(start: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: the range lies in a mapping that `Mapping::new` made, and nothing refers to this part of it (I7: a buffer in flight
        // keeps its mapping alive).
        let result = unsafe { libc::munmap(start.cast(), len) };
        debug_assert_eq!(result, 0, "munmap: {}", io::Error::last_os_error());
    }
}

#[cfg(target_os = "linux")]
fn advise_huge(base: *mut u8, len: usize) {
    if len >= HUGE {
        // SAFETY: the range is the mapping's own; the advice changes how it is backed, not what it holds.
        unsafe { libc::madvise(base.cast(), len, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
fn advise_huge(_base: *mut u8, _len: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_are_aligned_for_huge_pages_and_all_are_zeroed() {
        for len in [4096, 64 << 10, HUGE / 2, HUGE - 4096, HUGE, HUGE + 4096, 3 * HUGE, 3 * HUGE - 4096] {
            let mapping = Mapping::new(len).unwrap();
            assert_eq!(mapping.len(), len);
            assert_eq!(mapping.base().as_ptr().addr() % if cfg!(unix) && len >= HUGE / 2 { HUGE } else { 4096 }, 0);
            // SAFETY: the block is this test's own.
            let bytes = unsafe { std::slice::from_raw_parts_mut(mapping.base().as_ptr(), len) };
            assert!(bytes.iter().all(|&b| b == 0));
            bytes.fill(1);
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_cannot_be_had_is_an_error() {
        assert!(Mapping::new(isize::MAX as usize & !4095).is_err());
    }
}
