//! Faults by rule: which operations, and what happens to them.

use crate::random::Random;
use io_core::{OpKind, OpSet};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What happens to an operation that a rule meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails with this error code and has no other effect, with two exceptions: a failed close closes, and a failed sync
    /// leaves its pages as [`FailedSync`](crate::FailedSync) says (unless the code is `ECANCELED`, `EAGAIN` or `EINTR`, which
    /// mean that it never began).
    Errno(i32),
    /// A transfer moves at most this many bytes. Rounded down to what direct I/O allows; no effect if that leaves nothing.
    Short(u32),
    /// It stays staged for this many submits, and so does what was staged after it.
    PushBack(u32),
    /// It is accepted and never completes, until [`SimDisk::release_wedged`](crate::SimDisk::release_wedged). Cancelling does
    /// not help.
    Wedge,
    /// It takes this much longer.
    Slow(Duration),
    /// A sync of a file or a directory, or a write with `RwFlags::DSYNC`, reports success and makes nothing durable. A later
    /// honest sync does. No effect on other operations.
    LoseSync,
    /// The power is cut when it is accepted, as by [`SimDisk::power_cut`](crate::SimDisk::power_cut).
    PowerCut,
}

/// Which operations a fault meets: the next one of its kind unless told otherwise.
///
/// ```
/// use io_core::{OpKind, errno};
/// use io_sim::{Which, SimDisk, SimOptions};
///
/// let disk = SimDisk::new(SimOptions::seeded(1));
/// disk.fail(Which::kind(OpKind::Write).path("/log").nth(3), errno::ENOSPC);
/// disk.fail(Which::reads().chance(0.01).always(), errno::EIO);
/// ```
#[derive(Clone, Debug)]
pub struct Which {
    kinds: OpSet,
    place: Place,
    /// Operations that pass before the first one is met.
    pass: u64,
    times: u64,
    chance: f64,
}

#[derive(Clone, Debug)]
enum Place {
    Anywhere,
    At(PathBuf),
    Under(PathBuf),
}

impl Which {
    /// The next operation, whatever it is.
    pub fn any() -> Which {
        Which { kinds: OpSet::ALL, place: Place::Anywhere, pass: 0, times: 1, chance: 1.0 }
    }

    /// The next operation of this kind.
    pub fn kind(kind: OpKind) -> Which {
        Which::kinds([kind])
    }

    /// The next operation of one of these kinds.
    pub fn kinds(kinds: impl IntoIterator<Item = OpKind>) -> Which {
        Which { kinds: kinds.into_iter().fold(OpSet::EMPTY, OpSet::with_kind), ..Which::any() }
    }

    /// The next read, vectored or not.
    pub fn reads() -> Which {
        Which::kinds([OpKind::Read, OpKind::ReadVectored])
    }

    /// The next write, vectored or not.
    pub fn writes() -> Which {
        Which::kinds([OpKind::Write, OpKind::WriteVectored])
    }

    /// The next sync of a file's content.
    pub fn syncs() -> Which {
        Which::kinds([OpKind::SyncData, OpKind::SyncAll])
    }

    /// Only on this path: the one that an operation names (the first, if it names two), or the one that its file was opened by,
    /// symbolic links resolved.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<Path>) -> Which {
        self.place = Place::At(Path::new("/").join(path));
        self
    }

    /// Only on this path and below it.
    #[must_use]
    pub fn under(mut self, dir: impl AsRef<Path>) -> Which {
        self.place = Place::Under(Path::new("/").join(dir));
        self
    }

    /// Only the `n`th of them, counted from 1 and from now.
    ///
    /// # Panics
    /// If `n` is 0.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Which {
        assert!(n > 0, "operations are counted from 1");
        self.pass = n - 1;
        self
    }

    /// That many of them, one after the other.
    #[must_use]
    pub fn times(mut self, times: u64) -> Which {
        self.times = times;
        self
    }

    /// All of them from then on.
    #[must_use]
    pub fn always(self) -> Which {
        self.times(u64::MAX)
    }

    /// Each of them only with this probability.
    ///
    /// # Panics
    /// If it is not within 0.0 and 1.0.
    #[must_use]
    pub fn chance(mut self, probability: f64) -> Which {
        assert!((0.0..=1.0).contains(&probability), "a probability of {probability}");
        self.chance = probability;
        self
    }

    fn matches(&self, kind: OpKind, path: Option<&Path>) -> bool {
        let there = match (&self.place, path) {
            (Place::Anywhere, _) => true,
            (_, None) => false,
            (Place::At(at), Some(path)) => path == at,
            (Place::Under(dir), Some(path)) => path.starts_with(dir),
        };
        there && self.kinds.contains_kind(kind)
    }
}

/// The rules of a disk, in the order in which they came.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<(Which, Fault)>,
    random: Random,
}

impl Rules {
    pub(crate) fn new(random: Random) -> Rules {
        Rules { rules: Vec::new(), random }
    }

    pub(crate) fn add(&mut self, which: Which, fault: Fault) {
        if which.times > 0 {
            self.rules.push((which, fault));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What happens to this operation. All rules count it; the first one that is due meets it.
    pub(crate) fn meet(&mut self, kind: OpKind, path: Option<&Path>) -> Option<Fault> {
        let mut met = None;
        for (which, fault) in self.rules.iter_mut().filter(|(which, _)| which.matches(kind, path)) {
            if which.pass > 0 {
                which.pass -= 1;
            } else if met.is_none() && self.random.chance(which.chance) {
                which.times -= 1;
                met = Some(*fault);
            }
        }
        self.rules.retain(|(which, _)| which.times > 0);
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_count_and_end() {
        let mut rules = Rules::new(Random::new(1, 1));
        rules.add(Which::writes().path("log").nth(2), Fault::Errno(5));
        rules.add(Which::kind(OpKind::Write).under("/").times(2), Fault::Wedge);
        let mut meet = |kind, path: &str| rules.meet(kind, Some(path.as_ref()));
        assert_eq!(meet(OpKind::Read, "/log"), None);
        assert_eq!(meet(OpKind::Write, "/log"), Some(Fault::Wedge));
        assert_eq!(meet(OpKind::Write, "/log"), Some(Fault::Errno(5)), "the earlier rule goes first");
        assert_eq!(meet(OpKind::Write, "/x/y"), Some(Fault::Wedge));
        assert_eq!(meet(OpKind::Write, "/log"), None);
        assert!(rules.is_empty());
    }

    #[test]
    fn always_stays_and_chance_is_a_share() {
        let mut rules = Rules::new(Random::new(1, 1));
        rules.add(Which::any().chance(0.25).always(), Fault::PushBack(1));
        let met = (0..1000).filter(|_| rules.meet(OpKind::Open, None).is_some()).count();
        assert!((200..300).contains(&met), "{met}");
        rules.clear();
        assert_eq!(rules.meet(OpKind::Open, None), None);
    }
}
