//! A file system for one thread alone.

use crate::{Backend, File, FileSystem, IoConfig};
use io_engine::{
    Shards,
    core::{Driver, OpenOptions, Unavailable},
};
use std::{future::Future, io, marker::PhantomData, ops::Deref, path::Path, rc::Rc};

/// A file system for one thread alone, on a ring that belongs to that thread (`SINGLE_ISSUER | DEFER_TASKRUN` where the kernel has it):
/// the shortest way there is, for thread-per-core programs.
///
/// It and its files are not `Send`. Its futures have to be run by [`LocalFs::block_on`] on the same thread; asked elsewhere, its
/// operations answer an error. Dropped, it waits for what is in flight, because nobody else can.
#[derive(Clone, Debug)]
pub struct LocalFs {
    fs: FileSystem,
    _not_send: PhantomData<Rc<()>>,
}

/// A file of a [`LocalFs`]; everything else about it is [`File`]'s.
#[derive(Clone, Debug)]
pub struct LocalFile {
    file: File,
    _not_send: PhantomData<Rc<()>>,
}

impl LocalFs {
    /// A local file system for the calling thread, on the best driver that works here.
    ///
    /// # Errors
    /// As [`FileSystem::new`].
    pub fn new() -> Result<LocalFs, Unavailable> {
        LocalFs::with_config(IoConfig::from_env()?)
    }

    /// A local file system with these settings; those about shards and threads have no effect.
    ///
    /// # Errors
    /// As [`FileSystem::new`].
    pub fn with_config(config: IoConfig) -> Result<LocalFs, Unavailable> {
        config.validate()?;
        let (driver, backend) = Backend::choose_local(&config)?;
        LocalFs::over(driver, backend, config)
    }

    fn over(driver: Box<dyn Driver>, backend: Backend, config: IoConfig) -> Result<LocalFs, Unavailable> {
        let shards = Shards::owned(driver, config.shards())?;
        Ok(LocalFs { fs: FileSystem::over(shards, backend, config), _not_send: PhantomData })
    }

    /// Runs a future to its end on this thread, the one that the file system belongs to.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.fs.block_on(future)
    }

    /// Which driver runs, and why it is not a better one.
    pub fn backend(&self) -> &Backend {
        self.fs.backend()
    }

    /// Opens a file with these options.
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn open_with(&self, path: impl AsRef<Path>, options: OpenOptions) -> io::Result<LocalFile> {
        let file = self.fs.open_with(path, options).await?;
        Ok(LocalFile { file, _not_send: PhantomData })
    }
}

impl Deref for LocalFile {
    type Target = File;
    fn deref(&self) -> &File {
        &self.file
    }
}
