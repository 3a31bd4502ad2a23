//! Logs to test on.

use bytes::Bytes;
use io_fs::{DriverName, FileSystem, IoConfig};
use io_log::{LogReader, Lsn, Reader, Record, Wal, WalConfig, WalError};
use io_sim::{SimDisk, SimOptions};
use std::{
    future::Future,
    path::{Path, PathBuf},
};

pub(crate) const DIR: &str = "/log";

/// Small segments, so that a test goes through many.
pub(crate) fn small() -> WalConfig {
    let mut config = WalConfig::default();
    config.segment_size = 32 << 10;
    config.block_size = 512;
    config.buffer_bytes = 16 << 10;
    config.group_bytes = 8 << 10;
    config.recycle = 1;
    config.salt_seed = Some(7);
    config
}

pub(crate) fn with(change: impl FnOnce(&mut WalConfig)) -> WalConfig {
    let mut config = small();
    change(&mut config);
    config
}

pub(crate) fn sim(seed: u64) -> (SimDisk, FileSystem) {
    let disk = SimDisk::new(SimOptions::seeded(seed));
    let fs = over(&disk);
    (disk, fs)
}

pub(crate) fn over(disk: &SimDisk) -> FileSystem {
    // Few buffers: clearing huge pages for thousands of short-lived file systems would take most of the time.
    let config = IoConfig::builder().buffer_pool_size(4).build().unwrap();
    FileSystem::with_driver_and_config(Box::new(disk.driver(64)), config).unwrap()
}

/// File systems on every real driver, and a directory for each.
pub(crate) fn on_real_drivers(test: impl Fn(&FileSystem, &Path)) {
    for driver in DriverName::REAL {
        let mut config = IoConfig::default();
        config.driver = Some(driver);
        match FileSystem::with_config(config) {
            Ok(fs) => {
                let dir = tempfile::tempdir().unwrap();
                test(&fs, &dir.path().join("log"));
            }
            Err(unavailable) => io_testkit::skip("io-log", driver.as_str(), &unavailable.to_string()),
        }
    }
}

pub(crate) fn everywhere(test: impl Fn(&FileSystem, &Path)) {
    test(&sim(1).1, Path::new(DIR));
    let hostile = SimDisk::new(SimOptions::hostile(2));
    test(&over(&hostile), Path::new(DIR));
    on_real_drivers(test);
}

/// The record of this number: its length and its bytes follow from it.
pub(crate) fn record(lsn: Lsn) -> Bytes {
    record_of(lsn, (lsn * 37 % 700) as usize)
}

pub(crate) fn record_of(lsn: Lsn, len: usize) -> Bytes {
    (0..len).map(|at| (lsn as usize * 131 + at * 7 + at / 256) as u8).collect::<Vec<_>>().into()
}

/// All records that are there, from the first one on.
pub(crate) async fn read_all(wal: &Wal) -> Result<Vec<Record>, WalError> {
    collect(wal.reader(wal.first_lsn())).await
}

pub(crate) async fn collect(mut reader: Reader) -> Result<Vec<Record>, WalError> {
    let mut all = Vec::new();
    while let Some(record) = reader.next().await {
        all.push(record?);
    }
    Ok(all)
}

pub(crate) async fn read_files(fs: &FileSystem, dir: impl AsRef<Path>) -> Result<Vec<Record>, WalError> {
    collect(LogReader::open(fs, dir).await?.records(0)).await
}

/// These are `record(first)`, and those after it, without a gap.
pub(crate) fn assert_consecutive(records: &[Record], first: Lsn) {
    for (n, found) in records.iter().enumerate() {
        let lsn = first + n as u64;
        assert_eq!(found.lsn, lsn);
        assert_eq!(found.data, record(lsn), "record {lsn}");
    }
}

/// The names in the directory of a log, in order.
pub(crate) fn names(fs: &FileSystem, dir: &Path) -> Vec<String> {
    let entries = fs.block_on(fs.read_dir(dir)).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn segments(fs: &FileSystem, dir: &Path) -> Vec<PathBuf> {
    names(fs, dir).iter().filter(|name| name.ends_with(".seg")).map(|name| dir.join(name)).collect()
}

/// Polls a future so many times, then drops it. `Some`: it was over before.
pub(crate) fn given_up_after<F: Future>(fs: &FileSystem, polls: u32, future: F) -> Option<F::Output> {
    use std::{pin::pin, task::Poll};
    fs.block_on(async {
        let mut future = pin!(future);
        let mut left = polls;
        std::future::poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            future.as_mut().poll(cx).map(Some)
        })
        .await
    })
}
