//! Places at the end of a file: one cursor per inode, for all handles of the process.
//!
//! `O_APPEND` is never set: with it the kernel ignores offsets, and a short append could not be continued at its place.

use crate::inode::Inode;
use io_core::{FileHandle, Reach};
use std::{any::Any, fmt, sync::Arc};

/// How an inode is appended to; the two do not mix, because only one of them knows where the end is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Unused,
    Cursor,
    Kernel,
}

/// Where the next append goes.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    mode: Mode,
    /// Where the file ended when it was first asked; before that places are counted from 0.
    base: Option<u64>,
    next: u64,
    /// Appends that have a place and are not over.
    open: u32,
    /// Where other writes ended while the size was not known.
    floor: u64,
}

impl Cursor {
    /// A change is over: what grew or cut the file moves the cursor.
    #[inline]
    pub(crate) fn changed(&mut self, reach: Reach, done: u64, ok: bool, is_write: bool) {
        if self.mode != Mode::Cursor {
            return;
        }
        match reach {
            Reach::Bytes { start, .. } if is_write && done > 0 => self.grew(start.saturating_add(done)),
            Reach::Bytes { end, .. } if !is_write && ok => self.grew(end),
            // Places that are given out cannot be taken back.
            Reach::From(size) if ok && self.open == 0 && self.base.is_some() => self.next = size,
            Reach::From(size) if ok => self.grew(size),
            _ => {}
        }
    }

    fn grew(&mut self, end: u64) {
        match self.base {
            Some(_) => self.next = self.next.max(end),
            None => self.floor = self.floor.max(end),
        }
    }
}

/// A place for one append, in a file's order of appends. Dropped before [`Place::keep`] it is given back if it is the last one, and
/// stays an unwritten gap otherwise.
pub struct Place {
    inode: Arc<Inode>,
    at: u64,
    len: u64,
    /// Counted from the base, which was not known.
    relative: bool,
    kept: bool,
}

/// Why an inode has no place to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The inode is appended to by the other way: with the cursor, or by the kernel ([`append_by_kernel`]).
    OtherWay,
    /// The file would end behind the largest offset.
    TooLong,
}

impl Place {
    /// The next place of `len` bytes. Its offset is known once somebody has told the size of the file.
    ///
    /// # Errors
    /// See [`NoPlace`].
    pub fn reserve(file: &FileHandle, len: u64) -> Result<Place, NoPlace> {
        let inode = Inode::arc_of(file);
        let reserved = inode.with_cursor(|cursor| {
            if cursor.mode == Mode::Kernel {
                return Err(NoPlace::OtherWay);
            }
            let end = cursor.next.checked_add(len).filter(|&end| end <= i64::MAX as u64).ok_or(NoPlace::TooLong)?;
            cursor.mode = Mode::Cursor;
            cursor.open += 1;
            Ok((std::mem::replace(&mut cursor.next, end), cursor.base.is_none()))
        });
        let (at, relative) = reserved?;
        Ok(Place { inode, at, len, relative, kept: false })
    }

    /// Where it is; `None` until the size of the file is known.
    pub fn offset(&self) -> Option<u64> {
        if !self.relative {
            return Some(self.at);
        }
        self.inode.with_cursor(|cursor| cursor.base).map(|base| base.saturating_add(self.at))
    }

    /// Tells the size of the file, asked for after the place was reserved. Only the first one counts.
    pub fn learn_size(&self, size: u64) {
        learn_size(&self.inode, size);
    }

    /// Its length.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for a place of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The write begins: the place is not given back any more when this is dropped.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// The write has failed. True: it was the last place, and the next append gets it.
    pub fn give_back(mut self) -> bool {
        self.kept = true;
        self.withdraw()
    }

    fn withdraw(&mut self) -> bool {
        let (at, len, relative) = (self.at, self.len, self.relative);
        self.inode.with_cursor(|cursor| {
            let start = if relative { cursor.base.unwrap_or(0).saturating_add(at) } else { at };
            let last = start.saturating_add(len) == cursor.next;
            if last {
                cursor.next = start;
            }
            last
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            self.withdraw();
        }
        self.inode.with_cursor(|cursor| cursor.open -= 1);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({} bytes at {:?})", self.len, self.offset())
    }
}

/// Tells the size of a file that is going to be appended to, before its first place is reserved, or when other processes may have
/// appended since the last one: no place begins before it from here on.
pub fn learn_append_size(file: &FileHandle, size: u64) {
    let inode = Inode::arc_of(file);
    learn_size(&inode, size);
    inode.with_cursor(|cursor| cursor.grew(size));
}

fn learn_size(inode: &Inode, size: u64) {
    inode.with_cursor(|cursor| {
        if cursor.mode == Mode::Unused {
            cursor.mode = Mode::Cursor;
        }
        if cursor.base.is_none() {
            let base = size.max(cursor.floor);
            cursor.base = Some(base);
            cursor.next = cursor.next.saturating_add(base);
        }
    });
}

/// The file will be appended to by `RWF_APPEND`, where the kernel knows the end and other processes may append, too.
///
/// # Errors
/// [`NoPlace::OtherWay`], if the process appends to the inode with the cursor.
pub fn append_by_kernel(file: &FileHandle) -> Result<(), NoPlace> {
    Inode::of(file).with_cursor(|cursor| {
        if cursor.mode == Mode::Cursor {
            return Err(NoPlace::OtherWay);
        }
        cursor.mode = Mode::Kernel;
        Ok(())
    })
}

/// State that the floor above keeps with an inode, the same for all its handles of the process; made at the first call.
///
/// # Panics
/// If it was made as another type before.
pub fn inode_state<T: Any + Send + Sync>(file: &FileHandle, make: fn() -> T) -> Arc<T> {
    let state = Inode::of(file).extension.get_or_init(|| Arc::new(make())).clone();
    state.downcast().expect("one floor keeps one type of state")
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::{FileFacts, RawFile};

    #[allow(unsafe_code)]
    fn file() -> FileHandle {
        // SAFETY: the number is outside the range of descriptors.
        unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), FileFacts::default()) }
    }

    #[test]
    fn places_follow_one_another_also_before_the_size_is_known() {
        let file = file();
        let first = Place::reserve(&file, 10).unwrap();
        let second = Place::reserve(&file, 5).unwrap();
        assert_eq!(second.offset(), None);
        second.learn_size(100);
        first.learn_size(9999);
        assert_eq!((first.offset(), second.offset()), (Some(100), Some(110)));
        assert_eq!(Place::reserve(&file, 1).unwrap().offset(), Some(115));
        assert_eq!(Place::reserve(&file, u64::MAX).unwrap_err(), NoPlace::TooLong);
    }

    #[test]
    fn only_the_last_place_is_given_back() {
        let file = file();
        learn_append_size(&file, 0);
        let first = Place::reserve(&file, 10).unwrap();
        let second = Place::reserve(&file, 10).unwrap();
        assert!(!first.give_back());
        assert!(second.give_back());
        let mut third = Place::reserve(&file, 10).unwrap();
        assert_eq!(third.offset(), Some(10), "the gap stays");
        third.keep();
        drop(third);
        drop(Place::reserve(&file, 10).unwrap());
        assert_eq!(Place::reserve(&file, 10).unwrap().offset(), Some(20));
    }

    #[test]
    fn other_changes_move_the_cursor() {
        let file = file();
        let inode = Inode::of(&file);
        let changed = |reach, done, write| inode.with_cursor(|c| c.changed(reach, done, true, write));
        let next = || Place::reserve(&file, 0).unwrap().offset();
        learn_append_size(&file, 0);
        changed(Reach::Bytes { start: 50, end: 100 }, 20, true);
        assert_eq!(next(), Some(70), "as far as it got");
        changed(Reach::From(10), 0, false);
        assert_eq!(next(), Some(10));
        let open = Place::reserve(&file, 5).unwrap();
        changed(Reach::From(0), 0, false);
        assert_eq!(next(), Some(15), "a place that is given out stays");
        drop(open);
    }

    #[test]
    fn a_size_that_is_told_again_moves_the_cursor_on_and_never_back() {
        let file = file();
        learn_append_size(&file, 10);
        learn_append_size(&file, 30);
        learn_append_size(&file, 20);
        assert_eq!(Place::reserve(&file, 0).unwrap().offset(), Some(30));
    }

    #[test]
    fn the_two_ways_do_not_mix() {
        let (with_cursor, by_kernel) = (file(), file());
        drop(Place::reserve(&with_cursor, 1).unwrap());
        assert_eq!(append_by_kernel(&with_cursor), Err(NoPlace::OtherWay));
        append_by_kernel(&by_kernel).unwrap();
        assert_eq!(Place::reserve(&by_kernel, 1).unwrap_err(), NoPlace::OtherWay);
    }
}
