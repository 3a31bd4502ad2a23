//! File systems to test on: every real driver, and the simulator.

use io_fs::{DriverName, FileSystem, IoConfig};
use io_sim::{SimDisk, SimOptions};
use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    task::{Context, Poll, Waker},
};

/// A file system, a directory on it, and a way to look at it from the side.
pub struct Site {
    pub fs: FileSystem,
    pub dir: PathBuf,
    pub disk: Disk,
}

pub enum Disk {
    Real(tempfile::TempDir),
    Sim(SimDisk),
}

/// A file system on one real driver, with settings of the test's choice.
pub fn real(driver: DriverName, change: impl FnOnce(&mut IoConfig)) -> Option<FileSystem> {
    let mut config = IoConfig::default();
    config.driver = Some(driver);
    config.io_workers = 2;
    change(&mut config);
    match FileSystem::with_config(config) {
        Ok(fs) => Some(fs),
        Err(unavailable) => {
            io_testkit::skip("io-fs", driver.as_str(), &unavailable.to_string());
            None
        }
    }
}

pub fn on_real_drivers(test: impl Fn(&Site)) {
    for driver in DriverName::REAL {
        let Some(fs) = real(driver, |_| {}) else { continue };
        let tmp = tempfile::tempdir().unwrap();
        // Without links, so that paths can be compared.
        let dir = tmp.path().canonicalize().unwrap();
        test(&Site { fs, dir, disk: Disk::Real(tmp) });
    }
}

pub fn everywhere(test: impl Fn(&Site)) {
    on_real_drivers(&test);
    test(&simulated(SimOptions::seeded(1)));
    test(&simulated(SimOptions { torn: true, short: 0.3, ..SimOptions::seeded(2) }));
}

pub fn simulated(options: SimOptions) -> Site {
    let disk = SimDisk::new(options);
    disk.create_dir_all("/work").unwrap();
    Site { fs: over(&disk), dir: "/work".into(), disk: Disk::Sim(disk) }
}

pub fn over(disk: &SimDisk) -> FileSystem {
    FileSystem::with_driver(disk.driver(64)).unwrap()
}

impl Site {
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn sim(&self) -> &SimDisk {
        match &self.disk {
            Disk::Sim(disk) => disk,
            Disk::Real(_) => panic!("this test is for the simulator"),
        }
    }

    pub fn is_sim(&self) -> bool {
        matches!(self.disk, Disk::Sim(_))
    }

    pub fn run<F: Future>(&self, future: F) -> F::Output {
        self.fs.block_on(future)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(name);
        match &self.disk {
            Disk::Real(_) => std::fs::write(&path, bytes).unwrap(),
            Disk::Sim(disk) => disk.write_file(&path, bytes).unwrap(),
        }
        path
    }

    pub fn get(&self, name: &str) -> Vec<u8> {
        let path = self.at(name);
        match &self.disk {
            Disk::Real(_) => std::fs::read(path).unwrap(),
            Disk::Sim(disk) => disk.read_file(path).unwrap(),
        }
    }

    #[cfg(unix)]
    pub fn link(&self, target: &str, name: &str) -> PathBuf {
        let path = self.at(name);
        match &self.disk {
            Disk::Real(_) => std::os::unix::fs::symlink(target, &path).unwrap(),
            Disk::Sim(disk) => disk.symlink(target, &path).unwrap(),
        }
        path
    }

    /// What is in the directory, in order.
    pub fn names(&self) -> Vec<String> {
        names_in(&self.fs, &self.dir)
    }

    pub fn mode(&self, name: &str) -> u32 {
        self.run(self.fs.metadata(self.at(name))).unwrap().mode & 0o7777
    }
}

pub fn names_in(fs: &FileSystem, dir: &Path) -> Vec<String> {
    let entries = fs.block_on(fs.read_dir(dir)).unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes of which every stretch says where it belongs.
pub fn content(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 251) as u8 ^ (i % 251) as u8 ^ seed.wrapping_mul(31)).collect()
}

/// Polls a future so many times (with what moves things on in between), then drops it. True if it was over before.
pub fn given_up_after<F: Future>(fs: &FileSystem, polls: u32, future: F) -> bool {
    fs.block_on(async {
        let mut future = pin!(future);
        let mut left = polls;
        std::future::poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    })
}

/// One look at a future that nobody will be woken for.
pub fn glance<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
