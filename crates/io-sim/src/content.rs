//! One file's bytes, twice: as readers see them, and as a power cut would leave them.
//!
//! `live` is what reads answer, `durable` what is on the medium for certain. A page that differs is *dirty*, and what it has
//! held since it was last durable is kept beside it: write-back may have happened at any moment, so a power cut may leave any
//! of these versions, sector by sector. The size has a history of its own.

use crate::{
    options::FailedSync,
    pages::{PAGE, Page, Pages, page_of, zero_page},
    random::Random,
};
use std::collections::BTreeMap;

/// Versions kept between the durable and the live one; of more, some are forgotten.
const OLDER_MAX: usize = 3;

/// Bytes and size of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    live: Pages,
    durable: Pages,
    dirty: BTreeMap<u64, Dirty>,
    /// Page ranges that were allocated without changing content, and are not durable yet.
    reserved: Vec<(u64, u64)>,
    size: History,
}

/// What is to be known of a page that differs from its durable version.
#[derive(Clone, Debug, Default)]
struct Dirty {
    /// Live versions that were replaced before they were durable.
    older: Vec<Page>,
    replaced: usize,
    /// An atomic write is among the versions: the page survives as a whole.
    whole: bool,
    /// A sync that failed has marked the page clean: later syncs pass it over.
    passed_over: bool,
}

/// A size, the durable one, and what was between.
#[derive(Clone, Debug, Default)]
struct History {
    live: u64,
    durable: u64,
    older: Vec<u64>,
    replaced: usize,
}

impl History {
    fn set(&mut self, size: u64) {
        if size == self.live {
            return;
        }
        keep(&mut self.older, &mut self.replaced, self.live);
        self.live = size;
    }

    fn commit(&mut self) {
        self.durable = self.live;
        self.older.clear();
    }

    /// From now on every size that may survive reaches to `end`.
    fn reach(&mut self, end: u64) {
        self.durable = self.durable.max(end);
        for size in &mut self.older {
            *size = end.max(*size);
        }
    }
}

/// Keeps a version, in place of an earlier one if there are too many.
fn keep<T>(older: &mut Vec<T>, replaced: &mut usize, version: T) {
    if older.len() < OLDER_MAX {
        older.push(version);
    } else {
        older[*replaced % OLDER_MAX] = version;
        *replaced += 1;
    }
}

/// How a power cut decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Probability that the newest version survives. With 0.0 none but the durable one does.
    pub(crate) keep: f64,
    /// Bytes that stay together.
    pub(crate) sector: usize,
    /// Sectors may be torn.
    pub(crate) torn: bool,
}

impl Cut {
    /// 0: durable; `older + 1`: live; else the version between.
    fn pick(&self, random: &mut Random, older: usize) -> usize {
        if random.chance(self.keep) {
            older + 1
        } else if self.keep > 0.0 && random.chance(0.5) {
            random.below(older as u64 + 1) as usize
        } else {
            0
        }
    }
}

impl Content {
    /// The size that readers see.
    pub(crate) fn size(&self) -> u64 {
        self.size.live
    }

    /// Pages that the file occupies.
    pub(crate) fn pages(&self) -> u64 {
        self.live.count()
    }

    /// Pages that writing from `from` to before `to` would have to allocate.
    pub(crate) fn missing(&self, from: u64, to: u64) -> u64 {
        self.live.missing(from / PAGE as u64, to.div_ceil(PAGE as u64))
    }

    /// Bytes from the start that are allocated.
    pub(crate) fn filled(&self) -> u64 {
        self.live.run_at_start()
    }

    /// True if a power cut would change nothing.
    pub(crate) fn is_durable(&self) -> bool {
        self.dirty.is_empty() && self.size.live == self.size.durable && self.size.older.is_empty()
    }

    /// Gives `len` bytes at `offset` out; the caller stays below the size.
    pub(crate) fn read(&self, offset: u64, len: u64, out: impl FnMut(&[u8])) {
        self.live.read(offset, len, out);
    }

    /// All of the live bytes.
    pub(crate) fn to_vec(&self) -> Vec<u8> {
        all(&self.live, self.size.live)
    }

    /// All of the durable bytes.
    pub(crate) fn durable_to_vec(&self) -> Vec<u8> {
        all(&self.durable, self.size.durable)
    }

    /// Page `no` becomes this, and was something else before.
    fn replace(&mut self, no: u64, page: Option<Page>) {
        let old = self.live.get(no).cloned();
        match self.dirty.get_mut(&no) {
            None => drop(self.dirty.insert(no, Dirty::default())),
            Some(dirty) => {
                dirty.passed_over = false;
                keep(&mut dirty.older, &mut dirty.replaced, old.unwrap_or_else(zero_page));
            }
        }
        self.live.put(no, page);
    }

    /// Writes bytes; `atomic`: they survive as a whole or not at all.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], atomic: bool) {
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let (no, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let part = (PAGE - within).min(bytes.len() - done);
            let mut page = if part == PAGE { [0; PAGE] } else { self.live.bytes(no) };
            page[within..within + part].copy_from_slice(&bytes[done..done + part]);
            self.replace(no, Some(page_of(page)));
            if atomic {
                self.dirty.entry(no).or_default().whole = true;
            }
            done += part;
        }
        self.grow(offset + bytes.len() as u64);
    }

    /// The file reaches to `end` at least.
    pub(crate) fn grow(&mut self, end: u64) {
        self.size.set(self.size.live.max(end));
    }

    /// Cuts or grows the file.
    pub(crate) fn truncate(&mut self, size: u64) {
        if size < self.size.live {
            self.clear(size, self.size.live, false);
            // Space that was allocated behind the end goes as well.
            for no in self.live.numbers(size.div_ceil(PAGE as u64), u64::MAX) {
                self.replace(no, None);
            }
        }
        self.size.set(size);
    }

    /// Makes a range read as zeros; `allocated` says what becomes of its space.
    pub(crate) fn clear(&mut self, from: u64, to: u64, allocated: bool) {
        let (first, last) = (from.div_ceil(PAGE as u64), to / PAGE as u64);
        for no in self.live.numbers(first, last) {
            self.replace(no, allocated.then(zero_page));
        }
        let edges = if first > last { [from..to, to..to] } else { [from..first * PAGE as u64, last * PAGE as u64..to] };
        for edge in edges.into_iter().filter(|edge| edge.start < edge.end) {
            let no = edge.start / PAGE as u64;
            if self.live.get(no).is_some() {
                let mut page = self.live.bytes(no);
                let within = (edge.start % PAGE as u64) as usize;
                page[within..within + (edge.end - edge.start) as usize].fill(0);
                self.replace(no, Some(page_of(page)));
            }
        }
        if allocated {
            self.allocate(from, to);
        }
    }

    /// Space for a range. Its content stays.
    pub(crate) fn allocate(&mut self, from: u64, to: u64) {
        let (first, last) = (from / PAGE as u64, to.div_ceil(PAGE as u64));
        self.live.fill(first, last);
        self.reserved.push((first, last));
    }

    /// Shares whole pages of another file; `from`, `to` and `len` are multiples of a page, or `len` ends at the end of `other`.
    pub(crate) fn share(&mut self, other: &Content, from: u64, to: u64, len: u64) {
        let (from_no, to_no) = (from / PAGE as u64, to / PAGE as u64);
        for at in 0..len.div_ceil(PAGE as u64) {
            self.replace(to_no + at, other.live.get(from_no + at).cloned());
        }
        self.grow(to + len);
    }

    /// What a sync does when it works: all that is dirty is durable, except what an earlier failure marked clean.
    pub(crate) fn sync(&mut self) {
        let (live, durable) = (&self.live, &mut self.durable);
        self.dirty.retain(|&no, dirty| {
            if !dirty.passed_over {
                durable.put(no, live.get(no).cloned());
            }
            dirty.passed_over
        });
        for (from, to) in self.reserved.drain(..) {
            for no in self.live.numbers(from, to).into_iter().filter(|no| !self.dirty.contains_key(no)) {
                if self.durable.get(no).is_none() {
                    self.durable.put(no, Some(zero_page()));
                }
            }
        }
        self.size.commit();
    }

    /// What a sync does when it fails: the pages count as written, and are not.
    pub(crate) fn fail_sync(&mut self, how: FailedSync) {
        match how {
            FailedSync::KeepsPages => self.dirty.values_mut().for_each(|dirty| dirty.passed_over = true),
            FailedSync::DropsPages => {
                for no in std::mem::take(&mut self.dirty).into_keys() {
                    self.live.put(no, self.durable.get(no).cloned());
                }
            }
        }
    }

    /// What a durable write does on top of writing: the sectors that it touched are durable, and so is a size that reaches them.
    pub(crate) fn sync_range(&mut self, offset: u64, len: u64, sector: usize) {
        if len == 0 {
            return;
        }
        let end = offset + len;
        for no in offset / PAGE as u64..end.div_ceil(PAGE as u64) {
            let start = no * PAGE as u64;
            let low = (offset.max(start) - start) as usize / sector * sector;
            let high = ((end.min(start + PAGE as u64) - start) as usize).next_multiple_of(sector);
            let live = self.live.get(no).cloned().unwrap_or_else(zero_page);
            if (low, high) == (0, PAGE) {
                self.durable.put(no, Some(live));
                self.dirty.remove(&no);
                continue;
            }
            let overlay = |mut page: [u8; PAGE]| {
                page[low..high].copy_from_slice(&live[low..high]);
                page_of(page)
            };
            self.durable.put(no, Some(overlay(self.durable.bytes(no))));
            if let Some(dirty) = self.dirty.get_mut(&no) {
                for older in &mut dirty.older {
                    *older = overlay(**older);
                }
                if self.durable.bytes(no) == *live {
                    self.dirty.remove(&no);
                }
            }
        }
        self.size.reach(end);
    }

    /// What a power cut leaves.
    pub(crate) fn after(&self, cut: Cut, random: &mut Random) -> Content {
        let mut pages = self.durable.clone();
        for (&no, dirty) in &self.dirty {
            let survivor = self.survivor(no, dirty, cut, random);
            pages.put(no, survivor);
        }
        let size = match cut.pick(random, self.size.older.len()) {
            0 => self.size.durable,
            at if at > self.size.older.len() => self.size.live,
            at => self.size.older[at - 1],
        };
        let mut left = Content { live: pages, ..Content::default() };
        left.size.live = size;
        left.clear(size, size.next_multiple_of(PAGE as u64), false);
        for no in left.live.numbers(size.div_ceil(PAGE as u64), u64::MAX) {
            left.live.put(no, None);
        }
        left.settle()
    }

    /// The same content, all of it durable.
    fn settle(mut self) -> Content {
        self.durable = self.live.clone();
        self.dirty.clear();
        self.reserved.clear();
        self.size.commit();
        self
    }

    fn survivor(&self, no: u64, dirty: &Dirty, cut: Cut, random: &mut Random) -> Option<Page> {
        let version = |at: usize| match at {
            0 => self.durable.get(no),
            at if at > dirty.older.len() => self.live.get(no),
            at => dirty.older.get(at - 1),
        };
        if dirty.whole {
            return version(cut.pick(random, dirty.older.len())).cloned();
        }
        let mut page = [0; PAGE];
        let mut newest = 0;
        for start in (0..PAGE).step_by(cut.sector) {
            let mut fill = |at: usize, range: std::ops::Range<usize>| {
                newest = newest.max(at);
                if let Some(version) = version(at) {
                    page[range.clone()].copy_from_slice(&version[range]);
                }
            };
            let (first, end) = (cut.pick(random, dirty.older.len()), start + cut.sector);
            let torn = cut.torn && cut.keep > 0.0 && cut.keep < 1.0 && random.chance(0.25);
            let seam = if torn { start + random.below(cut.sector as u64) as usize } else { end };
            fill(first, start..seam);
            if torn {
                let second = cut.pick(random, dirty.older.len());
                fill(second, seam..end);
            }
        }
        // A hole stays one where nothing but the hole survived.
        (newest > 0 || self.durable.get(no).is_some()).then(|| page_of(page))
    }
}

fn all(pages: &Pages, size: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    pages.read(0, size, |piece| bytes.extend_from_slice(piece));
    bytes
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
