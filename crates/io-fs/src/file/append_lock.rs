//! Keeping other processes from appending to the same file.
//!
//! The handles of this process that were opened for appending share one lock on the inode. It sits on an open file of its own, so that
//! each of them can be closed without the others losing it.

use super::{File, direct::Direct};
use crate::{
    FileSystem,
    fs::{metadata_of, nothing_of, output_of, unexpected},
};
use io_engine::{
    Answer,
    core::{FileHandle, Op, OpenOptions, Output},
    inode_state, learn_append_size,
};
use std::{
    fmt,
    future::poll_fn,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Poll, Waker},
};

/// The byte that stands for the end of the file: the last one that a lock can cover, where no content ever is.
const END: u64 = i64::MAX as u64 - 1;

/// What this floor keeps with an inode.
#[derive(Debug, Default)]
pub(super) struct InodeState {
    lock: Mutex<LockState>,
    durable_writers: AtomicU32,
    /// How many there were at once lately, in sixteenths: the most, which is forgotten slowly.
    lately: AtomicU32,
}

#[derive(Debug, Default)]
enum LockState {
    #[default]
    Free,
    /// Somebody is about to take the lock or to give it back.
    Changing(Vec<Waker>),
    Held {
        /// Open as long as the lock is held.
        _holder: FileHandle,
        users: u32,
    },
}

impl InodeState {
    pub(super) fn of(file: &FileHandle) -> Arc<InodeState> {
        inode_state(file, InodeState::default)
    }

    fn lock(&self) -> MutexGuard<'_, LockState> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, state: LockState) {
        let before = std::mem::replace(&mut *self.lock(), state);
        if let LockState::Changing(wakers) = before {
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// Counts a durable write that begins; the count includes it.
    pub(super) fn enter_durable(self: &Arc<Self>) -> DurableWriter {
        let now = self.durable_writers.fetch_add(1, Ordering::Relaxed) + 1;
        // A lost update costs nothing: the next write makes it up.
        let before = self.lately.load(Ordering::Relaxed);
        self.lately.store((before - before.div_ceil(256)).max(now.saturating_mul(16)), Ordering::Relaxed);
        DurableWriter(self.clone())
    }
}

/// One durable write under way.
pub(super) struct DurableWriter(Arc<InodeState>);

impl DurableWriter {
    /// How many there are on the inode now.
    pub(super) fn count(&self) -> u32 {
        self.0.durable_writers.load(Ordering::Relaxed)
    }

    /// How many there are at once, as of lately: a crowd whose writes have just ended together is still one.
    pub(super) fn company(&self) -> u32 {
        self.0.lately.load(Ordering::Relaxed).div_ceil(16).max(1)
    }
}

impl Drop for DurableWriter {
    fn drop(&mut self) {
        self.0.durable_writers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A part in the process's lock of an inode's end.
pub(super) struct AppendLock(Arc<InodeState>);

impl Drop for AppendLock {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let LockState::Held { users, .. } = &mut *state else { return };
        *users -= 1;
        if *users > 0 {
            return;
        }
        let last = std::mem::replace(&mut *state, LockState::Changing(Vec::new()));
        drop(state);
        // Closing the file gives the lock back; it is foreign code, and runs under no lock of ours.
        drop(last);
        self.0.settle(LockState::Free);
    }
}

impl fmt::Debug for AppendLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppendLock")
    }
}

/// The file of a handle that was opened for appending: other processes are kept out, and the cursor knows the size.
///
/// # Errors
/// `WouldBlock` if another process has the file open for appending, and whatever opening the lock's own file, locking and fstat(2) say.
pub(crate) async fn opened_for_append(fs: &FileSystem, handle: FileHandle, path: &Path) -> io::Result<File> {
    let lock = take(fs, &handle, path).await?;
    let direct = Direct::of(fs, &handle).await;
    Ok(File::assemble(fs, handle, direct, Some(lock)))
}

/// A part in the process's lock. Whoever takes it anew asks for the size, too: the inode is known to this process as long as any handle
/// lives, and while nobody had the lock other processes may have appended.
async fn take(fs: &FileSystem, file: &FileHandle, path: &Path) -> io::Result<AppendLock> {
    let state = InodeState::of(file);
    if let Some(shared) = join(&state).await {
        return Ok(shared);
    }
    let claim = Claim { state: &state, holder: None };
    let holder = fs.run(Op::open(path, OpenOptions::READ_WRITE)?, file_of).await?;
    if holder.facts().inode != file.facts().inode {
        let text = format!("{} was given to another file while it was opened", path.display());
        return Err(io::Error::other(text));
    }
    match fs.run(Op::try_lock(&holder, END, 1, true), nothing_of).await {
        Ok(()) => {
            let metadata = fs.run(Op::stat(file), metadata_of).await?;
            learn_append_size(file, metadata.size);
            Ok(claim.taken(holder))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let text = format!("{} is open for appending in another process", path.display());
            Err(io::Error::new(io::ErrorKind::WouldBlock, text))
        }
        Err(error) => Err(error),
    }
}

/// A part in the lock if the process has it; `None`: nobody has, and the caller is the one who takes it.
async fn join(state: &Arc<InodeState>) -> Option<AppendLock> {
    poll_fn(|cx| {
        let mut locked = state.lock();
        match &mut *locked {
            LockState::Held { users, .. } => {
                *users += 1;
                Poll::Ready(Some(AppendLock(state.clone())))
            }
            LockState::Changing(wakers) => {
                wakers.push(cx.waker().clone());
                Poll::Pending
            }
            LockState::Free => {
                *locked = LockState::Changing(Vec::new());
                Poll::Ready(None)
            }
        }
    })
    .await
}

/// Whoever takes the lock; dropped without it, the next one tries.
struct Claim<'a> {
    state: &'a Arc<InodeState>,
    holder: Option<FileHandle>,
}

impl Claim<'_> {
    fn taken(mut self, holder: FileHandle) -> AppendLock {
        self.holder = Some(holder);
        AppendLock(self.state.clone())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.state.settle(match self.holder.take() {
            Some(holder) => LockState::Held { _holder: holder, users: 1 },
            None => LockState::Free,
        });
    }
}

fn file_of(answer: Answer) -> io::Result<FileHandle> {
    match output_of(answer)? {
        Output::File(file) => Ok(file),
        other => Err(unexpected("an open", &other)),
    }
}
