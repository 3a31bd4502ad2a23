//! Gigabytes of buffer in a few megabytes of memory.

use io_core::{IoBuf, IoBufMut};
use std::{
    fmt, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr::{self, NonNull},
};

/// A buffer of any size whose every chunk is the same few pages: for transfers whose size matters and whose content does not.
pub struct AliasBuf {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for AliasBuf {}

impl AliasBuf {
    const CHUNK: usize = 8 << 20;

    /// A buffer of `len` bytes, all of them zero at first.
    ///
    /// # Errors
    /// The system's, if it does not give that much address space.
    pub fn new(len: usize) -> io::Result<AliasBuf> {
        let mapped = len.next_multiple_of(Self::CHUNK);
        // SAFETY: the name is a C string; the answer is a new descriptor that nobody else owns.
        let pages = unsafe { libc::memfd_create(c"alias".as_ptr(), libc::MFD_CLOEXEC) };
        if pages < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: see above.
        let pages = unsafe { OwnedFd::from_raw_fd(pages) };
        // SAFETY: the descriptor is open.
        if unsafe { libc::ftruncate(pages.as_raw_fd(), Self::CHUNK as libc::off_t) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let nothing = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping at an address of the system's choice; touches no other memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), mapped, libc::PROT_NONE, nothing, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>()).expect("mmap never answers 0");
        // From here on the value unmaps whatever happens.
        let buf = AliasBuf { base, len };
        for at in (0..mapped).step_by(Self::CHUNK) {
            let (at, access) = (base.as_ptr().wrapping_add(at), libc::PROT_READ | libc::PROT_WRITE);
            let how = libc::MAP_SHARED | libc::MAP_FIXED;
            // SAFETY: replaces a part of the mapping made above, which nobody refers to yet.
            let part = unsafe { libc::mmap(at.cast(), Self::CHUNK, access, how, pages.as_raw_fd(), 0) };
            if part == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(buf)
    }
}

impl Drop for AliasBuf {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len.next_multiple_of(Self::CHUNK)) };
    }
}

impl fmt::Debug for AliasBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AliasBuf({} bytes)", self.len)
    }
}

// SAFETY: the mapping stays where it is until the value is dropped; pages of a memfd begin as zeros.
unsafe impl IoBuf for AliasBuf {
    fn as_ptr(&self) -> *const u8 {
        self.base.as_ptr()
    }
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: all of it is writable; that bytes share pages is what the buffer is for.
unsafe impl IoBufMut for AliasBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.base.as_ptr()
    }
    fn capacity(&self) -> usize {
        self.len
    }
    unsafe fn set_len(&mut self, _len: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_gigabytes_cost_one_chunk() {
        let mut buf = AliasBuf::new(3 << 30).unwrap();
        // SAFETY: both bytes lie within the mapping.
        unsafe {
            buf.as_mut_ptr().write(7);
            assert_eq!(buf.as_ptr().add(2 << 30).read(), 7);
        }
    }
}
