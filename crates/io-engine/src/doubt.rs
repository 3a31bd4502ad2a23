//! Which bytes of an inode no sync has confirmed: what is in doubt when one fails.

use io_core::Reach;
use std::{fmt, ops::Range};

/// Bytes of a file that were changed and that no sync has confirmed since: after a failed sync they may be on the disk or not, old
/// and new in any mixture. The size of the file may be an old one, too: bytes that are there only because it grew are not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InDoubt {
    /// These, in order and apart from one another. Empty: the failure concerned no content written through this process.
    Ranges(Vec<Range<u64>>),
    /// All of the file: there were more ranges than are kept, or a change whose place the system alone knows.
    Whole,
}

impl InDoubt {
    /// True if the byte at `offset` is in doubt.
    pub fn contains(&self, offset: u64) -> bool {
        match self {
            InDoubt::Ranges(ranges) => ranges.iter().any(|range| range.contains(&offset)),
            InDoubt::Whole => true,
        }
    }
}

impl fmt::Display for InDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InDoubt::Whole => f.write_str("the whole file"),
            InDoubt::Ranges(ranges) if ranges.is_empty() => f.write_str("no bytes"),
            InDoubt::Ranges(ranges) => {
                for (i, range) in ranges.iter().enumerate() {
                    write!(f, "{}{}..{}", if i > 0 { ", " } else { "bytes " }, range.start, range.end)?;
                }
                Ok(())
            }
        }
    }
}

/// The unconfirmed changes of one inode. In doubt is more than may be lost, never less.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    /// Changed since the last sync began.
    fresh: Ranges,
    /// Covered by the syncs under way.
    covered: Ranges,
    syncs: u32,
    /// One of the syncs under way has ended without success: what it covered is not confirmed by the others.
    spoiled: bool,
}

impl Doubt {
    /// A change is accepted.
    #[inline]
    pub(crate) fn note(&mut self, reach: Reach) {
        match reach {
            Reach::Nothing => {}
            Reach::Bytes { start, end } => self.fresh.add(start, end),
            Reach::From(start) => self.fresh.add(start, u64::MAX),
            Reach::Unknown => self.fresh.whole = true,
        }
    }

    /// A sync covers all changes so far.
    pub(crate) fn sync_begins(&mut self) {
        self.syncs += 1;
        self.covered.take_from(&mut self.fresh);
    }

    /// A sync that began has not been given to the system yet, and covers all changes up to now.
    pub(crate) fn sync_covers_more(&mut self) {
        self.covered.take_from(&mut self.fresh);
    }

    /// A sync is over, or will never run (`ok` is false then). Success counts once no sync is under way: each may have covered less
    /// than the others.
    pub(crate) fn sync_ends(&mut self, ok: bool) {
        self.syncs = self.syncs.saturating_sub(1);
        self.spoiled |= !ok;
        if self.syncs > 0 {
            return;
        }
        if std::mem::take(&mut self.spoiled) {
            self.fresh.take_from(&mut self.covered);
        }
        self.covered.clear();
    }

    /// All that is unconfirmed now.
    pub(crate) fn all(&self) -> InDoubt {
        let mut all = Ranges::default();
        for ranges in [&self.fresh, &self.covered] {
            all.whole |= ranges.whole;
            ranges.list.iter().for_each(|&(start, end)| all.add(start, end));
        }
        if all.whole {
            return InDoubt::Whole;
        }
        InDoubt::Ranges(all.list.into_iter().map(|(start, end)| start..end).collect())
    }
}

/// Ranges in order, none touching the next; at most so many, and then the whole file.
#[derive(Debug, Default)]
struct Ranges {
    list: Vec<(u64, u64)>,
    whole: bool,
}

/// Most ranges that are kept apart: what is written here and there is soon written everywhere, and the list is searched and moved
/// under the inode's lock.
const RANGES_MAX: usize = 64;

impl Ranges {
    fn add(&mut self, start: u64, end: u64) {
        if self.whole || start >= end {
            return;
        }
        // Those that end before it starts stay, those that begin behind its end stay; what is between becomes one.
        let first = match self.list.last() {
            Some(&(_, last)) if last < start => self.list.len(),
            _ => self.list.partition_point(|&(_, e)| e < start),
        };
        let behind = first + self.list[first..].partition_point(|&(s, _)| s <= end);
        if first < behind {
            let merged = (start.min(self.list[first].0), end.max(self.list[behind - 1].1));
            self.list[first] = merged;
            self.list.drain(first + 1..behind);
        } else if self.list.len() == RANGES_MAX {
            self.list.clear();
            self.whole = true;
        } else {
            if self.list.capacity() == 0 {
                self.list.reserve_exact(RANGES_MAX);
            }
            self.list.insert(first, (start, end));
        }
    }

    /// Takes over what `other` has, and leaves it empty.
    fn take_from(&mut self, other: &mut Ranges) {
        if self.list.is_empty() && !self.whole {
            std::mem::swap(self, other);
            return;
        }
        self.whole |= std::mem::take(&mut other.whole);
        for (start, end) in other.list.drain(..) {
            self.add(start, end);
        }
        if self.whole {
            self.list.clear();
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.whole = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init)] // lists of ranges, some of which have one element

    use super::*;

    fn written(doubt: &mut Doubt, start: u64, end: u64) {
        doubt.note(Reach::Bytes { start, end });
    }

    fn ranges(list: &[(u64, u64)]) -> InDoubt {
        InDoubt::Ranges(list.iter().map(|&(start, end)| start..end).collect())
    }

    #[test]
    fn ranges_merge_where_they_touch() {
        let mut doubt = Doubt::default();
        for (start, end) in [(10, 20), (30, 40), (0, 5), (20, 25), (5, 5), (24, 30)] {
            written(&mut doubt, start, end);
        }
        assert_eq!(doubt.all(), ranges(&[(0, 5), (10, 40)]));
        written(&mut doubt, 0, 100);
        assert_eq!(doubt.all().to_string(), "bytes 0..100");
    }

    #[test]
    fn adding_agrees_with_a_set_of_bytes() {
        let mut seed = 7_u64;
        for _ in 0..200 {
            let (mut ranges, mut model) = (Ranges::default(), [false; 256]);
            for _ in 0..20 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                let start = (seed >> 40) as usize % 240;
                let end = start + (seed >> 33) as usize % 16;
                ranges.add(start as u64, end as u64);
                model[start..end].fill(true);
            }
            let listed = |at| ranges.list.iter().any(|&(s, e)| (s..e).contains(&(at as u64)));
            assert!((0..256).all(|at| listed(at) == model[at]), "{:?}", ranges.list);
            assert!(ranges.list.windows(2).all(|two| two[0].1 < two[1].0), "{:?}", ranges.list);
        }
    }

    #[test]
    fn too_many_ranges_are_the_whole_file_until_a_sync() {
        let mut doubt = Doubt::default();
        for i in 0..=RANGES_MAX as u64 {
            written(&mut doubt, i * 10, i * 10 + 1);
        }
        assert_eq!(doubt.all(), InDoubt::Whole);
        doubt.sync_begins();
        written(&mut doubt, 3, 4);
        doubt.sync_ends(true);
        assert_eq!(doubt.all(), ranges(&[(3, 4)]), "written while the sync ran");
    }

    #[test]
    fn a_sync_confirms_what_was_there_before_it_and_only_if_it_succeeds() {
        let mut doubt = Doubt::default();
        written(&mut doubt, 0, 10);
        doubt.sync_begins();
        written(&mut doubt, 20, 30);
        doubt.sync_begins();
        doubt.sync_ends(false);
        doubt.sync_ends(true);
        assert_eq!(doubt.all(), ranges(&[(0, 10), (20, 30)]), "which of the two succeeded is not known here");
        doubt.sync_begins();
        doubt.sync_ends(true);
        assert_eq!(doubt.all(), ranges(&[]));
    }
}
