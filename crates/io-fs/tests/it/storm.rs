//! Random drops, cancels and time-outs over files, with buffers that notice who touches them too late and buffers of the pool, against
//! a model: on every driver and the simulator, under every executor.

mod site;
mod task;

use crate::fs_kit::real;
use io_fs::{DriverName, FileSystem, IoConfig, LocalFs, OpenOptions};
use io_sim::{SimDisk, SimOptions};
use site::Site;
use std::{future::Future, pin::Pin, time::Duration};

/// Tasks of a storm.
const TASKS: u64 = 16;
/// Storms that there are: three drivers under four executors, and the simulator under two.
const STORMS: u64 = 14;

/// Operations of each task. `IOFS_STORM` is the number of operations of all storms together; without it a storm has 2,000.
fn rounds() -> u64 {
    let all = std::env::var("IOFS_STORM").ok().map(|n| n.parse::<u64>().expect("IOFS_STORM is a number"));
    all.map_or(2_000, |all| all.div_ceil(STORMS)).div_ceil(TASKS)
}

/// An executor: runs all tasks to their ends.
type Run = fn(&FileSystem, Vec<Task>);
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

fn under_tokio(_fs: &FileSystem, tasks: Vec<Task>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn under_smol(_fs: &FileSystem, tasks: Vec<Task>) {
    smol::block_on(async {
        let tasks: Vec<_> = tasks.into_iter().map(smol::spawn).collect();
        for task in tasks {
            task.await;
        }
    });
}

/// Four threads, each of which runs its share of the tasks in a `block_on` of its own.
fn under_block_on(fs: &FileSystem, tasks: Vec<Task>) {
    let mut tasks = tasks.into_iter();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let share: Vec<_> = tasks.by_ref().take(TASKS as usize / 4).collect();
            scope.spawn(|| on_this_thread(fs, share));
        }
    });
}

/// The calling thread runs them all.
fn on_this_thread(fs: &FileSystem, tasks: Vec<Task>) {
    let local = smol::LocalExecutor::new();
    let tasks: Vec<_> = tasks.into_iter().map(|task| local.spawn(task)).collect();
    fs.block_on(local.run(async {
        for task in tasks {
            task.await;
        }
    }));
}

fn storm(site: &Site, run: Run) {
    let rounds = rounds();
    let fs = site.fs();
    let tasks = (0..TASKS).map(|id| Box::pin(task::task(site.ground(), id, rounds)) as Task).collect();
    site::in_time("the storm", || run(&fs, tasks));
    drop(fs);
    site.comes_to_rest();
}

fn on_a_driver(driver: DriverName, run: Run) {
    // Threads and descriptors that an executor keeps for ever are there before anything is counted.
    smol::block_on(smol::spawn(async {}));
    let before = site::descriptors();
    // Fewer buffers than tasks use at once: the heap has to stand in now and then.
    let Some(fs) = real(driver, |config| config.buffer_pool_size = 8) else { return };
    let site = Site::real(fs, None);
    storm(&site, run);
    site.ends(before);
}

fn on_a_local_file_system(driver: DriverName) {
    let here = tempfile::NamedTempFile::new().unwrap();
    let before = site::descriptors();
    let mut config = IoConfig::default();
    config.driver = Some(driver);
    config.buffer_pool_size = 8;
    let local = match LocalFs::with_config(config) {
        Ok(local) => local,
        Err(unavailable) => return io_testkit::skip("io-fs storm", driver.as_str(), &unavailable.to_string()),
    };
    // Its files know the file system that they are of; with that everything else is as it is elsewhere.
    let fs = local.block_on(local.open_with(here.path(), OpenOptions::READ)).unwrap().file_system().clone();
    let site = Site::real(fs, Some(local));
    storm(&site, on_this_thread);
    site.ends(before);
}

/// On a disk where much goes slowly and in pieces.
fn on_the_simulator(run: Run) {
    let disk = SimDisk::new(SimOptions { idle_max: Duration::from_secs(600), ..SimOptions::hostile(7) });
    let site = Site::simulated(disk);
    storm(&site, run);
    site.ends(site::descriptors());
}

macro_rules! storms {
    ($($module:ident: $driver:expr;)+) => {
        $(mod $module {
            use super::*;
            #[test]
            fn tokio() {
                on_a_driver($driver, under_tokio);
            }
            #[test]
            fn smol() {
                on_a_driver($driver, under_smol);
            }
            #[test]
            fn block_on() {
                on_a_driver($driver, under_block_on);
            }
            #[test]
            fn local() {
                on_a_local_file_system($driver);
            }
        })+
    };
}

storms! {
    uring: DriverName::Uring;
    aio: DriverName::Aio;
    threadpool: DriverName::ThreadPool;
}

mod sim {
    use super::*;

    #[test]
    fn tokio() {
        on_the_simulator(under_tokio);
    }

    #[test]
    fn smol() {
        on_the_simulator(under_smol);
    }

    #[test]
    fn block_on() {
        on_the_simulator(under_block_on);
    }
}
