//! What the log asks of the file system, with the log's errors; and the lock.

use crate::{
    WalError,
    format::{LOCK_NAME, SEGMENT_HEADER, SegmentHeader, is_prepared, segment_name, segment_number},
};
use bytes::Bytes;
use io_fs::{AlignedBuf, File, FileHandle, FileOptions, FileSystem, Op, OpenOptions};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Bytes that are written or read at once where there is much.
pub(crate) const PIECE: usize = 1 << 20;

/// The byte of the lock file that is locked: one where no content ever is.
const LOCKED: u64 = i64::MAX as u64 - 1;
/// After a crash the system may hold a lock a while longer than the process.
const LOCK_WAIT: Duration = Duration::from_millis(1500);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The lock of a log. It is given back when this is dropped, and all buffers that have it are back from the system: nothing that a
/// former owner has begun happens under the next one.
pub(crate) struct Lock {
    _handle: FileHandle,
}

/// A piece of memory that is lent to the system, and the lock under which that is allowed.
struct Lent<T>(T, #[allow(dead_code)] Arc<Lock>);

impl<T: AsRef<[u8]>> AsRef<[u8]> for Lent<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// Bytes whose operation holds the lock as long as it is under way.
pub(crate) fn lend<T: AsRef<[u8]> + Send + 'static>(memory: T, lock: &Arc<Lock>) -> Bytes {
    Bytes::from_owner(Lent(memory, lock.clone()))
}

/// An aligned buffer as bytes.
pub(crate) struct Aligned(pub(crate) AlignedBuf);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A directory with a log in it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) fs: FileSystem,
    pub(crate) dir: Arc<Path>,
}

impl Place {
    pub(crate) fn new(fs: &FileSystem, dir: impl AsRef<Path>) -> Place {
        Place { fs: fs.clone(), dir: dir.as_ref().into() }
    }

    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(segment_name(number))
    }

    /// Makes the directory if it is missing, with its name durable.
    pub(crate) async fn make_dir(&self) -> Result<(), WalError> {
        let mut missing = Vec::new();
        let mut dir: &Path = &self.dir;
        while self.fs.metadata(dir).await.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            let Some(above) = dir.parent() else { break };
            missing.push(above.to_path_buf());
            dir = above;
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.fs.create_dir_all(&self.dir).await.map_err(|error| WalError::io("making", &*self.dir, error))?;
        for above in missing.iter().rev() {
            let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
            self.fs.sync_dir(above).await.map_err(|error| WalError::io("syncing", above, error))?;
        }
        Ok(())
    }

    /// Takes the lock, and writes who has it.
    pub(crate) async fn lock(&self) -> Result<Arc<Lock>, WalError> {
        let path = self.dir.join(LOCK_NAME);
        let failed = |error| WalError::io("locking", &path, error);
        let file = self.fs.open_with(&path, OpenOptions::CREATE).await.map_err(failed)?;
        let shards = self.fs.shards();
        let end = shards.now() + LOCK_WAIT;
        loop {
            let lock = Op::try_lock(file.handle(), LOCKED, 1, true);
            match shards.operation(lock, |answer| answer.result).await {
                Ok(_) => break,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(failed(error)),
                Err(_) if shards.now() >= end => return Err(WalError::InUse { pid: holder(&file).await }),
                Err(_) => shards.deadline(LOCK_PAUSE).await,
            }
        }
        // Who has the lock is a kindness to others, and nothing depends on it.
        let text = format!("{:<20}\n", std::process::id());
        file.write_at(text.into_bytes(), 0).await.0.map_err(failed)?;
        Ok(Arc::new(Lock { _handle: file.handle().clone() }))
    }

    /// The numbers of the segments, ascending, and the names of what was being prepared.
    pub(crate) async fn list(&self) -> Result<(Vec<u64>, Vec<PathBuf>), WalError> {
        let entries = self.fs.read_dir(&*self.dir).await.map_err(|error| WalError::io("reading", &*self.dir, error))?;
        let names = entries.iter().filter_map(|entry| entry.name.to_str());
        let mut numbers: Vec<_> = names.clone().filter_map(segment_number).collect();
        numbers.sort_unstable();
        Ok((numbers, names.filter(|name| is_prepared(name)).map(|name| self.dir.join(name)).collect()))
    }

    pub(crate) async fn sync_dir(&self) -> io::Result<()> {
        #[cfg(feature = "planted")]
        if crate::planted::is(crate::planted::Bug::NoDirectorySync) {
            return Ok(());
        }
        self.fs.sync_dir(&*self.dir).await
    }

    /// Opens a segment for writing; past the page cache only if that suits its blocks.
    pub(crate) async fn open_segment(&self, number: u64, block_size: u32, direct: bool) -> Result<File, WalError> {
        let path = self.path(number);
        let options = FileOptions::new().read(true).write(true);
        let open = async |direct| {
            let opened = self.fs.open_with(&path, options.direct_or_buffered(direct)).await;
            opened.map_err(|error| WalError::io("opening", &path, error))
        };
        let file = open(direct).await?;
        let suits = file.dio_geometry().is_none_or(|rules| rules.write_offset <= block_size);
        if suits { Ok(file) } else { open(false).await }
    }
}

/// The header of a segment, or what is wrong with it, and the length of its file.
pub(crate) async fn read_header(file: &File) -> io::Result<(Vec<u8>, u64)> {
    let size = file.size().await?;
    if file.is_direct() {
        let (read, buf) = file.read_at(AlignedBuf::with_capacity(4096), 0).await;
        let n = read?.min(SEGMENT_HEADER);
        return Ok((buf[..n].to_vec(), size));
    }
    let (read, mut buf) = file.read_at(Vec::with_capacity(SEGMENT_HEADER), 0).await;
    buf.truncate(read?);
    Ok((buf, size))
}

/// The block that a segment begins with.
pub(crate) fn header_block(header: &SegmentHeader) -> AlignedBuf {
    let mut block = AlignedBuf::zeroed(header.block_size as usize);
    block[..SEGMENT_HEADER].copy_from_slice(&header.encode());
    block
}

async fn holder(file: &File) -> Option<u32> {
    let (read, buf) = file.read_at(Vec::with_capacity(32), 0).await;
    let n = read.ok()?;
    std::str::from_utf8(buf.get(..n)?).ok()?.trim().parse().ok()
}

/// True if it is about space, and may be over when there is some.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
