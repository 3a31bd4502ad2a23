//! What this system can do at all: asked by trying.

use crate::execute::execute;
use io_core::{
    AccessMode, Advice, FileFacts, FileHandle, Lifetime, Op, OpKind, OpSet, OpenOptions, RawFile, RenameMode, errno,
};

/// Every kind that the system does not answer with `EOPNOTSUPP` or `ENOSYS`.
///
/// Each is tried on a file that is none or on the empty path: a call that exists answers `EBADF` or `ENOENT`, and nothing is
/// touched. Whether a particular file system does it is another question, answered per file.
pub(crate) fn supports() -> OpSet {
    OpKind::ALL.iter().fold(OpSet::ALL, |set, &kind| if is_missing(kind) { set.without_kind(kind) } else { set })
}

fn is_missing(kind: OpKind) -> bool {
    let Some(mut op) = harmless(kind) else { return false };
    let raw = op.raw(0, 1);
    // SAFETY: the operation is alive and nobody else's; its file is no descriptor and its path leads nowhere.
    let result = unsafe { execute(&raw) };
    result == -errno::EOPNOTSUPP || result == -errno::ENOSYS
}

/// An operation of this kind that cannot succeed; `None` for those that every system has.
fn harmless(kind: OpKind) -> Option<Op> {
    // SAFETY: the number lies outside the range of descriptors, so no driver takes it for a file.
    let file = &unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), FileFacts::default()) };
    let op = match kind {
        OpKind::Read | OpKind::ReadVectored | OpKind::Write | OpKind::WriteVectored | OpKind::Close => return None,
        OpKind::SyncData => Op::sync_data(file),
        OpKind::SyncAll => Op::sync_all(file),
        OpKind::SyncRange => Op::sync_range(file, 0, 1),
        OpKind::Allocate => Op::allocate(file, 0, 1, false),
        OpKind::PunchHole => Op::punch_hole(file, 0, 1),
        OpKind::ZeroRange => Op::zero_range(file, 0, 1, false),
        OpKind::Truncate => Op::truncate(file, 0),
        OpKind::Advise => Op::advise(file, 0, 1, Advice::Normal),
        OpKind::WriteHint => Op::write_hint(file, Lifetime::NotSet),
        OpKind::TryLock => Op::try_lock(file, 0, 1, false),
        OpKind::Unlock => Op::unlock(file, 0, 1),
        OpKind::QueryLock => Op::query_lock(file, 0, 1, false),
        OpKind::CopyRange => Op::copy_range(file, 0, file, 1, 1),
        OpKind::Clone => Op::clone_range(file, 0, file, 1, 1),
        OpKind::Open => of_path(Op::open("", OpenOptions::READ)),
        OpKind::Stat => of_path(Op::stat_path("", true)),
        OpKind::StatFs => of_path(Op::stat_fs("")),
        OpKind::Access => of_path(Op::access("", AccessMode::Exists)),
        OpKind::RealPath => of_path(Op::real_path("")),
        OpKind::SetPermissions => of_path(Op::set_permissions("", 0o600)),
        OpKind::Rename => of_path(Op::rename("", "", RenameMode::Replace)),
        OpKind::Unlink => of_path(Op::unlink("")),
        OpKind::MakeDir => of_path(Op::make_dir("", 0o700)),
        OpKind::RemoveDir => of_path(Op::remove_dir("")),
        OpKind::ReadDir => of_path(Op::read_dir("")),
        OpKind::SyncDir => of_path(Op::sync_dir("")),
    };
    Some(op)
}

fn of_path(op: std::io::Result<Op>) -> Op {
    op.expect("the empty path has no NUL byte in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_name_the_kind_that_they_probe() {
        for &kind in OpKind::ALL {
            assert!(harmless(kind).is_none_or(|op| op.kind() == kind));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_does_everything() {
        assert_eq!(supports(), OpSet::ALL);
    }
}
