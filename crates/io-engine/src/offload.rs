//! The pool that does what the driver cannot do without blocking its submitter. It completes through the same slot table and
//! rings the same readiness as the driver it stands in for.

use crate::inode::Inode;
use io_core::{Completions, Driver, DriverName, FileHandle, Op, OpKind, Readiness, Unavailable, Wait};
use io_threadpool::{ThreadPoolDriver, ThreadPoolOptions, threadpool};
use std::sync::{Arc, atomic::Ordering};

/// File systems on which Linux AIO does not what its name says: `io_submit` waits for the whole operation, direct or not (FUSE
/// measured, 300 ms of 300 ms; network file systems behave alike). `statfs` magics of FUSE, NFS, CIFS, SMB2 and 9P.
const SUBMIT_BLOCKS: [i64; 5] = [0x6573_5546, 0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997];

/// True if this driver would block its submitter on this file whatever the operation, although it takes such operations elsewhere.
#[inline]
pub(crate) fn blocks_on(driver: DriverName, file: Option<&FileHandle>) -> bool {
    driver == DriverName::Aio && file.is_some_and(|file| SUBMIT_BLOCKS.contains(&file.facts().fs_magic))
}

/// Says who does the fdatasyncs of an inode that begin from now on: the driver, or the offload pool that stands beside it. Which is faster
/// is a matter of file system and kernel. It holds for all of them, whoever asks, until somebody says otherwise: one sync may be shared by
/// several who ask, and has one way. Without such a pool ([`Shards::has_offload`](crate::Shards::has_offload)) nothing changes.
pub fn sync_on_pool(file: &FileHandle, yes: bool) {
    let flag = &Inode::of(file).sync_on_pool;
    if flag.load(Ordering::Relaxed) != yes {
        flag.store(yes, Ordering::Relaxed);
    }
}

/// True if this is a sync that is to go to the pool.
#[inline]
pub(crate) fn is_wanted(op: &Op) -> bool {
    op.kind() == OpKind::SyncData && op.file().is_some_and(|file| Inode::of(file).sync_on_pool.load(Ordering::Relaxed))
}

pub(crate) struct Offload {
    pub(crate) pool: ThreadPoolDriver,
    /// Operations staged or in flight there.
    pub(crate) busy: u32,
}

impl Offload {
    /// The pool for `driver`; none for the simulator, whose files only it knows, and none for a pool.
    ///
    /// # Errors
    /// As [`threadpool`]. No thread is started before it is needed.
    pub(crate) fn beside(driver: &dyn Driver, readiness: &Arc<dyn Readiness>) -> Result<Option<Offload>, Unavailable> {
        if matches!(driver.name(), DriverName::Sim | DriverName::ThreadPool) {
            return Ok(None);
        }
        let options = ThreadPoolOptions {
            depth: driver.depth(),
            readiness: Some(readiness.clone()),
            ..ThreadPoolOptions::default()
        };
        Ok(Some(Offload { pool: threadpool(options)?, busy: 0 }))
    }

    /// Hands over what is staged and takes what is done.
    pub(crate) fn turn(&mut self, out: &mut Completions) {
        if self.busy == 0 {
            return;
        }
        let before = out.len();
        self.pool.submit(Wait::No, out).expect("the pool has no channel that could break");
        self.busy -= (out.len() - before) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::FileFacts;

    #[test]
    fn aio_is_kept_from_file_systems_that_block_it() {
        let on = |fs_magic| {
            let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
            FileHandle::from_std(file, FileFacts { fs_magic, direct: true, ..FileFacts::default() })
        };
        let (fuse, ext4) = (on(0x6573_5546), on(0xef53));
        assert!(blocks_on(DriverName::Aio, Some(&fuse)));
        assert!(!blocks_on(DriverName::Aio, Some(&ext4)));
        assert!(!blocks_on(DriverName::Uring, Some(&fuse)), "the ring has workers for that");
        assert!(!blocks_on(DriverName::Aio, None));
    }
}
