//! A buffer of any type in 64 bytes.

use crate::{IoBuf, IoBufMut};
use std::{
    any::TypeId,
    cell::UnsafeCell,
    fmt,
    mem::{ManuallyDrop, MaybeUninit, align_of, size_of},
};

const WORDS: usize = 7;
type Storage = UnsafeCell<[MaybeUninit<u64>; WORDS]>;

/// A buffer whose type was forgotten, stored inline up to 56 bytes (boxed above), so that an operation needs no allocation.
///
/// It behaves as the buffer inside: it can be written from, or read into if it was made by [`AnyBuf::reading`], and
/// [`downcast`](AnyBuf::downcast) brings the type back.
pub struct AnyBuf {
    // The cell says that the kernel may write into an inline array while somebody holds `&AnyBuf`.
    storage: Storage,
    vtable: &'static VTable,
}

// SAFETY: only `Send` types are stored (bound on `IoBuf`).
unsafe impl Send for AnyBuf {}

type TargetFn = unsafe fn(*mut u8) -> (*mut u8, usize);

/// What an [`AnyBuf`] needs to know of the type inside. All functions take a pointer to the stored value.
struct VTable {
    type_id: fn() -> TypeId,
    type_name: fn() -> &'static str,
    /// Address and length to write from.
    source: unsafe fn(*const u8) -> (*const u8, usize),
    /// Address and capacity to read into; `None` if the type, or this use of it, cannot be read into.
    target: Option<TargetFn>,
    capacity: unsafe fn(*const u8) -> usize,
    set_len: unsafe fn(*mut u8, usize),
    drop: unsafe fn(*mut u8),
}

/// Storing `B` itself where it fits, else a box of it.
struct Stored<B>(std::marker::PhantomData<B>);

impl<B: 'static> Stored<B> {
    const INLINE: bool = size_of::<B>() <= WORDS * 8 && align_of::<B>() <= 8;

    /// # Safety: `storage` holds a live `B` stored by [`store`].
    unsafe fn get<'a>(storage: *const u8) -> &'a B {
        if Self::INLINE {
            // SAFETY: the caller says that a `B` lives here; size and alignment were checked by INLINE.
            unsafe { &*storage.cast::<B>() }
        } else {
            // SAFETY: as above, for the box.
            unsafe { &*storage.cast::<Box<B>>() }
        }
    }

    /// # Safety: as `get`, and nobody else refers to it.
    unsafe fn get_mut<'a>(storage: *mut u8) -> &'a mut B {
        if Self::INLINE {
            // SAFETY: see `get`.
            unsafe { &mut *storage.cast::<B>() }
        } else {
            // SAFETY: see `get`.
            unsafe { &mut *storage.cast::<Box<B>>() }
        }
    }

    /// # Safety: as `get_mut`; the storage is empty afterwards.
    unsafe fn take(storage: *mut u8) -> B {
        if Self::INLINE {
            // SAFETY: see `get`.
            unsafe { storage.cast::<B>().read() }
        } else {
            // SAFETY: see `get`.
            *unsafe { storage.cast::<Box<B>>().read() }
        }
    }
}

struct Source<B>(std::marker::PhantomData<B>);
struct Target<B>(std::marker::PhantomData<B>);

impl<B: IoBuf> Source<B> {
    const VTABLE: VTable = VTable {
        type_id: TypeId::of::<B>,
        type_name: std::any::type_name::<B>,
        // SAFETY (all): AnyBuf calls these with its own storage, which holds a `B` until `drop` or `downcast`.
        source: |p| {
            // SAFETY: see above.
            let buf = unsafe { Stored::<B>::get(p) };
            (buf.as_ptr(), buf.len())
        },
        target: None,
        capacity: |_| 0,
        set_len: |_, _| {},
        drop: |p| {
            // SAFETY: see above.
            drop(unsafe { Stored::<B>::take(p) });
        },
    };
}

impl<B: IoBufMut> Target<B> {
    const VTABLE: VTable = VTable {
        target: Some(|p| {
            // SAFETY: see Source::VTABLE; `&mut AnyBuf` is behind it.
            let buf = unsafe { Stored::<B>::get_mut(p) };
            let capacity = buf.capacity();
            (buf.as_mut_ptr(), capacity)
        }),
        // SAFETY: as above.
        capacity: |p| unsafe { Stored::<B>::get(p).capacity() },
        // SAFETY: as above; the length is the caller's promise.
        set_len: |p, n| unsafe { Stored::<B>::get_mut(p).set_len(n) },
        ..Source::<B>::VTABLE
    };
}

impl AnyBuf {
    /// Stores a buffer to write from.
    #[inline]
    pub fn writing<B: IoBuf>(buf: B) -> AnyBuf {
        AnyBuf::store(buf, const { &Source::<B>::VTABLE })
    }

    /// Stores a buffer to read into.
    #[inline]
    pub fn reading<B: IoBufMut>(buf: B) -> AnyBuf {
        AnyBuf::store(buf, const { &Target::<B>::VTABLE })
    }

    #[inline]
    fn store<B: 'static>(buf: B, vtable: &'static VTable) -> AnyBuf {
        let storage: Storage = UnsafeCell::new([MaybeUninit::uninit(); WORDS]);
        if Stored::<B>::INLINE {
            // SAFETY: INLINE checked size and alignment.
            unsafe { storage.get().cast::<B>().write(buf) };
        } else {
            // SAFETY: a thin box is one word.
            unsafe { storage.get().cast::<Box<B>>().write(Box::new(buf)) };
        }
        AnyBuf { storage, vtable }
    }

    /// Address and length to write from. The address holds while the `AnyBuf` is not moved.
    #[inline]
    pub fn source(&self) -> (*const u8, usize) {
        // SAFETY: the storage holds the type of the vtable.
        unsafe { (self.vtable.source)(self.storage.get().cast()) }
    }

    /// Address and capacity to read into, `None` for a buffer stored by [`AnyBuf::writing`]. The address holds while the
    /// `AnyBuf` is not moved.
    #[inline]
    pub fn target(&mut self) -> Option<(*mut u8, usize)> {
        // SAFETY: the storage holds the type of the vtable, and `&mut self` is exclusive.
        self.vtable.target.map(|target| unsafe { target(self.storage.get().cast()) })
    }

    /// Number of bytes that can be read into it; 0 for a buffer stored by [`AnyBuf::writing`].
    #[inline]
    pub fn capacity(&self) -> usize {
        // SAFETY: the storage holds the type of the vtable.
        unsafe { (self.vtable.capacity)(self.storage.get().cast()) }
    }

    /// Tells the buffer how much was read into it; nothing happens to one stored for writing.
    ///
    /// # Safety
    /// As [`IoBufMut::set_len`].
    #[inline]
    pub unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: the storage holds the type of the vtable; the rest is the caller's promise.
        unsafe { (self.vtable.set_len)(self.storage.get().cast(), len) }
    }

    /// The buffer with its type back.
    ///
    /// # Errors
    /// The `AnyBuf` unchanged, if a buffer of another type is inside.
    #[inline]
    pub fn downcast<B: 'static>(self) -> Result<B, AnyBuf> {
        if (self.vtable.type_id)() != TypeId::of::<B>() {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: the type was compared; ManuallyDrop keeps the value from being dropped a second time.
        Ok(unsafe { Stored::<B>::take(this.storage.get().cast()) })
    }

    /// Name of the type inside.
    pub fn type_name(&self) -> &'static str {
        (self.vtable.type_name)()
    }
}

impl Drop for AnyBuf {
    fn drop(&mut self) {
        // SAFETY: the storage still holds its value: `downcast` forgets the AnyBuf.
        unsafe { (self.vtable.drop)(self.storage.get().cast()) }
    }
}

impl fmt::Debug for AnyBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyBuf({}, {} bytes)", self.type_name(), self.source().1)
    }
}

const _: () = assert!(size_of::<AnyBuf>() == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn the_type_comes_back() {
        let any = AnyBuf::reading(vec![1u8, 2, 3]);
        assert!(any.type_name().contains("Vec<u8>"));
        let any = any.downcast::<Box<[u8]>>().unwrap_err();
        assert_eq!(any.downcast::<Vec<u8>>().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn small_values_are_inline_large_ones_boxed() {
        for (any, inline) in [(AnyBuf::reading([7u8; 56]), true), (AnyBuf::reading([7u8; 57]), false)] {
            let at = any.source().0 as usize;
            let start = &raw const any as usize;
            assert_eq!((start..start + 64).contains(&at), inline);
        }
    }

    #[test]
    fn inline_memory_follows_the_value() {
        let mut boxed = Box::new(AnyBuf::reading([1u8; 8]));
        let (p, n) = boxed.target().unwrap();
        assert_eq!(n, 8);
        // SAFETY: `p` is inside `boxed`, which rests.
        unsafe { p.write(9) };
        assert_eq!(boxed.downcast::<[u8; 8]>().unwrap()[0], 9);
    }

    #[test]
    fn a_source_is_no_target() {
        assert!(AnyBuf::writing(vec![0u8; 4]).target().is_none());
    }

    #[test]
    fn every_value_is_dropped_once() {
        let counted: Arc<[u8]> = Arc::from(vec![1u8; 3]);
        drop(AnyBuf::writing(counted.clone()));
        assert_eq!(Arc::strong_count(&counted), 1);
        let back = AnyBuf::writing(counted.clone()).downcast::<Arc<[u8]>>().unwrap();
        assert_eq!(Arc::strong_count(&counted), 2);
        drop(back);
    }
}
