//! What a disk has done so far.

/// Counts of a simulated disk, over all of its drivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Operations accepted.
    pub accepted: u64,
    /// Completions delivered.
    pub completed: u64,
    /// Operations accepted and not yet delivered, wedged ones included.
    pub in_flight: u64,
    /// Operations that are wedged now.
    pub wedged: u64,
    /// Reads accepted.
    pub reads: u64,
    /// Writes accepted.
    pub writes: u64,
    /// Syncs of files and directories accepted.
    pub syncs: u64,
    /// Bytes that reads delivered.
    pub bytes_read: u64,
    /// Bytes that writes put into files.
    pub bytes_written: u64,
    /// Completions with an error.
    pub failed: u64,
    /// Times that an operation was pushed back.
    pub pushed_back: u64,
    /// Cancel requests that came in time.
    pub cancelled: u64,
    /// Power cuts.
    pub power_cuts: u64,
}
