//! Where a storm takes place, and what has to be as it was when it is over.

use super::task::{BLOCK, BLOCKS};
use io_fs::{File, FileOptions, FileSystem, LocalFs, OpenOptions};
use io_sim::SimDisk;
use io_testkit::GuardBuf;
use std::{
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long a storm may take, and how long everything may take to come to rest after it.
const STORM_MAX: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(30);

/// What all tasks work on.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) fs: FileSystem,
    /// A buffered file, and one past the page cache where the file system has that. They are each other's size.
    pub(super) files: [File; 2],
    pub(super) paths: [PathBuf; 2],
}

#[derive(Debug)]
pub(super) struct Site {
    ground: Ground,
    dir: Option<tempfile::TempDir>,
    disk: Option<SimDisk>,
    local: Option<LocalFs>,
}

impl Site {
    pub(super) fn real(fs: FileSystem, local: Option<LocalFs>) -> Site {
        // Not /tmp, which may be a tmpfs without direct I/O.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let paths = [dir.path().join("buffered"), dir.path().join("direct")];
        Site { ground: Ground::new(fs, paths), dir: Some(dir), disk: None, local }
    }

    pub(super) fn simulated(disk: SimDisk) -> Site {
        let fs = FileSystem::with_driver(disk.driver(64)).unwrap();
        let ground = Ground::new(fs, ["/buffered".into(), "/direct".into()]);
        Site { ground, dir: None, disk: Some(disk), local: None }
    }

    pub(super) fn fs(&self) -> FileSystem {
        self.ground.fs.clone()
    }

    pub(super) fn ground(&self) -> Ground {
        self.ground.clone()
    }

    /// Nothing is in flight, nothing waits, nothing is an orphan, and every buffer of the pool is home: soon.
    pub(super) fn comes_to_rest(&self) {
        let fs = &self.ground.fs;
        let until = Instant::now() + PATIENCE;
        let mut rested = false;
        while !rested {
            assert!(Instant::now() < until, "{:#?}\n{:#?}\n{:#?}", fs.snapshot(), fs.dump(), fs.buffer_pool());
            // Where nobody but those who wait reaps, somebody has to wait.
            fs.block_on(async { self.ground.files[0].metadata().await.unwrap() });
            let now = fs.snapshot();
            let levels = (now.admitted, now.admitted_bytes, now.waiting, now.in_flight, now.orphans, now.orphan_bytes);
            let pool = fs.buffer_pool().stats();
            let home = pool.heap == 0 && pool.classes.iter().all(|class| class.out == 0 && class.waiting == 0);
            rested = levels == (0, 0, 0, 0, 0, 0) && home;
            thread::sleep(Duration::from_millis(1));
        }
        let now = fs.snapshot();
        assert_eq!(now.quarantined(), 0, "{now:#?}");
        let used = fs.buffer_pool().stats();
        assert!(used.classes[0].high_water > 0 && used.classes[0].free == used.classes[0].total, "{used:#?}");
        GuardBuf::check();
    }

    /// Everything is dropped, and nothing of it stays open.
    pub(super) fn ends(self, before: usize) {
        let Site { ground, dir, disk, local } = self;
        let paths = ground.paths.clone();
        drop((ground, local));
        if let Some(disk) = disk {
            assert!(paths.iter().all(|path| disk.times_open(path).unwrap() == 0), "a file of the simulator is open");
            return;
        }
        let dir = dir.expect("a real site has a directory");
        let until = Instant::now() + PATIENCE;
        // Reapers and pools end by themselves, a moment later.
        while !open_below(dir.path()).is_empty() || (alone() && descriptors() > before) {
            let (open, now) = (open_below(dir.path()), descriptors());
            assert!(Instant::now() < until, "{now} descriptors, {before} before; of the storm's files {open:?}");
            thread::sleep(Duration::from_millis(5));
        }
        GuardBuf::check();
    }
}

impl Ground {
    fn new(fs: FileSystem, paths: [PathBuf; 2]) -> Ground {
        let files = fs.block_on(async {
            let buffered = fs.open_with(&paths[0], OpenOptions::CREATE).await.unwrap();
            let options = FileOptions::new().read(true).write(true).create(true).direct_or_buffered(true);
            let direct = fs.open_with(&paths[1], options).await.unwrap();
            for file in [&buffered, &direct] {
                let zeros = GuardBuf::zeroed((super::TASKS * BLOCKS) as usize * BLOCK);
                file.write_all_at(zeros, 0).await.0.unwrap();
            }
            [buffered, direct]
        });
        Ground { fs, files, paths }
    }
}

/// True in a process that runs this test and no other, so that what is open is this test's.
fn alone() -> bool {
    std::env::var_os("NEXTEST_EXECUTION_MODE").is_some_and(|mode| mode == "process-per-test")
}

/// Descriptors of this process.
pub(super) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Files below a directory that this process has open.
fn open_below(dir: &std::path::Path) -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let all = all.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    all.filter(|target| target.starts_with(dir)).collect()
}

/// Ends the process where something hangs: what a test would leave behind is on the stacks of threads.
pub(super) fn in_time(what: &'static str, run: impl FnOnce()) {
    let (over, is_over) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        if is_over.recv_timeout(STORM_MAX) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{what} hangs");
            std::process::abort();
        }
    });
    run();
    drop(over);
    watch.join().unwrap();
}
