//! What a simulated disk is like.

use io_core::OpSet;
use std::{ops::RangeInclusive, time::Duration};

/// What a simulated disk is like. Everything that chance decides is decided by `seed`.
///
/// ```
/// use io_sim::SimOptions;
///
/// let options = SimOptions { short: 0.2, torn: true, ..SimOptions::seeded(42) };
/// assert_eq!(options.seed, 42);
/// ```
///
/// Probabilities go from 0.0 (never) to 1.0 (always).
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Where all chance comes from.
    pub seed: u64,
    /// How long an operation takes, in virtual time, all values being equally likely. Different latencies reorder completions;
    /// equal ones keep the order of submission.
    pub latency: RangeInclusive<Duration>,
    /// The same for what makes something durable: syncs, and writes with `RwFlags::DSYNC`.
    pub sync_latency: RangeInclusive<Duration>,
    /// Probability that an operation takes a hundred times as long.
    pub slow: f64,
    /// Probability that a transfer of more than one unit is short. A unit is a byte, or the offset alignment of direct I/O.
    pub short: f64,
    /// Probability that an operation is pushed back (once to three times) before it is accepted.
    pub push_back: f64,
    /// Probability that a transfer with `RwFlags::NOWAIT` answers `EAGAIN`.
    pub nowait_miss: f64,
    /// Probability that a cancel request comes in time.
    pub cancels: f64,
    /// Bytes of a sector: what a power cut leaves old or new as a whole. A power of two from 512 to 4096.
    pub sector: u32,
    /// A power cut may also leave a sector torn: its beginning of one version, its end of another.
    pub torn: bool,
    /// What a power cut leaves of what is not durable.
    pub survivors: Survivors,
    /// What a failed sync does to the pages that it did not write.
    pub failed_sync: FailedSync,
    /// A successful sync of a file makes its name durable too, as on ext4, XFS and btrfs. POSIX does not ask for it.
    pub sync_names: bool,
    /// Bytes that all files together may occupy, counted in pages of 4096 bytes.
    pub capacity: u64,
    /// The rules of direct I/O.
    pub direct: DirectRules,
    /// Largest write that `RwFlags::ATOMIC` keeps in one piece, in bytes: 0 (there are none) or a power of two up to 4096.
    pub atomic_write_max: u32,
    /// Ranges can be cloned.
    pub reflink: bool,
    /// What drivers say that they support. Operations of other kinds answer `EOPNOTSUPP`.
    pub supports: OpSet,
    /// The most entries that the trace keeps; older ones go first. The hash covers all of them in any case.
    pub trace_max: usize,
    /// Virtual time that a submit without waiting takes. With 0 (the default) only waiting takes time, and a loop that only
    /// polls never sees its operations complete.
    pub tick: Duration,
    /// Real time after which [`Wait::Forever`](io_core::Wait) gives up where nothing is left that could end it but a wake from
    /// another thread: the call comes back empty-handed instead of hanging a test for ever.
    pub idle_max: Duration,
}

/// What a power cut leaves of what is not durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survivors {
    /// Each cut draws a mood first (nothing, little, half, most, everything), then decides piece by piece.
    #[default]
    Mixed,
    /// Nothing.
    Nothing,
    /// Everything: writes that nobody synced were lucky.
    Everything,
}

/// What a failed sync does to the pages that it did not write. Either way a later sync reports success without having written
/// them, as Linux does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedSync {
    /// They stay readable and count as clean (ext4, XFS).
    #[default]
    KeepsPages,
    /// They go: reads answer what is durable (btrfs; any file system once the pages are evicted).
    DropsPages,
}

/// What direct I/O asks for; a violation is `EINVAL`. Each a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectRules {
    /// Alignment of memory in bytes.
    pub mem_align: u32,
    /// Alignment of offset and length in bytes; at most 4096.
    pub offset_align: u32,
}

impl SimOptions {
    /// A disk on which nothing goes wrong by itself: faults come from rules ([`SimDisk::inject`](crate::SimDisk::inject)) and
    /// power cuts only. Operations take 20 to 200 µs, syncs 200 to 2000 µs; sectors have 512 bytes.
    pub fn seeded(seed: u64) -> SimOptions {
        SimOptions {
            seed,
            latency: Duration::from_micros(20)..=Duration::from_micros(200),
            sync_latency: Duration::from_micros(200)..=Duration::from_micros(2000),
            slow: 0.0,
            short: 0.0,
            push_back: 0.0,
            nowait_miss: 0.0,
            cancels: 0.5,
            sector: 512,
            torn: false,
            survivors: Survivors::Mixed,
            failed_sync: FailedSync::KeepsPages,
            sync_names: false,
            capacity: 16 << 30,
            direct: DirectRules { mem_align: 512, offset_align: 512 },
            atomic_write_max: 0,
            reflink: true,
            supports: OpSet::ALL,
            trace_max: 16_384,
            tick: Duration::ZERO,
            idle_max: Duration::from_secs(1),
        }
    }

    /// A disk that does everything a correct program has to live with: slow operations, short transfers, push-back, torn
    /// sectors. No errors: those are for rules.
    pub fn hostile(seed: u64) -> SimOptions {
        SimOptions {
            slow: 0.02,
            short: 0.15,
            push_back: 0.05,
            nowait_miss: 0.3,
            torn: true,
            ..SimOptions::seeded(seed)
        }
    }

    /// Every operation completes within the submit that accepts it, in order.
    #[must_use]
    pub fn without_latency(mut self) -> SimOptions {
        self.latency = Duration::ZERO..=Duration::ZERO;
        self.sync_latency = Duration::ZERO..=Duration::ZERO;
        self
    }

    /// Wrong options are the test's mistake and end it.
    pub(crate) fn check(&self) {
        let shares = [self.slow, self.short, self.push_back, self.nowait_miss, self.cancels]
            .iter()
            .all(|p| (0.0..=1.0).contains(p));
        assert!(shares, "a probability is not within 0.0..=1.0: {self:?}");
        assert!(
            self.sector.is_power_of_two() && (512..=4096).contains(&self.sector),
            "sectors of {} bytes",
            self.sector
        );
        let DirectRules { mem_align, offset_align } = self.direct;
        assert!(mem_align.is_power_of_two(), "memory alignment of {mem_align} bytes");
        assert!(offset_align.is_power_of_two() && offset_align <= 4096, "offset alignment of {offset_align} bytes");
        let atomic = self.atomic_write_max;
        assert!(atomic == 0 || (atomic.is_power_of_two() && atomic <= 4096), "atomic writes of {atomic} bytes");
        for range in [&self.latency, &self.sync_latency] {
            assert!(range.start() <= range.end(), "a latency range ends before it starts: {range:?}");
        }
    }
}

impl Default for SimOptions {
    /// [`SimOptions::seeded`] with seed 0.
    fn default() -> SimOptions {
        SimOptions::seeded(0)
    }
}
