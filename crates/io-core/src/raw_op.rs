//! An operation as a driver sees it: plain numbers and addresses.

use crate::{FileRef, OpKind, OpPath, Output};
use std::ops::{BitOr, BitOrAssign};

/// Flags of one read or write; the values are the kernel's `RWF_*` (preadv2(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RwFlags(u32);

impl RwFlags {
    /// No flags.
    pub const NONE: RwFlags = RwFlags(0);
    /// `RWF_DSYNC`: a write is durable when it completes, as by fdatasync.
    pub const DSYNC: RwFlags = RwFlags(0x2);
    /// `RWF_NOWAIT`: `EAGAIN` instead of waiting. Never retried by the engine.
    pub const NOWAIT: RwFlags = RwFlags(0x8);
    /// `RWF_APPEND`: a write goes to the end of the file, whatever its offset.
    pub const APPEND: RwFlags = RwFlags(0x10);
    /// `RWF_ATOMIC`: a write is never torn (Linux 6.11).
    pub const ATOMIC: RwFlags = RwFlags(0x40);
    /// `RWF_DONTCACHE`: buffered, but the pages are dropped afterwards (Linux 6.14).
    pub const DONTCACHE: RwFlags = RwFlags(0x80);

    /// The kernel's number.
    #[inline]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// True if all of `other` is set.
    #[inline]
    pub const fn contains(self, other: RwFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if nothing is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for RwFlags {
    type Output = RwFlags;
    fn bitor(self, other: RwFlags) -> RwFlags {
        RwFlags(self.0 | other.0)
    }
}

impl BitOrAssign for RwFlags {
    fn bitor_assign(&mut self, other: RwFlags) {
        self.0 |= other.0;
    }
}

/// One piece of a vectored transfer: `struct iovec` on Unix, the same two words elsewhere.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IoVec {
    /// Start of the memory.
    pub base: *mut u8,
    /// Its length in bytes.
    pub len: usize,
}

#[cfg(unix)]
const _: () = {
    assert!(size_of::<IoVec>() == size_of::<libc::iovec>());
    assert!(std::mem::offset_of!(IoVec, len) == std::mem::offset_of!(libc::iovec, iov_len));
};

/// How `Open` opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Read access.
    pub read: bool,
    /// Write access.
    pub write: bool,
    /// Create the file if it is missing.
    pub create: bool,
    /// Create the file; fail if something is there.
    pub create_new: bool,
    /// Cut an existing file to length 0.
    pub truncate: bool,
    /// `O_DIRECT` (`F_NOCACHE` on macOS, `FILE_FLAG_NO_BUFFERING` on Windows).
    pub direct: bool,
    /// Do not follow a symbolic link as the last component.
    pub no_follow: bool,
    /// Permission bits of a file that is created (Unix), before the umask.
    pub mode: u32,
}

impl OpenOptions {
    /// Read an existing file.
    pub const READ: OpenOptions = OpenOptions {
        read: true,
        write: false,
        create: false,
        create_new: false,
        truncate: false,
        direct: false,
        no_follow: false,
        mode: 0o666,
    };
    /// Read and write an existing file.
    pub const READ_WRITE: OpenOptions = OpenOptions { write: true, ..OpenOptions::READ };
    /// Read and write a file, made if it is missing.
    pub const CREATE: OpenOptions = OpenOptions { create: true, ..OpenOptions::READ_WRITE };
    /// Read and write a file that must not be there yet.
    pub const CREATE_NEW: OpenOptions = OpenOptions { create_new: true, ..OpenOptions::READ_WRITE };

    /// The same, past the page cache.
    #[must_use]
    pub const fn direct(mut self) -> OpenOptions {
        self.direct = true;
        self
    }
}

/// Advice about future accesses (posix_fadvise(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// No advice.
    Normal,
    /// In order.
    Sequential,
    /// In no order.
    Random,
    /// Soon.
    WillNeed,
    /// Not soon: the cached pages may go.
    DontNeed,
    /// Once.
    NoReuse,
}

/// Expected lifetime of written data (fcntl(2), `F_SET_RW_HINT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// No hint.
    NotSet,
    /// None in particular.
    None,
    /// Short.
    Short,
    /// Medium.
    Medium,
    /// Long.
    Long,
    /// Extreme.
    Extreme,
}

/// What `Access` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// The file exists.
    Exists,
    /// It may be read.
    Read,
    /// It may be read and written.
    ReadWrite,
}

/// What `Rename` does with something that has the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it, in one step.
    Replace,
    /// Fails with `EEXIST`.
    NoReplace,
    /// Swaps the two.
    Exchange,
}

/// What `Stat` looks at.
#[derive(Clone, Copy, Debug)]
pub enum StatTarget {
    /// An open file.
    File(FileRef),
    /// A path; `follow`: where a symbolic link leads.
    Path {
        /// The path.
        path: *const OpPath,
        /// Follow a symbolic link.
        follow: bool,
    },
}

/// One operation, described: what a driver stages.
///
/// Addresses are valid from `prepare` to the completion (the caller's promise there). Lengths are bytes and at most
/// [`RawOp::MAX_TRANSFER`] for transfers. There is no wildcard: a new operation is a compile error in every table that
/// must know it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the fields are the arguments of the calls that OpKind names
pub enum RawOp {
    Read {
        file: FileRef,
        buf: *mut u8,
        len: u32,
        offset: u64,
        flags: RwFlags,
        ioprio: u16,
    },
    ReadVectored {
        file: FileRef,
        iov: *const IoVec,
        count: u32,
        offset: u64,
        flags: RwFlags,
        ioprio: u16,
    },
    Write {
        file: FileRef,
        buf: *const u8,
        len: u32,
        offset: u64,
        flags: RwFlags,
        ioprio: u16,
    },
    WriteVectored {
        file: FileRef,
        iov: *const IoVec,
        count: u32,
        offset: u64,
        flags: RwFlags,
        ioprio: u16,
    },
    SyncData {
        file: FileRef,
    },
    SyncAll {
        file: FileRef,
    },
    SyncRange {
        file: FileRef,
        offset: u64,
        len: u64,
    },
    Allocate {
        file: FileRef,
        offset: u64,
        len: u64,
        keep_size: bool,
    },
    PunchHole {
        file: FileRef,
        offset: u64,
        len: u64,
    },
    ZeroRange {
        file: FileRef,
        offset: u64,
        len: u64,
        keep_size: bool,
    },
    Truncate {
        file: FileRef,
        len: u64,
    },
    Advise {
        file: FileRef,
        offset: u64,
        len: u64,
        advice: Advice,
    },
    WriteHint {
        file: FileRef,
        lifetime: Lifetime,
    },
    /// `len` 0: to the end of the file. A lock in the way is `EAGAIN`.
    TryLock {
        file: FileRef,
        offset: u64,
        len: u64,
        exclusive: bool,
    },
    Unlock {
        file: FileRef,
        offset: u64,
        len: u64,
    },
    QueryLock {
        file: FileRef,
        offset: u64,
        len: u64,
        exclusive: bool,
        out: *mut Output,
    },
    Open {
        path: *const OpPath,
        options: OpenOptions,
        out: *mut Output,
    },
    /// The file is closed afterwards whatever the result, unless that is `ECANCELED` or `EOPNOTSUPP` (never started).
    Close {
        file: FileRef,
    },
    Stat {
        target: StatTarget,
        out: *mut Output,
    },
    StatFs {
        path: *const OpPath,
        out: *mut Output,
    },
    Access {
        path: *const OpPath,
        mode: AccessMode,
    },
    RealPath {
        path: *const OpPath,
        out: *mut Output,
    },
    SetPermissions {
        path: *const OpPath,
        mode: u32,
    },
    Rename {
        from: *const OpPath,
        to: *const OpPath,
        mode: RenameMode,
    },
    Unlink {
        path: *const OpPath,
    },
    MakeDir {
        path: *const OpPath,
        mode: u32,
    },
    RemoveDir {
        path: *const OpPath,
    },
    ReadDir {
        path: *const OpPath,
        out: *mut Output,
    },
    SyncDir {
        path: *const OpPath,
    },
    CopyRange {
        from: FileRef,
        from_offset: u64,
        to: FileRef,
        to_offset: u64,
        len: u32,
    },
    /// `len` 0: to the end of the source.
    Clone {
        from: FileRef,
        from_offset: u64,
        to: FileRef,
        to_offset: u64,
        len: u64,
    },
}

// SAFETY: a RawOp is a description; who dereferences its addresses answers for that (`Driver::prepare`).
unsafe impl Send for RawOp {}

impl RawOp {
    /// Most bytes that one transfer moves: what Linux itself caps at (`MAX_RW_COUNT`), and a multiple of every page size.
    pub const MAX_TRANSFER: u32 = 0x7fff_f000;
    /// Most pieces of one vectored transfer (`IOV_MAX`).
    pub const MAX_PIECES: u32 = 1024;

    /// The kind of the operation.
    #[inline]
    pub const fn kind(&self) -> OpKind {
        match self {
            RawOp::Read { .. } => OpKind::Read,
            RawOp::ReadVectored { .. } => OpKind::ReadVectored,
            RawOp::Write { .. } => OpKind::Write,
            RawOp::WriteVectored { .. } => OpKind::WriteVectored,
            RawOp::SyncData { .. } => OpKind::SyncData,
            RawOp::SyncAll { .. } => OpKind::SyncAll,
            RawOp::SyncRange { .. } => OpKind::SyncRange,
            RawOp::Allocate { .. } => OpKind::Allocate,
            RawOp::PunchHole { .. } => OpKind::PunchHole,
            RawOp::ZeroRange { .. } => OpKind::ZeroRange,
            RawOp::Truncate { .. } => OpKind::Truncate,
            RawOp::Advise { .. } => OpKind::Advise,
            RawOp::WriteHint { .. } => OpKind::WriteHint,
            RawOp::TryLock { .. } => OpKind::TryLock,
            RawOp::Unlock { .. } => OpKind::Unlock,
            RawOp::QueryLock { .. } => OpKind::QueryLock,
            RawOp::Open { .. } => OpKind::Open,
            RawOp::Close { .. } => OpKind::Close,
            RawOp::Stat { .. } => OpKind::Stat,
            RawOp::StatFs { .. } => OpKind::StatFs,
            RawOp::Access { .. } => OpKind::Access,
            RawOp::RealPath { .. } => OpKind::RealPath,
            RawOp::SetPermissions { .. } => OpKind::SetPermissions,
            RawOp::Rename { .. } => OpKind::Rename,
            RawOp::Unlink { .. } => OpKind::Unlink,
            RawOp::MakeDir { .. } => OpKind::MakeDir,
            RawOp::RemoveDir { .. } => OpKind::RemoveDir,
            RawOp::ReadDir { .. } => OpKind::ReadDir,
            RawOp::SyncDir { .. } => OpKind::SyncDir,
            RawOp::CopyRange { .. } => OpKind::CopyRange,
            RawOp::Clone { .. } => OpKind::Clone,
        }
    }
}

const _: () = assert!(size_of::<RawOp>() <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_combine() {
        let flags = RwFlags::DSYNC | RwFlags::NOWAIT;
        assert!(flags.contains(RwFlags::DSYNC) && !flags.contains(RwFlags::APPEND));
        assert_eq!(flags.bits(), 0xa);
        assert!(RwFlags::NONE.is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn flags_are_the_kernels() {
        assert_eq!(RwFlags::DSYNC.bits() as i32, libc::RWF_DSYNC);
        assert_eq!(RwFlags::NOWAIT.bits() as i32, libc::RWF_NOWAIT);
        assert_eq!(RwFlags::APPEND.bits() as i32, libc::RWF_APPEND);
    }
}
