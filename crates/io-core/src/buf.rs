//! Buffers that an operation can own.

use std::{
    fmt, io,
    ops::{Bound, Deref, RangeBounds},
};

/// What an operation with a buffer answers: the result, and the buffer back on success *and* on error.
pub type BufResult<T, B> = (io::Result<T>, B);

/// Memory that the kernel may read while the value that owns it rests.
///
/// # Safety
/// While the value is neither moved, nor mutated, nor dropped, [`as_ptr`](IoBuf::as_ptr) gives the same address each time, and
/// the `len` bytes there are initialized, readable and change for nobody else's reason. (The core moves the value into the
/// operation's slot first and asks for the address afterwards, so memory inside the value itself is fine.)
pub unsafe trait IoBuf: Send + 'static {
    /// Start of the memory.
    fn as_ptr(&self) -> *const u8;

    /// Number of initialized bytes: what a write writes.
    fn len(&self) -> usize;

    /// True if there is nothing to write.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The initialized bytes.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: by the trait's contract `len` bytes at `as_ptr` are initialized and readable as long as `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// A window into the buffer that takes part in the operation in its place.
    ///
    /// For a write the window has to lie within [`len`](IoBuf::len) when the operation is made; for a read within the
    /// capacity. An open end means "to the end".
    ///
    /// # Panics
    /// If the range ends before it starts.
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        Slice::new(self, range)
    }
}

/// Memory that the kernel may write while the value that owns it rests.
///
/// # Safety
/// As [`IoBuf`], and the `capacity` bytes at [`as_mut_ptr`](IoBufMut::as_mut_ptr) are writable; `as_ptr` and `as_mut_ptr` give
/// the same address. `capacity` is at least `len`.
pub unsafe trait IoBufMut: IoBuf {
    /// Start of the memory.
    fn as_mut_ptr(&mut self) -> *mut u8;

    /// Number of writable bytes: what a read asks for.
    fn capacity(&self) -> usize;

    /// Tells the buffer that its first `len` bytes were read into. Growable buffers take this as their new length; buffers of
    /// fixed length ignore it.
    ///
    /// # Safety
    /// The first `len` bytes are initialized, and `len` is at most the capacity.
    unsafe fn set_len(&mut self, len: usize);
}

// SAFETY: a Vec's heap block stays where it is while the Vec is not mutated; its first `len` bytes are initialized.
unsafe impl IoBuf for Vec<u8> {
    fn as_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn len(&self) -> usize {
        self.len()
    }
}

// SAFETY: `capacity` bytes of the block belong to the Vec and may be written.
unsafe impl IoBufMut for Vec<u8> {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        self.capacity()
    }
    unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: the caller's promise is the one that Vec asks for.
        unsafe { self.set_len(len) }
    }
}

// SAFETY: the heap block stays where it is while the box is not mutated or moved; all of it is initialized.
unsafe impl IoBuf for Box<[u8]> {
    fn as_ptr(&self) -> *const u8 {
        (**self).as_ptr()
    }
    fn len(&self) -> usize {
        (**self).len()
    }
}

// SAFETY: all of the block is writable; length and capacity are one number.
unsafe impl IoBufMut for Box<[u8]> {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        (**self).as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        (**self).len()
    }
    unsafe fn set_len(&mut self, _len: usize) {}
}

// SAFETY: the array is the memory; it stays where it is while the value is not moved.
unsafe impl<const N: usize> IoBuf for [u8; N] {
    fn as_ptr(&self) -> *const u8 {
        self.as_slice().as_ptr()
    }
    fn len(&self) -> usize {
        N
    }
}

// SAFETY: all N bytes are writable; length and capacity are one number.
unsafe impl<const N: usize> IoBufMut for [u8; N] {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_slice().as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        N
    }
    unsafe fn set_len(&mut self, _len: usize) {}
}

// SAFETY: static memory never moves and is never written.
unsafe impl IoBuf for &'static [u8] {
    fn as_ptr(&self) -> *const u8 {
        (**self).as_ptr()
    }
    fn len(&self) -> usize {
        (**self).len()
    }
}

// SAFETY: static memory never moves and is never written.
unsafe impl IoBuf for &'static str {
    fn as_ptr(&self) -> *const u8 {
        (**self).as_ptr()
    }
    fn len(&self) -> usize {
        (**self).len()
    }
}

// SAFETY: a String's heap block stays where it is while the String is not mutated; all of `len` is initialized.
unsafe impl IoBuf for String {
    fn as_ptr(&self) -> *const u8 {
        self.as_str().as_ptr()
    }
    fn len(&self) -> usize {
        self.len()
    }
}

// SAFETY: the bytes behind an Arc are immutable and stay where they are while one Arc is alive.
unsafe impl IoBuf for std::sync::Arc<[u8]> {
    fn as_ptr(&self) -> *const u8 {
        (**self).as_ptr()
    }
    fn len(&self) -> usize {
        (**self).len()
    }
}

/// With this trait in scope `bytes.slice(..)` is [`IoBuf::slice`], which takes the value: write `Bytes::slice(&bytes, ..)` for the other.
// SAFETY: the bytes behind a Bytes are immutable and stay where they are while it is alive.
#[cfg(feature = "bytes")]
unsafe impl IoBuf for bytes::Bytes {
    fn as_ptr(&self) -> *const u8 {
        (**self).as_ptr()
    }
    fn len(&self) -> usize {
        self.len()
    }
}

// SAFETY: the block stays where it is while the BytesMut is not mutated; its first `len` bytes are initialized. What shares the block
// with it has other parts.
#[cfg(feature = "bytes")]
unsafe impl IoBuf for bytes::BytesMut {
    fn as_ptr(&self) -> *const u8 {
        (**self).as_ptr()
    }
    fn len(&self) -> usize {
        self.len()
    }
}

// SAFETY: `capacity` bytes of the block belong to this BytesMut and may be written.
#[cfg(feature = "bytes")]
unsafe impl IoBufMut for bytes::BytesMut {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        (**self).as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        self.capacity()
    }
    unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: the caller's promise is the one that BytesMut asks for.
        unsafe { self.set_len(len) }
    }
}

/// A window into a buffer: an operation on the slice reads or writes the window only. Made by [`IoBuf::slice`].
pub struct Slice<B> {
    buf: B,
    begin: usize,
    end: usize,
}

impl<B: IoBuf> Slice<B> {
    fn new(buf: B, range: impl RangeBounds<usize>) -> Slice<B> {
        let begin = match range.start_bound() {
            Bound::Included(&n) => n,
            Bound::Excluded(&n) => n + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&n) => n + 1,
            Bound::Excluded(&n) => n,
            Bound::Unbounded => usize::MAX,
        };
        assert!(begin <= end, "slice ends before it starts");
        Slice { buf, begin, end }
    }

    /// Offset of the window in the buffer.
    pub fn begin(&self) -> usize {
        self.begin
    }

    /// The whole buffer, borrowed.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// The whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

// SAFETY: the window is cut to the buffer's own initialized bytes, of which the buffer's contract speaks.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn as_ptr(&self) -> *const u8 {
        self.buf.as_ptr().wrapping_add(self.begin.min(self.buf.len()))
    }
    fn len(&self) -> usize {
        self.end.min(self.buf.len()).saturating_sub(self.begin)
    }
}

/// A window that reads: its bytes before [`begin`](Slice::begin) have to be initialized already.
// SAFETY: `begin` is cut to the initialized length, `end` to the capacity, so the window is writable and begins where `as_ptr`
// says; `set_len` keeps what lies before the window and never shrinks into it.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn as_mut_ptr(&mut self) -> *mut u8 {
        let begin = self.begin.min(self.buf.len());
        self.buf.as_mut_ptr().wrapping_add(begin)
    }
    fn capacity(&self) -> usize {
        if self.begin > self.buf.len() {
            return 0;
        }
        self.end.min(self.buf.capacity()).saturating_sub(self.begin)
    }
    unsafe fn set_len(&mut self, len: usize) {
        let whole = self.begin + len;
        if whole > self.buf.len() {
            // SAFETY: the bytes before the window were initialized, and the caller vouches for `len` bytes of it.
            unsafe { self.buf.set_len(whole) }
        }
    }
}

impl<B: IoBuf> Deref for Slice<B> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<B: IoBuf> fmt::Debug for Slice<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({}.., {} bytes)", self.begin, IoBuf::len(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_fills_a_vecs_capacity() {
        let mut buf = Vec::with_capacity(10);
        buf.extend_from_slice(b"abc");
        assert_eq!(IoBuf::len(&buf), 3);
        assert!(IoBufMut::capacity(&buf) >= 10);
        // SAFETY: the three bytes are initialized.
        unsafe { IoBufMut::set_len(&mut buf, 2) };
        assert_eq!(buf, b"ab");
    }

    #[cfg(feature = "bytes")]
    #[test]
    fn bytes_are_buffers_and_a_read_fills_the_capacity_that_is_theirs() {
        let mut whole = bytes::BytesMut::with_capacity(100);
        whole.extend_from_slice(&[1; 60]);
        let mut back = whole.split_off(40);
        assert_eq!((IoBuf::len(&whole), IoBufMut::capacity(&whole)), (40, 40));
        assert_eq!(IoBuf::len(&back), 20);
        let room = IoBufMut::capacity(&back);
        assert!(room >= 60);
        // SAFETY: `room` bytes are the buffer's own, and are written before they count.
        unsafe {
            back.as_mut_ptr().write_bytes(2, room);
            IoBufMut::set_len(&mut back, room);
        }
        assert_eq!(whole, vec![1; 40]);
        let frozen = back.freeze();
        assert_eq!(frozen.as_bytes(), vec![2; room]);
    }

    #[test]
    fn slices_are_windows() {
        let slice = b"0123456789".to_vec().slice(2..5);
        assert_eq!(slice.as_bytes(), b"234");
        assert_eq!(slice.into_inner(), b"0123456789");
        assert_eq!(vec![1u8, 2, 3].slice(1..).as_bytes(), [2, 3]);
        assert_eq!(vec![1u8, 2, 3].slice(..=1).as_bytes(), [1, 2]);
    }

    #[test]
    fn a_window_past_the_end_is_empty_not_wild() {
        let mut slice = Vec::<u8>::with_capacity(8).slice(4..6);
        assert_eq!((IoBuf::len(&slice), IoBufMut::capacity(&slice)), (0, 0));
        assert_eq!(slice.as_ptr(), slice.as_mut_ptr().cast_const());
        assert!(slice.as_bytes().is_empty());
    }

    #[test]
    fn a_read_into_a_window_keeps_what_is_around_it() {
        let mut slice = b"0123456789".to_vec().slice(2..5);
        assert_eq!(IoBufMut::capacity(&slice), 3);
        // SAFETY: all ten bytes are initialized.
        unsafe { slice.set_len(1) };
        assert_eq!(slice.into_inner(), b"0123456789");
    }

    #[test]
    #[should_panic(expected = "ends before it starts")]
    #[allow(clippy::reversed_empty_ranges)]
    fn reversed_ranges_panic() {
        let _ = vec![0u8; 4].slice(3..1);
    }
}
