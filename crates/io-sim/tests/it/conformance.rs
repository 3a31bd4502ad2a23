//! The suite that every driver runs, on disks of different tempers.

use io_core::{Driver, DriverName, FileHandle, OpenOptions, Unavailable};
use io_sim::{SimDisk, SimOptions};
use io_testkit::{Disk, Rig};
use std::{io, path::PathBuf, time::Duration};

/// The simulator and its one disk.
struct SimRig(SimDisk);

impl SimRig {
    fn new(options: SimOptions) -> SimRig {
        SimRig(SimDisk::new(options))
    }
}

impl Rig for SimRig {
    fn name(&self) -> DriverName {
        DriverName::Sim
    }

    fn driver(&self, depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
        Ok(Box::new(self.0.driver(depth)))
    }

    fn disks(&self) -> Vec<Box<dyn Disk>> {
        vec![Box::new(Simulated(self.0.clone()))]
    }

    fn simulated(&self) -> bool {
        true
    }
}

struct Simulated(SimDisk);

impl Disk for Simulated {
    fn label(&self) -> String {
        "simulated disk".to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/").join(name)
    }

    fn create(&self, name: &str, contents: &[u8], options: OpenOptions) -> io::Result<FileHandle> {
        self.0.write_file(self.path(name), contents)?;
        self.open(name, OpenOptions { create: false, create_new: false, truncate: false, ..options })
    }

    fn open(&self, name: &str, options: OpenOptions) -> io::Result<FileHandle> {
        self.0.open(self.path(name), options)
    }

    fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        self.0.read_file(self.path(name))
    }

    fn times_open(&self, name: &str) -> Option<usize> {
        self.0.times_open(self.path(name)).ok()
    }
}

io_testkit::conformance!(seeded, SimRig::new(SimOptions::seeded(1)));
io_testkit::conformance!(at_once, SimRig::new(SimOptions::seeded(2).without_latency()));
io_testkit::conformance!(slow_and_strict, SimRig::new(slow_and_strict()));
io_testkit::properties!(histories, SimRig::new(SimOptions::seeded(3)));

/// Takes anything from very short to very long, and never cancels.
fn slow_and_strict() -> SimOptions {
    let latency = Duration::from_micros(1)..=Duration::from_millis(5);
    SimOptions { latency, slow: 0.05, cancels: 0.0, ..SimOptions::seeded(3) }
}
