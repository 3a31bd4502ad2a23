//! Memory to be registered with a driver, and buffers that lie in it.

use crate::GuardBuf;
use io_core::{Driver, IoBuf, IoBufMut};
use std::{fmt, io, ptr::NonNull};

/// Memory that lives for ever, so that a registration can never outlive it.
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
    taken: usize,
}

// SAFETY: the region only hands out parts, each of them once.
unsafe impl Send for Region {}

impl Region {
    /// A region of `len` zero bytes, page-aligned.
    pub(crate) fn leak(len: usize) -> Region {
        let mut buf = GuardBuf::zeroed(len);
        let base = NonNull::new(buf.as_mut_ptr()).expect("buffers have an address");
        std::mem::forget(buf);
        Region { base, len, taken: 0 }
    }

    /// Registers all of it.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn register(&self, driver: &mut dyn Driver) -> io::Result<()> {
        // SAFETY: the memory is leaked and so valid for ever.
        unsafe { driver.register_memory(self.base, self.len) }
    }

    /// Gives the registration back.
    pub(crate) fn unregister(&self, driver: &mut dyn Driver) {
        driver.unregister_memory(self.base);
    }

    /// The next `len` bytes, as a buffer of its own.
    pub(crate) fn take(&mut self, len: usize) -> RegionBuf {
        assert!(self.taken + len <= self.len, "the region is used up");
        let at = self.base.as_ptr().wrapping_add(self.taken);
        self.taken += len;
        RegionBuf { at: NonNull::new(at).expect("inside the region"), len }
    }
}

/// A buffer in a [`Region`].
pub(crate) struct RegionBuf {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: each part of a region is handed out once, so the bytes belong to this value alone.
unsafe impl Send for RegionBuf {}

impl RegionBuf {
    /// With these contents.
    pub(crate) fn fill(self, bytes: &[u8]) -> RegionBuf {
        assert_eq!(bytes.len(), self.len);
        // SAFETY: `len` bytes of the leaked region are this value's alone.
        unsafe { self.at.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self
    }
}

// SAFETY: leaked memory stays where it is; it was zeroed, so all of it is initialized.
unsafe impl IoBuf for RegionBuf {
    fn as_ptr(&self) -> *const u8 {
        self.at.as_ptr()
    }
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: all of it is writable, and this value's alone.
unsafe impl IoBufMut for RegionBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.at.as_ptr()
    }
    fn capacity(&self) -> usize {
        self.len
    }
    unsafe fn set_len(&mut self, _len: usize) {}
}

impl fmt::Debug for RegionBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionBuf({} bytes)", self.len)
    }
}
