//! When data may be lost, and what is said about it.

use crate::{doubt::InDoubt, inode::Inode};
use io_core::{FileHandle, OpKind, RwFlags, errno};
use std::{error, fmt, io};

/// A sync, or a write that had to be durable, failed on this inode. What was written before may be lost although the kernel will
/// not say so again (it reports a write-back error once and marks the pages clean), so every later sync and every later durable
/// write answers this, through every handle of the process, until all of them are closed and the file is opened anew.
///
/// Found inside the [`io::Error`] by `error.get_ref().and_then(|e| e.downcast_ref::<SyncFailed>())`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncFailed {
    /// The OS error code of the first failure.
    pub code: i32,
}

impl SyncFailed {
    /// The failure inside an error, if it is one.
    pub fn in_error(error: &io::Error) -> Option<SyncFailed> {
        error.get_ref().and_then(|inner| inner.downcast_ref::<SyncFailed>()).copied()
    }
}

impl fmt::Display for SyncFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = io::Error::from_raw_os_error(self.code);
        write!(f, "an earlier sync of this file failed ({first}); close every handle and open it anew")
    }
}

impl error::Error for SyncFailed {}

impl From<SyncFailed> for io::Error {
    fn from(failed: SyncFailed) -> io::Error {
        io::Error::other(failed)
    }
}

/// The bytes in doubt of a file whose sync, or a durable write, has failed; `None` if none has. It grows as long as the file is written
/// to: no later sync succeeds.
pub fn in_doubt(file: &FileHandle) -> Option<InDoubt> {
    let inode = Inode::of(file);
    inode.failed().map(|_| inode.in_doubt())
}

/// True if `code`, answered to this operation, means that data thought to be on its way to the disk may be lost.
///
/// Codes that the call answers before it begins (bad arguments, a file that cannot be synced) lose nothing. `ENOSPC` may come from
/// delayed allocation, that is, from the write-back itself, and counts. So do, of a sync, the codes that a write answers before it
/// begins: fsync(2) asks for no permission and knows no limit, so `EACCES`, `EPERM` or `EFBIG` can only be what the write-back met
/// on a server (NFS) or in a daemon (FUSE), and the kernel says it once.
pub(crate) fn loses_data(kind: OpKind, flags: RwFlags, code: i32) -> bool {
    let durable_write = kind.is_write() && flags.contains(RwFlags::DSYNC);
    let before_it_began = match code {
        errno::EINVAL | errno::EBADF | errno::EOPNOTSUPP | errno::ENOSYS | errno::ECANCELED => true,
        errno::EFAULT | errno::EPERM | errno::EACCES | errno::EFBIG | errno::EISDIR | errno::EAGAIN => durable_write,
        _ => false,
    };
    (kind.is_sync() || durable_write) && !before_it_began
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_lost() {
        let lost = |kind, flags, code| loses_data(kind, flags, code);
        assert!(lost(OpKind::SyncData, RwFlags::NONE, errno::EIO));
        assert!(lost(OpKind::SyncAll, RwFlags::NONE, errno::EINTR));
        assert!(lost(OpKind::Write, RwFlags::DSYNC, errno::ENOSPC));
        assert!(!lost(OpKind::Write, RwFlags::NONE, errno::EIO), "an ordinary write: its writer knows");
        assert!(
            lost(OpKind::SyncAll, RwFlags::NONE, errno::EACCES),
            "a sync asks for no permission: the write-back did"
        );
        assert!(!lost(OpKind::Write, RwFlags::DSYNC, errno::EFBIG));
        assert!(!lost(OpKind::SyncData, RwFlags::NONE, errno::EINVAL));
        assert!(!lost(OpKind::SyncData, RwFlags::NONE, errno::ECANCELED));
        assert!(!lost(OpKind::SyncDir, RwFlags::NONE, errno::EIO), "a directory is not this inode");
    }
}
