//! Which driver runs, and why it is not a better one.

use crate::IoConfig;
use io_engine::{
    Died, DriverOptions, Selected, Shards,
    core::{Driver, DriverName, Unavailable},
    select,
};
use std::fmt;

/// The driver behind a file system.
#[derive(Debug)]
pub struct Backend {
    driver: DriverName,
    passed_over: Vec<Unavailable>,
    chosen: Chosen,
    shards: usize,
    /// There from the moment that the file system is.
    engine: Option<Shards>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    Automatically,
    Explicitly,
    Given,
}

impl Backend {
    /// As many drivers as there are to be shards, all of one kind.
    pub(crate) fn choose(config: &IoConfig) -> Result<(Vec<Box<dyn Driver>>, Backend), Unavailable> {
        Backend::make(config, false, config.shard_count())
    }

    /// The one driver of a thread of its own.
    pub(crate) fn choose_local(config: &IoConfig) -> Result<(Box<dyn Driver>, Backend), Unavailable> {
        let (mut drivers, backend) = Backend::make(config, true, 1)?;
        Ok((drivers.remove(0), backend))
    }

    fn make(config: &IoConfig, one_thread: bool, count: usize) -> Result<(Vec<Box<dyn Driver>>, Backend), Unavailable> {
        let mut wanted = DriverOptions::default();
        wanted.depth = config.sq_depth;
        wanted.one_thread = one_thread;
        wanted.driver = config.driver;
        wanted.threads = Some(config.pool_threads).filter(|&threads| threads > 0);
        let mut wanted = wanted.with_env()?;
        let chosen = if wanted.driver.is_some() { Chosen::Explicitly } else { Chosen::Automatically };
        let first = match wanted.driver {
            None if !config.enable_io_uring => without_uring(&wanted)?,
            Some(DriverName::Uring) if !config.enable_io_uring => return Err(switched_off()),
            _ => select(&wanted)?,
        };
        let driver = first.driver.name();
        wanted.driver = Some(driver);
        let mut drivers = vec![first.driver];
        for _ in 1..count {
            match select(&wanted) {
                Ok(next) => drivers.push(next.driver),
                // What one more ring is refused for (memory, contexts) is no reason to do without the first ones.
                Err(_) => break,
            }
        }
        let shards = drivers.len();
        Ok((drivers, Backend { driver, passed_over: first.passed_over, chosen, shards, engine: None }))
    }

    pub(crate) fn given(driver: &dyn Driver) -> Backend {
        Backend { driver: driver.name(), passed_over: Vec::new(), chosen: Chosen::Given, shards: 1, engine: None }
    }

    pub(crate) fn of(mut self, engine: &Shards) -> Backend {
        self.engine = Some(engine.clone());
        self
    }

    /// The driver that runs now: the one that was chosen, or, once that has died on every shard, the one that took over.
    pub fn driver(&self) -> DriverName {
        let Some(engine) = &self.engine else { return self.driver };
        let mut all = engine.deaths().into_iter();
        let successor = all.try_fold(None, |_, death| death.map(|died| died.successor));
        successor.flatten().unwrap_or(self.driver)
    }

    /// The driver that was chosen when the file system was made.
    pub fn chosen(&self) -> DriverName {
        self.driver
    }

    /// The drivers that died since, one for each shard that lost its own: which, of what, and who runs in its place.
    pub fn died(&self) -> Vec<Died> {
        self.engine.iter().flat_map(Shards::deaths).flatten().collect()
    }

    /// The drivers that an automatic choice would have preferred, each with its reason and its remedy.
    pub fn passed_over(&self) -> &[Unavailable] {
        &self.passed_over
    }

    /// Number of shards: drivers side by side, one for each of as many threads.
    pub fn shards(&self) -> usize {
        self.shards
    }
}

/// The best driver that is not io_uring.
fn without_uring(wanted: &DriverOptions) -> Result<Selected, Unavailable> {
    let mut passed_over = vec![switched_off()];
    for driver in [DriverName::Aio, DriverName::ThreadPool] {
        let mut this_one = wanted.clone();
        this_one.driver = Some(driver);
        match select(&this_one) {
            Ok(Selected { driver, .. }) => return Ok(Selected { driver, passed_over }),
            Err(unavailable) => passed_over.push(unavailable),
        }
    }
    Err(passed_over.pop().expect("two were tried"))
}

fn switched_off() -> Unavailable {
    let reason = "it is switched off by enable_io_uring = false (IOFS_ENABLE_IO_URING)";
    Unavailable::new(DriverName::Uring, reason, "set enable_io_uring to true")
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.driver)?;
        match self.chosen {
            Chosen::Explicitly => write!(f, "chosen explicitly")?,
            Chosen::Given => write!(f, "given")?,
            Chosen::Automatically if self.passed_over.is_empty() => write!(f, "the best there is")?,
            Chosen::Automatically => {
                write!(f, "because ")?;
                for (i, unavailable) in self.passed_over.iter().enumerate() {
                    write!(f, "{}{unavailable}", if i > 0 { "; " } else { "" })?;
                }
            }
        }
        write!(f, "; {} shard{}", self.shards, if self.shards == 1 { "" } else { "s" })?;
        for (index, died) in self.engine.iter().flat_map(Shards::deaths).enumerate() {
            if let Some(died) = died {
                write!(f, "; shard {index}: {died}")?;
            }
        }
        Ok(())
    }
}
