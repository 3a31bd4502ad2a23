//! Settings of a store.

use crate::{ConfigError, WalError};

/// Settings of a [`SegmentStore`](super::SegmentStore).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Read past the page cache (`O_DIRECT`) where the file system can do that, through it where it cannot.
    pub direct: bool,
    /// Most bytes of one transfer. A group of records that is larger is read by a larger one.
    pub transfer_max: usize,
    /// Bytes of the buffers that the store keeps, on huge pages where the system has them. What is read beyond that comes from the heap:
    /// records hold the buffer that they were read into, and how many are kept is the reader's affair.
    pub buffer_bytes: usize,
    /// Transfers in flight: those that a scan is ahead, and those of a batch.
    pub read_ahead: usize,
    /// Bytes between two entries of a segment's index. Fewer make single records cheaper to read and the index larger: 16 bytes each.
    pub index_every: u64,
    /// Most segments that are kept open, each with its index in memory.
    pub open_max: usize,
    /// Keep indexes in files beside the segments, so that opening a segment again does not read it. Where they cannot be written, they
    /// are made anew each time.
    pub index_files: bool,
}

impl StoreConfig {
    /// The page cache, transfers of 1 MiB, 4 of them in flight, 16 MiB of buffers, an entry every 64 KiB, 64 open segments, index files.
    pub const fn new() -> StoreConfig {
        StoreConfig {
            direct: false,
            transfer_max: 1 << 20,
            buffer_bytes: 16 << 20,
            read_ahead: 4,
            index_every: 64 << 10,
            open_max: 64,
            index_files: true,
        }
    }

    /// The same with [`direct`](StoreConfig::direct) set so.
    #[must_use]
    pub const fn direct(mut self, direct: bool) -> StoreConfig {
        self.direct = direct;
        self
    }

    /// The same with [`transfer_max`](StoreConfig::transfer_max) set so.
    #[must_use]
    pub const fn transfer_max(mut self, bytes: usize) -> StoreConfig {
        self.transfer_max = bytes;
        self
    }

    /// The same with [`buffer_bytes`](StoreConfig::buffer_bytes) set so.
    #[must_use]
    pub const fn buffer_bytes(mut self, bytes: usize) -> StoreConfig {
        self.buffer_bytes = bytes;
        self
    }

    /// The same with [`read_ahead`](StoreConfig::read_ahead) set so.
    #[must_use]
    pub const fn read_ahead(mut self, transfers: usize) -> StoreConfig {
        self.read_ahead = transfers;
        self
    }

    /// The same with [`index_every`](StoreConfig::index_every) set so.
    #[must_use]
    pub const fn index_every(mut self, bytes: u64) -> StoreConfig {
        self.index_every = bytes;
        self
    }

    /// The same with [`open_max`](StoreConfig::open_max) set so.
    #[must_use]
    pub const fn open_max(mut self, segments: usize) -> StoreConfig {
        self.open_max = segments;
        self
    }

    /// The same with [`index_files`](StoreConfig::index_files) set so.
    #[must_use]
    pub const fn index_files(mut self, kept: bool) -> StoreConfig {
        self.index_files = kept;
        self
    }

    pub(super) fn validate(&self) -> Result<(), WalError> {
        let check = |good: bool, field, value, wanted| {
            if good { Ok(()) } else { Err(ConfigError { field, value, wanted }) }
        };
        let transfer = self.transfer_max as u64;
        check((4096..=1 << 30).contains(&transfer), "transfer_max", transfer, "4096 bytes to 1 GiB")?;
        let ahead = self.read_ahead as u64;
        check((1..=1024).contains(&ahead), "read_ahead", ahead, "1 to 1024 transfers")?;
        check(self.index_every >= 512, "index_every", self.index_every, "512 bytes at least, the smallest block")?;
        check(self.open_max > 0, "open_max", 0, "1 segment at least")?;
        Ok(())
    }
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_changes_its_own_field_and_nonsense_is_named() {
        let all = StoreConfig::new()
            .direct(true)
            .transfer_max(1)
            .buffer_bytes(2)
            .read_ahead(3)
            .index_every(4)
            .open_max(5)
            .index_files(false);
        let wanted = StoreConfig {
            direct: true,
            transfer_max: 1,
            buffer_bytes: 2,
            read_ahead: 3,
            index_every: 4,
            open_max: 5,
            index_files: false,
        };
        assert_eq!(all, wanted);
        assert!(StoreConfig::default().validate().is_ok());
        let new = StoreConfig::new;
        for (config, field) in [
            (new().transfer_max(4095), "transfer_max"),
            (new().transfer_max(usize::MAX), "transfer_max"),
            (new().read_ahead(0), "read_ahead"),
            (new().read_ahead(1025), "read_ahead"),
            (new().index_every(511), "index_every"),
            (new().open_max(0), "open_max"),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
