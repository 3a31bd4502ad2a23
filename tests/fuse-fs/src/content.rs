//! What a file holds: pages that were written; everything else is zeros.

use std::collections::BTreeMap;

pub(crate) const PAGE: u64 = 4096;

type Page = Box<[u8; PAGE as usize]>;

/// Sparse, so that a test may write at the far end of a file without the memory of a large machine.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Page>,
    len: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    pub(crate) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = (self.len.saturating_sub(offset)).min(len as u64) as usize;
        let mut out = vec![0; len];
        for (index, in_page, in_buf) in pieces(offset, len) {
            if let Some(page) = self.pages.get(&index) {
                out[in_buf].copy_from_slice(&page[in_page]);
            }
        }
        out
    }

    /// Writes what fits into `room` new pages, and says how much that was.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], mut room: u64) -> usize {
        let mut written = 0;
        for (index, in_page, in_buf) in pieces(offset, bytes.len()) {
            if !self.pages.contains_key(&index) {
                if room == 0 {
                    break;
                }
                room -= 1;
            }
            let page = self.pages.entry(index).or_insert_with(|| Box::new([0; PAGE as usize]));
            page[in_page].copy_from_slice(&bytes[in_buf.clone()]);
            written = in_buf.end;
        }
        if written > 0 {
            self.len = self.len.max(offset + written as u64);
        }
        written
    }

    /// Cuts or grows. What is cut off is gone: growing again brings zeros.
    pub(crate) fn set_len(&mut self, len: u64) {
        self.len = len;
        self.pages.split_off(&len.div_ceil(PAGE));
        if let Some(page) = self.pages.get_mut(&(len / PAGE)) {
            page[(len % PAGE) as usize..].fill(0);
        }
    }
}

/// Which part of which page is which part of the buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let begin = (at % PAGE) as usize;
        let size = (PAGE as usize - begin).min(len - done);
        let piece = (at / PAGE, begin..begin + size, done..done + size);
        done += size;
        Some(piece)
    })
}
