//! Writes that are durable when they are answered.

use super::{
    File,
    append_lock::InodeState,
    direct::address,
    errors,
    planner::{DurabilityRow, DurableRoute, LaneKey},
    written_of,
};
use crate::FileSystem;
use io_engine::core::{BufResult, IoBuf, Op, RwFlags, errno};
use std::{future::Future, io};

/// How often the sync behind a write is asked for when it fails because somebody else's write did.
const SYNCS_MAX: u32 = 3;

impl File {
    /// Writes the buffer's bytes at `offset`, all of them, and answers when they are durable.
    ///
    /// It goes one of two ways, whichever was measured to be faster for this device and this number of writers
    /// ([`FileSystem::durability_table`]): one write with `RWF_DSYNC`, or a write and an fdatasync that it shares with others.
    ///
    /// # Errors
    /// As [`File::write_at`] and [`File::sync_data`]: whatever fails, the write is not known to be durable, and if it was the sync (or
    /// an `RWF_DSYNC` write that had begun), every later one of the inode answers [`SyncFailed`](crate::SyncFailed), and
    /// [`File::in_doubt`] says which bytes are concerned.
    pub fn write_durable_at<B: IoBuf>(
        &self,
        buf: B,
        offset: u64,
    ) -> impl Future<Output = BufResult<usize, B>> + Send + use<B> {
        write_durable(self.clone(), buf, offset)
    }
}

impl FileSystem {
    /// What was measured about durable writes, and which way they go; for reports.
    pub fn durability_table(&self) -> Vec<DurabilityRow> {
        self.0.planner.table()
    }
}

async fn write_durable<B: IoBuf>(file: File, buf: B, offset: u64) -> BufResult<usize, B> {
    let (fs, facts) = (&file.0.fs, file.0.handle.facts());
    let writer = InodeState::of(&file.0.handle).enter_durable();
    let writers = writer.count();
    let concurrent = writers > 1;
    let key = LaneKey { device: facts.inode.map_or(0, |inode| inode.dev), direct: facts.direct, concurrent };
    let trip = fs.0.planner.begin(key, writers);
    let began = fs.shards().now();
    let settled = fs.0.config.durable_route;
    let (result, buf) = match settled.unwrap_or(trip.route) {
        DurableRoute::Dsync => match write_dsync(&file, buf, offset, concurrent).await {
            (Err(error), buf) if is_unknown(&error) => {
                fs.0.planner.refused(trip);
                write_then_sync(&file, buf, offset).await
            }
            answer => answer,
        },
        DurableRoute::WriteThenSync => write_then_sync(&file, buf, offset).await,
    };
    // Who was alone at first and is not at the end was slowed by others, and the other way round.
    if settled.is_none() && result.is_ok() && (writer.count() > 1) == concurrent {
        fs.0.planner.done(trip, fs.shards().now().saturating_sub(began));
    }
    (result, buf)
}

async fn write_dsync<B: IoBuf>(file: &File, buf: B, offset: u64, together: bool) -> BufResult<usize, B> {
    let (len, piece) = (buf.len(), (address(&buf), buf.len() as u64));
    let checked = file.check_pieces([piece].into_iter(), offset, true);
    let op = Op::write(&file.0.handle, buf, offset).with_flags(RwFlags::DSYNC);
    let (result, buf) = match checked {
        Ok(()) if together => file.0.fs.shards().write_together(op, written_of).await,
        checked => file.run_checked(checked, op, written_of).await,
    };
    (result.and_then(|n| all(n, len)), buf)
}

/// True if the system does not know `RWF_DSYNC` here; nothing was written then.
fn is_unknown(error: &io::Error) -> bool {
    error.raw_os_error() == Some(errno::EOPNOTSUPP)
}

fn all(n: usize, len: usize) -> io::Result<usize> {
    if n == len { Ok(n) } else { Err(errors::cut_short(n as u64)) }
}

async fn write_then_sync<B: IoBuf>(file: &File, buf: B, offset: u64) -> BufResult<usize, B> {
    let len = buf.len();
    let (result, buf) = file.write_at(buf, offset).await;
    let n = match result.and_then(|n| all(n, len)) {
        Ok(n) => n,
        Err(error) => return (Err(error), buf),
    };
    match sync(file).await {
        Ok(()) => (Ok(n), buf),
        Err(error) if file.in_doubt().is_some() => (Err(error), buf),
        // Others write and fail without a break. What does not wait for them: the same bytes once more, by the other route.
        Err(error) => match write_dsync(file, buf, offset, false).await {
            (Err(unknown), buf) if is_unknown(&unknown) => (Err(error), buf),
            answer => answer,
        },
    }
}

/// A sync waits for all writes of the inode that were accepted before it, and fails with them. Somebody else's failed write is not
/// this write's failure: unless the inode is marked, the next sync may succeed.
async fn sync(file: &File) -> io::Result<()> {
    let mut syncs = 1;
    loop {
        match file.sync_data().await {
            Err(_) if syncs < SYNCS_MAX && file.in_doubt().is_none() => syncs += 1,
            result => return result,
        }
    }
}
