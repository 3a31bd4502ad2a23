//! Buffers that notice who touches them after they were given back.

use io_core::{IoBuf, IoBufMut};
use std::{
    collections::VecDeque,
    fmt, io,
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    sync::{Mutex, PoisonError},
};

/// A buffer with a mapping of its own, sealed when it is dropped.
///
/// Neither AddressSanitizer nor valgrind sees the kernel write into memory that was freed. Here a released buffer is filled
/// with a canary, made inaccessible and kept: the kernel that still wants to copy into it gets `EFAULT`, a program gets
/// `SIGSEGV`, and a device that writes past the page tables (a direct read whose pages were pinned) changes the canary, which
/// [`GuardBuf::check`] finds. Behind the buffer lies an inaccessible page, and a buffer whose size is a multiple of the page
/// ends right before it.
///
/// The last 64 MiB of released buffers are kept; older ones are checked and unmapped.
pub struct GuardBuf {
    ptr: NonNull<u8>,
    len: usize,
    capacity: usize,
}

/// Dead: 0xDB repeated.
const CANARY: u8 = 0xdb;
const KEPT_BYTES_MAX: usize = 64 << 20;
const KEPT_MAX: usize = 8192;

struct Grave {
    ptr: NonNull<u8>,
    mapped: usize,
}

// SAFETY: the mapping belongs to the grave alone.
unsafe impl Send for Grave {}

struct Graveyard {
    graves: VecDeque<Grave>,
    bytes: usize,
    disturbed: Option<String>,
}

static GRAVEYARD: Mutex<Graveyard> = Mutex::new(Graveyard { graves: VecDeque::new(), bytes: 0, disturbed: None });

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for GuardBuf {}
// SAFETY: `&GuardBuf` only reads.
unsafe impl Sync for GuardBuf {}

impl GuardBuf {
    /// An empty buffer of `capacity` zero bytes, page-aligned.
    ///
    /// # Panics
    /// If the system gives no memory.
    pub fn with_capacity(capacity: usize) -> GuardBuf {
        let mapped = mapped(capacity);
        let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping at an address of the system's choice; touches no other memory.
        let base = unsafe { libc::mmap(ptr::null_mut(), mapped, libc::PROT_READ | libc::PROT_WRITE, how, -1, 0) };
        assert_ne!(base, libc::MAP_FAILED, "cannot map {mapped} bytes: {}", io::Error::last_os_error());
        let ptr = NonNull::new(base.cast::<u8>()).expect("mmap never answers 0");
        protect(ptr.as_ptr().wrapping_add(mapped - page()), page(), libc::PROT_NONE);
        GuardBuf { ptr, len: 0, capacity }
    }

    /// A buffer of `len` zero bytes.
    ///
    /// # Panics
    /// As [`GuardBuf::with_capacity`].
    pub fn zeroed(len: usize) -> GuardBuf {
        let mut buf = GuardBuf::with_capacity(len);
        buf.len = len;
        buf
    }

    /// A copy of `bytes`.
    ///
    /// # Panics
    /// As [`GuardBuf::with_capacity`].
    pub fn copy_of(bytes: &[u8]) -> GuardBuf {
        let mut buf = GuardBuf::zeroed(bytes.len());
        buf.copy_from_slice(bytes);
        buf
    }

    /// Looks at all released buffers that are still kept.
    ///
    /// # Panics
    /// If somebody has written into one since it was released. [`run_case`](crate::run_case) calls this after each case.
    #[track_caller]
    pub fn check() {
        let mut yard = GRAVEYARD.lock().unwrap_or_else(PoisonError::into_inner);
        let found = yard.graves.iter().find_map(Grave::disturbed);
        let found = yard.disturbed.take().or(found);
        // Not under the lock, which other tests of the process need.
        drop(yard);
        if let Some(what) = found {
            panic!("{what}");
        }
    }
}

impl Drop for GuardBuf {
    fn drop(&mut self) {
        let mapped = mapped(self.capacity);
        // SAFETY: all but the last page of the mapping is writable, and nobody refers to it any more.
        unsafe { self.ptr.as_ptr().write_bytes(CANARY, mapped - page()) };
        protect(self.ptr.as_ptr(), mapped, libc::PROT_NONE);
        let mut yard = GRAVEYARD.lock().unwrap_or_else(PoisonError::into_inner);
        yard.graves.push_back(Grave { ptr: self.ptr, mapped });
        yard.bytes += mapped;
        while yard.bytes > KEPT_BYTES_MAX || yard.graves.len() > KEPT_MAX {
            let Some(oldest) = yard.graves.pop_front() else { break };
            yard.bytes -= oldest.mapped;
            if let Some(what) = oldest.disturbed() {
                yard.disturbed.get_or_insert(what);
            }
            // SAFETY: the mapping is the grave's own, and the grave is gone.
            unsafe { libc::munmap(oldest.ptr.as_ptr().cast(), oldest.mapped) };
        }
    }
}

impl Grave {
    /// What is wrong with it, if somebody wrote into it.
    fn disturbed(&self) -> Option<String> {
        let len = self.mapped - page();
        protect(self.ptr.as_ptr(), len, libc::PROT_READ);
        // SAFETY: readable since the line above; the graveyard's lock keeps others from sealing it again.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), len) };
        // Page by page: a comparison of slices is quick in a build without optimizations, too.
        let intact = [CANARY; 4096];
        let page = bytes.chunks(intact.len()).position(|chunk| *chunk != intact[..chunk.len()]);
        let found = page.map(|page| {
            let page = page * intact.len();
            let at = page + bytes[page..].iter().position(|&byte| byte != CANARY).expect("the page differs");
            let value = bytes[at];
            format!("byte {at} of a released buffer of {len} bytes was written after its release ({value:#04x})")
        });
        protect(self.ptr.as_ptr(), len, libc::PROT_NONE);
        found
    }
}

fn page() -> usize {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(page).expect("every system has pages")
}

/// Whole pages for `capacity` bytes, at least one, and the guard page.
fn mapped(capacity: usize) -> usize {
    capacity.max(1).next_multiple_of(page()) + page()
}

fn protect(base: *mut u8, len: usize, how: libc::c_int) {
    // SAFETY: callers pass (parts of) mappings of this module, which no reference points into.
    let answer = unsafe { libc::mprotect(base.cast(), len, how) };
    assert_eq!(answer, 0, "mprotect: {}", io::Error::last_os_error());
}

impl Deref for GuardBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` is at most the capacity, and a mapping begins as zeros.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for GuardBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl fmt::Debug for GuardBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuardBuf({} of {} bytes)", self.len, self.capacity)
    }
}

// SAFETY: the mapping stays where it is until the value is dropped; `len` bytes are initialized.
unsafe impl IoBuf for GuardBuf {
    fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: all of the capacity is writable.
unsafe impl IoBufMut for GuardBuf {
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

/// Memory that nobody may touch, given to operations to see them fail with `EFAULT`. No buffer in the sense of its traits:
/// who looks at its bytes faults.
pub(crate) struct SealedBuf {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for SealedBuf {}

impl SealedBuf {
    pub(crate) fn new(len: usize) -> SealedBuf {
        let mut buf = GuardBuf::zeroed(len);
        let ptr = NonNull::new(buf.as_mut_ptr()).expect("mmap never answers 0");
        std::mem::forget(buf);
        protect(ptr.as_ptr(), mapped(len), libc::PROT_NONE);
        SealedBuf { ptr, len }
    }
}

impl Drop for SealedBuf {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        unsafe { libc::munmap(self.ptr.as_ptr().cast(), mapped(self.len)) };
    }
}

impl fmt::Debug for SealedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedBuf({} bytes)", self.len)
    }
}

// SAFETY: the address stays. That its bytes cannot be read is the point; nothing but the kernel is asked to, which checks.
unsafe impl IoBuf for SealedBuf {
    fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }
    fn len(&self) -> usize {
        self.len
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for SealedBuf {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }
    fn capacity(&self) -> usize {
        self.len
    }
    unsafe fn set_len(&mut self, _len: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    fn kernel_reads_into(at: *mut u8) -> io::Result<usize> {
        let zeros = File::open("/dev/zero").unwrap();
        // SAFETY: the kernel checks the address; that is what is tested. Nothing else of the process lies there.
        let read = unsafe { libc::read(zeros.as_raw_fd(), at.cast(), 16) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }

    #[test]
    fn the_kernel_cannot_write_into_a_released_buffer_nor_behind_a_live_one() {
        let mut buf = GuardBuf::copy_of(&[7; 4096]);
        assert_eq!(buf.as_mut_ptr() as usize % 4096, 0);
        let at = buf.as_mut_ptr();
        assert_eq!(kernel_reads_into(at).unwrap(), 16);
        assert_eq!(kernel_reads_into(at.wrapping_add(4096)).unwrap_err().raw_os_error(), Some(libc::EFAULT));
        assert_eq!((buf[15], buf[16]), (0, 7));
        drop(buf);
        assert_eq!(kernel_reads_into(at).unwrap_err().raw_os_error(), Some(libc::EFAULT));
    }

    #[test]
    fn a_changed_canary_is_found() {
        let mut buf = GuardBuf::zeroed(100);
        let at = buf.as_mut_ptr();
        drop(buf);
        let mut yard = GRAVEYARD.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = yard.graves.iter().position(|grave| grave.ptr.as_ptr() == at).unwrap();
        let grave = yard.graves.remove(mine).unwrap();
        yard.bytes -= grave.mapped;
        drop(yard);
        assert_eq!(grave.disturbed(), None);
        protect(at, page(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the page is writable since the line above; the grave is out of the yard.
        unsafe { at.wrapping_add(42).write(1) };
        assert!(grave.disturbed().unwrap().starts_with("byte 42 of a released buffer"));
    }

    #[test]
    fn the_graveyard_is_bounded() {
        for _ in 0..200 {
            drop(GuardBuf::zeroed(1 << 20));
        }
        let yard = GRAVEYARD.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(yard.bytes <= KEPT_BYTES_MAX, "{} bytes are kept", yard.bytes);
    }
}
