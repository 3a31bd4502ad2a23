//! What a case works with.

use crate::{
    Bench, Disk, Mode, Rig,
    skip::{Skipped, skip, skip_case},
};
use io_core::{Driver, FileHandle, OpClass, OpKind, OpSet, OpenOptions};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// One case on one disk: the driver's rig, the disk, and the names.
pub struct Cx<'a> {
    rig: &'a dyn Rig,
    disk: &'a dyn Disk,
    supports: OpSet,
    case: &'a str,
    test: &'a str,
    /// Which of the rig's disks.
    #[cfg(target_os = "linux")]
    index: usize,
    files: AtomicU32,
}

impl Cx<'_> {
    /// The rig of the driver under test.
    pub fn rig(&self) -> &dyn Rig {
        self.rig
    }

    /// The disk that the case runs on.
    pub fn disk(&self) -> &dyn Disk {
        self.disk
    }

    /// What the driver under test supports.
    pub fn supports(&self) -> OpSet {
        self.supports
    }

    /// The name of the running `#[test]`, as its harness knows it, for children that run it anew.
    pub fn test(&self) -> &str {
        self.test
    }

    /// How long to wait for something that has to come.
    pub fn patience(&self) -> Duration {
        self.rig.patience()
    }

    /// A new driver.
    pub fn driver(&self, depth: u32) -> Box<dyn Driver> {
        match self.rig.driver(depth) {
            Ok(driver) => driver,
            Err(unavailable) => skip_case(unavailable.to_string()),
        }
    }

    /// A new driver on a bench that skips the case when it comes to an operation that the driver does not support.
    pub fn bench(&self, depth: u32) -> Bench {
        Bench::new(self.driver(depth)).skip_unsupported().with_patience(self.patience())
    }

    /// As [`Cx::bench`], with room for `room` completions in each batch.
    pub fn bench_with_room(&self, depth: u32, room: usize) -> Bench {
        Bench::with_room(self.driver(depth), room).skip_unsupported().with_patience(self.patience())
    }

    /// A name on the disk that the case has not used yet.
    pub fn fresh(&self) -> String {
        format!("{}-{}", self.case, self.files.fetch_add(1, Ordering::Relaxed))
    }

    /// A new file with these contents, open for reading and writing, and its name.
    #[track_caller]
    pub fn file(&self, mode: Mode, contents: &[u8]) -> (String, FileHandle) {
        let name = self.fresh();
        let file = self.create(&name, contents, mode.of(OpenOptions::READ_WRITE));
        (name, file)
    }

    /// A new file of this name and these contents.
    #[track_caller]
    pub fn create(&self, name: &str, contents: &[u8], options: OpenOptions) -> FileHandle {
        match self.disk.create(name, contents, options) {
            Ok(file) => file,
            Err(error) => panic!("cannot create {name} on {}: {error}", self.disk.label()),
        }
    }

    /// The path of a name on the disk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }

    /// The contents of a file, read past the driver.
    #[track_caller]
    pub fn contents(&self, name: &str) -> Vec<u8> {
        match self.disk.contents(name) {
            Ok(contents) => contents,
            Err(error) => panic!("cannot read {name} on {}: {error}", self.disk.label()),
        }
    }

    /// Runs the rest of the case in a child process under this confinement.
    #[cfg(target_os = "linux")]
    pub fn in_child(&self, confinement: &crate::confine::Confinement, body: impl FnOnce() + Send) {
        // One child per disk, and per call: the count of names used so far tells them apart, in parent and child alike.
        let tag = format!("disk {} call {}", self.index, self.fresh());
        crate::confine::in_child_of(self.test, &tag, confinement, body);
    }

    /// Ends the case as skipped.
    pub fn skip(&self, reason: impl Into<String>) -> ! {
        skip_case(reason)
    }

    /// Skips the case if the driver does not take these kinds.
    pub fn needs(&self, kinds: &[OpKind]) {
        if let Some(kind) = kinds.iter().find(|&&kind| !self.supports.contains_kind(kind)) {
            self.skip(format!("the driver does not take {kind:?}"));
        }
    }

    /// Skips the case on a simulator.
    pub fn needs_real_files(&self) {
        if self.rig.simulated() {
            self.skip("needs a real kernel: the files are simulated");
        }
    }

    /// Skips the case on a simulator and on systems other than Unix.
    pub fn needs_unix(&self) {
        self.needs_real_files();
        if !cfg!(unix) {
            self.skip("needs Unix");
        }
    }

    /// The modes in which the driver takes all of these kinds and the disk allows it; skips the case if there is none.
    ///
    /// In direct mode a case writes within what is allocated only: see [`Cx::growing_modes`].
    pub fn modes(&self, kinds: &[OpKind]) -> Vec<Mode> {
        self.modes_by(kinds, |mode, _| mode.class())
    }

    /// As [`Cx::modes`], for cases that write past the end of the file or into holes.
    pub fn growing_modes(&self, kinds: &[OpKind]) -> Vec<Mode> {
        self.modes_by(kinds, |mode, kind| match mode {
            Mode::Direct if kind.is_write() => OpClass::Allocating,
            mode => mode.class(),
        })
    }

    /// Skips the case if the driver does not take these kinds through the page cache: for cases with any offset and length.
    pub fn needs_buffered(&self, kinds: &[OpKind]) {
        if let Some(kind) = kinds.iter().find(|&&kind| !self.supports.contains(kind, OpClass::Buffered)) {
            self.skip(format!("the driver does not take {kind:?} (Buffered)"));
        }
    }

    fn modes_by(&self, kinds: &[OpKind], class: impl Fn(Mode, OpKind) -> OpClass) -> Vec<Mode> {
        let takes = |mode| kinds.iter().all(|&kind| self.supports.contains(kind, class(mode, kind)));
        let modes: Vec<Mode> = Mode::ALL
            .into_iter()
            .filter(|&mode| takes(mode) && (mode == Mode::Buffered || self.disk_is_direct()))
            .collect();
        if modes.is_empty() {
            self.skip(format!("the driver does not take {kinds:?}, neither buffered nor direct"));
        }
        modes
    }

    /// True if files of this disk can be opened for direct I/O.
    pub fn disk_is_direct(&self) -> bool {
        self.disk.create("direct-probe", &[0; crate::BLOCK], OpenOptions::READ_WRITE.direct()).is_ok()
    }
}

impl fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} on {}", self.case, self.rig.name(), self.disk.label())
    }
}

/// Runs one case on every disk of the rig. [`conformance!`](crate::conformance) calls it; `test` is the test's own path.
///
/// # Panics
/// If the case fails, naming the disk.
pub fn run_case(rig: &dyn Rig, case: &str, body: fn(&Cx<'_>), test: &str) {
    // The harness names tests without the crate.
    let test = test.split_once("::").map_or(test, |(_, rest)| rest);
    let suite = rig.name().to_string();
    let supports = match rig.driver(8) {
        Ok(driver) => driver.supports(),
        Err(unavailable) => return skip(&suite, case, &unavailable.to_string()),
    };
    for (index, disk) in rig.disks().into_iter().enumerate() {
        let label = disk.label();
        #[cfg(not(target_os = "linux"))]
        let _ = index;
        let cx = Cx {
            rig,
            disk: &*disk,
            supports,
            case,
            test,
            #[cfg(target_os = "linux")]
            index,
            files: AtomicU32::new(0),
        };
        let whole = || {
            body(&cx);
            #[cfg(unix)]
            crate::GuardBuf::check();
        };
        if let Err(thrown) = catch_unwind(AssertUnwindSafe(whole)) {
            match thrown.downcast::<Skipped>() {
                Ok(skipped) => skip(&suite, case, &format!("{} [{label}]", skipped.0)),
                Err(panic) => {
                    eprintln!("{case} of {suite} failed on {label}");
                    resume_unwind(panic);
                }
            }
        }
    }
}
