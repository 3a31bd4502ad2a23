//! What a listener queues: an operation, a key, and whatever it wants back with the answer.

use super::{AIOKey, AIOKind};
use crate::inflight::{Carrier, sealed::Sealed};
use io_core::{AnyBuf, FileHandle, IoBuf, IoBufMut, Op};
use std::{fmt, marker::PhantomData};

/// What the loop can run: [`AIO`], [`UnsafeAIO`] and [`AnySubmission`].
pub trait IOSubmission: Carrier + Sized {
    /// The caller's name for it.
    fn key(&self) -> AIOKey;
}

/// An operation with an owned buffer of type `B`, and a `tag` of the caller's that comes back with it.
///
/// `B` is `()` for operations without a buffer.
pub struct AIO<B, T = ()> {
    /// The caller's name for it.
    pub key: AIOKey,
    /// Whatever the caller wants back with the answer.
    pub tag: T,
    op: Op,
    buf: PhantomData<fn() -> B>,
}

impl<B: IoBufMut> AIO<B> {
    /// Reads into the buffer's capacity at `offset`.
    #[inline]
    pub fn read(key: AIOKey, file: &FileHandle, buf: B, offset: u64) -> AIO<B> {
        AIO { key, tag: (), op: Op::read(file, buf, offset), buf: PhantomData }
    }
}

impl<B: IoBuf> AIO<B> {
    /// Writes the buffer's initialized bytes at `offset`.
    #[inline]
    pub fn write(key: AIOKey, file: &FileHandle, buf: B, offset: u64) -> AIO<B> {
        AIO { key, tag: (), op: Op::write(file, buf, offset), buf: PhantomData }
    }
}

impl AIO<()> {
    /// An operation whose buffer, if it has one, comes back through [`AIO::into_op`].
    pub fn op(key: AIOKey, op: Op) -> AIO<()> {
        AIO { key, tag: (), op, buf: PhantomData }
    }

    /// fdatasync(2), behind all writes of the inode that were accepted before.
    pub fn sync_data(key: AIOKey, file: &FileHandle) -> AIO<()> {
        AIO::op(key, Op::sync_data(file))
    }

    /// fsync(2), behind all writes of the inode that were accepted before.
    pub fn sync_all(key: AIOKey, file: &FileHandle) -> AIO<()> {
        AIO::op(key, Op::sync_all(file))
    }
}

impl<B, T> AIO<B, T> {
    /// The same submission with another tag.
    pub fn with_tag<U>(self, tag: U) -> AIO<B, U> {
        AIO { key: self.key, tag, op: self.op, buf: PhantomData }
    }

    /// How it counts.
    pub fn kind(&self) -> AIOKind {
        kind(&self.op)
    }

    /// The operation, with its buffer and its typed answer.
    pub fn into_op(self) -> Op {
        self.op
    }

    /// The same submission without its buffer's type, so that one listener can have several.
    pub fn into_any(self) -> AnySubmission<T> {
        AIO { key: self.key, tag: self.tag, op: self.op, buf: PhantomData }
    }
}

impl<B: IoBuf, T> AIO<B, T> {
    /// The buffer back.
    pub fn into_buf(self) -> B {
        self.into_parts().0
    }

    /// Buffer and tag back.
    pub fn into_parts(self) -> (B, T) {
        let buf = self.op.into_buf().expect("an AIO<B> is made with a B, and its operation is private");
        (buf, self.tag)
    }
}

/// A submission whose buffer can be of any type: see [`AnySubmission::into_any_buf`].
pub type AnySubmission<T = ()> = AIO<AnyBuf, T>;

impl<T> AnySubmission<T> {
    /// The buffer, if there is one; [`AnyBuf::downcast`] brings its type back.
    pub fn into_any_buf(self) -> Option<AnyBuf> {
        self.op.into_any_buf()
    }
}

impl<B, T> fmt::Debug for AIO<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AIO(key {}, {:?})", self.key, self.op)
    }
}

impl<B, T> Sealed for AIO<B, T> {}
impl<B, T: Send> Carrier for AIO<B, T> {
    #[inline]
    fn op(&self) -> &Op {
        &self.op
    }
    #[inline]
    fn op_mut(&mut self) -> &mut Op {
        &mut self.op
    }
}
impl<B, T: Send> IOSubmission for AIO<B, T> {
    fn key(&self) -> AIOKey {
        self.key
    }
}

/// An operation on borrowed pages: for buffer pools that own their memory and know who uses which page.
pub struct UnsafeAIO<T = ()>(AIO<Pages, T>);

/// Borrowed memory. Only `UnsafeAIO` makes it, so its obligations are on who called that.
struct Pages {
    base: *mut u8,
    len: usize,
}

#[allow(unsafe_code)]
mod pages {
    use super::*;

    // SAFETY: whoever made the UnsafeAIO answers for the memory on every thread.
    unsafe impl Send for Pages {}

    // SAFETY: the caller of `UnsafeAIO::read` or `write` says that the memory is there, and nobody else's, until completion.
    unsafe impl IoBuf for Pages {
        fn as_ptr(&self) -> *const u8 {
            self.base
        }
        fn len(&self) -> usize {
            self.len
        }
    }

    // SAFETY: as above; `read` asks for writable memory.
    unsafe impl IoBufMut for Pages {
        fn as_mut_ptr(&mut self) -> *mut u8 {
            self.base
        }
        fn capacity(&self) -> usize {
            self.len
        }
        unsafe fn set_len(&mut self, _len: usize) {}
    }

    impl UnsafeAIO {
        /// Reads `len` bytes at `offset` into the memory at `base`.
        ///
        /// # Safety
        /// From now until the submission comes back through `on_complete`, the `len` bytes at `base` are valid, initialized,
        /// writable, and neither read nor written by anybody else. An answer is not enough, the *completion* is: if the
        /// submission is quarantined instead, the memory is lent for the rest of the process.
        pub unsafe fn read(key: AIOKey, file: &FileHandle, base: *mut u8, len: usize, offset: u64) -> UnsafeAIO {
            UnsafeAIO(AIO::read(key, file, Pages { base, len }, offset))
        }

        /// Writes the `len` bytes at `base` at `offset`.
        ///
        /// # Safety
        /// As [`UnsafeAIO::read`], but the memory need only be readable, and others may read it too.
        pub unsafe fn write(key: AIOKey, file: &FileHandle, base: *const u8, len: usize, offset: u64) -> UnsafeAIO {
            UnsafeAIO(AIO::write(key, file, Pages { base: base.cast_mut(), len }, offset))
        }
    }
}

impl<T> UnsafeAIO<T> {
    /// The same submission with another tag.
    pub fn with_tag<U>(self, tag: U) -> UnsafeAIO<U> {
        UnsafeAIO(self.0.with_tag(tag))
    }

    /// How it counts.
    pub fn kind(&self) -> AIOKind {
        self.0.kind()
    }

    /// The memory that was lent, and the tag.
    pub fn into_parts(self) -> (*mut u8, usize, T) {
        let (pages, tag) = self.0.into_parts();
        (pages.base, pages.len, tag)
    }
}

impl<T> fmt::Debug for UnsafeAIO<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unsafe{:?}", self.0)
    }
}

impl<T> Sealed for UnsafeAIO<T> {}
impl<T: Send> Carrier for UnsafeAIO<T> {
    fn op(&self) -> &Op {
        self.0.op()
    }
    fn op_mut(&mut self) -> &mut Op {
        self.0.op_mut()
    }
}
impl<T: Send> IOSubmission for UnsafeAIO<T> {
    fn key(&self) -> AIOKey {
        self.0.key
    }
}

fn kind(op: &Op) -> AIOKind {
    match op.kind() {
        kind if kind.is_read() => AIOKind::Read,
        kind if kind.is_write() => AIOKind::Write,
        kind if kind.is_sync() => AIOKind::Sync,
        _ => AIOKind::Other,
    }
}
