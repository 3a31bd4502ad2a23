//! The file system: the one door to files, whatever the driver behind it.

mod copy;
mod janitor;
mod names;
mod open;
mod replace;
mod snapshot;
mod temporary;

pub use copy::{Copied, CopyOptions, CopyWay};
pub use snapshot::Snapshot;

use crate::{Backend, File, IoConfig, file::Planner};
use io_engine::{
    Answer, BufferPool, Operation, PoolOptions, Shards,
    core::{Driver, Metadata, Op, Output, Unavailable},
};
use std::{
    fmt,
    future::Future,
    io,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

/// A file system as the operating system (or a simulator) has it, reached through one engine. Clones are the same one.
///
/// Usable from any thread and any runtime, or without one ([`FileSystem::block_on`]). Operations begin when they are first polled;
/// dropping a future loses the interest in its outcome and nothing else.
#[derive(Clone)]
pub struct FileSystem(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) shards: Shards,
    pub(crate) backend: Backend,
    pub(crate) config: IoConfig,
    /// What was measured about durable writes.
    pub(crate) planner: Planner,
    /// Made when it is first asked for.
    buffers: OnceLock<BufferPool>,
    /// Temporary names given out so far.
    temporaries: AtomicU64,
    /// Looks after what was given up: removals of temporary files.
    janitor: Arc<janitor::Janitor>,
}

impl FileSystem {
    /// A file system on the best driver that works here, with the default settings and those of the environment (`IOFS_*`).
    ///
    /// # Errors
    /// If no driver works here, or the environment names one that does not, or says something else that makes no sense
    /// ([`ConfigError`](crate::ConfigError)).
    pub fn new() -> Result<FileSystem, Unavailable> {
        FileSystem::with_config(IoConfig::from_env()?)
    }

    /// A file system with these settings. Of the environment `IOFS_DRIVER` alone counts, and only if no driver is set; for the rest see
    /// [`IoConfig::with_env`].
    ///
    /// # Errors
    /// As [`FileSystem::new`], and for settings out of range ([`IoConfig::validate`]).
    pub fn with_config(config: IoConfig) -> Result<FileSystem, Unavailable> {
        config.validate()?;
        let (drivers, backend) = Backend::choose(&config)?;
        let shards = Shards::new(drivers, config.shards())?;
        Ok(FileSystem::over(shards, backend, config))
    }

    /// A file system on a driver of one's own, or on a simulator. On a simulator nothing spawns threads, time is the simulator's, and
    /// reads are not tried on the caller's thread: with the futures run by [`FileSystem::block_on`], the same seed is the same run.
    ///
    /// # Errors
    /// If the offload pool that stands beside a real driver cannot be made.
    pub fn with_driver(driver: impl Driver + 'static) -> Result<FileSystem, Unavailable> {
        FileSystem::with_driver_and_config(Box::new(driver), IoConfig::default())
    }

    /// As [`FileSystem::with_driver`], with settings. Those that choose a driver have no effect.
    ///
    /// # Errors
    /// As [`FileSystem::with_driver`].
    pub fn with_driver_and_config(driver: Box<dyn Driver>, config: IoConfig) -> Result<FileSystem, Unavailable> {
        config.validate()?;
        let backend = Backend::given(&*driver);
        let shards = Shards::new(vec![driver], config.shards())?;
        Ok(FileSystem::over(shards, backend, config))
    }

    /// Which driver runs now, and why it is not a better one; also after the chosen one has died.
    pub fn backend(&self) -> &Backend {
        &self.0.backend
    }

    /// The settings.
    pub fn config(&self) -> &IoConfig {
        &self.0.config
    }

    /// The file system's own pool of buffers, of [`buffer_pool_size`](IoConfig::buffer_pool_size) buffers of each size, registered with
    /// the drivers. It is made when it is first asked for, and maps memory as it is needed; where all buffers are out, the heap stands in.
    pub fn buffer_pool(&self) -> &BufferPool {
        self.0.buffers.get_or_init(|| {
            let pool = BufferPool::new(PoolOptions::per_class(self.0.config.buffer_pool_size));
            pool.attach(&self.0.shards);
            pool
        })
    }

    /// The engine behind it, for counters and for operations that have no method here.
    pub fn shards(&self) -> &Shards {
        &self.0.shards
    }

    /// Runs a future to its end on the calling thread; see [`Shards::block_on`].
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.shards.block_on(future)
    }

    pub(crate) fn over(shards: Shards, backend: Backend, config: IoConfig) -> FileSystem {
        let backend = backend.of(&shards);
        #[cfg(feature = "tracing")]
        crate::metrics::announce(&backend);
        FileSystem(Arc::new(Inner {
            shards,
            backend,
            config,
            planner: Planner::default(),
            buffers: OnceLock::new(),
            temporaries: AtomicU64::new(0),
            janitor: Arc::default(),
        }))
    }

    /// An operation of the engine.
    pub(crate) fn run<T>(&self, op: Op, make: fn(Answer) -> T) -> Operation<T> {
        self.0.shards.operation(op, make)
    }
}

/// The typed answer of an operation that succeeded.
pub(crate) fn output_of(answer: Answer) -> io::Result<Output> {
    answer.result?;
    Ok(answer.op.map_or(Output::None, |mut op| op.take_output()))
}

/// The answer to an operation that has none but its success.
pub(crate) fn nothing_of(answer: Answer) -> io::Result<()> {
    answer.result.map(drop)
}

pub(crate) fn metadata_of(answer: Answer) -> io::Result<Metadata> {
    match output_of(answer)? {
        Output::Metadata(metadata) => Ok(metadata),
        other => Err(unexpected("a stat", &other)),
    }
}

/// A driver that answers with something else is broken; its caller is told, not killed.
#[cold]
pub(crate) fn unexpected(what: &str, output: &Output) -> io::Error {
    io::Error::other(format!("the driver answered {what} with {output:?}"))
}

impl fmt::Debug for FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSystem({})", self.0.backend)
    }
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<FileSystem>();
    is_shared::<File>();
};
