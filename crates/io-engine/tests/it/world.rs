//! Where the tests take place: a driver, a disk that goes with it, and cores to drive by hand.
//!
//! [`every_driver!`](crate::every_driver) makes one `#[test]` per driver and case of one list; a case is a `fn(&World)`.

use io_engine::{
    Carrier, DriverOptions, Finished, Inflight, InflightOptions,
    core::{
        AlignedBuf, Armed, Clock, Completions, Driver, DriverName, FileFacts, FileHandle, FileId, Full, Op, OpClass,
        OpKind, OpSet, OpenOptions, Progress, RawOp, Readiness, Token, Unavailable, Wait,
    },
    select,
};
use io_sim::{SimDisk, SimOptions};
use io_testkit::{Disk, Faults, Faulty, GuardBuf, Mode, real_disks, skip};
use std::{
    cell::Cell,
    io,
    path::PathBuf,
    ptr::NonNull,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a test waits for what must come before it says that it is lost.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a test watches that something does not come.
pub const A_WHILE: Duration = Duration::from_millis(30);

/// The drivers, and the two ways to use a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // which of them are built depends on features
pub enum Which {
    /// io_uring, as one thread uses it.
    Uring,
    /// io_uring, as several threads use it in turn.
    UringShared,
    Aio,
    ThreadPool,
    Sim,
}

impl Which {
    pub fn name(self) -> DriverName {
        match self {
            Which::Uring | Which::UringShared => DriverName::Uring,
            Which::Aio => DriverName::Aio,
            Which::ThreadPool => DriverName::ThreadPool,
            Which::Sim => DriverName::Sim,
        }
    }
}

/// Expands to one module per driver, with a `#[test]` for each of the named functions of the surrounding module.
#[macro_export]
macro_rules! every_driver {
    ($($case:ident),+ $(,)?) => {
        #[cfg(all(target_os = "linux", feature = "io-uring"))]
        $crate::every_driver!(@ uring Uring $($case)+);
        #[cfg(all(target_os = "linux", feature = "io-uring"))]
        $crate::every_driver!(@ uring_shared UringShared $($case)+);
        #[cfg(all(target_os = "linux", feature = "libaio"))]
        $crate::every_driver!(@ aio Aio $($case)+);
        #[cfg(feature = "threadpool")]
        $crate::every_driver!(@ threadpool ThreadPool $($case)+);
        $crate::every_driver!(@ sim Sim $($case)+);
    };
    (@ $module:ident $which:ident $($case:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $case() {
                    $crate::world::on($crate::world::Which::$which, stringify!($case), super::$case);
                }
            )+
        }
    };
}

/// Runs a case on every disk of a driver.
pub fn on(which: Which, case: &str, test: impl Fn(&World)) {
    // A lost wake hangs instead of showing as a second too many.
    let sim = SimDisk::new(SimOptions { idle_max: 10 * PATIENCE, ..SimOptions::seeded(1) });
    for disk in disks(which, &sim) {
        let sim = (which == Which::Sim).then(|| sim.clone());
        let world = World { which, disk, sim, mode: Cell::new(Mode::Buffered), files: Cell::new(0) };
        match world.try_driver(8) {
            Ok(driver) => world.mode.set(mode_of(driver.supports())),
            Err(unavailable) => return skip(&which.name().to_string(), case, &unavailable.to_string()),
        }
        test(&world);
        #[cfg(unix)]
        GuardBuf::check();
    }
}

fn disks(which: Which, sim: &SimDisk) -> Vec<Box<dyn Disk>> {
    match which {
        Which::Sim => vec![Box::new(Simulated(sim.clone()))],
        _ => real_disks().into_iter().map(|disk| Box::new(disk) as Box<dyn Disk>).collect(),
    }
}

/// The simulator's disk.
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
}

/// How transfers have to be made so that the driver itself does them.
fn mode_of(supports: OpSet) -> Mode {
    let buffered = [OpKind::Read, OpKind::Write].iter().all(|&kind| supports.contains(kind, OpClass::Buffered));
    if buffered { Mode::Buffered } else { Mode::Direct }
}

/// One driver's kind, and a disk.
pub struct World {
    pub which: Which,
    disk: Box<dyn Disk>,
    /// The disk, if it is a simulated one.
    pub sim: Option<SimDisk>,
    mode: Cell<Mode>,
    files: Cell<u32>,
}

/// A file of a test.
pub struct File {
    pub handle: FileHandle,
    pub name: String,
}

impl World {
    fn try_driver(&self, depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
        if let Some(sim) = &self.sim {
            return Ok(Box::new(sim.driver(depth)));
        }
        let mut options = DriverOptions::default();
        options.driver = Some(self.which.name());
        options.depth = depth;
        options.one_thread = self.which != Which::UringShared;
        Ok(select(&options)?.driver)
    }

    /// A new driver.
    pub fn driver(&self, depth: u32) -> Box<dyn Driver> {
        self.try_driver(depth).unwrap_or_else(|unavailable| panic!("{unavailable}"))
    }

    /// A new driver that fails on demand.
    pub fn faulty(&self, depth: u32) -> (Box<dyn Driver>, Faults) {
        let (driver, faults) = Faulty::new(self.driver(depth));
        (Box::new(driver), faults)
    }

    /// A new driver that fails on demand and says that it supports everything, so that every fault can be had with it.
    pub fn claiming(&self, depth: u32) -> (Box<dyn Driver>, Faults) {
        let (driver, faults) = Faulty::new(Claims(self.driver(depth), OpSet::ALL));
        (Box::new(driver), faults)
    }

    /// A core over a new driver.
    pub fn core(&self, depth: u32) -> Inflight<Op> {
        core(self.driver(depth))
    }

    /// How files are opened here by default: so that the driver does the transfers.
    pub fn mode(&self) -> Mode {
        self.mode.get()
    }

    /// What transfers are multiples of: a byte through the page cache, a block past it.
    pub fn unit(&self) -> usize {
        match self.mode() {
            Mode::Buffered => 1,
            Mode::Direct => io_testkit::BLOCK,
        }
    }

    /// True if the engine puts an offload pool beside this driver.
    pub fn has_pool(&self) -> bool {
        !matches!(self.which, Which::ThreadPool | Which::Sim)
    }

    pub fn simulated(&self) -> bool {
        self.which == Which::Sim
    }

    /// A file with these contents, opened for reading and writing in the usual mode.
    pub fn file(&self, contents: &[u8]) -> File {
        self.file_in(self.mode(), contents)
    }

    /// The same in a mode of the caller's.
    pub fn file_in(&self, mode: Mode, contents: &[u8]) -> File {
        let name = self.fresh();
        let handle = self.disk.create(&name, contents, mode.of(OpenOptions::READ_WRITE));
        File { handle: self.for_the_driver(handle.expect("make a file")), name }
    }

    /// The core keeps AIO off file systems on which it blocks, and then the driver with its faults sees nothing of a test. A file
    /// whose file system is not known goes to the driver, there as elsewhere.
    pub fn for_the_driver(&self, file: FileHandle) -> FileHandle {
        if self.which != Which::Aio {
            return file;
        }
        let facts = FileFacts { fs_magic: 0, ..*file.facts() };
        file.with_facts(facts).expect("nobody else has the handle yet")
    }

    /// Another handle of the same file.
    pub fn again(&self, file: &File) -> FileHandle {
        let handle = self.disk.open(&file.name, self.mode().of(OpenOptions::READ_WRITE));
        self.for_the_driver(handle.expect("open a file once more"))
    }

    /// A name that was not used yet.
    pub fn fresh(&self) -> String {
        self.files.set(self.files.get() + 1);
        format!("file-{}", self.files.get())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }

    /// What the file holds, read past the driver.
    pub fn contents(&self, file: &File) -> Vec<u8> {
        self.disk.contents(&file.name).expect("read a file")
    }
}

/// True where tests take their time (`cargo xtask ci --full`).
pub fn soak() -> bool {
    std::env::var_os("IOFS_SOAK").is_some()
}

/// A core over `driver` with the usual options.
pub fn core<S: Carrier>(driver: Box<dyn Driver>) -> Inflight<S> {
    core_with(driver, InflightOptions::default())
}

pub fn core_with<S: Carrier>(driver: Box<dyn Driver>, options: InflightOptions) -> Inflight<S> {
    Inflight::new(driver, options).expect("a pool beside the driver")
}

/// An empty buffer that every driver takes, in every mode.
pub fn room(len: usize) -> AlignedBuf {
    AlignedBuf::with_capacity(len)
}

/// A full one.
pub fn data(bytes: &[u8]) -> AlignedBuf {
    AlignedBuf::copy_of(bytes)
}

#[track_caller]
pub fn accept<S: Carrier>(core: &mut Inflight<S>, op: S) -> Token {
    match core.accept(op) {
        Ok(token) => token,
        Err(_) => panic!("no slot is free: {core:?}"),
    }
}

/// Drives the core once and takes what is answered.
pub fn turn<S: Carrier>(core: &mut Inflight<S>, wait: Wait) -> Vec<Finished<S>> {
    core.submit(wait);
    std::iter::from_fn(|| core.next_finished()).collect()
}

/// Drives the core until `count` operations are answered.
#[track_caller]
pub fn answers<S: Carrier>(core: &mut Inflight<S>, count: usize) -> Vec<Finished<S>> {
    let begun = Instant::now();
    let mut all = Vec::new();
    while all.len() < count {
        assert!(
            begun.elapsed() < PATIENCE,
            "{} of {count} operations were answered; in flight: {:#?}",
            all.len(),
            core.dump()
        );
        all.extend(turn(core, Wait::AtMost(Duration::from_millis(100))));
    }
    assert_eq!(all.len(), count, "more answers than expected");
    all
}

/// Drives the core until nothing is in flight.
#[track_caller]
pub fn drain<S: Carrier>(core: &mut Inflight<S>) -> Vec<Finished<S>> {
    let mut all = Vec::new();
    let begun = Instant::now();
    while core.in_flight() > 0 {
        assert!(begun.elapsed() < PATIENCE, "never answered: {:#?}", core.dump());
        all.extend(turn(core, Wait::AtMost(Duration::from_millis(100))));
    }
    all
}

/// Drives the core for a while in which nothing may be answered.
#[track_caller]
pub fn nothing<S: Carrier + std::fmt::Debug>(core: &mut Inflight<S>) {
    let begun = Instant::now();
    while begun.elapsed() < A_WHILE {
        let early = turn(core, Wait::AtMost(Duration::from_millis(5)));
        assert!(early.is_empty(), "answered too early: {early:?}");
    }
}

/// One operation from beginning to end.
#[track_caller]
pub fn run(core: &mut Inflight<Op>, op: Op) -> (io::Result<usize>, Op) {
    let token = accept(core, op);
    let finished = answers(core, 1).remove(0);
    assert_eq!(finished.token, token);
    (finished.result, finished.carrier)
}

/// The errno of a failed answer.
#[track_caller]
pub fn code(result: &io::Result<usize>) -> i32 {
    match result {
        Ok(n) => panic!("answered {n} instead of an error"),
        Err(error) => error.raw_os_error().unwrap_or_else(|| panic!("an error without a code: {error}")),
    }
}

/// Panics with the first difference instead of printing two long byte strings.
#[track_caller]
pub fn assert_same(what: &str, got: &[u8], want: &[u8]) {
    if let Some(at) = got.iter().zip(want).position(|(a, b)| a != b) {
        panic!("{what}: byte {at} is {:#04x} instead of {:#04x}", got[at], want[at]);
    }
    assert_eq!(got.len(), want.len(), "{what}: another length");
}

/// A driver that says of itself what the test wants.
pub struct Claims(pub Box<dyn Driver>, pub OpSet);

// SAFETY: all promises are the inner driver's.
unsafe impl Driver for Claims {
    fn name(&self) -> DriverName {
        self.0.name()
    }
    fn depth(&self) -> u32 {
        self.0.depth()
    }
    fn supports(&self) -> OpSet {
        self.1
    }
    unsafe fn prepare(&mut self, token: Token, op: &RawOp) -> Result<(), Full> {
        // SAFETY: passed on.
        unsafe { self.0.prepare(token, op) }
    }
    fn submit(&mut self, wait: Wait, out: &mut Completions) -> io::Result<Progress> {
        self.0.submit(wait, out)
    }
    fn cancel(&mut self, token: Token) {
        self.0.cancel(token);
    }
    fn readiness(&self) -> Arc<dyn Readiness> {
        self.0.readiness()
    }
    fn arm(&mut self, armed: bool) -> Armed {
        self.0.arm(armed)
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.0.clock()
    }
    fn register_file(&mut self, file: &FileHandle) -> io::Result<()> {
        self.0.register_file(file)
    }
    fn unregister_file(&mut self, file: FileId) {
        self.0.unregister_file(file);
    }
    unsafe fn register_memory(&mut self, base: NonNull<u8>, len: usize) -> io::Result<()> {
        // SAFETY: passed on.
        unsafe { self.0.register_memory(base, len) }
    }
    fn unregister_memory(&mut self, base: NonNull<u8>) {
        self.0.unregister_memory(base);
    }
}
