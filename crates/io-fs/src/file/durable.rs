//! Writes that are durable when they are answered.

use super::{
    File,
    append_lock::InodeState,
    direct::address,
    planner::{DurabilityRow, DurableRoute, LaneKey, Trip},
    written_of,
};
use crate::FileSystem;
use io_engine::core::{BufResult, IoBuf, Op, RwFlags, errno};
use std::{future::Future, io};

/// How often the sync behind a write is asked for again when it failed because somebody else's write did.
const SYNCS_MAX: u32 = 4;

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
    let (result, buf) = match trip.route {
        DurableRoute::Dsync => write_dsync(&file, trip, buf, offset).await,
        DurableRoute::WriteThenSync => write_then_sync(&file, buf, offset).await,
    };
    // Who was alone at first and is not at the end was slowed by others, and the other way round.
    if result.is_ok() && (writer.count() > 1) == concurrent {
        fs.0.planner.done(trip, fs.shards().now().saturating_sub(began));
    }
    (result, buf)
}

async fn write_dsync<B: IoBuf>(file: &File, trip: Trip, buf: B, offset: u64) -> BufResult<usize, B> {
    let piece = (address(&buf), buf.len() as u64);
    let checked = file.check_pieces([piece].into_iter(), offset, true);
    let len = buf.len();
    let op = Op::write(&file.0.handle, buf, offset).with_flags(RwFlags::DSYNC);
    let (result, buf) = file.run_checked(checked, op, written_of).await;
    match result {
        Err(error) if error.raw_os_error() == Some(errno::EOPNOTSUPP) => {
            file.0.fs.0.planner.refused(trip);
            write_then_sync(file, buf, offset).await
        }
        // The rest of a write that was cut short.
        Ok(n) if n < len => (Err(super::errors::cut_short(n as u64)), buf),
        result => (result, buf),
    }
}

async fn write_then_sync<B: IoBuf>(file: &File, buf: B, offset: u64) -> BufResult<usize, B> {
    let len = buf.len();
    let (result, buf) = file.write_at(buf, offset).await;
    match result {
        Ok(n) if n < len => (Err(super::errors::cut_short(n as u64)), buf),
        Ok(n) => (sync(file).await.map(|()| n), buf),
        Err(error) => (Err(error), buf),
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
