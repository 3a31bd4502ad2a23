//! Files as operations name and own them.

use std::{
    any::Any,
    fmt,
    mem::ManuallyDrop,
    num::NonZeroU64,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// A file as the driver's system numbers it: a descriptor on Unix, a handle on Windows, a number of its own on the simulator.
///
/// The simulator's numbers lie outside the range of descriptors, so that a simulated file given to a real driver is `EBADF`
/// and not somebody's real file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RawFile(i64);

impl RawFile {
    /// The raw number.
    pub const fn new(raw: i64) -> RawFile {
        RawFile(raw)
    }

    /// The raw number.
    #[inline]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The number as a Unix descriptor; -1, which the kernel answers with `EBADF`, if it is none.
    #[inline]
    pub const fn fd(self) -> i32 {
        if self.0 >= 0 && self.0 <= i32::MAX as i64 { self.0 as i32 } else { -1 }
    }
}

/// Names one open file for the life of the process; unlike a descriptor number it is never used again.
///
/// Drivers key their registered files by it: a cache keyed by descriptor number writes to the wrong file once the number has
/// been closed and opened anew (fsys 1.1.0).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct FileId(NonZeroU64);

impl FileId {
    fn next() -> FileId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        FileId(NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).expect("2^64 files were opened"))
    }

    /// The number; ids count up from 1.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// What a [`RawOp`](crate::RawOp) says of a file. `Copy`; keeps nothing open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileRef {
    /// The system's number.
    pub raw: RawFile,
    /// The open file that the number stood for when the operation was made.
    pub id: FileId,
}

/// An inode: the unit of ordering and of sync failures. Handles with equal keys share them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct InodeKey {
    /// Device (`st_dev`; a number of its own for each simulator).
    pub dev: u64,
    /// Inode number on the device.
    pub ino: u64,
}

/// What is known of an open file without asking the system again.
///
/// Wrong facts cost speed or ordering between handles, never memory safety.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Opened with `O_DIRECT` (or its like).
    pub direct: bool,
    /// A regular file or block device, where offsets mean something.
    pub seekable: bool,
    /// The inode, where the system has such a thing.
    pub inode: Option<InodeKey>,
    /// Bytes from the start known to be allocated: a direct write below does not allocate, and so does not block in submit.
    pub filled: u64,
    /// `statfs` type magic of the file system, 0 if unknown.
    pub fs_magic: i64,
}

/// An open file that operations share. The file is closed when the last clone is gone; an operation in flight holds one.
#[derive(Clone)]
pub struct FileHandle(Arc<Inner>);

struct Inner {
    at: FileRef,
    facts: FileFacts,
    filled: AtomicU64,
    /// Set by a close operation that ran: the system has closed the file, so the owner must not.
    closed: AtomicBool,
    owner: ManuallyDrop<Box<dyn Any + Send + Sync>>,
    attachment: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: taken here and nowhere else.
        let owner = unsafe { ManuallyDrop::take(&mut self.owner) };
        if *self.closed.get_mut() {
            forget_closed(owner);
        }
    }
}

/// Frees the owner's memory without closing the file again. Of owners of other types only they themselves know what is memory and
/// what is the file: they are left as they are.
fn forget_closed(owner: Box<dyn Any + Send + Sync>) {
    #[cfg(unix)]
    let owner = match owner.downcast::<std::os::fd::OwnedFd>() {
        Ok(fd) => return std::mem::forget(*fd),
        Err(owner) => owner,
    };
    match owner.downcast::<std::fs::File>() {
        Ok(file) => std::mem::forget(*file),
        Err(owner) => std::mem::forget(owner),
    }
}

impl FileHandle {
    /// Takes a `std` file. Asks the system nothing: see `io_threadpool::adopt` for a handle with its facts.
    pub fn from_std(file: std::fs::File, facts: FileFacts) -> FileHandle {
        #[cfg(unix)]
        let raw = std::os::fd::AsRawFd::as_raw_fd(&file) as i64;
        #[cfg(windows)]
        let raw = std::os::windows::io::AsRawHandle::as_raw_handle(&file) as i64;
        // SAFETY: the `File` owns the descriptor and closes it when dropped.
        unsafe { FileHandle::from_raw(RawFile::new(raw), Box::new(file), facts) }
    }

    /// Makes a handle of a raw file and the value that keeps it open; dropping that value closes it.
    ///
    /// # Safety
    /// `raw` names a file that stays open until `owner` is dropped, or a number that no real driver takes for a file
    /// (outside `0..=i32::MAX` on Unix).
    pub unsafe fn from_raw(raw: RawFile, owner: Box<dyn Any + Send + Sync>, facts: FileFacts) -> FileHandle {
        FileHandle(Arc::new(Inner {
            at: FileRef { raw, id: FileId::next() },
            filled: AtomicU64::new(facts.filled),
            facts,
            closed: AtomicBool::new(false),
            owner: ManuallyDrop::new(owner),
            attachment: OnceLock::new(),
        }))
    }

    /// The same open file under the same id, with other facts. For who learns them after the file was opened.
    ///
    /// # Errors
    /// The handle unchanged, if it has clones alive.
    pub fn with_facts(self, facts: FileFacts) -> Result<FileHandle, FileHandle> {
        let mut inner = Arc::try_unwrap(self.0).map_err(FileHandle)?;
        inner.filled = AtomicU64::new(facts.filled);
        inner.facts = facts;
        Ok(FileHandle(Arc::new(inner)))
    }

    /// Number and id, for a [`RawOp`](crate::RawOp).
    #[inline]
    pub fn at(&self) -> FileRef {
        self.0.at
    }

    /// The process-wide name of this open file.
    #[inline]
    pub fn id(&self) -> FileId {
        self.0.at.id
    }

    /// What was known of the file when it was opened.
    #[inline]
    pub fn facts(&self) -> &FileFacts {
        &self.0.facts
    }

    /// Bytes from the start that are known to be allocated now.
    #[inline]
    pub fn filled(&self) -> u64 {
        self.0.filled.load(Ordering::Relaxed)
    }

    /// Notes that `offset..offset + len` is allocated (a write or an allocation of it succeeded).
    #[inline]
    pub fn note_filled(&self, offset: u64, len: u64) {
        let filled = self.0.filled.load(Ordering::Relaxed);
        if offset <= filled && offset.saturating_add(len) > filled {
            self.0.filled.fetch_max(offset.saturating_add(len), Ordering::Relaxed);
        }
    }

    /// Notes that nothing at or behind `offset` is known to be allocated any more (truncation, a punched hole).
    #[inline]
    pub fn note_unfilled(&self, offset: u64) {
        self.0.filled.fetch_min(offset, Ordering::Relaxed);
    }

    /// The value that keeps the file open, if it is a `T`.
    pub fn owner<T: 'static>(&self) -> Option<&T> {
        self.0.owner.downcast_ref()
    }

    /// State that a floor above keeps with the open file; made at the first call, the same for all clones.
    #[inline]
    pub fn attachment(&self, make: impl FnOnce() -> Arc<dyn Any + Send + Sync>) -> &Arc<dyn Any + Send + Sync> {
        self.0.attachment.get_or_init(make)
    }

    /// True if no clone of this handle is alive.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// True if there are so many handles of this open file, this one included.
    pub fn is_shared_by(&self, handles: usize) -> bool {
        Arc::strong_count(&self.0) == handles
    }

    /// As [`FileHandle::at`], but with no file's number once a close operation has closed it.
    pub(crate) fn at_unless_closed(&self) -> FileRef {
        let closed = self.0.closed.load(Ordering::Acquire);
        if closed { FileRef { raw: RawFile::new(-1), ..self.at() } } else { self.at() }
    }

    /// Notes that a close operation has closed the file.
    pub(crate) fn mark_closed(&self) {
        self.0.closed.store(true, Ordering::Release);
    }
}

impl fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHandle(id {}, raw {})", self.id().get(), self.at().raw.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_no_descriptor_are_ebadf() {
        assert_eq!(RawFile::new(7).fd(), 7);
        assert_eq!(RawFile::new(1 << 40).fd(), -1);
        assert_eq!(RawFile::new(-5).fd(), -1);
    }

    #[test]
    fn a_handle_keeps_its_owner_and_ids_are_not_reused() {
        let owner = Arc::new(());
        let open = || {
            // SAFETY: the number is outside the range of descriptors.
            unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(owner.clone()), FileFacts::default()) }
        };
        let (a, b) = (open(), open());
        assert_ne!(a.id(), b.id());
        let clone = a.clone();
        drop(a);
        assert_eq!(Arc::strong_count(&owner), 3);
        assert!(clone.is_unique());
        drop((clone, b));
        assert_eq!(Arc::strong_count(&owner), 1);
    }

    #[test]
    fn filled_grows_only_without_a_gap() {
        // SAFETY: the number is outside the range of descriptors.
        let file = unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), FileFacts::default()) };
        file.note_filled(4096, 4096);
        assert_eq!(file.filled(), 0);
        file.note_filled(0, 4096);
        file.note_filled(4096, 4096);
        assert_eq!(file.filled(), 8192);
        file.note_unfilled(100);
        assert_eq!(file.filled(), 100);
    }
}
