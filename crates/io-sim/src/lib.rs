//! The deterministic driver: a simulated disk with seeded latency, faults, torn writes and power cuts.
//!
//! A [`SimDisk`] is a file system in memory. Its drivers ([`SimDriver`]) enter by the same door as the real ones: they implement
//! [`Driver`](io_core::Driver), so engine and storage layer under test run unchanged. It brings the clock, too: time is virtual,
//! moves only when somebody waits, and with one thread the same seed gives the same trace. It runs on every platform, makes no
//! system call of its own, starts no thread (but for the [`Explorer`]), and knows nothing about real files, engines or futures.
//!
//! # The fault model
//!
//! ## What may happen
//!
//! *To an operation in flight:*
//! - It takes effect at one moment between its acceptance and its completion, drawn from the seed. A sync therefore covers what
//!   had completed before it was submitted, and what came later only by luck. Operations overtake one another.
//! - A write's bytes are taken, and a read's bytes are put into its memory, anywhere in that time, as early as acceptance or as
//!   late as the moment when the completion is pushed: who frees a buffer early meets AddressSanitizer, who changes the bytes of a
//!   write in flight meets a panic, and a file that is closed too early answers `EBADF`.
//! - It is slow; its transfer is short; it is pushed back at submit ([`SimOptions`]). It fails with any error code, loses its
//!   sync, or never completes ([`Fault`], by rule).
//! - A cancel request comes in time or too late. In time: `ECANCELED`, and nothing has happened.
//! - The disk is full ([`SimOptions::capacity`]): a write is short, and `ENOSPC` when nothing fits.
//!
//! *When a sync fails:* the pages that it should have written count as clean. They stay readable or vanish ([`FailedSync`]), and
//! the next sync succeeds without having written them, as on Linux. Each may still have reached the disk.
//!
//! *When the power is cut,* each of these survives or not, independently of the others:
//! - Every sector that was written and not made durable keeps its durable content, the newest, or one from between. With
//!   [`SimOptions::torn`] also a beginning of one and an end of another. `O_DIRECT` is no promise: disks have a cache.
//! - Every size that was not made durable, independently of the content: what the size covers and the content does not reads as
//!   zeros. Permission bits likewise.
//! - Every change of a directory (create, remove, rename) that no `SyncDir` of that directory made durable. A sync of a file does
//!   not make its name durable ([`SimOptions::sync_names`] relaxes that). The rules for what hangs together stand at the end.
//! - Every operation in flight: it happened, in part or in whole, or it did not.
//!
//! ## What never happens
//!
//! - Content made durable by a sync that began after the write completed and reported success, or written with
//!   `RwFlags::DSYNC`, is never lost, nor is a size that reaches it, nor are neighbouring sectors harmed. (Unless a rule says
//!   [`Fault::LoseSync`], or a sync failed before.)
//! - No sector changes that nobody wrote: there are no flipped bits, no misdirected writes and no stale contents of other files.
//! - Readers never see part of a single write or rename: effects are moments. What is accepted completes exactly once, unless it is
//!   wedged or its driver dies.
//! - A failed operation has no effect, except that a close closes and a sync does the above.
//! - Everything is done as root: permission bits are kept and hinder nobody.
//! - Memory is never touched after the completion was pushed, after the driver was dropped, or after the power was cut.
//!
//! ## What hangs together in a directory
//!
//! - A rename survives as a whole: afterwards there is the old name or the new one, never neither and never both. It belongs to
//!   the directory of the new name: `SyncDir` of that one makes it durable, `SyncDir` of the old name's directory does not.
//! - Changes of the same name, or of the same file's name, survive in order: a later one only together with the earlier ones. A
//!   rename survives only together with the making of directories that it leads into, a removed directory only together with what
//!   emptied it, and moves of directories only in order.
//! - `SyncDir` makes durable what changed in that directory and what this rests on by these rules. A new file in a new directory is
//!   durable in there after `SyncDir` of it; the directory itself only after `SyncDir` of the one above.
//! - When more than 16,384 changes are undecided, the oldest becomes durable. Of a page's versions that were never durable, at most
//!   five are candidates.
//!
//! # Time
//!
//! [`SimClock`] moves in [`Driver::submit`](io_core::Driver::submit) and [`Readiness::wait`](io_core::Readiness::wait), and there
//! only while they wait: to the next event, or to the end of the wait (a microsecond at least).
//! [`Readiness::subscribe`](io_core::Readiness::subscribe) on an armed driver moves it to the driver's next completion, because who
//! subscribes is about to sleep. `Wait::No` does what is due and moves nothing (but see [`SimOptions::tick`]).
//!
//! A wait for ever with nothing left that could happen by itself (nothing is in flight, or all of it is wedged) really sleeps,
//! until a wake or a release comes from another thread; because a test without another thread would hang there, it comes back
//! empty-handed after [`SimOptions::idle_max`] of real time. There is no descriptor to poll.
//!
//! # Crash tests
//!
//! [`Explorer`] cuts the power of a workload at every moment, many times each, also during recovery, and names the crash that a check
//! finds fault with. What it does can be done by hand: run a workload, remember what was acknowledged and at which
//! [`SimDisk::moment`], and ask every crash point whether it is there.
//!
//! ```
//! use io_core::{Completions, Driver, Op, OpenOptions, RawOp, Token, Wait, errno};
//! use io_sim::{SimDisk, SimOptions, Which};
//!
//! // A core in small: one operation at a time.
//! fn run(driver: &mut impl Driver, mut op: Op) -> i32 {
//!     let raw = op.raw(0, RawOp::MAX_TRANSFER);
//!     // SAFETY: `op` stays where it is, and is not touched until the completion has come.
//!     unsafe { driver.prepare(Token::new(0, 0), &raw) }.unwrap();
//!     let mut done = Completions::with_limit(1);
//!     while done.is_empty() {
//!         driver.submit(Wait::Forever, &mut done).unwrap();
//!     }
//!     done.as_slice()[0].result
//! }
//!
//! let disk = SimDisk::new(SimOptions { torn: true, ..SimOptions::seeded(7) });
//! disk.write_file("/log", &[0; 8192])?;
//! let log = disk.open("/log", OpenOptions::READ_WRITE)?;
//! let mut driver = disk.driver(1);
//!
//! disk.record_crash_points(1000);
//! assert_eq!(run(&mut driver, Op::write(&log, b"record".to_vec(), 0)), 6);
//! assert_eq!(run(&mut driver, Op::sync_data(&log)), 0);
//! let acknowledged = disk.moment();
//! assert_eq!(run(&mut driver, Op::write(&log, b"no one waits for this".to_vec(), 4096)), 21);
//!
//! for point in disk.take_crash_points() {
//!     for seed in 0..10 {
//!         let left = point.after_power_cut(seed);
//!         let log = left.read_file("/log")?;
//!         assert!(point.moment() < acknowledged || log.starts_with(b"record"));
//!     }
//! }
//!
//! // Any error, at any operation.
//! disk.fail(Which::syncs(), errno::EIO);
//! assert_eq!(run(&mut driver, Op::sync_data(&log)), -errno::EIO);
//! # Ok::<(), std::io::Error>(())
//! ```
#![deny(unsafe_code)]

mod disk;
mod options;

mod faults;

mod crash;
mod explore;

#[allow(unsafe_code)] // the driver contract is `unsafe` to implement
mod driver;

mod clock;
mod counters;
mod trace;

mod world;

mod flight;
mod source;

#[allow(unsafe_code)] // what operations point at
mod memory;

mod perform;

mod files;
mod image;
mod inode;
mod journal;
mod locks;
mod tree;

mod content;
mod pages;

mod bell;
mod codes;
mod random;

pub use clock::SimClock;
pub use counters::Counters;
pub use crash::CrashPoint;
pub use disk::SimDisk;
pub use driver::SimDriver;
pub use explore::{Acks, CrashFailure, CrashId, Explored, Explorer};
pub use faults::{Fault, Which};
pub use options::{DirectRules, FailedSync, SimOptions, Survivors};
pub use trace::{TraceEvent, TraceWhat};

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    const fn sent_to_threads<T: Send>() {}
    shared_between_threads::<SimDisk>();
    shared_between_threads::<CrashPoint>();
    sent_to_threads::<SimDriver>();
};
