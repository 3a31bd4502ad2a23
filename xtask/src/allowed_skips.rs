//! The skips that `ci` accepts. Every other skip fails it: a test that quietly stopped running proves nothing.
//!
//! An entry says whose skip it is, what reason the test gives, on which machines it is right, and why.

use crate::skips::{Skip, not_taken};
use crate::sys;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Debug)]
pub(crate) struct Allowed {
    /// The suite's name begins like this; empty is any.
    pub(crate) suite: &'static str,
    /// Only these cases of it; empty is any.
    pub(crate) cases: &'static [&'static str],
    pub(crate) reason: Reason,
    pub(crate) when: When,
    /// Why the skip is right, for the reader of this file.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people, and by the test that it is there"))]
    pub(crate) why: &'static str,
}

#[derive(Debug)]
pub(crate) enum Reason {
    /// The reason contains this; never empty.
    Says(&'static str),
    /// The driver's `supports()` leaves these out, in the words of the conformance suite.
    NotTaken(&'static [&'static str]),
}

/// On which machines an entry counts. Found out by trying, like everything that depends on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    NoUring,
    NoAio,
    NotRoot,
    /// Not even in a mount namespace of one's own.
    NoMounts,
    /// Where the build is.
    NoDirectIo,
    NoShm,
    /// An operation or setting that came with this kernel version; the kernel has no other way to ask.
    KernelBelow(u32, u32),
}

impl When {
    pub(crate) fn holds(self) -> bool {
        match self {
            Self::Always => true,
            Self::NoUring => sys::try_io_uring_setup().is_err(),
            Self::NoAio => sys::try_io_setup().is_err(),
            Self::NotRoot => !sys::is_root(),
            Self::NoMounts => !mounts_work(),
            Self::NoDirectIo => !direct_io_works(),
            Self::NoShm => !Path::new("/dev/shm").is_dir(),
            Self::KernelBelow(major, minor) => {
                let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
                version(&release).is_some_and(|version| version < (major, minor))
            }
        }
    }
}

fn mounts_work() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]);
    unshare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    unshare.status().is_ok_and(|status| status.success())
}

/// Tried beside our own binary, which is where the tests' files are too.
fn direct_io_works() -> bool {
    let Some(dir) = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned)) else { return false };
    let Ok(file) = tempfile::NamedTempFile::new_in(dir) else { return false };
    sys::open_direct(file.path()).is_ok()
}

/// `6.1.0-13-amd64` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

impl Allowed {
    pub(crate) fn covers(&self, skip: &Skip) -> bool {
        let reason = match self.reason {
            Reason::Says(part) => skip.reason.contains(part),
            Reason::NotTaken(kinds) => not_taken(&skip.reason).is_some_and(|kind| kinds.contains(&kind)),
        };
        reason && skip.suite.starts_with(self.suite) && (self.cases.is_empty() || self.cases.contains(&&*skip.case))
    }
}

pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("IOFS_TEST_MACHINE"),
        when: When::Always,
        why: "tests that change sysctls have a job of their own, where nothing runs beside them",
    },
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("IOFS_SOAK"),
        when: When::Always,
        why: "the long versions are for `ci --full`",
    },
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("driver uring is not available"),
        when: When::NoUring,
        why: "seccomp, a sysctl or an old kernel refuses io_uring here; the refusal itself was tested",
    },
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("driver aio is not available"),
        when: When::NoAio,
        why: "seccomp or a kernel without AIO refuses io_setup here; the refusal itself was tested",
    },
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("needs root"),
        when: When::NotRoot,
        why: "only root may mount, change settings of the machine or become somebody else",
    },
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("only root can become somebody else"),
        when: When::NotRoot,
        why: "the limits and permissions of other users are tried in a child that becomes one",
    },
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("needs root with the right to mount"),
        when: When::NoMounts,
        why: "a container's root may be kept from mounting",
    },
    Allowed {
        suite: "",
        cases: &[],
        reason: Reason::Says("no direct I/O here"),
        when: When::NoDirectIo,
        why: "some file systems refuse O_DIRECT, and the clone may lie on one",
    },
    Allowed {
        suite: "threadpool",
        cases: &["across_file_systems"],
        reason: Reason::Says("/dev/shm"),
        when: When::NoShm,
        why: "copying across file systems needs a second one",
    },
    Allowed {
        suite: "uring",
        cases: &[],
        reason: Reason::Says("no sysctl kernel.io_uring_disabled"),
        when: When::KernelBelow(6, 6),
        why: "the setting came with Linux 6.6",
    },
    Allowed {
        suite: "sim",
        cases: &[],
        reason: Reason::Says("needs a real kernel"),
        when: When::Always,
        why: "the simulator's files are no files of the system: limits, pipes and mounts mean nothing to it",
    },
    Allowed {
        suite: "uring",
        cases: &[],
        reason: Reason::Says("the driver belongs to the thread that made it"),
        when: When::Always,
        why: "a ring with one submitter answers no other thread; the shared ring runs the same cases",
    },
    Allowed {
        suite: "uring",
        cases: &[],
        reason: Reason::NotTaken(&[
            "TryLock",
            "Unlock",
            "QueryLock",
            "WriteHint (Buffered)",
            "SyncDir",
            "StatFs",
            "SetPermissions",
            "Access",
            "RealPath",
            "ReadDir",
            "CopyRange (Buffered)",
            "Clone (Buffered)",
        ]),
        when: When::Always,
        why: "io_uring has no such operation, up to and including Linux 6.18",
    },
    Allowed {
        suite: "uring",
        cases: &[],
        reason: Reason::NotTaken(&["Truncate (Buffered)"]),
        when: When::KernelBelow(6, 9),
        why: "IORING_OP_FTRUNCATE came with Linux 6.9",
    },
    Allowed {
        suite: "uring",
        cases: &[],
        reason: Reason::NotTaken(&["Rename", "Unlink", "MakeDir"]),
        when: When::KernelBelow(5, 15),
        why: "renameat and unlinkat came with Linux 5.11, mkdirat with 5.15",
    },
    Allowed {
        suite: "aio",
        cases: &[],
        reason: Reason::NotTaken(&[
            "Read (Buffered)",
            "ReadVectored (Buffered)",
            "Write (Buffered)",
            "WriteVectored (Buffered)",
            "Write (Allocating)",
            "WriteVectored (Allocating)",
        ]),
        when: When::Always,
        why: "io_submit does buffered and allocating transfers before it returns: the engine offloads them",
    },
    Allowed {
        suite: "aio",
        cases: &["appending_ignores_the_offset", "writes_on_a_full_disk", "writing_past_the_end_leaves_zeros_between"],
        reason: Reason::Says("does not take [Write], neither buffered nor direct"),
        when: When::Always,
        why: "what these cases write is never allocated before",
    },
    Allowed {
        suite: "aio",
        cases: &[],
        reason: Reason::NotTaken(&[
            "SyncRange (Buffered)",
            "Allocate (Buffered)",
            "PunchHole (Buffered)",
            "ZeroRange (Buffered)",
            "Truncate (Buffered)",
            "Advise (Buffered)",
            "WriteHint (Buffered)",
            "TryLock",
            "Unlock",
            "QueryLock",
            "Open",
            "Close",
            "Stat",
            "StatFs",
            "Access",
            "RealPath",
            "SetPermissions",
            "Rename",
            "Unlink",
            "MakeDir",
            "RemoveDir",
            "ReadDir",
            "SyncDir",
            "CopyRange (Buffered)",
            "Clone (Buffered)",
        ]),
        when: When::Always,
        why: "Linux AIO reads, writes, syncs and polls; there is no other opcode",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_names_a_reason_and_a_why() {
        for allowed in ALLOWED {
            match allowed.reason {
                Reason::Says(part) => assert!(part.len() >= 8, "too short to mean one thing: {allowed:?}"),
                Reason::NotTaken(kinds) => assert!(!kinds.is_empty() && !allowed.suite.is_empty(), "{allowed:?}"),
            }
            assert!(allowed.why.len() >= 20, "say why: {allowed:?}");
        }
    }

    fn skip(suite: &str, case: &str, reason: &str) -> Skip {
        Skip { suite: suite.into(), case: case.into(), reason: reason.into() }
    }

    #[test]
    fn an_entry_covers_its_suites_cases_and_reasons_only() {
        let reason = Reason::Says("buffered");
        let allowed = Allowed { suite: "aio", cases: &["c"], reason, when: When::Always, why: "" };
        assert!(allowed.covers(&skip("aio on ext4", "c", "buffered writes are offloaded")));
        assert!(!allowed.covers(&skip("uring", "c", "buffered writes are offloaded")));
        assert!(!allowed.covers(&skip("aio", "d", "buffered writes are offloaded")));
        assert!(!allowed.covers(&skip("aio", "c", "no memory")));
    }

    #[test]
    fn an_operation_left_out_is_matched_whole() {
        let reason = Reason::NotTaken(&["Stat", "Read (Buffered)"]);
        let allowed = Allowed { suite: "aio", cases: &[], reason, when: When::Always, why: "" };
        assert!(allowed.covers(&skip("aio", "c", "the driver does not take Stat [ext4]")));
        assert!(allowed.covers(&skip("aio", "c", "the driver does not take Read (Buffered)")));
        assert!(!allowed.covers(&skip("aio", "c", "the driver does not take StatFs [ext4]")));
        assert!(!allowed.covers(&skip("aio", "c", "the driver does not take Read (Direct) [ext4]")));
    }

    #[test]
    fn kernel_versions_are_numbers() {
        assert_eq!(version("6.1.0-13-amd64\n"), Some((6, 1)));
        assert_eq!(version("5.15.0"), Some((5, 15)));
        assert_eq!(version("unknown"), None);
        assert!(version("5.15.0") < Some((6, 9)) && version("6.18.1") > Some((6, 9)));
    }
}
