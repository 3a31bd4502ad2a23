//! Logs made byte by byte from what the format says, without a writer.

use bytes::Bytes;
use io_fs::FileSystem;
use io_log::{
    Lsn, Record, WalError,
    format::{GROUP_HEADER, GroupHeader, Place, RECORD_HEADER, RecordKind, SegmentHeader, encode_group, segment_name},
    store::{SegmentStore, StoreConfig},
};
use io_sim::{SimDisk, SimOptions};
use std::{ops::Range, path::Path};

/// A generator that follows from its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// The files of a log, and what is in them.
pub(crate) struct Log {
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// All records of all segments; the first one has number `first`.
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) first: Lsn,
    /// The first record of each segment.
    pub(crate) begins: Vec<Lsn>,
}

pub(crate) struct Shape {
    pub(crate) block_size: u32,
    pub(crate) segment_size: u64,
    pub(crate) first: Lsn,
    /// What the log promises.
    pub(crate) log_start: Lsn,
    /// Groups that were under way when one was written.
    pub(crate) behind: u64,
}

impl Shape {
    pub(crate) const fn small() -> Shape {
        Shape { block_size: 512, segment_size: 8192, first: 1, log_start: 1, behind: 0 }
    }
}

impl Log {
    /// Lays groups of records out in segments, each in the first one that has room for it.
    pub(crate) fn new(shape: &Shape, groups: &[Vec<Vec<u8>>]) -> Log {
        let mut log = Log { files: Vec::new(), records: Vec::new(), first: shape.first, begins: Vec::new() };
        let mut at = u64::MAX;
        let mut begun = Vec::new();
        for group in groups {
            // All that stands in front of the oldest group that is under way.
            begun.push(log.next());
            let durable = begun[begun.len().saturating_sub(1 + shape.behind as usize)] - 1;
            let len = GROUP_HEADER + group.iter().map(|record| RECORD_HEADER + record.len()).sum::<usize>();
            let padded = (len as u64).next_multiple_of(shape.block_size.into());
            if at.saturating_add(padded) > shape.segment_size {
                log.begin_segment(shape);
                at = shape.block_size.into();
            }
            let number = log.files.len() as u64;
            let header = GroupHeader {
                len: len as u32,
                first_lsn: log.next(),
                count: group.len() as u32,
                epoch: 1,
                durable_through: durable,
                log_start: shape.log_start,
                segments_through: number,
            };
            let (_, bytes) = log.files.last_mut().unwrap();
            let place = Place { salt: salt(number), offset: at };
            let records = group.iter().map(|record| (RecordKind::Data, &record[..]));
            encode_group(&mut bytes[at as usize..(at + padded) as usize], place, &header, records);
            log.records.extend_from_slice(group);
            at += padded;
        }
        log
    }

    fn begin_segment(&mut self, shape: &Shape) {
        let number = self.files.len() as u64 + 1;
        let header = SegmentHeader {
            block_size: shape.block_size,
            segment_size: shape.segment_size,
            number,
            base_lsn: 1,
            salt: salt(number),
            log_id: 77,
            recycled: false,
        };
        let mut bytes = vec![0; shape.segment_size as usize];
        bytes[..64].copy_from_slice(&header.encode());
        self.begins.push(self.next());
        self.files.push((segment_name(number), bytes));
    }

    pub(crate) fn next(&self) -> Lsn {
        self.first + self.records.len() as u64
    }

    /// Where the part that is sealed ends.
    pub(crate) fn sealed_end(&self) -> Lsn {
        *self.begins.last().unwrap()
    }

    pub(crate) fn record(&self, lsn: Lsn) -> Record {
        Record { lsn, data: Bytes::copy_from_slice(&self.records[(lsn - self.first) as usize]) }
    }

    /// The sealed records of a range.
    pub(crate) fn sealed(&self, lsns: Range<Lsn>) -> Vec<Record> {
        (lsns.start.max(self.first)..lsns.end.min(self.sealed_end())).map(|lsn| self.record(lsn)).collect()
    }

    pub(crate) fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir).unwrap();
        for (name, bytes) in &self.files {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }

    /// A simulated disk with the log in `/log`.
    pub(crate) fn disk(&self, seed: u64) -> SimDisk {
        let disk = SimDisk::new(SimOptions::seeded(seed));
        disk.create_dir_all("/log").unwrap();
        for (name, bytes) in &self.files {
            disk.write_file(format!("/log/{name}"), bytes).unwrap();
        }
        disk
    }
}

fn salt(number: u64) -> u64 {
    0x5a17_0000 + number
}

/// Groups of random records that take a number of segments.
pub(crate) fn random_groups(seed: u64, groups: usize, records_max: u64, len_max: u64) -> Vec<Vec<Vec<u8>>> {
    let mut random = Random(seed * 2 + 1);
    let mut all = Vec::with_capacity(groups);
    for _ in 0..groups {
        let count = 1 + random.below(records_max);
        let record = |_| {
            let len = random.below(len_max + 1) as usize;
            random.bytes(len)
        };
        all.push((0..count).map(record).collect());
    }
    all
}

pub(crate) fn sim(disk: &SimDisk) -> FileSystem {
    FileSystem::with_driver(disk.driver(32)).unwrap()
}

pub(crate) fn open(fs: &FileSystem, dir: impl AsRef<Path>, config: StoreConfig) -> SegmentStore {
    fs.block_on(SegmentStore::open(fs, dir, config)).unwrap()
}

/// All that a scan gives, and the error that it ends with.
pub(crate) fn scanned(fs: &FileSystem, store: &SegmentStore, lsns: Range<Lsn>) -> (Vec<Record>, Option<WalError>) {
    let mut scan = store.scan(lsns);
    fs.block_on(async {
        let mut records = Vec::new();
        while let Some(record) = scan.next().await {
            match record {
                Ok(record) => records.push(record),
                Err(error) => {
                    assert!(scan.next().await.is_none(), "an error is the last word");
                    return (records, Some(error));
                }
            }
        }
        (records, None)
    })
}
