//! What storage layers are generic over: files of any make.

use super::{CloseFailed, File};
use io_engine::core::{Advice, BufResult, IoBuf, IoBufMut, Metadata};
use std::{future::Future, io, pin::Pin};

/// A boxed future that can be sent to other threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An open file. Buffers are owned while they are in use and come back on success and on error.
///
/// For trait objects there is [`DynAsyncFile`].
pub trait AsyncFile: Send + Sync + 'static {
    /// Reads into the buffer's capacity; see [`File::read_at`].
    fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> impl Future<Output = BufResult<usize, B>> + Send;
    /// Writes all of the buffer's bytes; see [`File::write_at`].
    fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> impl Future<Output = BufResult<usize, B>> + Send;
    /// Writes to the end of the file, and answers where that was; see [`File::append`].
    fn append<B: IoBuf>(&self, buf: B) -> impl Future<Output = BufResult<u64, B>> + Send;
    /// Makes the content durable; see [`File::sync_data`].
    fn sync_data(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// Makes the content and all metadata durable; see [`File::sync_all`].
    fn sync_all(&self) -> impl Future<Output = io::Result<()>> + Send;
    /// The size in bytes.
    fn size(&self) -> impl Future<Output = io::Result<u64>> + Send;
    /// Takes space for a range, the size stays; see [`File::allocate`].
    fn allocate(&self, offset: u64, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// Cuts or grows the file; see [`File::truncate`].
    fn truncate(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// Gives space back; see [`File::punch_hole`].
    fn punch_hole(&self, offset: u64, len: u64) -> impl Future<Output = io::Result<()>> + Send;
    /// Says how a range will be used; see [`File::advise`].
    fn advise(&self, offset: u64, len: u64, advice: Advice) -> impl Future<Output = io::Result<()>> + Send;
    /// What the system knows of the file.
    fn metadata(&self) -> impl Future<Output = io::Result<Metadata>> + Send;
    /// Closes the file and reports what the system says; `ResourceBusy` if it is in use and stays open. See [`File::close`].
    fn close(self) -> impl Future<Output = io::Result<()>> + Send;
}

impl AsyncFile for File {
    fn read_at<B: IoBufMut>(&self, buf: B, offset: u64) -> impl Future<Output = BufResult<usize, B>> + Send {
        File::read_at(self, buf, offset)
    }
    fn write_at<B: IoBuf>(&self, buf: B, offset: u64) -> impl Future<Output = BufResult<usize, B>> + Send {
        File::write_at(self, buf, offset)
    }
    fn append<B: IoBuf>(&self, buf: B) -> impl Future<Output = BufResult<u64, B>> + Send {
        File::append(self, buf)
    }
    fn sync_data(&self) -> impl Future<Output = io::Result<()>> + Send {
        File::sync_data(self)
    }
    fn sync_all(&self) -> impl Future<Output = io::Result<()>> + Send {
        File::sync_all(self)
    }
    fn size(&self) -> impl Future<Output = io::Result<u64>> + Send {
        File::size(self)
    }
    fn allocate(&self, offset: u64, len: u64) -> impl Future<Output = io::Result<()>> + Send {
        File::allocate(self, offset, len)
    }
    fn truncate(&self, len: u64) -> impl Future<Output = io::Result<()>> + Send {
        File::truncate(self, len)
    }
    fn punch_hole(&self, offset: u64, len: u64) -> impl Future<Output = io::Result<()>> + Send {
        File::punch_hole(self, offset, len)
    }
    fn advise(&self, offset: u64, len: u64, advice: Advice) -> impl Future<Output = io::Result<()>> + Send {
        File::advise(self, offset, len, advice)
    }
    fn metadata(&self) -> impl Future<Output = io::Result<Metadata>> + Send {
        File::metadata(self)
    }
    async fn close(self) -> io::Result<()> {
        File::close(self).await.map_err(CloseFailed::into)
    }
}

/// [`AsyncFile`] for trait objects: futures are boxed, buffers are vectors. Every [`AsyncFile`] is one.
///
/// ```
/// use io_fs::{DynAsyncFile, FileSystem};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// let fs = FileSystem::new()?;
/// fs.block_on(async {
///     let file: Box<dyn DynAsyncFile> = Box::new(fs.create(&path).await?);
///     file.write_at(b"hello".to_vec(), 0).await.0?;
///     let (read, bytes) = file.read_at(Vec::with_capacity(5), 0).await;
///     assert_eq!((read?, &bytes[..]), (5, &b"hello"[..]));
///     file.close().await
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(missing_docs)] // each is what AsyncFile says
pub trait DynAsyncFile: Send + Sync + 'static {
    fn read_at(&self, buf: Vec<u8>, offset: u64) -> BoxFuture<'_, BufResult<usize, Vec<u8>>>;
    fn write_at(&self, buf: Vec<u8>, offset: u64) -> BoxFuture<'_, BufResult<usize, Vec<u8>>>;
    fn append(&self, buf: Vec<u8>) -> BoxFuture<'_, BufResult<u64, Vec<u8>>>;
    fn sync_data(&self) -> BoxFuture<'_, io::Result<()>>;
    fn sync_all(&self) -> BoxFuture<'_, io::Result<()>>;
    fn size(&self) -> BoxFuture<'_, io::Result<u64>>;
    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>>;
    fn truncate(&self, len: u64) -> BoxFuture<'_, io::Result<()>>;
    fn punch_hole(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>>;
    fn advise(&self, offset: u64, len: u64, advice: Advice) -> BoxFuture<'_, io::Result<()>>;
    fn metadata(&self) -> BoxFuture<'_, io::Result<Metadata>>;
    fn close(self: Box<Self>) -> BoxFuture<'static, io::Result<()>>;
}

impl<F: AsyncFile> DynAsyncFile for F {
    fn read_at(&self, buf: Vec<u8>, offset: u64) -> BoxFuture<'_, BufResult<usize, Vec<u8>>> {
        Box::pin(AsyncFile::read_at(self, buf, offset))
    }
    fn write_at(&self, buf: Vec<u8>, offset: u64) -> BoxFuture<'_, BufResult<usize, Vec<u8>>> {
        Box::pin(AsyncFile::write_at(self, buf, offset))
    }
    fn append(&self, buf: Vec<u8>) -> BoxFuture<'_, BufResult<u64, Vec<u8>>> {
        Box::pin(AsyncFile::append(self, buf))
    }
    fn sync_data(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(AsyncFile::sync_data(self))
    }
    fn sync_all(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(AsyncFile::sync_all(self))
    }
    fn size(&self) -> BoxFuture<'_, io::Result<u64>> {
        Box::pin(AsyncFile::size(self))
    }
    fn allocate(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(AsyncFile::allocate(self, offset, len))
    }
    fn truncate(&self, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(AsyncFile::truncate(self, len))
    }
    fn punch_hole(&self, offset: u64, len: u64) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(AsyncFile::punch_hole(self, offset, len))
    }
    fn advise(&self, offset: u64, len: u64, advice: Advice) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(AsyncFile::advise(self, offset, len, advice))
    }
    fn metadata(&self) -> BoxFuture<'_, io::Result<Metadata>> {
        Box::pin(AsyncFile::metadata(self))
    }
    fn close(self: Box<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(AsyncFile::close(*self))
    }
}
