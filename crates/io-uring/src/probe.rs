//! What this kernel's rings can do, found out by doing it.

use crate::{
    UringOptions,
    refusal::unavailable,
    ring::{Entered, Ring},
};
use io_core::{OpKind, OpSet, Statx, Unavailable, errno};
use io_uring::{EnterFlags, opcode, squeue, types};
use std::{
    ffi::CStr,
    fs::File,
    io,
    mem::{ManuallyDrop, MaybeUninit},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::OnceLock,
};

/// What rings can do here, for a report to people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeReport {
    /// Every kind of operation that io_uring has a request for, and how it went.
    pub ops: Vec<OpReport>,
    /// Files and memory can be registered.
    pub registration: bool,
    /// Waits can have a time within the one system call (Linux 5.11).
    pub timed_wait: bool,
    /// Rings for one thread (`DEFER_TASKRUN`, Linux 6.1).
    pub owner_thread: bool,
}

/// How one kind of operation went on a scratch file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpReport {
    /// The kind.
    pub kind: OpKind,
    /// The error code that says that this kernel does not do it; `None` if it does.
    pub refused: Option<i32>,
}

/// Tries everything.
///
/// # Errors
/// Why there can be no ring here at all, with a remedy.
pub fn probe() -> Result<ProbeReport, Unavailable> {
    let mut lab = Lab::new()?;
    let ops = lab.try_all()?;
    let owner = Ring::new(&UringOptions::default().depth(8).owner_thread(true));
    Ok(ProbeReport {
        ops,
        registration: lab.ring.submitter().register_files(&[-1]).is_ok(),
        timed_wait: lab.ring.has_timed_wait(),
        owner_thread: owner.is_ok_and(|ring| ring.flags().owner_thread),
    })
}

/// The kinds that work, in every class. Kept for the life of the process, unless something went wrong that may pass, like a want
/// of descriptors (fsys kept a transient error for ever).
pub(crate) fn supported() -> Result<OpSet, Unavailable> {
    static SUPPORTED: OnceLock<OpSet> = OnceLock::new();
    if let Some(&set) = SUPPORTED.get() {
        return Ok(set);
    }
    let ops = Lab::new()?.try_all()?;
    let set = ops.iter().filter(|op| op.refused.is_none()).fold(OpSet::EMPTY, |set, op| set.with_kind(op.kind));
    let lasting = |code| matches!(code, errno::EINVAL | errno::EOPNOTSUPP | errno::ENOSYS | errno::EBADF);
    if ops.iter().all(|op| op.refused.is_none_or(lasting)) {
        let _ = SUPPORTED.set(set);
    }
    Ok(set)
}

/// A small ring, a scratch file, and the memory that requests point to.
struct Lab {
    ring: ManuallyDrop<Ring>,
    file: OwnedFd,
    desk: ManuallyDrop<Box<Desk>>,
    /// A request is in flight that nobody can wait for any more.
    stuck: bool,
}

struct Desk {
    byte: [u8; 1],
    iov: libc::iovec,
    stat: MaybeUninit<Statx>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.stuck {
            // SAFETY: dropped here and nowhere else; the kernel has answered for all that points to the desk.
            unsafe {
                ManuallyDrop::drop(&mut self.ring);
                ManuallyDrop::drop(&mut self.desk);
            }
        }
    }
}

/// What a working operation answers here.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// This result and no other.
    Exactly(i32),
    /// A descriptor, which is closed again.
    Descriptor,
    /// Success, or that the file system cannot; only not that there is no such request.
    Known,
}

const HERE: types::Fd = types::Fd(libc::AT_FDCWD);

impl Lab {
    fn new() -> Result<Lab, Unavailable> {
        let file = scratch_file().map_err(|error| unavailable("scratch file for the probe", &error))?;
        let options = UringOptions::default().depth(8);
        let ring = Ring::new(&options).map_err(|(call, error)| unavailable(call, &error))?;
        let iov = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 };
        let desk = Box::new(Desk { byte: [7], iov, stat: MaybeUninit::uninit() });
        Ok(Lab { ring: ManuallyDrop::new(ring), file, desk: ManuallyDrop::new(desk), stuck: false })
    }

    /// Each kind, one after the other. A kernel that cannot even read has no use: firecracker#4586 met one whose every
    /// request answered `EBADF`.
    fn try_all(&mut self) -> Result<Vec<OpReport>, Unavailable> {
        use Expect::{Descriptor, Exactly, Known};
        let fd = types::Fd(self.file.as_raw_fd());
        let byte = (&raw mut self.desk.byte).cast::<u8>();
        self.desk.iov.iov_base = byte.cast();
        let (iov, room) = (&raw const self.desk.iov, self.desk.stat.as_mut_ptr());
        // Below a file that is no directory, every name is ENOTDIR: the request is done, and nothing happens on any disk.
        let (name, other): (&CStr, &CStr) = (c"name", c"other");
        let nothing = Exactly(-errno::ENOTDIR);
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let root = File::open("/").map_err(|error| unavailable("open /", &error))?;
        let mut closed = ManuallyDrop::new(OwnedFd::from(root));
        let stat = opcode::Statx::new(fd, c"".as_ptr(), room.cast());
        let open = opcode::OpenAt::new(HERE, c"/".as_ptr()).flags(libc::O_DIRECTORY | libc::O_CLOEXEC);
        // Under a limit of 0 the first byte would end the process with SIGXFSZ, and without it there is nothing to be read.
        let unwritable = file_size_limit() == 0;
        let one = Exactly(if unwritable { 0 } else { 1 });
        let tries = [
            (OpKind::Write, opcode::Write::new(fd, byte, 1).build(), Exactly(1)),
            (OpKind::Read, opcode::Read::new(fd, byte, 1).build(), one),
            (OpKind::WriteVectored, opcode::Writev::new(fd, iov, 1).build(), Exactly(1)),
            (OpKind::ReadVectored, opcode::Readv::new(fd, iov, 1).build(), one),
            (OpKind::SyncData, opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(), Exactly(0)),
            (OpKind::SyncAll, opcode::Fsync::new(fd).build(), Exactly(0)),
            (
                OpKind::SyncRange,
                opcode::SyncFileRange::new(fd, 1).flags(libc::SYNC_FILE_RANGE_WRITE).build(),
                Exactly(0),
            ),
            (OpKind::Allocate, opcode::Fallocate::new(fd, 1).build(), Exactly(0)),
            (OpKind::PunchHole, opcode::Fallocate::new(fd, 1).mode(punch).build(), Known),
            (OpKind::ZeroRange, opcode::Fallocate::new(fd, 1).mode(libc::FALLOC_FL_ZERO_RANGE).build(), Known),
            (OpKind::Truncate, opcode::Ftruncate::new(fd, 1).build(), Exactly(0)),
            (OpKind::Advise, opcode::Fadvise::new(fd, 1, libc::POSIX_FADV_NORMAL).build(), Exactly(0)),
            (OpKind::Open, open.build(), Descriptor),
            (OpKind::Close, opcode::Close::new(types::Fd(closed.as_raw_fd())).build(), Exactly(0)),
            (OpKind::Stat, stat.flags(libc::AT_EMPTY_PATH).mask(Statx::MASK).build(), Exactly(0)),
            (OpKind::Rename, opcode::RenameAt::new(fd, name.as_ptr(), fd, other.as_ptr()).build(), nothing),
            (OpKind::Unlink, opcode::UnlinkAt::new(fd, name.as_ptr()).build(), nothing),
            (OpKind::MakeDir, opcode::MkDirAt::new(fd, name.as_ptr()).mode(0o700).build(), nothing),
            (OpKind::RemoveDir, opcode::UnlinkAt::new(fd, name.as_ptr()).flags(libc::AT_REMOVEDIR).build(), nothing),
        ];
        let mut reports = Vec::with_capacity(tries.len());
        for (kind, entry, expect) in tries {
            let grows = matches!(kind, OpKind::Allocate | OpKind::ZeroRange | OpKind::Truncate) || kind.is_write();
            if grows && unwritable {
                reports.push(OpReport { kind, refused: Some(errno::EFBIG) });
                continue;
            }
            // SAFETY: paths are literals, everything else is on the desk, which stays if the request does.
            let result = unsafe { self.run(&entry) }.map_err(|error| unavailable("io_uring_enter", &error))?;
            let refused = judge(expect, result);
            if let (OpKind::Close, Some(_)) = (kind, refused) {
                // SAFETY: there is one such request, and it did not close the file.
                unsafe { ManuallyDrop::drop(&mut closed) };
            }
            if let (OpKind::Read, Some(code)) = (kind, refused) {
                let error = io::Error::from_raw_os_error(code);
                return Err(unavailable("a read through a ring", &error));
            }
            reports.push(OpReport { kind, refused });
        }
        Ok(reports)
    }

    /// Runs one request alone.
    ///
    /// # Safety
    /// What it points to stays valid, for ever if the lab is stuck afterwards.
    unsafe fn run(&mut self, entry: &squeue::Entry) -> io::Result<i32> {
        // SAFETY: passed on.
        let pushed = unsafe { self.ring.push(entry) };
        assert!(pushed, "one request at a time");
        loop {
            let staged = self.ring.state().staged;
            let entered = self.ring.enter(staged, 1, EnterFlags::GETEVENTS, None);
            if let Some(cqe) = self.ring.completion().next() {
                return Ok(cqe.result());
            }
            let error = match entered {
                Ok(Entered::Took(_) | Entered::Interrupted | Entered::TimedOut) => continue,
                Ok(Entered::PushedBack) => io::Error::from_raw_os_error(errno::EAGAIN),
                Err(error) => error,
            };
            self.stuck = self.ring.state().staged == 0;
            return Err(error);
        }
    }
}

/// RLIMIT_FSIZE (getrlimit(2)).
fn file_size_limit() -> libc::rlim_t {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a local of the call's own type.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
    limit.rlim_cur
}

/// The code of a refusal.
fn judge(expect: Expect, result: i32) -> Option<i32> {
    let good = match expect {
        Expect::Exactly(expected) => result == expected,
        Expect::Descriptor => {
            if result >= 0 {
                // SAFETY: the kernel has just made it for us.
                drop(unsafe { OwnedFd::from_raw_fd(result) });
            }
            result >= 0
        }
        Expect::Known => result >= 0 || result == -errno::EOPNOTSUPP,
    };
    // A success of the wrong size is a refusal too.
    (!good).then(|| if result < 0 { -result } else { errno::EIO })
}

/// A file in memory (memfd_create(2)), or one without a name where temporary files go (`O_TMPFILE`).
fn scratch_file() -> io::Result<OwnedFd> {
    // SAFETY: the name is NUL-terminated.
    let fd: RawFd = unsafe { libc::memfd_create(c"io-uring probe".as_ptr(), libc::MFD_CLOEXEC) };
    if fd >= 0 {
        // SAFETY: just made, nobody else's.
        return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
    }
    use std::os::unix::fs::OpenOptionsExt;
    let unnamed = File::options().read(true).write(true).custom_flags(libc::O_TMPFILE).open(std::env::temp_dir());
    unnamed.map(OwnedFd::from)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_expected_answer_counts() {
        assert_eq!(judge(Expect::Exactly(1), 1), None);
        assert_eq!(judge(Expect::Exactly(1), 0), Some(errno::EIO));
        assert_eq!(judge(Expect::Exactly(-errno::ENOTDIR), -errno::ENOTDIR), None);
        assert_eq!(judge(Expect::Exactly(-errno::ENOTDIR), -errno::EINVAL), Some(errno::EINVAL));
        assert_eq!(judge(Expect::Known, -errno::EOPNOTSUPP), None);
        assert_eq!(judge(Expect::Known, -errno::EINVAL), Some(errno::EINVAL));
    }
}
