//! Settings of a log.

use crate::format::{BLOCK_SIZES, SEGMENT_SIZE_MAX, record_max};
use std::{error, fmt, time::Duration};

/// When a record is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sync {
    /// When it is durable; all that arrived meanwhile shares one durable write.
    #[default]
    Group,
    /// When it is durable; each record has a durable write of its own, several of them at once.
    Each,
    /// When it is written. It is durable after the next [`flush`](crate::Wal::flush) only.
    None,
}

/// Settings of a [`Wal`](crate::Wal).
///
/// | field | default | range |
/// |---|---|---|
/// | `segment_size` | 64 MiB | 8 blocks to 2 GiB, a multiple of 4096 |
/// | `block_size` | 4096 | 512, 4096 |
/// | `direct` | false | |
/// | `buffer_bytes` | 8 MiB | from 1 |
/// | `group_bytes` | 1 MiB | from 1 |
/// | `max_delay` | none | |
/// | `recycle` | 2 | |
/// | `sync` | group | |
/// | `depth` | 16 | 1 to 256 |
/// | `salt_seed` | random | |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalConfig {
    /// Length of a new segment's file in bytes. Segments that are there keep theirs.
    pub segment_size: u64,
    /// Bytes of a block in a new segment: what a group takes at least. With 512 small groups take less space; disks that work in pages
    /// of 4096 bytes are slower then.
    pub block_size: u32,
    /// Past the page cache, where the file system can do that; buffered where it cannot.
    pub direct: bool,
    /// Most bytes of records that are queued or being written. Those that come then wait, in order. A single larger record waits until
    /// it is alone.
    pub buffer_bytes: usize,
    /// Most bytes of a group. A single larger record is a group of its own.
    pub group_bytes: usize,
    /// How long a group waits for more records before it is written. `None`: not at all, which suits most.
    pub max_delay: Option<Duration>,
    /// How many segments [`truncate_before`](crate::Wal::truncate_before) keeps to be used again.
    pub recycle: usize,
    /// When a record is acknowledged.
    pub sync: Sync,
    /// Most durable writes at once with [`Sync::Each`]. They are acknowledged in order.
    pub depth: usize,
    /// Where salts come from, for runs that repeat exactly. What is in the directory is mixed in.
    pub salt_seed: Option<u64>,
}

impl Default for WalConfig {
    fn default() -> WalConfig {
        WalConfig {
            segment_size: 64 << 20,
            block_size: 4096,
            direct: false,
            buffer_bytes: 8 << 20,
            group_bytes: 1 << 20,
            max_delay: None,
            recycle: 2,
            sync: Sync::Group,
            depth: 16,
            salt_seed: None,
        }
    }
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field of [`WalConfig`].
    pub field: &'static str,
    /// What it was.
    pub value: u64,
    /// What it may be.
    pub wanted: &'static str,
}

impl WalConfig {
    /// The largest record in bytes.
    pub fn record_max(&self) -> u64 {
        record_max(self.segment_size, self.block_size)
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The first one that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |good: bool, field, value, wanted| {
            if good { Ok(()) } else { Err(ConfigError { field, value, wanted }) }
        };
        let (size, block) = (self.segment_size, u64::from(self.block_size));
        check(BLOCK_SIZES.contains(&self.block_size), "block_size", block, "512 or 4096")?;
        check(size % 4096 == 0, "segment_size", size, "a multiple of 4096")?;
        check((8 * block..=SEGMENT_SIZE_MAX).contains(&size), "segment_size", size, "from 8 blocks to 2 GiB")?;
        check(self.buffer_bytes > 0, "buffer_bytes", 0, "at least 1")?;
        check(self.group_bytes > 0, "group_bytes", 0, "at least 1")?;
        check((1..=256).contains(&self.depth), "depth", self.depth as u64, "1 to 256")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}; it has to be {}", self.field, self.value, self.wanted)
    }
}

impl error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_nonsense_is_named() {
        assert_eq!(WalConfig::default().validate(), Ok(()));
        type Spoil = fn(&mut WalConfig);
        let wrong: [(&str, Spoil); 8] = [
            ("block_size", |config| config.block_size = 1024),
            ("segment_size", |config| config.segment_size = 4096),
            ("segment_size", |config| config.segment_size = 4 << 30),
            ("segment_size", |config| config.segment_size = 65536 + 512),
            ("buffer_bytes", |config| config.buffer_bytes = 0),
            ("group_bytes", |config| config.group_bytes = 0),
            ("depth", |config| config.depth = 0),
            ("depth", |config| config.depth = 257),
        ];
        for (field, spoil) in wrong {
            let mut config = WalConfig::default();
            spoil(&mut config);
            let error = config.validate().unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.to_string().starts_with(field));
        }
    }
}
