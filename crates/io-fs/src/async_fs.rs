//! What storage layers are generic over: file systems of any make.

use crate::{AsyncFile, BoxFuture, DynAsyncFile, File, FileOptions, FileSystem};
use io_engine::core::{DirEntry, Metadata};
use std::{future::Future, io, path::Path};

/// A file system. What each operation means is said at [`FileSystem`].
///
/// For trait objects there is [`DynAsyncFileSystem`].
///
/// ```
/// use io_fs::{AsyncFile, AsyncFileSystem, FileSystem};
/// use std::{io, path::Path};
///
/// /// Works on any file system.
/// async fn save(fs: &impl AsyncFileSystem, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
///     let file = fs.create(path).await?;
///     file.write_at(bytes, 0).await.0?;
///     file.sync_all().await?;
///     fs.sync_dir(path.parent().unwrap_or(Path::new("."))).await
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("saved");
/// let fs = FileSystem::new()?;
/// fs.block_on(save(&fs, &path, b"bytes".to_vec()))?;
/// assert_eq!(std::fs::read(&path)?, b"bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait AsyncFileSystem: Send + Sync + 'static {
    /// Its open files.
    type File: AsyncFile;

    /// Opens a file for reading; see [`FileSystem::open`].
    fn open(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Opens an existing file for reading and writing; see [`FileSystem::open_rw`].
    fn open_rw(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Makes a file or cuts it to length 0; see [`FileSystem::create`].
    fn create(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Opens or makes a file for appending; see [`FileSystem::open_append`].
    fn open_append(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Opens a file with these options; see [`FileSystem::open_with`].
    fn open_with(&self, path: &Path, options: FileOptions) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Gives a file another name; see [`FileSystem::rename`].
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Removes a name of a file; see [`FileSystem::remove_file`].
    fn remove_file(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// Makes a directory and those above it; see [`FileSystem::create_dir_all`].
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// All entries of a directory; see [`FileSystem::read_dir`].
    fn read_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>> + Send;
    /// Removes an empty directory; see [`FileSystem::remove_dir`].
    fn remove_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
    /// What is known of a path; see [`FileSystem::metadata`].
    fn metadata(&self, path: &Path) -> impl Future<Output = io::Result<Metadata>> + Send;
    /// Makes the entries of a directory durable; see [`FileSystem::sync_dir`].
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send;
}

impl AsyncFileSystem for FileSystem {
    type File = File;

    fn open(&self, path: &Path) -> impl Future<Output = io::Result<File>> + Send {
        FileSystem::open(self, path)
    }
    fn open_rw(&self, path: &Path) -> impl Future<Output = io::Result<File>> + Send {
        FileSystem::open_rw(self, path)
    }
    fn create(&self, path: &Path) -> impl Future<Output = io::Result<File>> + Send {
        FileSystem::create(self, path)
    }
    fn open_append(&self, path: &Path) -> impl Future<Output = io::Result<File>> + Send {
        FileSystem::open_append(self, path)
    }
    fn open_with(&self, path: &Path, options: FileOptions) -> impl Future<Output = io::Result<File>> + Send {
        FileSystem::open_with(self, path, options)
    }
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>> + Send {
        FileSystem::rename(self, from, to)
    }
    fn remove_file(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send {
        FileSystem::remove_file(self, path)
    }
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send {
        FileSystem::create_dir_all(self, path)
    }
    fn read_dir(&self, path: &Path) -> impl Future<Output = io::Result<Vec<DirEntry>>> + Send {
        FileSystem::read_dir(self, path)
    }
    fn remove_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send {
        FileSystem::remove_dir(self, path)
    }
    fn metadata(&self, path: &Path) -> impl Future<Output = io::Result<Metadata>> + Send {
        FileSystem::metadata(self, path)
    }
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>> + Send {
        FileSystem::sync_dir(self, path)
    }
}

/// [`AsyncFileSystem`] for trait objects: futures and files are boxed. Every [`AsyncFileSystem`] is one.
///
/// ```
/// use io_fs::{DynAsyncFileSystem, FileSystem};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// let fs = FileSystem::new()?;
/// let any: Box<dyn DynAsyncFileSystem> = Box::new(fs.clone());
/// fs.block_on(async {
///     let file = any.create(&path).await?;
///     file.write_at(b"hello".to_vec(), 0).await.0?;
///     any.remove_file(&path).await
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(missing_docs)] // each is what AsyncFileSystem says
pub trait DynAsyncFileSystem: Send + Sync + 'static {
    fn open<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>>;
    fn open_rw<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>>;
    fn create<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>>;
    fn open_append<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>>;
    fn open_with<'a>(
        &'a self,
        path: &'a Path,
        options: FileOptions,
    ) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>>;
    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, io::Result<()>>;
    fn remove_file<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>>;
    fn create_dir_all<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>>;
    fn read_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Vec<DirEntry>>>;
    fn remove_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>>;
    fn metadata<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Metadata>>;
    fn sync_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>>;
}

impl<F: AsyncFileSystem> DynAsyncFileSystem for F {
    fn open<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>> {
        boxed(AsyncFileSystem::open(self, path))
    }
    fn open_rw<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>> {
        boxed(AsyncFileSystem::open_rw(self, path))
    }
    fn create<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>> {
        boxed(AsyncFileSystem::create(self, path))
    }
    fn open_append<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>> {
        boxed(AsyncFileSystem::open_append(self, path))
    }
    fn open_with<'a>(
        &'a self,
        path: &'a Path,
        options: FileOptions,
    ) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>> {
        boxed(AsyncFileSystem::open_with(self, path, options))
    }
    fn rename<'a>(&'a self, from: &'a Path, to: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(AsyncFileSystem::rename(self, from, to))
    }
    fn remove_file<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(AsyncFileSystem::remove_file(self, path))
    }
    fn create_dir_all<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(AsyncFileSystem::create_dir_all(self, path))
    }
    fn read_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Vec<DirEntry>>> {
        Box::pin(AsyncFileSystem::read_dir(self, path))
    }
    fn remove_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(AsyncFileSystem::remove_dir(self, path))
    }
    fn metadata<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<Metadata>> {
        Box::pin(AsyncFileSystem::metadata(self, path))
    }
    fn sync_dir<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(AsyncFileSystem::sync_dir(self, path))
    }
}

/// An opened file without its type.
fn boxed<'a, F: AsyncFile>(
    opening: impl Future<Output = io::Result<F>> + Send + 'a,
) -> BoxFuture<'a, io::Result<Box<dyn DynAsyncFile>>> {
    Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn DynAsyncFile>) })
}
