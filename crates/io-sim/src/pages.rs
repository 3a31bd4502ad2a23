//! The bytes of a file: sparse, shared between images until somebody changes them.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

/// Bytes of a page: the unit of sharing and of allocation. Sectors are at most this long.
pub(crate) const PAGE: usize = 4096;

/// One page. Pages are never changed in place: a new content is a new page.
pub(crate) type Page = Arc<[u8; PAGE]>;

/// Pages per chunk.
const FAN: u64 = 64;

type Chunk = [Option<Page>; FAN as usize];

/// A map from page number to page in two levels, so that copying the map of a 64 MiB file copies 256 pointers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    chunks: BTreeMap<u64, Arc<Chunk>>,
    count: u64,
}

/// The page of zeros that all images share.
pub(crate) fn zero_page() -> Page {
    static ZERO: OnceLock<Page> = OnceLock::new();
    ZERO.get_or_init(|| Arc::new([0; PAGE])).clone()
}

/// A page of this content; zeros are shared.
pub(crate) fn page_of(bytes: [u8; PAGE]) -> Page {
    if bytes == [0; PAGE] { zero_page() } else { Arc::new(bytes) }
}

fn empty_chunk() -> Arc<Chunk> {
    Arc::new([const { None }; FAN as usize])
}

impl Pages {
    pub(crate) fn get(&self, no: u64) -> Option<&Page> {
        self.chunks.get(&(no / FAN))?[(no % FAN) as usize].as_ref()
    }

    /// The bytes of a page; zeros where there is none.
    pub(crate) fn bytes(&self, no: u64) -> [u8; PAGE] {
        self.get(no).map_or([0; PAGE], |page| **page)
    }

    /// Puts a page there or takes it away.
    pub(crate) fn put(&mut self, no: u64, page: Option<Page>) {
        if page.is_none() && self.get(no).is_none() {
            return;
        }
        let chunk = Arc::make_mut(self.chunks.entry(no / FAN).or_insert_with(empty_chunk));
        let place = &mut chunk[(no % FAN) as usize];
        self.count = self.count + page.is_some() as u64 - place.is_some() as u64;
        *place = page;
        if place.is_none() && chunk.iter().all(Option::is_none) {
            self.chunks.remove(&(no / FAN));
        }
    }

    /// Number of pages that are there.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The numbers of the pages that are there from `from` to before `to`.
    pub(crate) fn numbers(&self, from: u64, to: u64) -> Vec<u64> {
        let mut found = Vec::new();
        if from >= to {
            return found;
        }
        for (&chunk_no, chunk) in self.chunks.range(from / FAN..=(to - 1) / FAN) {
            let there = chunk.iter().enumerate().filter(|(_, page)| page.is_some());
            found.extend(there.map(|(at, _)| chunk_no * FAN + at as u64).filter(|no| (from..to).contains(no)));
        }
        found
    }

    /// Number of pages that are missing from `from` to before `to`.
    pub(crate) fn missing(&self, from: u64, to: u64) -> u64 {
        let mut missing = to.saturating_sub(from);
        if missing > 0 {
            for (&chunk_no, chunk) in self.chunks.range(from / FAN..=(to - 1) / FAN) {
                let first = chunk_no * FAN;
                let (low, high) = (from.max(first) - first, to.min(first + FAN) - first);
                missing -= chunk[low as usize..high as usize].iter().flatten().count() as u64;
            }
        }
        missing
    }

    /// Puts the page of zeros wherever a page is missing from `from` to before `to`.
    pub(crate) fn fill(&mut self, from: u64, to: u64) {
        let zeros: Arc<Chunk> = Arc::new(std::array::from_fn(|_| Some(zero_page())));
        let mut no = from;
        while no < to {
            if no % FAN == 0 && to - no >= FAN && !self.chunks.contains_key(&(no / FAN)) {
                self.chunks.insert(no / FAN, zeros.clone());
                self.count += FAN;
                no += FAN;
                continue;
            }
            if self.get(no).is_none() {
                self.put(no, Some(zero_page()));
            }
            no += 1;
        }
    }

    /// Length in bytes of the unbroken run of pages at the start.
    pub(crate) fn run_at_start(&self) -> u64 {
        let mut run = 0;
        for (&chunk_no, chunk) in &self.chunks {
            if chunk_no * FAN != run {
                break;
            }
            run += chunk.iter().take_while(|page| page.is_some()).count() as u64;
        }
        run * PAGE as u64
    }

    /// Gives `len` bytes at `offset` out piece by piece, holes as zeros.
    pub(crate) fn read(&self, mut offset: u64, mut len: u64, mut out: impl FnMut(&[u8])) {
        const ZEROS: [u8; PAGE] = [0; PAGE];
        while len > 0 {
            let within = (offset % PAGE as u64) as usize;
            let part = (PAGE - within).min(usize::try_from(len).unwrap_or(PAGE));
            let bytes = self.get(offset / PAGE as u64).map_or(&ZEROS, |page| &**page);
            out(&bytes[within..within + part]);
            offset += part as u64;
            len -= part as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_until_one_changes() {
        let mut pages = Pages::default();
        pages.put(3, Some(page_of([1; PAGE])));
        let copy = pages.clone();
        pages.put(3, Some(page_of([2; PAGE])));
        pages.put(700, Some(zero_page()));
        assert_eq!((copy.bytes(3)[0], pages.bytes(3)[0]), (1, 2));
        assert_eq!((copy.count(), pages.count()), (1, 2));
        assert_eq!(pages.numbers(0, 701), [3, 700]);
        assert_eq!(pages.numbers(4, 700), []);
        pages.put(700, None);
        pages.put(701, None);
        assert_eq!(pages.count(), 1);
    }

    #[test]
    fn filling_counts_what_was_missing() {
        let mut pages = Pages::default();
        pages.put(5, Some(page_of([1; PAGE])));
        assert_eq!(pages.missing(0, 300), 299);
        pages.fill(0, 300);
        assert_eq!((pages.missing(0, 300), pages.count()), (0, 300));
        assert_eq!(pages.bytes(5)[7], 1);
        assert_eq!(pages.run_at_start(), 300 * PAGE as u64);
        pages.put(100, None);
        assert_eq!(pages.run_at_start(), 100 * PAGE as u64);
        assert_eq!((pages.missing(100, 101), pages.missing(7, 7)), (1, 0));
    }

    #[test]
    fn holes_read_as_zeros() {
        let mut pages = Pages::default();
        pages.put(1, Some(page_of([9; PAGE])));
        let mut read = Vec::new();
        pages.read(PAGE as u64 - 2, PAGE as u64 + 4, |piece| read.extend_from_slice(piece));
        assert_eq!(read.len(), PAGE + 4);
        assert_eq!((&read[..3], &read[PAGE + 1..]), (&[0, 0, 9][..], &[9, 0, 0][..]));
    }
}
