//! The skips that `ci` accepts. Every other skip fails it: a test that quietly stopped running proves nothing.
//!
//! An entry says whose skip it is, a part of the reason that the test gives, on which machines it is right, and why.

use crate::skips::Skip;
use crate::sys;

#[derive(Debug)]
pub(crate) struct Allowed {
    /// The suite's name begins like this; empty is any.
    pub(crate) suite: &'static str,
    /// The reason contains this; never empty.
    pub(crate) reason: &'static str,
    pub(crate) when: When,
    /// Why the skip is right, for the reader of this file.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people, and by the test that it is there"))]
    pub(crate) why: &'static str,
}

/// On which machines an entry counts. Found out by trying, like everything that depends on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Always,
    NoUring,
    NoAio,
    NotRoot,
}

impl When {
    pub(crate) fn holds(self) -> bool {
        match self {
            Self::Always => true,
            Self::NoUring => sys::try_io_uring_setup().is_err(),
            Self::NoAio => sys::try_io_setup().is_err(),
            Self::NotRoot => !sys::is_root(),
        }
    }
}

impl Allowed {
    pub(crate) fn covers(&self, skip: &Skip) -> bool {
        skip.suite.starts_with(self.suite) && skip.reason.contains(self.reason)
    }
}

pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed {
        suite: "",
        reason: "IOFS_TEST_MACHINE",
        when: When::Always,
        why: "tests that change sysctls have a job of their own, where nothing runs beside them",
    },
    Allowed { suite: "", reason: "IOFS_SOAK", when: When::Always, why: "the long versions are for `ci --full`" },
    Allowed {
        suite: "",
        reason: "driver uring is not available",
        when: When::NoUring,
        why: "seccomp, a sysctl or an old kernel refuses io_uring here; the refusal itself was tested",
    },
    Allowed {
        suite: "",
        reason: "driver aio is not available",
        when: When::NoAio,
        why: "seccomp or a kernel without AIO refuses io_setup here; the refusal itself was tested",
    },
    Allowed {
        suite: "",
        reason: "needs root",
        when: When::NotRoot,
        why: "only root may mount, change settings of the machine or become somebody else",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_names_a_reason_and_a_why() {
        for allowed in ALLOWED {
            assert!(allowed.reason.len() >= 8, "too short to mean one thing: {allowed:?}");
            assert!(allowed.why.len() >= 20, "say why: {allowed:?}");
        }
    }

    #[test]
    fn an_entry_covers_its_suites_and_reasons_only() {
        let allowed = Allowed { suite: "aio", reason: "buffered", when: When::Always, why: "" };
        let skip = |suite: &str, reason: &str| Skip { suite: suite.into(), case: "c".into(), reason: reason.into() };
        assert!(allowed.covers(&skip("aio on ext4", "buffered writes are offloaded")));
        assert!(!allowed.covers(&skip("uring", "buffered writes are offloaded")));
        assert!(!allowed.covers(&skip("aio", "no memory")));
    }
}
