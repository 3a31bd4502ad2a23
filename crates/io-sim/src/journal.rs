//! Changes of directories that are not durable yet, and which of them a power cut may leave.
//!
//! Each change survives or vanishes as a whole, in any combination that makes sense:
//!
//! - Changes of the same name survive in order: a later one only with the earlier ones. That ties the changes of one file, too,
//!   because each starts from the name that the one before has left.
//! - A rename is one change: afterwards there is the old name or the new one, never neither and never both. It survives only
//!   together with the making of the directories that it leads into, because otherwise there would be neither.
//! - A directory's removal survives only if what emptied it does, and moves of directories survive in order, so that no
//!   directory ends inside itself.
//!
//! A `SyncDir` makes the changes of that directory durable, and with them what they rest on by these rules. A rename belongs to
//! the directory of the *new* name: syncing that of the old name alone decides nothing. What is not implied is left open: a new
//! file in a new directory is durable in there after `SyncDir` of it, but the directory itself may be gone.

use crate::random::Random;
use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    sync::Arc,
};

/// Changes that are kept undecided; when there are more, the oldest becomes durable (file systems commit every few seconds).
const PENDING_MAX: usize = 16_384;

/// A name in a directory.
pub(crate) type Name = (u64, OsString);

/// One change of one or two directories.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) what: What,
    /// A directory that came to be.
    pub(crate) makes: Option<u64>,
    /// A directory that went, by removal or by being replaced.
    pub(crate) removes: Option<u64>,
    /// A directory changed its parent.
    pub(crate) moves_dir: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// The name came to be.
    Add { name: Name, ino: u64 },
    /// The name went.
    Remove { name: Name, ino: u64 },
    /// One name became another, replacing what had it.
    Move { from: Name, to: Name, ino: u64 },
    /// Two names changed places.
    Swap { a: Name, a_ino: u64, b: Name, b_ino: u64 },
}

impl Change {
    fn names(&self) -> [Option<&Name>; 2] {
        match &self.what {
            What::Add { name, .. } | What::Remove { name, .. } => [Some(name), None],
            What::Move { from, to, .. } => [Some(from), Some(to)],
            What::Swap { a, b, .. } => [Some(a), Some(b)],
        }
    }

    /// The inodes whose name it is about.
    pub(crate) fn subjects(&self) -> [Option<u64>; 2] {
        match self.what {
            What::Add { ino, .. } | What::Remove { ino, .. } | What::Move { ino, .. } => [Some(ino), None],
            What::Swap { a_ino, b_ino, .. } => [Some(a_ino), Some(b_ino)],
        }
    }

    fn dirs(&self) -> impl Iterator<Item = u64> {
        self.names().into_iter().flatten().map(|name| name.0)
    }

    /// True if `SyncDir` of the directory makes it durable.
    fn belongs_to(&self, dir: u64) -> bool {
        match &self.what {
            What::Move { to, .. } => to.0 == dir,
            _ => self.dirs().any(|d| d == dir),
        }
    }

    fn leads_somewhere(&self) -> bool {
        matches!(self.what, What::Move { .. } | What::Swap { .. })
    }
}

/// The undecided changes, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal(VecDeque<Arc<Change>>);

impl Journal {
    /// Notes a change; answers one that became durable by age.
    pub(crate) fn note(&mut self, change: Change) -> Option<Arc<Change>> {
        self.0.push_back(Arc::new(change));
        if self.0.len() > PENDING_MAX { self.0.pop_front() } else { None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out what a sync of the directory makes durable, oldest first.
    pub(crate) fn commit_dir(&mut self, dir: u64) -> Vec<Arc<Change>> {
        self.commit(|change| change.belongs_to(dir), false)
    }

    /// Takes out what decides the name of an inode; with `way_there`, the names of the directories above it as well.
    pub(crate) fn commit_inode(&mut self, ino: u64, way_there: bool) -> Vec<Arc<Change>> {
        self.commit(|change| change.subjects().contains(&Some(ino)), way_there)
    }

    fn commit(&mut self, wanted: impl Fn(&Change) -> bool, way_there: bool) -> Vec<Arc<Change>> {
        let mut rests_on = RestsOn::default();
        let mut taken = vec![false; self.0.len()];
        for (at, change) in self.0.iter().enumerate().rev() {
            let on_the_way = change.makes.is_some_and(|dir| rests_on.made.contains(&dir));
            if wanted(change) || on_the_way || rests_on.includes(change) {
                taken[at] = true;
                rests_on.add(change, way_there || on_the_way || change.leads_somewhere());
            }
        }
        let mut committed = Vec::new();
        let mut at = 0;
        self.0.retain(|change| {
            let take = taken[at];
            at += 1;
            if take {
                committed.push(change.clone());
            }
            !take
        });
        committed
    }

    /// Draws what survives a power cut, oldest first.
    pub(crate) fn survivors(&self, keep: f64, random: &mut Random) -> Vec<Arc<Change>> {
        let mut gone = RestsOn::default();
        let mut gone_made = BTreeSet::new();
        let mut survivors = Vec::new();
        for change in &self.0 {
            let into_nothing = change.dirs().any(|dir| gone_made.contains(&dir));
            // Drawn first, so that each change costs one draw whatever the others did.
            if !random.chance(keep) || into_nothing || gone.is_under(change) {
                gone.add(change, false);
                gone_made.extend(change.makes);
            } else {
                survivors.push(change.clone());
            }
        }
        survivors
    }
}

/// Marks of changes, to find those that are tied to them.
#[derive(Default)]
struct RestsOn {
    names: BTreeSet<Name>,
    /// Directories that changes were in.
    dirs: BTreeSet<u64>,
    /// Directories that have to have been emptied.
    removed: BTreeSet<u64>,
    /// Directories that have to be there.
    made: BTreeSet<u64>,
    moved_dir: bool,
}

impl RestsOn {
    fn add(&mut self, change: &Change, leads: bool) {
        self.names.extend(change.names().into_iter().flatten().cloned());
        self.dirs.extend(change.dirs());
        self.removed.extend(change.removes);
        self.moved_dir |= change.moves_dir;
        if leads {
            self.made.extend(change.dirs());
        }
    }

    fn tied(&self, change: &Change) -> bool {
        change.names().into_iter().flatten().any(|name| self.names.contains(name))
            || (self.moved_dir && change.moves_dir)
    }

    /// The marked changes, which are later, rest on this one.
    fn includes(&self, change: &Change) -> bool {
        self.tied(change) || change.dirs().any(|dir| self.removed.contains(&dir))
    }

    /// This change rests on a marked one, which is earlier.
    fn is_under(&self, change: &Change) -> bool {
        self.tied(change) || change.removes.is_some_and(|dir| self.dirs.contains(&dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(dir: u64, name: &str) -> Name {
        (dir, name.into())
    }

    fn change(what: What) -> Change {
        Change { what, makes: None, removes: None, moves_dir: false }
    }

    fn add(dir: u64, at: &str, ino: u64) -> Change {
        change(What::Add { name: name(dir, at), ino })
    }

    fn make(dir: u64, at: &str, ino: u64) -> Change {
        Change { makes: Some(ino), ..add(dir, at, ino) }
    }

    fn shift(from: Name, to: Name, ino: u64) -> Change {
        change(What::Move { from, to, ino })
    }

    fn journal(changes: Vec<Change>) -> Journal {
        let mut journal = Journal::default();
        for change in changes {
            assert!(journal.note(change).is_none());
        }
        journal
    }

    fn inos(changes: &[Arc<Change>]) -> Vec<u64> {
        changes.iter().filter_map(|change| change.subjects()[0]).collect()
    }

    #[test]
    fn a_directory_sync_takes_its_changes_and_what_they_rest_on() {
        let mut pending = journal(vec![
            add(1, "other", 8),
            make(1, "d", 10),
            add(1, "tmp", 5),
            add(10, "f", 6),
            shift(name(1, "tmp"), name(10, "x"), 5),
        ]);
        let mut alone = pending.clone();
        assert_eq!(inos(&alone.commit_inode(6, false)), [6], "a name alone does not ask for its directory");
        assert_eq!(inos(&alone.commit_inode(5, true)), [10, 5, 5]);
        assert_eq!(inos(&pending.commit_dir(10)), [10, 5, 6, 5], "the rename needs the directory; `f` is in it");
        assert_eq!(inos(&pending.commit_dir(1)), [8]);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_rename_is_decided_by_the_new_names_directory() {
        let mut pending = journal(vec![shift(name(2, "a"), name(3, "b"), 5)]);
        assert!(pending.commit_dir(2).is_empty());
        assert_eq!(pending.commit_dir(3).len(), 1);
    }

    #[test]
    fn later_changes_survive_only_with_the_earlier_ones_they_are_tied_to() {
        let pending = journal(vec![
            add(1, "a", 5),
            shift(name(1, "a"), name(1, "b"), 5),
            add(1, "c", 6),
            make(1, "d", 10),
            shift(name(1, "old"), name(10, "new"), 7),
        ]);
        let mut random = Random::new(3, 0);
        let mut seen = BTreeSet::new();
        for _ in 0..500 {
            let left = pending.survivors(0.5, &mut random);
            let has = |ino| left.iter().filter(|change| change.subjects()[0] == Some(ino)).count();
            let moved = left.iter().any(|change| change.leads_somewhere() && change.subjects()[0] == Some(5));
            assert!(!moved || has(5) == 2, "moved without having been made");
            assert!(has(7) == 0 || has(10) == 1, "moved into a directory that is not there");
            seen.insert((has(5), has(6), has(10), has(7)));
        }
        assert_eq!(seen.len(), 3 * 2 * 3, "every combination that makes sense");
        assert!(pending.survivors(0.0, &mut random).is_empty());
        assert_eq!(pending.survivors(1.0, &mut random).len(), 5);
    }

    #[test]
    fn a_removed_directory_rests_on_what_emptied_it() {
        let mut out = change(What::Remove { name: name(1, "d"), ino: 10 });
        out.removes = Some(10);
        let pending = journal(vec![shift(name(10, "f"), name(1, "f"), 5), out]);
        let mut random = Random::new(3, 0);
        for _ in 0..100 {
            let left = pending.survivors(0.5, &mut random);
            assert!(!left.iter().any(|change| change.removes.is_some()) || left.len() == 2);
        }
        assert_eq!(pending.clone().commit_inode(10, false).len(), 2);
    }
}
