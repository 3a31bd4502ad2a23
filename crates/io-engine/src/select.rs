//! Which driver runs: the engine's only line of sight to the drivers.
//!
//! An automatic choice falls through, uring → AIO → thread pool, and keeps each reason; an explicit one (by option or by
//! `IOFS_DRIVER`) never does. Drivers are asked by making them and running an operation, not by their kernel's version.

use crate::trace::{event_info, event_warn};
use io_core::{Driver, DriverName, Unavailable};
use std::fmt;

/// What is wanted of a driver.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DriverOptions {
    /// This driver and no other; `None`: the best that works here.
    pub driver: Option<DriverName>,
    /// Most operations in flight.
    pub depth: u32,
    /// One thread alone drives the driver: rings can be cheaper then.
    pub one_thread: bool,
    /// Most threads of a thread pool; `None`: the pool's own default.
    pub threads: Option<usize>,
}

impl Default for DriverOptions {
    fn default() -> Self {
        DriverOptions { driver: None, depth: 256, one_thread: true, threads: None }
    }
}

impl DriverOptions {
    /// The same, with the driver that `IOFS_DRIVER` names, if it names one and none was set.
    ///
    /// # Errors
    /// `Unavailable` if the variable names no driver: an explicit choice never falls through.
    pub fn with_env(mut self) -> Result<DriverOptions, Unavailable> {
        if self.driver.is_some() {
            return Ok(self);
        }
        let Some(name) = std::env::var_os("IOFS_DRIVER").filter(|name| !name.is_empty() && name != "auto") else {
            return Ok(self);
        };
        let name = name.to_string_lossy();
        let known = name.parse::<DriverName>().map_err(|unknown| {
            let remedy = "set IOFS_DRIVER to uring, aio or threadpool, or unset it";
            Unavailable::new(DriverName::Other("IOFS_DRIVER"), unknown.to_string(), remedy)
        })?;
        self.driver = Some(known);
        Ok(self)
    }
}

/// A driver, and why it is not a better one.
pub struct Selected {
    /// The driver.
    pub driver: Box<dyn Driver>,
    /// The drivers that an automatic choice would have preferred, each with its reason.
    pub passed_over: Vec<Unavailable>,
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Selected({}, passed over {:?})", self.driver.name(), self.passed_over)
    }
}

/// Makes the driver that is wanted, or the best one that works here.
///
/// # Errors
/// The reason why the explicitly chosen driver, or the last one of an automatic choice, cannot run.
pub fn select(options: &DriverOptions) -> Result<Selected, Unavailable> {
    if let Some(name) = options.driver {
        return Ok(Selected { driver: make(name, options)?, passed_over: Vec::new() });
    }
    let mut passed_over = Vec::new();
    for name in DriverName::REAL {
        match make(name, options) {
            Ok(driver) => {
                event_info!(driver = %name, passed_over = passed_over.len(), "driver chosen");
                return Ok(Selected { driver, passed_over });
            }
            Err(unavailable) => {
                event_warn!(%unavailable, "driver passed over");
                passed_over.push(unavailable);
            }
        }
    }
    Err(passed_over.pop().expect("at least one driver was tried"))
}

/// Every real driver with `None`, or the reason why it cannot run here.
pub fn survey(options: &DriverOptions) -> Vec<(DriverName, Option<Unavailable>)> {
    DriverName::REAL.into_iter().map(|name| (name, make(name, options).err())).collect()
}

fn make(name: DriverName, options: &DriverOptions) -> Result<Box<dyn Driver>, Unavailable> {
    if options.depth == 0 || options.depth > 32768 {
        let reason = format!("a depth of {} is out of range", options.depth);
        return Err(Unavailable::new(name, reason, "ask for a depth of 1 to 32768"));
    }
    match name {
        DriverName::Uring => uring(options),
        DriverName::Aio => aio(options),
        DriverName::ThreadPool => pool(options),
        DriverName::Sim => {
            let remedy = "make a simulated disk and hand its driver over";
            Err(Unavailable::new(name, "the simulator has no real files", remedy))
        }
        _ => Err(Unavailable::new(name, "no such driver", "choose uring, aio or threadpool")),
    }
}

#[cfg(all(target_os = "linux", feature = "io-uring"))]
fn uring(options: &DriverOptions) -> Result<Box<dyn Driver>, Unavailable> {
    let mut wanted = io_uring_driver::UringOptions::default();
    wanted.depth = options.depth;
    wanted.owner_thread = options.one_thread;
    Ok(Box::new(io_uring_driver::uring(wanted)?))
}

#[cfg(not(all(target_os = "linux", feature = "io-uring")))]
fn uring(_: &DriverOptions) -> Result<Box<dyn Driver>, Unavailable> {
    Err(left_out(DriverName::Uring, "io-uring"))
}

#[cfg(all(target_os = "linux", feature = "libaio"))]
fn aio(options: &DriverOptions) -> Result<Box<dyn Driver>, Unavailable> {
    let wanted = io_aio::AioOptions { depth: options.depth, ..io_aio::AioOptions::default() };
    Ok(Box::new(io_aio::aio(wanted)?))
}

#[cfg(not(all(target_os = "linux", feature = "libaio")))]
fn aio(_: &DriverOptions) -> Result<Box<dyn Driver>, Unavailable> {
    Err(left_out(DriverName::Aio, "libaio"))
}

#[cfg(feature = "threadpool")]
fn pool(options: &DriverOptions) -> Result<Box<dyn Driver>, Unavailable> {
    let usual = io_threadpool::ThreadPoolOptions::default();
    let max_threads = options.threads.map_or(usual.max_threads, |threads| threads.max(1));
    Ok(Box::new(io_threadpool::threadpool(io_threadpool::ThreadPoolOptions {
        depth: options.depth,
        max_threads,
        ..usual
    })?))
}

#[cfg(not(feature = "threadpool"))]
fn pool(_: &DriverOptions) -> Result<Box<dyn Driver>, Unavailable> {
    Err(left_out(DriverName::ThreadPool, "threadpool"))
}

#[allow(dead_code)] // which of them is used depends on platform and features
fn left_out(name: DriverName, feature: &str) -> Unavailable {
    if cfg!(target_os = "linux") || name == DriverName::ThreadPool {
        Unavailable::new(name, "it was left out of this build", format!("build with feature `{feature}`"))
    } else {
        Unavailable::new(name, "it exists on Linux only", "use the thread pool")
    }
}
