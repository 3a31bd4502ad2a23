//! What a file of ours holds, page by page, so that every byte that was read or written can be told right from wrong.
//!
//! A page is 4 KiB in eight sectors of 512 bytes. Each sector begins with its own place in the file and the page's *stamp*; the
//! rest is incompressible bytes that the stamp names. A sector in the wrong place, of another write, or torn, is seen.
//!
//! ```text
//! stamp:  busy (1 bit) | row (23 bits) | how often written in this row (32 bits) | tile (8 bits)
//! sector: place in the file (8 bytes) | stamp (8) | 496 bytes of the tile
//! ```
//!
//! A block that is being written is *claimed* by a bit in its first page's stamp: two writes of one block at a time would leave
//! nobody knowing which came last.

use super::content::Check;
use crate::files;
use io_fs::{FileHandle, OpenOptions};
use std::{
    io,
    path::Path,
    sync::{
        LazyLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

pub(crate) const PAGE: usize = 4096;
const SECTOR: usize = 512;
const HEAD: usize = 16;
/// Different contents of a page, stamps aside.
const TILES: u64 = 32;

const BUSY: u64 = 1 << 63;
/// Nothing was ever written here: behind the end of the file.
const ABSENT: u64 = BUSY - 1;
/// A write failed here: anything may be there.
const UNKNOWN: u64 = BUSY - 2;

/// Reads and compares at most so much of a file in one go.
const CHUNK: usize = 1 << 20;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x6a09_e667_f3bc_c909_u64;
    let words = (0..TILES as usize * PAGE / 8).flat_map(|_| {
        state = super::lane::scramble(state.wrapping_add(0x9e37_79b9_7f4a_7c15));
        state.to_le_bytes()
    });
    words.collect()
});

fn tile(stamp: u64) -> &'static [u8] {
    let at = (stamp & 0xff) as usize * PAGE;
    &BYTES[at..at + PAGE]
}

/// The expected content of a file whose size is a multiple of a page.
#[derive(Debug)]
pub(crate) struct Pages {
    stamps: Vec<AtomicU64>,
    row: AtomicU32,
}

/// What reading a file back brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Bytes compared.
    pub(crate) bytes: u64,
    /// Where the first wrong page is.
    pub(crate) wrong: Option<u64>,
}

impl Pages {
    /// A file of `len` bytes, yet to be written by [`Pages::write_all`].
    pub(crate) fn filled(len: u64) -> Pages {
        Pages::of(len, |page| page % TILES)
    }

    /// An empty file that may grow to `len` bytes.
    pub(crate) fn empty(len: u64) -> Pages {
        Pages::of(len, |_| ABSENT)
    }

    fn of(len: u64, stamp: impl Fn(u64) -> u64) -> Pages {
        let stamps = (0..len / PAGE as u64).map(|page| AtomicU64::new(stamp(page))).collect();
        Pages { stamps, row: AtomicU32::new(0) }
    }

    /// Bytes that the file has room for.
    pub(crate) fn len(&self) -> u64 {
        self.stamps.len() as u64 * PAGE as u64
    }

    /// From here on, stamps are those of the next row.
    pub(crate) fn begin_row(&self) {
        self.row.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the whole content as it is expected now; tells after each piece how much is written.
    pub(crate) fn write_all(&self, file: &FileHandle, mut progress: impl FnMut(u64)) -> io::Result<()> {
        let mut buf = vec![0; CHUNK];
        for start in (0..self.stamps.len()).step_by(CHUNK / PAGE) {
            let pages = &self.stamps[start..self.stamps.len().min(start + CHUNK / PAGE)];
            for (i, (stamp, page)) in pages.iter().zip(buf.chunks_exact_mut(PAGE)).enumerate() {
                let stamp = stamp.load(Ordering::Relaxed);
                page.copy_from_slice(tile(stamp));
                mark(page, (start + i) * PAGE, stamp);
            }
            let offset = (start * PAGE) as u64;
            files::write_full_at(files::std_file(file), &buf[..pages.len() * PAGE], offset)?;
            progress(offset + (pages.len() * PAGE) as u64);
        }
        Ok(())
    }

    /// Claims the block at `offset` for one write. `None`: somebody is writing it.
    #[inline]
    pub(crate) fn claim(&self, offset: u64) -> Option<Claim> {
        let first = &self.stamps[offset as usize / PAGE];
        let before = first.fetch_or(BUSY, Ordering::Acquire);
        if before & BUSY != 0 {
            return None;
        }
        let row = u64::from(self.row.load(Ordering::Relaxed)) & 0x7f_ffff;
        let known = before < UNKNOWN && before >> 40 == row;
        let count = if known { (before >> 8) + 1 } else { 0 } & 0xffff_ffff;
        Some(Claim { offset, stamp: row << 40 | count << 8 })
    }

    /// The write of a claimed block is answered; the block is free again.
    #[inline]
    pub(crate) fn written(&self, claim: Claim, lane: u32, len: usize, ok: bool) {
        let first = claim.offset as usize / PAGE;
        for (i, page) in self.stamps[first..first + len / PAGE].iter().enumerate().rev() {
            let stamp = if ok { claim.stamp | tile_of(lane, i) } else { UNKNOWN };
            page.store(stamp, Ordering::Release);
        }
    }

    /// Reads the file back through the page cache and compares: all of it, or of a file larger than `most` bytes what this row
    /// wrote, up to that many bytes.
    pub(crate) fn read_back(&self, path: &Path, most: u64) -> io::Result<Found> {
        let file = io_fs::open(path, OpenOptions::READ)?;
        let file = files::std_file(&file);
        let len = file.metadata()?.len();
        let whole = self.len() <= most;
        let row = u64::from(self.row.load(Ordering::Relaxed)) & 0x7f_ffff;
        let of_row = |stamp: u64| stamp < UNKNOWN && stamp >> 40 == row;
        let wanted = |page: usize| whole || of_row(self.stamps[page].load(Ordering::Relaxed));
        let mut found = Found { bytes: 0, wrong: None };
        let mut buf = vec![0; CHUNK];
        let mut page = 0;
        while page < self.stamps.len() && found.bytes < most && found.wrong.is_none() {
            if !wanted(page) {
                page += 1;
                continue;
            }
            let run = (page..self.stamps.len()).take(CHUNK / PAGE).take_while(|&page| wanted(page)).count();
            let read = files::read_full_at(file, &mut buf[..run * PAGE], (page * PAGE) as u64)?;
            self.compare(page, run, &buf[..read], &mut found);
            page += run;
        }
        if len > self.len() {
            found.wrong = found.wrong.or(Some(self.len()));
        }
        Ok(found)
    }

    /// Compares `run` pages from `first` on with what was read of them, which is less at the end of the file.
    fn compare(&self, first: usize, run: usize, read: &[u8], found: &mut Found) {
        for page in first..first + run {
            let at = (page - first) * PAGE;
            let bytes = &read[at.min(read.len())..(at + PAGE).min(read.len())];
            let right = match self.stamps[page].load(Ordering::Acquire) {
                UNKNOWN => continue,
                // Behind the end, or before what another lane wrote further on: nothing, or zeros.
                ABSENT => bytes.iter().all(|&b| b == 0),
                stamp => bytes.len() == PAGE && is_page(bytes, page * PAGE, stamp),
            };
            found.bytes += bytes.len() as u64;
            if !right {
                found.wrong = Some((page * PAGE) as u64);
                return;
            }
        }
    }
}

impl Check for Pages {
    fn check(&self, offset: u64, bytes: &[u8]) -> bool {
        offset % PAGE as u64 == 0
            && bytes.len() % PAGE == 0
            && bytes.chunks_exact(PAGE).enumerate().all(|(i, page)| {
                let at = offset as usize + i * PAGE;
                self.stamps.get(at / PAGE).is_some_and(|stamp| is_page(page, at, stamp.load(Ordering::Acquire)))
            })
    }
}

/// A block that is being written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) offset: u64,
    /// Without the tile, which each page has of its own.
    stamp: u64,
}

impl Claim {
    /// Stamps a buffer that was [`prefill`]ed for `lane`.
    #[inline]
    pub(crate) fn stamp(&self, buf: &mut [u8], lane: u32) {
        for (i, page) in buf.chunks_exact_mut(PAGE).enumerate() {
            mark(page, self.offset as usize + i * PAGE, self.stamp | tile_of(lane, i));
        }
    }
}

/// Fills a buffer with what `lane` writes, stamps aside.
pub(crate) fn prefill(buf: &mut [u8], lane: u32) {
    for (i, page) in buf.chunks_mut(PAGE).enumerate() {
        page.copy_from_slice(&tile(tile_of(lane, i))[..page.len()]);
    }
}

#[inline]
fn tile_of(lane: u32, page: usize) -> u64 {
    (u64::from(lane) + page as u64) % TILES
}

#[inline]
fn mark(page: &mut [u8], at: usize, stamp: u64) {
    for (i, sector) in page.chunks_exact_mut(SECTOR).enumerate() {
        sector[..8].copy_from_slice(&((at + i * SECTOR) as u64).to_le_bytes());
        sector[8..HEAD].copy_from_slice(&stamp.to_le_bytes());
    }
}

fn is_page(page: &[u8], at: usize, stamp: u64) -> bool {
    let tile = tile(stamp & 0xff);
    page.chunks_exact(SECTOR).zip(tile.chunks_exact(SECTOR)).enumerate().all(|(i, (sector, tile))| {
        sector[..8] == ((at + i * SECTOR) as u64).to_le_bytes()
            && sector[8..HEAD] == stamp.to_le_bytes()
            && sector[HEAD..] == tile[HEAD..]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(pages: &Pages) -> (tempfile::TempDir, std::path::PathBuf, FileHandle) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = io_fs::open(&path, OpenOptions::CREATE_NEW).unwrap();
        pages.write_all(&file, |_| {}).unwrap();
        (dir, path, file)
    }

    const ALL: u64 = u64::MAX;

    #[test]
    fn a_fresh_file_is_right_and_a_flipped_bit_is_not() {
        let pages = Pages::filled(3 << 20);
        let (_dir, path, file) = file_of(&pages);
        assert_eq!(pages.read_back(&path, ALL).unwrap(), Found { bytes: 3 << 20, wrong: None });
        for at in [0, 9, 600, 5000, (3 << 20) - 1] {
            let mut byte = [0];
            files::read_full_at(files::std_file(&file), &mut byte, at).unwrap();
            files::write_full_at(files::std_file(&file), &[byte[0] ^ 4], at).unwrap();
            let page = at / 4096 * 4096;
            assert_eq!(pages.read_back(&path, ALL).unwrap().wrong, Some(page));
            let mut buf = [0; PAGE];
            files::read_full_at(files::std_file(&file), &mut buf, page).unwrap();
            assert!(!pages.check(page, &buf));
            files::write_full_at(files::std_file(&file), &byte, at).unwrap();
        }
        assert_eq!(pages.read_back(&path, ALL).unwrap().wrong, None);
    }

    #[test]
    fn lost_old_short_and_misplaced_writes_are_seen() {
        let pages = Pages::filled(1 << 20);
        let (_dir, path, file) = file_of(&pages);
        pages.begin_row();
        let mut buf = vec![0; 2 * PAGE];
        prefill(&mut buf, 5);
        let write = |buf: &mut [u8], to: Option<u64>, len: usize| {
            let claim = pages.claim(8192).unwrap();
            assert!(pages.claim(8192).is_none(), "claimed");
            claim.stamp(buf, 5);
            if let Some(to) = to {
                files::write_full_at(files::std_file(&file), &buf[..len], to).unwrap();
            }
            pages.written(claim, 5, 2 * PAGE, true);
        };
        write(&mut buf, Some(8192), 2 * PAGE);
        let good = pages.read_back(&path, ALL).unwrap();
        assert_eq!(good, Found { bytes: 1 << 20, wrong: None });
        assert_eq!(pages.read_back(&path, 8192).unwrap(), Found { bytes: 8192, wrong: None }, "only this row's pages");
        write(&mut buf, None, 0);
        assert_eq!(pages.read_back(&path, ALL).unwrap().wrong, Some(8192), "lost: the old content is there");
        write(&mut buf, Some(8192), PAGE + 512);
        assert_eq!(pages.read_back(&path, ALL).unwrap().wrong, Some(8192 + 4096), "short");
        write(&mut buf, Some(16384), 2 * PAGE);
        assert_eq!(pages.read_back(&path, 8192).unwrap().wrong, Some(8192), "misplaced");
    }

    #[test]
    fn a_log_grows_and_has_nothing_behind_its_end() {
        let pages = Pages::empty(8 * PAGE as u64);
        let (_dir, path, file) = file_of(&Pages::empty(0));
        let append = |at: u64, ok: bool| {
            let mut buf = vec![0; PAGE];
            prefill(&mut buf, 1);
            let claim = pages.claim(at).unwrap();
            claim.stamp(&mut buf, 1);
            files::write_full_at(files::std_file(&file), &buf, at).unwrap();
            pages.written(claim, 1, PAGE, ok);
        };
        assert_eq!(pages.read_back(&path, ALL).unwrap(), Found { bytes: 0, wrong: None });
        append(0, true);
        append(8192, true);
        assert_eq!(pages.read_back(&path, ALL).unwrap(), Found { bytes: 3 * 4096, wrong: None });
        append(4096, false);
        assert_eq!(
            pages.read_back(&path, ALL).unwrap(),
            Found { bytes: 2 * 4096, wrong: None },
            "unknown is not judged"
        );
        files::write_full_at(files::std_file(&file), b"x", 20000).unwrap();
        assert_eq!(pages.read_back(&path, ALL).unwrap().wrong, Some(16384));
        files::write_full_at(files::std_file(&file), b"x", 8 * 4096).unwrap();
        files::write_full_at(files::std_file(&file), &[0], 20000).unwrap();
        assert_eq!(pages.read_back(&path, ALL).unwrap().wrong, Some(8 * 4096));
    }
}
