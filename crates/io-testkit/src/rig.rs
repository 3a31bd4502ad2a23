//! What a driver brings along to be tested.

use io_core::{Driver, DriverName, FileHandle, OpenOptions, Unavailable};
use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A driver to be tested, and the disks to test it on.
pub trait Rig: Send + Sync {
    /// The driver's name: the suite's name in the report of skips.
    fn name(&self) -> DriverName;

    /// A new driver for at least `depth` operations in flight.
    ///
    /// # Errors
    /// Why it cannot run here; every case is skipped then, with this reason.
    fn driver(&self, depth: u32) -> Result<Box<dyn Driver>, Unavailable>;

    /// The disks to run each case on, with nothing on them. What they hold goes when they are dropped.
    fn disks(&self) -> Vec<Box<dyn Disk>>;

    /// True if files and time are the driver's own invention: descriptors of this process mean nothing to it, and waiting takes
    /// no real time.
    fn simulated(&self) -> bool {
        false
    }

    /// How long the cases wait for something that has to come before they say that it is lost.
    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }

    /// True if only the thread that made a driver may drive it. The cases that hand drivers over are skipped.
    fn owner_thread(&self) -> bool {
        false
    }
}

/// One directory on one file system, and a way to its files that does not lead through the driver under test.
pub trait Disk: Send + Sync {
    /// What it is (`ext4`, `tmpfs`), for reports.
    fn label(&self) -> String;

    /// The path of a file on it, as operations name it.
    fn path(&self, name: &str) -> PathBuf;

    /// Makes a file with these contents, replacing one that is there, and opens it.
    ///
    /// # Errors
    /// The system's. `EINVAL` for a direct open tells that this file system has no direct I/O.
    fn create(&self, name: &str, contents: &[u8], options: OpenOptions) -> io::Result<FileHandle>;

    /// Opens a file.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &str, options: OpenOptions) -> io::Result<FileHandle>;

    /// The contents of a file, read past the driver under test.
    ///
    /// # Errors
    /// The system's.
    fn contents(&self, name: &str) -> io::Result<Vec<u8>>;

    /// How often this process has the file open; `None` where that cannot be told.
    fn times_open(&self, name: &str) -> Option<usize> {
        let _ = name;
        None
    }

    /// The directory on the real file system, if it is one: for what only a real kernel can be asked for.
    fn dir(&self) -> Option<&Path> {
        None
    }
}

/// The rig of a driver that works on real files: the disks are [`real_disks`](crate::real_disks).
#[derive(Clone, Copy)]
pub struct RealRig {
    /// The driver's name.
    pub name: DriverName,
    /// Makes one of this depth.
    pub make: fn(u32) -> Result<Box<dyn Driver>, Unavailable>,
    /// Only the thread that made it may drive it.
    pub owner_thread: bool,
}

impl RealRig {
    /// A rig of a driver that any thread may drive.
    pub const fn new(name: DriverName, make: fn(u32) -> Result<Box<dyn Driver>, Unavailable>) -> RealRig {
        RealRig { name, make, owner_thread: false }
    }

    /// The same for a driver that only its maker's thread may drive.
    #[must_use]
    pub const fn owned_by_its_thread(mut self) -> RealRig {
        self.owner_thread = true;
        self
    }
}

impl fmt::Debug for RealRig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RealRig({})", self.name)
    }
}

impl Rig for RealRig {
    fn name(&self) -> DriverName {
        self.name
    }

    fn driver(&self, depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
        (self.make)(depth)
    }

    fn disks(&self) -> Vec<Box<dyn Disk>> {
        crate::real_disks().into_iter().map(|disk| Box::new(disk) as Box<dyn Disk>).collect()
    }

    fn owner_thread(&self) -> bool {
        self.owner_thread
    }
}
