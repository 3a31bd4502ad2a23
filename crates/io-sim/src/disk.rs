//! The simulated disk as its users hold it.

use crate::{
    bell::Bell,
    clock::SimClock,
    codes::{Answer, to_io},
    counters::Counters,
    crash::CrashPoint,
    driver::SimDriver,
    faults::{Fault, Which},
    files::Closing,
    image::{Image, ROOT},
    options::SimOptions,
    random::nanos,
    trace::TraceEvent,
    world::World,
};
use io_core::{FileHandle, FileKind, OpenOptions, RawFile};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
    time::Duration,
};

/// A simulated disk with one file system on it.
///
/// It outlives its drivers: any number may be opened, one after the other or together. They share one clock, so whoever waits
/// moves time for all. The disk can be inspected and changed past the drivers at any time; its methods say `io::Error`s with the
/// codes that the operations would answer.
///
/// Cloning gives another handle to the same disk. To copy a disk, see [`SimDisk::crash_point`].
///
/// ```
/// use io_core::{Op, OpenOptions};
/// use io_sim::{SimDisk, SimOptions};
///
/// let disk = SimDisk::new(SimOptions::seeded(1));
/// disk.write_file("/db/config", b"depth=32")?;
/// let driver = disk.driver(8);
/// # let _ = driver;
/// assert_eq!(disk.durable_file("/db/config")?, b"depth=32");
/// disk.power_cut();
/// assert_eq!(disk.read_file("/db/config")?, b"depth=32");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

/// What disk, drivers and open files share.
pub(crate) struct Shared {
    /// Boxed, because a file that is closed by an operation keeps its `Guard`'s weak reference for ever, and with it the
    /// allocation of this struct.
    world: Box<Mutex<World>>,
    closing: Closing,
    pub(crate) options: Arc<SimOptions>,
    pub(crate) clock: SimClock,
}

/// Keeps a simulated file open; closes it when dropped.
pub(crate) struct Guard {
    pub(crate) raw: RawFile,
    pub(crate) disk: Weak<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(disk) = self.disk.upgrade() else { return };
        disk.closing.put(self.raw);
        // If somebody has the lock (perhaps this very thread), the next one who takes it closes the file.
        match disk.world.try_lock() {
            Ok(mut world) => disk.close_dropped(&mut world),
            Err(TryLockError::Poisoned(world)) => disk.close_dropped(&mut world.into_inner()),
            Err(TryLockError::WouldBlock) => {}
        };
    }
}

impl Shared {
    fn close_dropped(&self, world: &mut World) {
        for raw in self.closing.take() {
            world.close(raw);
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the disk locked. Foreign code (wakers, drops) runs when the lock is free again.
    pub(crate) fn enter<R>(&self, work: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.lock();
        self.close_dropped(&mut world);
        let result = work(&mut world);
        if world.nudges.is_empty() && world.trash.is_empty() {
            return result;
        }
        let (nudges, trash) = (std::mem::take(&mut world.nudges), std::mem::take(&mut world.trash));
        drop(world);
        drop(trash);
        nudges.into_iter().for_each(|(bell, ready)| bell.nudge(ready));
        result
    }
}

impl SimDisk {
    /// An empty disk.
    ///
    /// # Panics
    /// If the options make no sense: a probability above 1, a sector that is no power of two.
    pub fn new(options: SimOptions) -> SimDisk {
        let image = Image::new(Arc::new(options.clone()));
        SimDisk::with_image(options, image)
    }

    pub(crate) fn with_image(options: SimOptions, mut image: Image) -> SimDisk {
        options.check();
        let options = Arc::new(options);
        image.options = options.clone();
        let clock = SimClock::starting_at(nanos(image.now));
        SimDisk {
            shared: Arc::new_cyclic(|me| Shared {
                world: Box::new(Mutex::new(World::new(options.clone(), clock.clone(), image, me.clone()))),
                closing: Closing::default(),
                options,
                clock,
            }),
        }
    }

    fn ask<R>(&self, work: impl FnOnce(&mut World) -> Answer<R>) -> io::Result<R> {
        self.shared.enter(work).map_err(to_io)
    }

    /// A new driver for at most `depth` operations in flight.
    ///
    /// # Panics
    /// If `depth` is 0.
    pub fn driver(&self, depth: u32) -> SimDriver {
        let bell = Arc::new(Bell::default());
        let id = self.shared.enter(|world| world.seat(bell.clone()));
        SimDriver::new(self.shared.clone(), bell, id, depth)
    }

    /// A driver on what a power cut has left: the same as [`SimDisk::driver`], named for where it is used.
    ///
    /// # Panics
    /// As [`SimDisk::driver`].
    pub fn reopen(&self, depth: u32) -> SimDriver {
        self.driver(depth)
    }

    /// The clock of the disk.
    pub fn clock(&self) -> SimClock {
        self.shared.clock.clone()
    }

    /// What the disk is like.
    pub fn options(&self) -> &SimOptions {
        &self.shared.options
    }

    // Faults

    /// From now on this happens to these operations.
    pub fn inject(&self, which: Which, fault: Fault) {
        self.shared.enter(|world| world.rules.add(which, fault));
    }

    /// These operations fail with this error code.
    pub fn fail(&self, which: Which, errno: i32) {
        self.inject(which, Fault::Errno(errno));
    }

    /// These operations are accepted and do not complete.
    pub fn wedge(&self, which: Which) {
        self.inject(which, Fault::Wedge);
    }

    /// Wedged operations go on now. Rules that wedge stay.
    pub fn release_wedged(&self) {
        self.shared.enter(World::release_wedged);
    }

    /// Forgets all rules. What is wedged stays so.
    pub fn clear_faults(&self) {
        self.shared.enter(|world| world.rules.clear());
    }

    /// All drivers of the disk are dead from now on: their `submit` fails with this error code, and what they have in flight is
    /// never answered (some of it happens nevertheless, at once). Files stay open and work with new drivers.
    pub fn break_drivers(&self, errno: i32) {
        self.shared.enter(|world| world.break_drivers(errno));
    }

    /// Changes the capacity. Files keep what they have.
    pub fn set_capacity(&self, bytes: u64) {
        self.shared.enter(|world| world.image.set_capacity(bytes));
    }

    // Power

    /// Cuts the power, and turns it on again: the disk is what the cut has left of it.
    ///
    /// All drivers are dead: `submit` fails with `EIO`, and what they had in flight is never answered. All open files are gone:
    /// `EBADF`. Rules and clock stay. What is left is drawn from the disk's seed.
    pub fn power_cut(&self) {
        self.shared.enter(World::power_cut);
    }

    /// This moment, kept.
    pub fn crash_point(&self) -> CrashPoint {
        self.shared.enter(|world| world.crash_point())
    }

    /// A disk as a power cut now could have left it. This one does not notice.
    pub fn fork_after_power_cut(&self, seed: u64) -> SimDisk {
        self.crash_point().after_power_cut(seed)
    }

    /// `count` possibilities of what a power cut now could leave, drawn from `seed` on.
    pub fn crash_states(&self, count: u64, seed: u64) -> impl Iterator<Item = SimDisk> + use<> {
        let point = self.crash_point();
        (0..count).map(move |n| point.after_power_cut(seed.wrapping_add(n)))
    }

    /// From now on keeps a [`CrashPoint`] whenever an operation that makes a difference is accepted, takes effect or completes,
    /// up to `max` of them (0: no longer). Those that were kept and not taken stay.
    pub fn record_crash_points(&self, max: usize) {
        self.shared.enter(|world| world.recording.max = max);
    }

    /// Takes what was kept, oldest first; there is room for as many again.
    pub fn take_crash_points(&self) -> Vec<CrashPoint> {
        self.shared.enter(|world| std::mem::take(&mut world.recording.points))
    }

    // Inspection

    /// What happened, oldest first, as far as it is kept ([`SimOptions::trace_max`]).
    pub fn trace(&self) -> Vec<TraceEvent> {
        self.shared.enter(|world| world.trace.events())
    }

    /// A hash over everything that happened: equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.shared.enter(|world| world.trace.hash())
    }

    /// Number of the last entry of the trace. Whoever learns now that something is durable may ask for it in every
    /// [`CrashPoint`] of this moment or a later one.
    pub fn moment(&self) -> u64 {
        self.shared.enter(|world| world.trace.moment())
    }

    /// What the disk has done so far.
    pub fn counters(&self) -> Counters {
        self.shared.enter(|world| world.counters)
    }

    // Files

    /// Opens a file past the drivers.
    ///
    /// # Errors
    /// As the operation.
    pub fn open(&self, path: impl AsRef<Path>, options: OpenOptions) -> io::Result<FileHandle> {
        self.ask(|world| world.open(path.as_ref(), options))
    }

    /// The contents of a file as readers see them.
    ///
    /// # Errors
    /// `ENOENT` and the like.
    pub fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.ask(|world| {
            let ino = world.image.find(path.as_ref(), true, false)?.there()?;
            Ok(world.image.content(ino)?.to_vec())
        })
    }

    /// The contents of a file as far as they, its size and its name are durable for certain.
    ///
    /// # Errors
    /// `ENOENT` if the name (or one on the way there) is not durable.
    pub fn durable_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.ask(|world| {
            let ino = world.image.find(path.as_ref(), true, true)?.there()?;
            Ok(world.image.content(ino)?.durable_to_vec())
        })
    }

    /// Makes a file of this content, or replaces its content, all of it durable; makes the directories above it.
    ///
    /// # Errors
    /// As the operations that it stands for, but for capacity: that is not asked.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let path = path.as_ref();
        if let Some(dir) = path.parent() {
            self.create_dir_all(dir)?;
        }
        self.ask(|world| {
            let image = &mut world.image;
            let found = image.find(path, true, false)?;
            let ino = match found.ino {
                Some(ino) => ino,
                None => image.create(&found, 0o644)?,
            };
            image.change_content(ino, |content| {
                content.truncate(0);
                content.write(0, bytes, false);
                content.sync();
            })?;
            image.commit_name(ino, true);
            Ok(())
        })
    }

    /// Makes a directory and those above it, all of them durable.
    ///
    /// # Errors
    /// As the operations that it stands for.
    pub fn create_dir_all(&self, dir: impl AsRef<Path>) -> io::Result<()> {
        self.ask(|world| {
            let image = &mut world.image;
            let mut at = PathBuf::from("/");
            for step in dir.as_ref().components() {
                at.push(step);
                let ino = match image.find(&at, true, false)?.ino {
                    Some(ino) => ino,
                    None => image.make_dir(&at, 0o755)?,
                };
                image.names(ino)?;
                if ino != ROOT {
                    image.commit_name(ino, true);
                }
            }
            Ok(())
        })
    }

    /// Makes a symbolic link, durable; there is no operation for it.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT` and the like.
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> io::Result<()> {
        self.ask(|world| {
            let ino = world.image.symlink(target.as_ref(), path.as_ref())?;
            world.image.commit_name(ino, true);
            Ok(())
        })
    }

    /// The paths of all files, in order, as readers see them.
    pub fn files(&self) -> Vec<PathBuf> {
        self.shared.enter(|world| {
            let (mut files, mut dirs) = (Vec::new(), vec![(PathBuf::from("/"), ROOT)]);
            while let Some((dir, ino)) = dirs.pop() {
                let Ok(names) = world.image.names(ino) else { continue };
                for (name, &ino) in &names.live {
                    match world.image.inode(ino).kind() {
                        FileKind::Dir => dirs.push((dir.join(name), ino)),
                        _ => files.push(dir.join(name)),
                    }
                }
            }
            files.sort();
            files
        })
    }

    /// How often a file is open.
    ///
    /// # Errors
    /// `ENOENT` and the like.
    pub fn times_open(&self, path: impl AsRef<Path>) -> io::Result<usize> {
        self.ask(|world| {
            let ino = world.image.find(path.as_ref(), true, false)?.there()?;
            Ok(world.files.times_open(ino))
        })
    }

    /// True if a power cut now would change nothing, operations in flight aside.
    pub fn is_durable(&self) -> bool {
        self.shared.enter(|world| world.image.is_durable())
    }

    /// Virtual time of the disk.
    pub fn now(&self) -> Duration {
        io_core::Clock::now(&self.shared.clock)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = self.counters();
        write!(f, "SimDisk(seed {}, at {:?}, {counters:?})", self.shared.options.seed, self.now())
    }
}
