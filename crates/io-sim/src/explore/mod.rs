//! Explores what power cuts leave of a program's data: every moment, many possibilities each, and cuts during recovery.
//!
//! Two closures say everything about the program under test. The *workload* runs its real code on a disk and notes what was
//! acknowledged. The *check* gets a disk as it came up after a cut, with what had been acknowledged by then; it recovers, again
//! with the real code, and says what is wrong. Neither has to know anything about crash points, and neither is called while
//! something of this crate is locked.

mod acks;
mod by_name;
mod id;
mod judge;
mod report;
mod shrink;
mod work;

pub use acks::Acks;
pub use id::CrashId;
pub use report::{CrashFailure, Explored};

use crate::{disk::SimDisk, options::SimOptions};
use judge::Judge;
use std::{fmt, num::NonZero, sync::Arc, thread};

/// Cuts the power of a workload at every moment, and asks a check about each disk that could be left.
///
/// A crash point is the moment before or after an operation's effect, or its completion ([`SimDisk::record_crash_points`]). For
/// each one several disks are made: one where nothing survived that was not durable, one where everything did, and others where
/// chance decides, sector by sector and name by name. The check runs on each, is cut itself at some moment, and runs again on
/// what that leaves. All of it is drawn from the seed.
///
/// What fails has a [`CrashId`], by which [`Explorer::reproduce`] does exactly that once more. In tests, [`Explorer::test`] lets the
/// environment say how much is explored, and which crash to do again.
///
/// ```
/// use io_core::{Completions, Driver, Op, OpenOptions, RawOp, Token, Wait};
/// use io_sim::{Acks, Explorer, SimDisk};
///
/// // Stands for the store's real code: one operation at a time.
/// fn run(driver: &mut impl Driver, mut op: Op) -> i32 {
///     let raw = op.raw(0, RawOp::MAX_TRANSFER);
///     // SAFETY: `op` stays where it is, and is not touched until the completion has come.
///     unsafe { driver.prepare(Token::new(0, 0), &raw) }.unwrap();
///     let mut done = Completions::with_limit(1);
///     while done.is_empty() {
///         driver.submit(Wait::Forever, &mut done).unwrap();
///     }
///     done.as_slice()[0].result
/// }
///
/// fn workload(syncs: bool, disk: &SimDisk, acks: &Acks<u8>) -> Result<(), String> {
///     disk.write_file("/log", b"").map_err(|e| e.to_string())?;
///     let log = disk.open("/log", OpenOptions::READ_WRITE).map_err(|e| e.to_string())?;
///     let mut driver = disk.driver(1);
///     for n in 0..5 {
///         assert_eq!(run(&mut driver, Op::write(&log, vec![n; 100], n as u64 * 100)), 100);
///         if syncs {
///             assert_eq!(run(&mut driver, Op::sync_data(&log)), 0);
///         }
///         acks.note(n);
///     }
///     Ok(())
/// }
///
/// fn check(disk: &SimDisk, acks: &Acks<u8>) -> Result<(), String> {
///     let log = disk.read_file("/log").unwrap_or_default();
///     match acks.given().iter().find(|&&n| log.chunks(100).nth(n as usize) != Some(&[n; 100])) {
///         Some(n) => Err(format!("record {n} was acknowledged and is lost")),
///         None => Ok(()),
///     }
/// }
///
/// let explorer = Explorer::new(7).cuts(10);
/// let explored = explorer.explore(|disk, acks| workload(true, disk, acks), check).unwrap();
/// assert!(explored.points > 20 && explored.states > 100);
///
/// let failure = explorer.explore(|disk, acks| workload(false, disk, acks), check).unwrap_err();
/// println!("{failure}");
/// assert!(failure.what.contains("is lost"));
/// let again = explorer.reproduce(&failure.id, |disk, acks| workload(false, disk, acks), check).unwrap_err();
/// assert_eq!(again.what, failure.what);
/// ```
#[derive(Clone)]
pub struct Explorer {
    seed: u64,
    disk: SimOptions,
    runs: u64,
    points_min: u64,
    points_max: usize,
    cuts: u32,
    sectors: Vec<u32>,
    recovery_cuts: u32,
    recovery_depth: u32,
    threads: usize,
    progress: Option<Progress>,
}

type Progress = Arc<dyn Fn(&Explored) + Send + Sync>;

impl Explorer {
    /// An explorer of one run of the workload, with eight cuts at each point and one during each recovery.
    pub fn new(seed: u64) -> Explorer {
        Explorer {
            seed,
            disk: SimOptions { torn: true, ..SimOptions::seeded(seed) },
            runs: 1,
            points_min: 0,
            points_max: 1 << 20,
            cuts: 8,
            sectors: vec![512, 4096],
            recovery_cuts: 1,
            recovery_depth: 1,
            threads: thread::available_parallelism().map_or(1, NonZero::get),
            progress: None,
        }
    }

    /// What the disks are like; `seed` and `sector` are the explorer's. As it starts, nothing goes wrong but cuts, and sectors tear.
    #[must_use]
    pub fn disk(mut self, options: SimOptions) -> Explorer {
        self.disk = options;
        self
    }

    /// Runs the workload so many times, each time on a disk of another seed. The workload sees it as [`Acks::seed`].
    #[must_use]
    pub fn runs(mut self, runs: u64) -> Explorer {
        self.runs = runs;
        self
    }

    /// Goes on with more runs until there were so many points.
    #[must_use]
    pub fn until_points(mut self, points: u64) -> Explorer {
        self.points_min = points;
        self
    }

    /// The most points that one run may have; a run with more fails. They are kept in memory while the run is explored.
    #[must_use]
    pub fn points_max(mut self, points: usize) -> Explorer {
        self.points_max = points;
        self
    }

    /// Makes so many disks of each point. With three or more, on the first nothing survives that was not durable, and on the
    /// second everything; with fewer, some points have the one or the other. A point where nothing is undecided has one disk, because all would be equal.
    #[must_use]
    pub fn cuts(mut self, cuts: u32) -> Explorer {
        self.cuts = cuts.max(1);
        self
    }

    /// Bytes that a cut leaves old or new as a whole; each cut draws one of these. To tear within a sector, too, see
    /// [`SimOptions::torn`].
    ///
    /// # Panics
    /// If there are none, or one is no power of two from 512 to 4096.
    #[must_use]
    pub fn sectors(mut self, sectors: &[u32]) -> Explorer {
        let sound = |sector: &u32| sector.is_power_of_two() && (512..=4096).contains(sector);
        assert!(!sectors.is_empty() && sectors.iter().all(sound), "sectors of {sectors:?} bytes");
        self.sectors = sectors.to_vec();
        self
    }

    /// Cuts each check so many times at moments drawn from its own points, and checks what is left (0: none). What the check had
    /// noted by then counts as acknowledged, too.
    #[must_use]
    pub fn recovery_cuts(mut self, cuts: u32) -> Explorer {
        self.recovery_cuts = cuts;
        self
    }

    /// How many cuts may follow one another during recovery, each during the recovery from the one before. One by default; the
    /// work grows with [`recovery_cuts`](Explorer::recovery_cuts) to this power.
    #[must_use]
    pub fn recovery_depth(mut self, depth: u32) -> Explorer {
        self.recovery_depth = depth;
        self
    }

    /// Explores on so many threads; by default on as many as there are processors. Both closures are called from all of them.
    /// What is found does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Explorer {
        self.threads = threads.max(1);
        self
    }

    /// Is told about once a second how far it is.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(&Explored) + Send + Sync + 'static) -> Explorer {
        self.progress = Some(Arc::new(tell));
        self
    }

    /// Explores all of it.
    ///
    /// A panic of either closure is a failure like any other. What the workload sets up by [`SimDisk::write_file`] and the like
    /// makes no crash points; to leave out other points, throw them away with [`SimDisk::take_crash_points`].
    ///
    /// # Errors
    /// The simplest failure of the first run that has one: a single cut rather than one during recovery, too, at the earliest
    /// point at which one of many more cuts fails. Looking for it takes some thousands of states. Also if the workload fails, if
    /// a run has no crash points, or more than [`points_max`](Explorer::points_max).
    pub fn explore<A, W, C>(&self, workload: W, check: C) -> Result<Explored, CrashFailure>
    where
        A: Clone + Send + Sync,
        W: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
        C: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
    {
        let judge = Judge::new(self, &workload, &check);
        let (explored, found) = work::explore(&judge);
        match found {
            None => Ok(explored),
            Some(found) => Err(shrink::shrink(&judge, found, explored)),
        }
    }

    /// Does what failed once more, and nothing else.
    ///
    /// # Errors
    /// The failure. That it is the same one is certain only if the workload does the same things each time: one thread, nothing
    /// drawn from elsewhere. If the workload does not come to such a point, that is the error.
    pub fn reproduce<A, W, C>(&self, id: &CrashId, workload: W, check: C) -> Result<(), CrashFailure>
    where
        A: Clone + Send + Sync,
        W: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
        C: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
    {
        Judge::new(self, &workload, &check).once(id, Explored::default())
    }

    /// The seed of a run: the explorer's for the first one, others drawn from it.
    fn run_seed(&self, run: u64) -> u64 {
        if run == 0 { self.seed } else { id::mix(&[self.seed, run]) >> 32 }
    }
}

impl fmt::Debug for Explorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explorer { seed, runs, points_min, cuts, sectors, recovery_cuts, recovery_depth, threads, .. } = self;
        write!(f, "Explorer(seed {seed}, {runs} runs or {points_min} points, {cuts} cuts of {sectors:?} bytes, ")?;
        write!(f, "{recovery_cuts} during recovery to depth {recovery_depth}, {threads} threads)")
    }
}
