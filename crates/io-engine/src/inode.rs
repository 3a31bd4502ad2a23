//! What all handles, loops and shards share of one inode: the order of its writes and syncs, and its failures.

use crate::{
    append::Cursor,
    doubt::{Doubt, InDoubt},
    failure::SyncFailed,
    hits::AtOnce,
    shard::{Cell, Together},
};
use io_core::{FileHandle, InodeKey, Op, Reach, Readiness, RwFlags, Token};
use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

/// Where a core hears that a sync it holds may go.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    full: AtomicBool,
    letters: Mutex<Vec<(Token, Option<i32>)>>,
}

impl Mailbox {
    fn put(&self, token: Token, failed: Option<i32>) {
        lock(&self.letters).push((token, failed));
        self.full.store(true, Ordering::Release);
    }

    /// True if a sync was released that nobody has taken yet.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Takes one released sync: its token, and the code of a write it covers that failed.
    pub(crate) fn take(&self) -> Option<(Token, Option<i32>)> {
        if !self.full.load(Ordering::Acquire) {
            return None;
        }
        let mut letters = lock(&self.letters);
        let letter = letters.pop();
        if letters.is_empty() {
            self.full.store(false, Ordering::Release);
        }
        letter
    }
}

/// The shared state of one inode.
pub(crate) struct Inode {
    state: Mutex<State>,
    /// Syncs that several waiters share: of the data, and of everything.
    shared: [Mutex<SharedSync>; 2],
    /// Those of engines that belong to one thread each, while they run.
    apart: Mutex<Vec<(Sharing, SharedSync)>>,
    /// Whether reads are tried on the caller's thread first.
    pub(crate) at_once: AtOnce,
    /// Whether the offload pool does its data syncs, although the driver could.
    pub(crate) sync_on_pool: AtomicBool,
    /// Durable writes that are done together.
    pub(crate) together: Together,
    /// What the floor above keeps here.
    pub(crate) extension: OnceLock<Arc<dyn Any + Send + std::marker::Sync>>,
}

/// Which sync is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncKind {
    /// fdatasync(2).
    Data,
    /// fsync(2).
    All,
}

/// Which sync is shared, and among whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sharing {
    pub(crate) kind: SyncKind,
    /// 0: all engines that go on by themselves. Else the one engine of this number, whose thread may do something else for as long as it
    /// likes, with the sync in flight.
    pub(crate) engine: u64,
}

/// One sync at a time runs for an inode; who comes while it does shares the next one, because the running one may have begun
/// before his writes. One that still waits for writes has not begun: who comes then shares that one. It belongs to the file: whoever
/// asked for it first may be gone when it ends.
#[derive(Default)]
struct SharedSync {
    /// What the sync is done on; there is one as long as one runs.
    file: Option<FileHandle>,
    now: Vec<Arc<Cell>>,
    next: Vec<Arc<Cell>>,
}

#[derive(Default)]
struct State {
    /// Changes are counted in epochs; each sync that has to wait ends one.
    epoch: u64,
    /// Unanswered changes per epoch, oldest first; no entry is zero.
    open: VecDeque<(u64, u32)>,
    waiting: Vec<Waiting>,
    failed: Option<i32>,
    doubt: Doubt,
    cursor: Cursor,
}

/// What a change does to its inode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    reach: Reach,
    is_write: bool,
    /// A write that is durable when it succeeds: its bytes are in doubt only if it does not.
    durable: bool,
}

impl Change {
    #[inline]
    pub(crate) fn of(op: &Op) -> Change {
        let (is_write, durable) = (op.kind().is_write(), op.flags().contains(RwFlags::DSYNC));
        Change { reach: op.reach(), is_write, durable }
    }
}

struct Waiting {
    /// It covers the changes of this epoch and of those before.
    up_to: u64,
    failed: Option<i32>,
    token: Token,
    mailbox: Arc<Mailbox>,
    readiness: Arc<dyn Readiness>,
    /// Who else wants a sync may take part in this one.
    shared: Option<Sharing>,
}

/// What a sync is told when it arrives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Nothing is in its way.
    Go,
    /// It waits for earlier changes; the mailbox tells when they are answered.
    Wait,
    /// It cannot succeed any more.
    Failed(SyncFailed),
}

impl Inode {
    /// The state of the file's inode; made at the first call. Files without an inode key have one each.
    pub(crate) fn of(file: &FileHandle) -> &Inode {
        Inode::attached(file).downcast_ref::<Inode>().expect("the engine is the only one that attaches to files")
    }

    /// As [`Inode::of`], to keep.
    pub(crate) fn arc_of(file: &FileHandle) -> Arc<Inode> {
        let attached = Inode::attached(file).clone();
        attached.downcast::<Inode>().expect("the engine is the only one that attaches to files")
    }

    #[inline]
    fn attached(file: &FileHandle) -> &Arc<dyn Any + Send + std::marker::Sync> {
        file.attachment(|| Inode::shared(file.facts().inode) as Arc<dyn Any + Send + std::marker::Sync>)
    }

    fn shared(key: Option<InodeKey>) -> Arc<Inode> {
        static ALL: OnceLock<Mutex<HashMap<InodeKey, Weak<Inode>>>> = OnceLock::new();
        let fresh = || {
            Arc::new(Inode {
                state: Mutex::default(),
                shared: Default::default(),
                apart: Mutex::default(),
                at_once: AtOnce::default(),
                sync_on_pool: AtomicBool::new(false),
                together: Together::default(),
                extension: OnceLock::new(),
            })
        };
        let Some(key) = key else { return fresh() };
        let mut all = lock(ALL.get_or_init(Mutex::default));
        if let Some(inode) = all.get(&key).and_then(Weak::upgrade) {
            return inode;
        }
        if all.len() >= 64 && all.len().is_power_of_two() {
            all.retain(|_, inode| inode.strong_count() > 0);
        }
        let inode = fresh();
        all.insert(key, Arc::downgrade(&inode));
        inode
    }

    /// A change (write, truncation, …) is accepted; gives the epoch to hand to [`Inode::end_change`].
    #[inline]
    pub(crate) fn begin_change(&self, change: Change) -> u64 {
        let mut state = lock(&self.state);
        if !change.durable {
            state.doubt.note(change.reach);
        }
        let epoch = state.epoch;
        match state.open.back_mut() {
            Some((last, count)) if *last == epoch => *count += 1,
            _ => state.open.push_back((epoch, 1)),
        }
        epoch
    }

    /// A change is answered, with `error` as its code if it failed and `done` as the bytes that it wrote. Syncs that waited for it only
    /// are released.
    #[inline]
    pub(crate) fn end_change(&self, epoch: u64, change: Change, done: u64, error: Option<i32>) {
        let mut state = lock(&self.state);
        if change.durable && (error.is_some() || state.failed.is_some()) {
            state.doubt.note(change.reach);
        }
        state.cursor.changed(change.reach, done, error.is_none(), change.is_write);
        let at = state.open.iter().position(|&(e, _)| e == epoch).expect("begin_change made this epoch");
        state.open[at].1 -= 1;
        if state.open[at].1 == 0 {
            state.open.remove(at);
        }
        if state.waiting.is_empty() {
            return;
        }
        if error.is_some() {
            for waiting in state.waiting.iter_mut().filter(|w| w.up_to >= epoch) {
                waiting.failed = waiting.failed.or(error);
            }
        }
        let oldest = state.open.front().map_or(u64::MAX, |&(e, _)| e);
        let (go, stay) = std::mem::take(&mut state.waiting).into_iter().partition(|w: &Waiting| w.up_to < oldest);
        state.waiting = stay;
        drop(state);
        // Foreign code (waking) runs without the lock.
        for waiting in Vec::<Waiting>::into_iter(go) {
            waiting.mailbox.put(waiting.token, waiting.failed);
            waiting.readiness.wake();
        }
    }

    /// A sync arrives.
    pub(crate) fn begin_sync(&self, token: Token, mailbox: &Arc<Mailbox>, readiness: &Arc<dyn Readiness>) -> Sync {
        let mut state = lock(&self.state);
        if let Some(code) = state.failed {
            return Sync::Failed(SyncFailed { code });
        }
        state.doubt.sync_begins();
        if state.open.is_empty() {
            return Sync::Go;
        }
        let up_to = state.epoch;
        state.epoch += 1;
        let (mailbox, readiness) = (mailbox.clone(), readiness.clone());
        state.waiting.push(Waiting { up_to, failed: None, token, mailbox, readiness, shared: None });
        Sync::Wait
    }

    /// A sync that had begun is over, or will not run after all.
    pub(crate) fn end_sync(&self, ok: bool) {
        lock(&self.state).doubt.sync_ends(ok);
    }

    /// What no sync has confirmed.
    pub(crate) fn in_doubt(&self) -> InDoubt {
        lock(&self.state).doubt.all()
    }

    /// The place where appends go.
    pub(crate) fn with_cursor<T>(&self, f: impl FnOnce(&mut Cursor) -> T) -> T {
        f(&mut lock(&self.state).cursor)
    }

    /// A waiting sync is given up. False if it has been released already: its letter is on the way.
    pub(crate) fn forget_sync(&self, token: Token, mailbox: &Arc<Mailbox>) -> bool {
        let mut state = lock(&self.state);
        let before = state.waiting.len();
        state.waiting.retain(|w| w.token != token || !Arc::ptr_eq(&w.mailbox, mailbox));
        state.waiting.len() != before
    }

    /// Somebody waits for a sync of the inode. True: none runs, the caller has to begin one ([`Inode::shared_sync`]).
    pub(crate) fn join_shared(&self, sharing: Sharing, file: &FileHandle, cell: Arc<Cell>) -> bool {
        self.with_shared(sharing, |shared| {
            if shared.file.is_some() {
                // Under both locks: it cannot be released before the cell is among those it answers.
                let covered = lock(&self.state).let_in(sharing);
                if covered {
                    shared.now.push(cell)
                } else {
                    shared.next.push(cell)
                }
                return false;
            }
            shared.file = Some(file.clone());
            shared.now.push(cell);
            true
        })
    }

    /// The shared sync has this token. Others may join it for as long as it waits for changes.
    pub(crate) fn name_shared(&self, sharing: Sharing, token: Token, mailbox: &Arc<Mailbox>) {
        let mut state = lock(&self.state);
        let mut waiting = state.waiting.iter_mut();
        if let Some(it) = waiting.find(|w| w.token == token && Arc::ptr_eq(&w.mailbox, mailbox)) {
            it.shared = Some(sharing);
        }
    }

    /// The sync that runs now, as an operation.
    pub(crate) fn shared_sync(&self, sharing: Sharing) -> Op {
        self.with_shared(sharing, |shared| {
            let file = shared.file.as_ref().expect("a sync that was begun has a file");
            match sharing.kind {
                SyncKind::Data => Op::sync_data(file),
                SyncKind::All => Op::sync_all(file),
            }
        })
    }

    /// The running sync is answered: `waiters` gets those whom it was for. True: others have come meanwhile, and the caller has to
    /// begin the next one.
    pub(crate) fn finish_shared(&self, sharing: Sharing, waiters: &mut Vec<Arc<Cell>>) -> bool {
        let last = self.with_shared(sharing, |shared| {
            waiters.append(&mut shared.now);
            std::mem::swap(&mut shared.now, &mut shared.next);
            if shared.now.is_empty() { shared.file.take() } else { None }
        });
        // It may be the last handle, and closing is foreign code; the operation that was answered holds it still.
        last.is_none()
    }

    fn with_shared<T>(&self, sharing: Sharing, f: impl FnOnce(&mut SharedSync) -> T) -> T {
        if sharing.engine == 0 {
            return f(&mut lock(&self.shared[sharing.kind as usize]));
        }
        let mut apart = lock(&self.apart);
        let at = apart.iter().position(|(of, _)| *of == sharing).unwrap_or(apart.len());
        if at == apart.len() {
            apart.push((sharing, SharedSync::default()));
        }
        let answer = f(&mut apart[at].1);
        if apart[at].1.file.is_none() {
            apart.swap_remove(at);
        }
        answer
    }

    /// The failure that this inode carries, if it does.
    pub(crate) fn failed(&self) -> Option<SyncFailed> {
        lock(&self.state).failed.map(|code| SyncFailed { code })
    }

    /// A sync or durable write has failed with `code`.
    pub(crate) fn fail(&self, code: i32) {
        lock(&self.state).failed.get_or_insert(code);
    }
}

/// Ties a file to its inode's state when it is opened: a sync that fails between then and the file's first use concerns it.
pub(crate) fn attach(file: &FileHandle) {
    Inode::of(file);
}

impl State {
    /// One more takes part in the shared sync, if that has not begun and covers every change that was accepted by now: none of them is
    /// younger than the sync and unanswered still. Not if it is going to fail by a write that was answered before.
    fn let_in(&mut self, sharing: Sharing) -> bool {
        let youngest = self.open.back().map_or(0, |&(epoch, _)| epoch);
        let waiting = self.waiting.iter().find(|w| w.shared == Some(sharing));
        let covers = waiting.is_some_and(|w| youngest <= w.up_to && w.failed.is_none());
        if covers {
            self.doubt.sync_covers_more();
        }
        covers
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::{FileFacts, RawFile, errno};
    use std::{task::Waker, time::Duration};

    struct Quiet;
    impl Readiness for Quiet {
        #[cfg(unix)]
        fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
            None
        }
        fn wait(&self, _: Option<Duration>) {}
        fn wake(&self) {}
        fn subscribe(&self, _: Waker) {}
    }

    const CHANGE: Change = Change { reach: Reach::Nothing, is_write: false, durable: false };

    fn fixture() -> (Arc<Inode>, Arc<Mailbox>, Arc<dyn Readiness>) {
        (Inode::shared(None), Arc::default(), Arc::new(Quiet))
    }

    #[test]
    fn a_sync_waits_for_earlier_changes_only() {
        let (inode, mailbox, readiness) = fixture();
        let sync = |slot| Token::new(slot, 1);
        let a = inode.begin_change(CHANGE);
        let b = inode.begin_change(CHANGE);
        assert_eq!(inode.begin_sync(sync(1), &mailbox, &readiness), Sync::Wait);
        let c = inode.begin_change(CHANGE);
        assert_eq!(inode.begin_sync(sync(2), &mailbox, &readiness), Sync::Wait);
        inode.end_change(b, CHANGE, 0, None);
        assert_eq!(mailbox.take(), None);
        inode.end_change(a, CHANGE, 0, None);
        assert_eq!(mailbox.take(), Some((sync(1), None)), "the later change is not its business");
        inode.end_change(c, CHANGE, 0, None);
        assert_eq!(mailbox.take(), Some((sync(2), None)));
        assert_eq!(mailbox.take(), None);
        assert_eq!(inode.begin_sync(sync(3), &mailbox, &readiness), Sync::Go);
    }

    #[test]
    fn a_covered_write_that_fails_fails_the_sync() {
        let (inode, mailbox, readiness) = fixture();
        let a = inode.begin_change(CHANGE);
        let b = inode.begin_change(CHANGE);
        assert_eq!(inode.begin_sync(Token::new(1, 1), &mailbox, &readiness), Sync::Wait);
        inode.end_change(a, CHANGE, 0, Some(errno::ENOSPC));
        inode.end_change(b, CHANGE, 0, None);
        assert_eq!(mailbox.take(), Some((Token::new(1, 1), Some(errno::ENOSPC))));
        assert_eq!(inode.failed(), None, "the writer was told; nothing is lost unseen");
    }

    #[test]
    fn a_later_epoch_may_finish_first() {
        let (inode, mailbox, readiness) = fixture();
        let a = inode.begin_change(CHANGE);
        assert_eq!(inode.begin_sync(Token::new(1, 1), &mailbox, &readiness), Sync::Wait);
        let b = inode.begin_change(CHANGE);
        assert_eq!(inode.begin_sync(Token::new(2, 1), &mailbox, &readiness), Sync::Wait);
        inode.end_change(b, CHANGE, 0, Some(errno::EIO));
        assert_eq!(mailbox.take(), None, "the second sync covers the first change as well");
        inode.end_change(a, CHANGE, 0, None);
        let mut released = [mailbox.take().unwrap(), mailbox.take().unwrap()];
        released.sort();
        assert_eq!(released, [(Token::new(1, 1), None), (Token::new(2, 1), Some(errno::EIO))]);
    }

    #[test]
    fn handles_of_one_inode_share_a_failure_until_all_are_closed() {
        let open = |ino| {
            let key = InodeKey { dev: u64::MAX, ino };
            let facts = FileFacts { inode: Some(key), ..FileFacts::default() };
            // A closed std file is not needed: the number is no descriptor.
            test_handle(facts)
        };
        let (a, b, other) = (open(1), open(1), open(2));
        Inode::of(&a).fail(errno::EIO);
        assert_eq!(Inode::of(&b).failed(), Some(SyncFailed { code: errno::EIO }));
        assert_eq!(Inode::of(&other).failed(), None);
        drop(a);
        assert!(Inode::of(&b).failed().is_some());
        drop(b);
        assert_eq!(Inode::of(&open(1)).failed(), None, "opened anew");
    }

    #[allow(unsafe_code)]
    fn test_handle(facts: FileFacts) -> FileHandle {
        // SAFETY: the number is outside the range of descriptors.
        unsafe { FileHandle::from_raw(RawFile::new(1 << 40), Box::new(()), facts) }
    }
}
