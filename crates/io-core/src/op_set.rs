//! Kinds of operations, and which of them a driver takes.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The kinds of operations.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum OpKind { $($(#[$doc])* $name,)* }

        impl OpKind {
            /// Every kind.
            pub const ALL: &'static [OpKind] = &[$(OpKind::$name,)*];
        }
    };
}

kinds! {
    /// Read at an offset.
    Read,
    /// Read at an offset into several buffers.
    ReadVectored,
    /// Write at an offset.
    Write,
    /// Write at an offset from several buffers.
    WriteVectored,
    /// fdatasync(2).
    SyncData,
    /// fsync(2).
    SyncAll,
    /// sync_file_range(2): starts write-back; no durability.
    SyncRange,
    /// fallocate(2).
    Allocate,
    /// fallocate(2), `FALLOC_FL_PUNCH_HOLE`.
    PunchHole,
    /// fallocate(2), `FALLOC_FL_ZERO_RANGE`.
    ZeroRange,
    /// ftruncate(2).
    Truncate,
    /// posix_fadvise(2).
    Advise,
    /// fcntl(2), `F_SET_RW_HINT`.
    WriteHint,
    /// A byte-range lock, if it can be had at once.
    TryLock,
    /// Gives a byte-range lock back.
    Unlock,
    /// Asks who holds a byte range.
    QueryLock,
    /// openat(2).
    Open,
    /// close(2).
    Close,
    /// statx(2).
    Stat,
    /// statfs(2).
    StatFs,
    /// access(2).
    Access,
    /// realpath(3).
    RealPath,
    /// chmod(2).
    SetPermissions,
    /// renameat2(2).
    Rename,
    /// unlink(2).
    Unlink,
    /// mkdir(2).
    MakeDir,
    /// rmdir(2).
    RemoveDir,
    /// getdents64(2) to the end.
    ReadDir,
    /// fsync(2) of a directory.
    SyncDir,
    /// copy_file_range(2).
    CopyRange,
    /// ioctl_ficlonerange(2).
    Clone,
}

impl OpKind {
    /// True for reads and writes of file content, vectored or not.
    pub const fn is_transfer(self) -> bool {
        self.is_read() || self.is_write()
    }

    /// True for the two reads.
    pub const fn is_read(self) -> bool {
        matches!(self, OpKind::Read | OpKind::ReadVectored)
    }

    /// True for the two writes.
    pub const fn is_write(self) -> bool {
        matches!(self, OpKind::Write | OpKind::WriteVectored)
    }

    /// True for what makes an inode's earlier writes durable.
    pub const fn is_sync(self) -> bool {
        matches!(self, OpKind::SyncData | OpKind::SyncAll)
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// How an operation meets its file, as far as it decides who can do it without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpClass {
    /// Through the page cache, or no transfer at all.
    Buffered,
    /// `O_DIRECT`, within what is known to be allocated.
    Direct,
    /// `O_DIRECT` write that grows the file or fills a hole.
    Allocating,
}

impl OpClass {
    /// Every class.
    pub const ALL: [OpClass; 3] = [OpClass::Buffered, OpClass::Direct, OpClass::Allocating];
}

/// Which kinds a driver takes without blocking its submitter, per class. What is not in it the engine offloads.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct OpSet([u64; 3]);

impl OpSet {
    /// No operation at all.
    pub const EMPTY: OpSet = OpSet([0; 3]);
    /// Every kind in every class.
    pub const ALL: OpSet = OpSet([(1 << OpKind::ALL.len()) - 1; 3]);

    /// The set with `kind` of `class` added.
    #[must_use]
    pub const fn with(mut self, kind: OpKind, class: OpClass) -> OpSet {
        self.0[class as usize] |= kind.bit();
        self
    }

    /// The set with `kind` added in every class.
    #[must_use]
    pub const fn with_kind(self, kind: OpKind) -> OpSet {
        self.with(kind, OpClass::Buffered).with(kind, OpClass::Direct).with(kind, OpClass::Allocating)
    }

    /// The set without `kind` in any class.
    #[must_use]
    pub const fn without_kind(mut self, kind: OpKind) -> OpSet {
        let mut class = 0;
        while class < 3 {
            self.0[class] &= !kind.bit();
            class += 1;
        }
        self
    }

    /// True if `kind` of `class` is in the set.
    #[inline]
    pub const fn contains(self, kind: OpKind, class: OpClass) -> bool {
        self.0[class as usize] & kind.bit() != 0
    }

    /// True if `kind` is in the set in some class.
    pub const fn contains_kind(self, kind: OpKind) -> bool {
        (self.0[0] | self.0[1] | self.0[2]) & kind.bit() != 0
    }

    /// The kinds that are in the set in some class.
    pub fn kinds(self) -> impl Iterator<Item = OpKind> {
        OpKind::ALL.iter().copied().filter(move |&kind| self.contains_kind(kind))
    }
}

impl fmt::Debug for OpSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for class in OpClass::ALL {
            let kinds: Vec<_> = OpKind::ALL.iter().filter(|&&kind| self.contains(kind, class)).collect();
            map.entry(&class, &kinds);
        }
        map.finish()
    }
}

const _: () = assert!(OpKind::ALL.len() < 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_separate() {
        let set = OpSet::EMPTY.with(OpKind::Write, OpClass::Direct).with_kind(OpKind::Read);
        assert!(set.contains(OpKind::Write, OpClass::Direct));
        assert!(!set.contains(OpKind::Write, OpClass::Allocating));
        assert_eq!(set.kinds().collect::<Vec<_>>(), [OpKind::Read, OpKind::Write]);
        assert_eq!(set.without_kind(OpKind::Read).without_kind(OpKind::Write), OpSet::EMPTY);
        assert_eq!(OpSet::ALL.kinds().count(), OpKind::ALL.len());
    }
}
