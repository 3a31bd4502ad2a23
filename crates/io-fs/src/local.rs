//! A file system for one thread alone.

use crate::{Backend, CloseFailed, File, FileOptions, FileSystem, IoConfig};
use io_engine::{
    Shards,
    core::{Driver, Unavailable},
};
use std::{io, marker::PhantomData, ops::Deref, path::Path, rc::Rc};

/// A file system for one thread alone, on a ring that belongs to that thread (`SINGLE_ISSUER | DEFER_TASKRUN` where the kernel has it):
/// the shortest way there is, for thread-per-core programs.
///
/// It and its files are not `Send`. Its futures have to be run by [`block_on`](FileSystem::block_on) on the same thread; asked elsewhere
/// (through a clone of the [`FileSystem`] or the [`File`] inside), its operations answer an error. Dropped, it waits for what is in flight,
/// because nobody else can.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let fs = io_fs::LocalFs::new()?;
/// fs.block_on(async {
///     let file = fs.create(dir.path().join("f")).await?;
///     file.append(b"hello".to_vec()).await.0?;
///     file.sync_data().await?;
///     fs.rename(dir.path().join("f"), dir.path().join("g")).await
/// })?;
/// assert_eq!(fs.snapshot().in_flight, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

    /// A local file system on a driver of one's own, or on a simulator.
    ///
    /// # Errors
    /// As [`FileSystem::with_driver`].
    pub fn with_driver(driver: impl Driver + 'static) -> Result<LocalFs, Unavailable> {
        LocalFs::with_driver_and_config(Box::new(driver), IoConfig::default())
    }

    /// As [`LocalFs::with_driver`], with settings. Those that choose a driver have no effect.
    ///
    /// # Errors
    /// As [`LocalFs::with_driver`].
    pub fn with_driver_and_config(driver: Box<dyn Driver>, config: IoConfig) -> Result<LocalFs, Unavailable> {
        config.validate()?;
        let backend = Backend::given(&*driver);
        LocalFs::over(driver, backend, config)
    }

    fn over(driver: Box<dyn Driver>, backend: Backend, config: IoConfig) -> Result<LocalFs, Unavailable> {
        let shards = Shards::owned(driver, config.shards())?;
        Ok(LocalFs { fs: FileSystem::over(shards, backend, config), _not_send: PhantomData })
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn open(&self, path: impl AsRef<Path>) -> io::Result<LocalFile> {
        self.fs.open(path).await.map(LocalFile::of)
    }

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn open_rw(&self, path: impl AsRef<Path>) -> io::Result<LocalFile> {
        self.fs.open_rw(path).await.map(LocalFile::of)
    }

    /// Makes a file or cuts it to length 0; see [`FileSystem::create`].
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn create(&self, path: impl AsRef<Path>) -> io::Result<LocalFile> {
        self.fs.create(path).await.map(LocalFile::of)
    }

    /// Opens or makes a file for appending; see [`FileSystem::open_append`].
    ///
    /// # Errors
    /// As there.
    pub async fn open_append(&self, path: impl AsRef<Path>) -> io::Result<LocalFile> {
        self.fs.open_append(path).await.map(LocalFile::of)
    }

    /// Opens a file with these options: [`OpenOptions`](crate::OpenOptions) or [`FileOptions`].
    ///
    /// # Errors
    /// Those of open(2).
    pub async fn open_with(&self, path: impl AsRef<Path>, options: impl Into<FileOptions>) -> io::Result<LocalFile> {
        self.fs.open_with(path, options).await.map(LocalFile::of)
    }
}

impl LocalFile {
    fn of(file: File) -> LocalFile {
        LocalFile { file, _not_send: PhantomData }
    }

    /// Closes the file and reports what the system says about it; see [`File::close`].
    ///
    /// # Errors
    /// As there.
    pub async fn close(self) -> Result<(), CloseFailed> {
        self.file.close().await
    }
}

/// All that is not about opening: names, replacing, copying, settings, counters, [`block_on`](FileSystem::block_on).
impl Deref for LocalFs {
    type Target = FileSystem;
    fn deref(&self) -> &FileSystem {
        &self.fs
    }
}

impl Deref for LocalFile {
    type Target = File;
    fn deref(&self) -> &File {
        &self.file
    }
}
