//! The log that QEMU's `blklogwrites` keeps of a disk: all writes and flushes, in order.
//!
//! The format is the kernel's of dm-log-writes: a sector with magic, version, number of entries and sector size, then for each
//! entry a sector that describes it, and its data. Documentation/admin-guide/device-mapper/log-writes.rst.

use anyhow::{Context, Result, ensure};
use std::fs;
use std::ops::Range;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: usize = 512;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

#[derive(Debug)]
pub(super) struct BlockLog {
    bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// All earlier ones are durable with it.
    pub(super) flush: bool,
    /// It is durable itself.
    pub(super) fua: bool,
    /// Where it is on the disk, in bytes.
    pub(super) at: u64,
    data: Range<usize>,
    /// It is the acknowledgement of so many records.
    pub(super) ack: Option<u64>,
}

impl BlockLog {
    /// Reads the log of a disk that has the acknowledgements at this offset.
    pub(super) fn read(path: &Path, ack_at: u64) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(bytes, ack_at)
    }

    pub(super) fn parse(bytes: Vec<u8>, ack_at: u64) -> Result<Self> {
        ensure!(word(&bytes, 0)? == MAGIC, "this is no log of a disk");
        let sector = word(&bytes, 24)? & 0xffff_ffff;
        ensure!(sector == SECTOR as u64, "a log with sectors of {sector} bytes");
        let mut at = SECTOR;
        let mut entries = Vec::new();
        for _ in 0..word(&bytes, 16)? {
            let [sector, sectors, flags] = [word(&bytes, at)?, word(&bytes, at + 8)?, word(&bytes, at + 16)?];
            ensure!(flags & !(FLUSH | FUA | DISCARD | MARK) == 0, "an entry with flags {flags:#x}");
            ensure!(flags & DISCARD == 0, "the file system discards: mount it without");
            at += SECTOR;
            let len = usize::try_from(sectors)?.checked_mul(SECTOR).context("an entry without end")?;
            let data = at..at.checked_add(len).context("an entry without end")?;
            let start = sector.checked_mul(SECTOR as u64).context("an entry behind every disk")?;
            // The program writes the number into the first word, above sixteen other bits.
            let ack = if start == ack_at && len > 0 { Some(word(&bytes, at)? >> 16) } else { None };
            at = data.end;
            ensure!(at <= bytes.len(), "the log ends in the middle of an entry");
            entries.push(Entry { flush: flags & FLUSH != 0, fua: flags & FUA != 0, at: start, data, ack });
        }
        Ok(Self { bytes, entries })
    }

    pub(super) fn data(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.data.clone()]
    }

    pub(super) fn flushes(&self) -> usize {
        self.entries.iter().filter(|entry| entry.flush).count()
    }

    /// The most that was acknowledged.
    pub(super) fn acks(&self) -> u64 {
        self.entries.iter().filter_map(|entry| entry.ack).max().unwrap_or(0)
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u64> {
    let word = bytes.get(at..at + 8).context("the log ends too early")?;
    Ok(u64::from_le_bytes(word.try_into()?))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A log of entries: sector, flags, data.
    pub(in crate::powercut) fn log(entries: &[(u64, u64, &[u8])]) -> Vec<u8> {
        let sector = |words: &[u64]| {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            bytes.resize(SECTOR, 0);
            bytes
        };
        let mut bytes = sector(&[MAGIC, 1, entries.len() as u64, SECTOR as u64]);
        for (at, flags, data) in entries {
            bytes.extend(sector(&[*at, (data.len() / SECTOR) as u64, *flags, 0]));
            bytes.extend_from_slice(data);
        }
        bytes
    }

    #[test]
    fn a_log_is_read_entry_by_entry() {
        let ack = [(7_u64 << 16).to_le_bytes().repeat(64)].concat();
        let parsed = BlockLog::parse(log(&[(8, 0, &[1; 1024]), (0, FLUSH, &[]), (9, FUA, &ack)]), 9 * 512).unwrap();
        assert_eq!((parsed.entries.len(), parsed.flushes(), parsed.acks()), (3, 1, 7));
        let first = &parsed.entries[0];
        assert_eq!((first.at, first.flush, first.fua, first.ack), (4096, false, false, None));
        assert_eq!(parsed.data(first), [1; 1024]);
        assert!(parsed.entries[1].flush && parsed.entries[2].fua);
        assert_eq!(parsed.entries[2].ack, Some(7));
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let good = log(&[(8, 0, &[1; 512])]);
        for len in [0, 20, 600, good.len() - 1] {
            assert!(BlockLog::parse(good[..len].to_vec(), 0).is_err(), "{len}");
        }
        assert!(BlockLog::parse(log(&[(8, DISCARD, &[])]), 0).unwrap_err().to_string().contains("discards"));
        assert!(BlockLog::parse(vec![0; 2048], 0).is_err());
    }
}
