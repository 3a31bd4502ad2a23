//! Segments come and go: the next one is prepared while the present one is filled, and those that are no longer needed are used again or
//! removed.

use super::{Ready, Shared};
use crate::{
    Lsn, WalError,
    disk::{Aligned, Lock, PIECE, Place, header_block, is_no_space, lend},
    format::{SegmentHeader, prepared_name},
    host::lock,
};
use bytes::Bytes;
use io_fs::{AlignedBuf, File, FileOptions};
use std::{
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    task::Poll,
};

/// What is to be done.
enum Chore {
    Prepare { header: SegmentHeader, reuse: Option<u64> },
    Remove(Vec<u64>),
    Over,
}

/// Does what is to be done, until the log is closed or has failed.
pub(super) async fn maintain(shared: Arc<Shared>) {
    loop {
        let chore = poll_fn(|_| {
            let chore = shared.chore();
            shared.maintain.set_idle(chore.is_none());
            chore.map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        match chore {
            Chore::Over => return,
            Chore::Prepare { header, reuse } => shared.prepare(header, reuse).await,
            Chore::Remove(numbers) => shared.remove(&numbers).await,
        }
        shared.commit.rouse();
        shared.waiters.wake_all();
    }
}

impl Shared {
    fn chore(&self) -> Option<Chore> {
        let mut state = lock(&self.state);
        if state.fault.is_some() || state.closed {
            return Some(Chore::Over);
        }
        let retired = state.retired();
        if retired > self.config.recycle && state.not_removed.is_none() {
            let numbers = state.kept.iter().take(retired - self.config.recycle).map(|kept| kept.number).collect();
            return Some(Chore::Remove(numbers));
        }
        let early = state.active.offset * 4 >= state.active.header.segment_size && !state.closing;
        let wanted = state.segment_needed || (early && state.no_segment.is_none());
        if !state.ready.is_empty() || !wanted {
            return None;
        }
        let suits = |kept: &&super::Kept| {
            kept.header.segment_size == self.config.segment_size && kept.header.block_size == self.config.block_size
        };
        let reuse = state.kept.front().filter(|_| retired > 0).filter(suits).map(|kept| kept.number);
        state.salts = next_salt(state.salts);
        let header = SegmentHeader {
            block_size: self.config.block_size,
            segment_size: self.config.segment_size,
            number: state.active.header.number + 1,
            base_lsn: state.durable + 1,
            salt: salt_of(state.salts),
            log_id: state.active.header.log_id,
            recycled: reuse.is_some(),
        };
        Some(Chore::Prepare { header, reuse })
    }

    async fn prepare(&self, header: SegmentHeader, reuse: Option<u64>) {
        let Some((guard, zeros)) = self.tools() else { return };
        if let Some(number) = reuse {
            // From here on it is no part of the log, whether the rest succeeds or not.
            lock(&self.state).kept.retain(|kept| kept.number != number);
        }
        let old = reuse.map(|number| self.place.path(number));
        let made =
            make_segment(&self.place, &guard, &zeros, header, old, self.config.direct, || self.is_stopped()).await;
        let mut state = lock(&self.state);
        match made {
            Ok(Some(file)) => {
                state.segments_through = header.number;
                state.ready.push_back(Ready { header, file });
                (state.segment_needed, state.no_segment) = (false, None);
                state.admit(&self.config);
            }
            Ok(None) => {}
            Err(Trouble::Sync(cause)) => {
                state.fail(WalError::ReadOnly { what: "syncing the directory", cause: Arc::new(cause) });
            }
            Err(Trouble::Other(cause)) => {
                let error = if is_no_space(&cause) {
                    WalError::NoSpace { cause: Arc::new(cause) }
                } else {
                    WalError::io("preparing a segment in", &*self.place.dir, cause)
                };
                // What waits for the segment has no numbers yet, and is refused as if it had never come.
                if state.segment_needed {
                    state.refuse_room(&error);
                }
                (state.segment_needed, state.no_segment) = (false, Some(error));
            }
        }
    }

    /// Removes the lowest segments, in order.
    async fn remove(&self, numbers: &[u64]) {
        for &number in numbers {
            let path = self.place.path(number);
            match self.place.fs.remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    lock(&self.state).not_removed = Some(WalError::io("removing", path, error));
                    return;
                }
                _ => lock(&self.state).kept.retain(|kept| kept.number != number),
            }
        }
        lock(&self.state).no_segment = None;
        if let Err(cause) = self.place.sync_dir().await {
            let what = "syncing the directory";
            lock(&self.state).fail(WalError::ReadOnly { what, cause: Arc::new(cause) });
        }
    }

    fn is_stopped(&self) -> bool {
        let state = lock(&self.state);
        state.fault.is_some() || state.closed
    }

    fn tools(&self) -> Option<(Arc<Lock>, Bytes)> {
        let guard = lock(&self.lock).clone()?;
        let zeros = lock(&self.zeros).get_or_insert_with(|| zeros(&guard, self.config.segment_size)).clone();
        Some((guard, zeros))
    }
}

/// Why there is no segment.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody knows which names are durable.
    Sync(io::Error),
    /// Everything is as it was.
    Other(io::Error),
}

/// A piece of zeros, from which all zeros are written.
pub(super) fn zeros(guard: &Arc<Lock>, segment_size: u64) -> Bytes {
    lend(Aligned(AlignedBuf::zeroed(segment_size.min(PIECE as u64) as usize)), guard)
}

/// Makes a segment that is all durable, its name included, out of an old one or of nothing. `None`: it was stopped.
pub(super) async fn make_segment(
    place: &Place,
    guard: &Arc<Lock>,
    zeros: &Bytes,
    header: SegmentHeader,
    old: Option<PathBuf>,
    direct: bool,
    stopped: impl Fn() -> bool,
) -> Result<Option<File>, Trouble> {
    let path = place.dir.join(prepared_name(header.salt));
    let filled = fill(place, guard, zeros, &header, old.as_deref(), &path, direct, &stopped).await;
    match filled {
        Ok(Some(file)) => {
            place.fs.rename(&path, place.path(header.number)).await.map_err(Trouble::Other)?;
            place.sync_dir().await.map_err(Trouble::Sync)?;
            Ok(Some(file))
        }
        Ok(None) => {
            let _ = place.fs.remove_file(&path).await;
            Ok(None)
        }
        Err(error) => {
            // The space is for others; that it stays taken if this fails, too, is nothing to tell.
            let _ = place.fs.remove_file(&path).await;
            Err(Trouble::Other(error))
        }
    }
}

#[allow(clippy::too_many_arguments)] // one value each, all of them different
async fn fill(
    place: &Place,
    guard: &Arc<Lock>,
    zeros: &Bytes,
    header: &SegmentHeader,
    old: Option<&Path>,
    path: &Path,
    direct: bool,
    stopped: &impl Fn() -> bool,
) -> io::Result<Option<File>> {
    let plain = FileOptions::new().read(true).write(true);
    let open = async |direct| {
        let options = if old.is_some() { plain } else { plain.create_new(true) };
        place.fs.open_with(path, options.direct_or_buffered(direct)).await
    };
    if let Some(old) = old {
        place.fs.rename(old, path).await?;
        // Else the new header might be found under the old name.
        place.sync_dir().await?;
    }
    let mut file = open(direct).await?;
    if file.dio_geometry().is_some_and(|rules| rules.write_offset > header.block_size) {
        file = place.fs.open_with(path, plain).await?;
    }
    let block = lend(Aligned(header_block(header)), guard);
    file.write_all_at(block, 0).await.0?;
    let mut at = if old.is_some() { header.segment_size } else { u64::from(header.block_size) };
    while at < header.segment_size {
        if stopped() {
            return Ok(None);
        }
        // The first piece ends where pieces do, so that the others are as aligned as can be.
        let end = (at + 1).next_multiple_of(zeros.len() as u64).min(header.segment_size);
        file.write_all_at(zeros.slice(..(end - at) as usize), at).await.0?;
        at = end;
    }
    file.sync_all().await?;
    Ok(Some(file))
}

/// The state of the salts after this one.
pub(super) fn next_salt(state: u64) -> u64 {
    state.wrapping_add(0x9e37_79b9_7f4a_7c15)
}

/// A salt: the state, mixed (splitmix64).
pub(super) fn salt_of(state: u64) -> u64 {
    #[cfg(feature = "planted")]
    if crate::planted::is(crate::planted::Bug::NoSalt) {
        return 1;
    }
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The first record that is kept if those before `lsn` are not needed: where a segment begins.
pub(super) fn start_for(firsts: impl Iterator<Item = Lsn>, lsn: Lsn) -> Option<Lsn> {
    firsts.take_while(|first| *first <= lsn).last()
}
