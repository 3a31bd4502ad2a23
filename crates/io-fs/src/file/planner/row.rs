//! What is told of durable writes, line by line.

use super::DurableRoute;
use std::{fmt, time::Duration};

/// One line of what was measured about durable writes; see
/// [`FileSystem::durability_table`](crate::FileSystem::durability_table).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurabilityRow {
    /// The device (`st_dev`), 0 where files have none.
    pub device: u64,
    /// Files past the page cache, or buffered ones.
    pub direct: bool,
    /// Several writers on the inode at once, or one.
    pub concurrent: bool,
    /// About how many writers on the inode at once, by powers of two; 32: as many or more.
    pub writers: u32,
    /// The way that writes go now, unless the other one is being measured.
    pub route: DurableRoute,
    /// What a write took lately by [`DurableRoute::Dsync`]; `None`: not tried.
    pub dsync: Option<Duration>,
    /// What a write took lately by [`DurableRoute::WriteThenSync`]; `None`: not tried.
    pub write_then_sync: Option<Duration>,
    /// What a write took lately by [`DurableRoute::WriteThenPoolSync`]; `None`: not tried.
    pub write_then_pool_sync: Option<Duration>,
    /// Durable writes so far.
    pub writes: u64,
    /// How often the ways were compared.
    pub comparisons: u64,
    /// The system refused `RWF_DSYNC`.
    pub refused: bool,
}

impl fmt::Display for DurabilityRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = |time: Option<Duration>| time.map_or("not tried".to_owned(), |t| format!("{} us", t.as_micros()));
        write!(
            f,
            "device {:#x}, {}, {} at once: {:?} (dsync {}, write then sync {}, on the pool {}, {} writes, {} comparisons)",
            self.device,
            if self.direct { "direct" } else { "buffered" },
            self.writers,
            self.route,
            if self.refused { "refused".to_owned() } else { took(self.dsync) },
            took(self.write_then_sync),
            took(self.write_then_pool_sync),
            self.writes,
            self.comparisons
        )
    }
}
