//! One list of cases over the facade, run on every driver and the simulator, under every executor. A case is short and there is one for
//! each method at least: it proves that the method works from there. What a method promises in depth is tested beside it.

mod endings;
mod names;
mod space;
mod transfers;

use crate::fs_kit::{over, real};
use io_fs::{DriverName, DriverOptions, FileSystem, IoConfig, LocalFs, OpenOptions};
use io_sim::{SimDisk, SimOptions};
use io_testkit::{Faults, Faulty};
use std::{future::Future, path::PathBuf, pin::Pin, time::Duration};

/// Where a case runs.
struct Scene {
    fs: FileSystem,
    dir: PathBuf,
}

impl Scene {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

type Case = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone, Copy)]
enum Executor {
    Tokio,
    Smol,
    BlockOn,
}

impl Executor {
    fn run(self, fs: &FileSystem, case: Case) {
        match self {
            Executor::Tokio => {
                let workers = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
                let in_time = async {
                    tokio::time::timeout(Duration::from_secs(60), tokio::spawn(case)).await.expect("the case hangs")
                };
                // A task, because what `block_on` itself polls is not on a worker.
                workers.unwrap().block_on(in_time).unwrap();
            }
            Executor::Smol => smol::block_on(smol::spawn(case)),
            Executor::BlockOn => fs.block_on(case),
        }
    }
}

/// On a real driver.
fn on(driver: DriverName, executor: Executor, case: fn(Scene) -> Case) {
    let Some(fs) = real(driver, |_| {}) else { return };
    // Not /tmp, which may be a tmpfs without direct I/O.
    let tmp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    executor.run(&fs, case(Scene { fs: fs.clone(), dir: tmp.path().to_owned() }));
}

/// On a file system of this thread alone.
fn on_local(driver: DriverName, case: fn(Scene) -> Case) {
    let mut config = IoConfig::default();
    config.driver = Some(driver);
    let local = match LocalFs::with_config(config) {
        Ok(local) => local,
        Err(unavailable) => return io_testkit::skip("io-fs local", driver.as_str(), &unavailable.to_string()),
    };
    let tmp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    local.block_on(async {
        // Its files know the file system that they are of; with that the cases are the same as elsewhere.
        let file = local.open_with(tmp.path().join("first"), OpenOptions::CREATE_NEW).await.unwrap();
        case(Scene { fs: file.file_system().clone(), dir: tmp.path().to_owned() }).await;
    });
}

/// On a well-behaved simulator, and on one that does what it may.
fn on_sim(executor: Executor, case: fn(Scene) -> Case) {
    for options in [SimOptions::seeded(1), SimOptions::hostile(2)] {
        let disk = SimDisk::new(options);
        disk.create_dir_all("/dir").unwrap();
        let fs = over(&disk);
        executor.run(&fs, case(Scene { fs: fs.clone(), dir: "/dir".into() }));
        assert_eq!(fs.shards().threads(), 0, "a simulated file system has no threads");
    }
}

/// On any driver, with faults to come.
fn with_faults(driver: DriverName, executor: Executor, case: fn(Scene, Faults) -> Case) {
    let tmp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sim = SimDisk::new(SimOptions::seeded(3));
    sim.create_dir_all(tmp.path()).unwrap();
    let mut wanted = DriverOptions::default();
    wanted.driver = Some(driver);
    wanted.one_thread = false;
    let inner = match driver {
        DriverName::Sim => Box::new(sim.driver(64)) as Box<dyn io_fs::Driver>,
        _ => match io_fs::select(&wanted) {
            Ok(selected) => selected.driver,
            Err(unavailable) => return io_testkit::skip("io-fs faults", driver.as_str(), &unavailable.to_string()),
        },
    };
    let (faulty, faults) = Faulty::new(inner);
    let fs = FileSystem::with_driver(faulty).unwrap();
    executor.run(&fs, case(Scene { fs: fs.clone(), dir: tmp.path().to_owned() }, faults));
}

/// The one list.
macro_rules! cases {
    ($run:expr) => {
        cases! { @ $run;
            transfers: reads_fill_the_capacity writes_are_whole exact_or_an_error vectored ranges_as_one_batch
                append_has_one_cursor append_shared durable atomic_or_unsupported with_options large odd_offsets
                nothing_behind_the_end direct_or_named pool_buffers;
            names: opened_as_asked renamed removed directories replaced copied what_names_say;
            space: truncated allocated punched advised synced described;
            endings: cancelled_before_it_begins cancelled_under_way timed_out dropped_under_way closed
                a_full_device_is_named many_at_once;
        }
    };
    (@ $run:expr; $($file:ident: $($case:ident)+;)+) => {
        $($(
            #[test]
            fn $case() {
                $run(|scene| Box::pin($file::$case(scene)));
            }
        )+)+
    };
}

/// Those that need a driver which fails on demand.
macro_rules! faulty_cases {
    ($driver:expr, $executor:expr; $($case:ident)+) => {
        $(
            #[test]
            fn $case() {
                with_faults($driver, $executor, |scene, faults| Box::pin(endings::$case(scene, faults)));
            }
        )+
    };
}

macro_rules! every_executor {
    ($($module:ident: $driver:expr, $on:expr;)+) => {
        $(mod $module {
            every_executor!(@ under_tokio, $driver, $on, Executor::Tokio);
            every_executor!(@ under_smol, $driver, $on, Executor::Smol);
            every_executor!(@ under_block_on, $driver, $on, Executor::BlockOn);
        })+
    };
    (@ $module:ident, $driver:expr, $on:expr, $executor:expr) => {
        mod $module {
            use super::super::*;
            cases!(|case| $on($executor, case));
            faulty_cases!($driver, $executor; a_failed_sync_poisons short_transfers_are_continued a_wedged_one_comes_late);
        }
    };
}

every_executor! {
    uring: DriverName::Uring, |executor, case| on(DriverName::Uring, executor, case);
    aio: DriverName::Aio, |executor, case| on(DriverName::Aio, executor, case);
    threadpool: DriverName::ThreadPool, |executor, case| on(DriverName::ThreadPool, executor, case);
    sim: DriverName::Sim, on_sim;
}

macro_rules! local {
    ($($module:ident: $driver:expr;)+) => {
        $(mod $module {
            use super::*;
            cases!(|case| on_local($driver, case));
        })+
    };
}

local! {
    local_uring: DriverName::Uring;
    local_aio: DriverName::Aio;
    local_threadpool: DriverName::ThreadPool;
}
