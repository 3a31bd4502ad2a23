//! Where a case runs: a driver, and a directory on its disk.

use io_fs::{DriverName, FileSystem, IoConfig};
use io_sim::{SimDisk, SimOptions};
use std::path::PathBuf;

/// A file system with a fresh directory.
pub(super) struct World {
    pub(super) name: String,
    pub(super) fs: FileSystem,
    pub(super) sim: Option<SimDisk>,
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl World {
    pub(super) fn real(driver: DriverName) -> Option<World> {
        let mut config = IoConfig::default();
        config.driver = Some(driver);
        config.io_workers = 2;
        let fs = match FileSystem::with_config(config) {
            Ok(fs) => fs,
            Err(unavailable) => {
                io_testkit::skip("io-fs files", driver.as_str(), &unavailable.to_string());
                return None;
            }
        };
        let temporary = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dir = temporary.path().to_owned();
        Some(World { name: driver.to_string(), fs, sim: None, dir, _temporary: Some(temporary) })
    }

    pub(super) fn sim(options: SimOptions) -> World {
        let name = format!("sim seed {}", options.seed);
        let disk = SimDisk::new(options);
        disk.create_dir_all("/dir").unwrap();
        let fs = FileSystem::with_driver(disk.driver(64)).unwrap();
        World { name, fs, sim: Some(disk), dir: "/dir".into(), _temporary: None }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What the system itself has in a file.
    pub(super) fn content(&self, name: &str) -> Vec<u8> {
        match &self.sim {
            Some(disk) => disk.read_file(self.path(name)).unwrap(),
            None => std::fs::read(self.path(name)).unwrap(),
        }
    }

    /// Another file system on the same disk.
    pub(super) fn another_fs(&self) -> FileSystem {
        match &self.sim {
            Some(disk) => FileSystem::with_driver(disk.driver(64)).unwrap(),
            None => FileSystem::with_config(self.fs.config().clone()).unwrap(),
        }
    }
}

/// Every real driver that works here.
pub(super) fn real_worlds() -> impl Iterator<Item = World> {
    [DriverName::Uring, DriverName::Aio, DriverName::ThreadPool].into_iter().filter_map(World::real)
}

/// All of those, a well-behaved simulator and two that do what they may.
pub(super) fn worlds() -> impl Iterator<Item = World> {
    let sims = [SimOptions::seeded(1), SimOptions::hostile(2), SimOptions::hostile(3)];
    real_worlds().chain(sims.into_iter().map(World::sim))
}

/// Bytes that tell where they belong.
pub(super) fn pattern(len: usize, salt: u64) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(31).wrapping_add(salt * 7 + i / 251)) as u8).collect()
}
