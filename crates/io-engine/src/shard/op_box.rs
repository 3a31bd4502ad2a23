//! Operations in boxes that are used again.

use io_core::{AnyBuf, IoBuf, Op};
use std::{
    cell::RefCell,
    fmt,
    ops::{Deref, DerefMut},
};

/// Most empty boxes that a thread keeps for its next operations.
const SPARE_MAX: usize = 256;

thread_local! {
    // The boxes are what is kept.
    #[allow(clippy::vec_box)]
    static SPARE: RefCell<Vec<Box<Option<Op>>>> = const { RefCell::new(Vec::new()) };
}

/// An operation on the heap: from the future through queue and slot to the answer one word is moved and not the operation. Boxes are kept
/// by the thread that empties them, so that a steady state allocates nothing.
pub struct OpBox(Option<Box<Option<Op>>>);

impl OpBox {
    #[inline]
    pub(crate) fn new(op: Op) -> OpBox {
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok().and_then(|mut spare| spare.pop()));
        OpBox(Some(match spare.ok().flatten() {
            Some(mut room) => {
                *room = Some(op);
                room
            }
            None => Box::new(Some(op)),
        }))
    }

    /// The operation itself.
    #[inline]
    pub fn into_op(mut self) -> Op {
        self.0.as_mut().and_then(|room| room.take()).expect("full until it is dropped")
    }

    /// As [`Op::into_buf`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn into_buf<B: 'static>(self) -> Result<B, Op> {
        self.into_op().into_buf()
    }

    /// As [`Op::into_bufs`].
    ///
    /// # Errors
    /// As there.
    pub fn into_bufs<B: IoBuf>(self) -> Result<Vec<B>, Op> {
        self.into_op().into_bufs()
    }

    /// As [`Op::into_any_buf`].
    pub fn into_any_buf(self) -> Option<AnyBuf> {
        self.into_op().into_any_buf()
    }
}

impl Deref for OpBox {
    type Target = Op;
    #[inline]
    fn deref(&self) -> &Op {
        self.0.as_ref().and_then(|room| room.as_ref().as_ref()).expect("full until it is dropped")
    }
}

impl DerefMut for OpBox {
    #[inline]
    fn deref_mut(&mut self) -> &mut Op {
        self.0.as_mut().and_then(|room| room.as_mut().as_mut()).expect("full until it is dropped")
    }
}

impl Drop for OpBox {
    #[inline]
    fn drop(&mut self) {
        let Some(mut room) = self.0.take() else { return };
        // Foreign code (dropping a buffer) may come back here: nothing is borrowed while it runs.
        drop(room.take());
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut() {
                if spare.len() < SPARE_MAX {
                    spare.push(room);
                }
            }
        });
    }
}

impl fmt::Debug for OpBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
