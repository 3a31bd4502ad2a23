//! What to do with a completion: finish, go on, try again, or give up. The only place that decides it.
//!
//! Short transfers go on at offset, pointer *and* remaining length; 0 bytes read is end of file. What may have happened is
//! repeated only if repeating it is harmless: never a sync that failed, never an append, never a rename.

use io_core::{OpKind, RwFlags, errno};

/// How often one operation is repeated without having moved a byte.
pub(crate) const ATTEMPTS_MAX: u8 = 16;

/// What is known of an operation when a completion of it arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) kind: OpKind,
    pub(crate) flags: RwFlags,
    /// Bytes wanted in all, bytes moved before this completion.
    pub(crate) want: u64,
    pub(crate) done: u64,
    /// Repetitions so far that moved nothing.
    pub(crate) attempts: u8,
    /// Somebody asked for it to end.
    pub(crate) cancelled: bool,
    /// It ran on the offload pool (or there is none): there is no better place.
    pub(crate) last_resort: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The answer: `done` bytes in all, or this code.
    Finish(Result<u64, i32>),
    /// Stage the rest, `done` bytes being moved.
    Continue(u64),
    /// Stage the same again at once.
    Again,
    /// Stage the same again where it may block.
    Offload,
    /// Stage the same again after a pause that grows with the attempts.
    Later,
}

pub(crate) fn next(seen: &Seen, result: i32) -> Next {
    if result >= 0 { moved(seen, result as u64) } else { failed(seen, -result) }
}

/// True if a transfer of this kind may be done in several parts.
#[inline]
pub(crate) fn may_continue(kind: OpKind, flags: RwFlags) -> bool {
    let forbidden = flags.contains(RwFlags::NOWAIT) // the rest is not in memory
        || flags.contains(RwFlags::ATOMIC) // one piece or none
        || (flags.contains(RwFlags::APPEND) && kind.is_write()); // the rest would land behind others
    !forbidden
}

fn moved(seen: &Seen, bytes: u64) -> Next {
    if !seen.kind.is_transfer() && seen.kind != OpKind::CopyRange {
        return Next::Finish(Ok(bytes));
    }
    let done = seen.done + bytes;
    let over = bytes == 0 // end of file, or a device that takes no more
        || done >= seen.want
        || seen.cancelled
        || !may_continue(seen.kind, seen.flags);
    match (over, bytes == 0 && seen.kind.is_write() && done < seen.want) {
        // write(2) of a positive length answers 0 only where nothing more can be taken.
        (true, true) => Next::Finish(Err(errno::ENOSPC)),
        (true, false) => Next::Finish(Ok(done)),
        (false, _) => Next::Continue(done),
    }
}

fn failed(seen: &Seen, code: i32) -> Next {
    let give_up = Next::Finish(Err(code));
    if seen.cancelled {
        // What was moved before the cancel took effect is the answer.
        return if code == errno::ECANCELED && seen.done > 0 { Next::Finish(Ok(seen.done)) } else { give_up };
    }
    if seen.attempts >= ATTEMPTS_MAX || !may_repeat(seen, code) {
        return give_up;
    }
    match code {
        errno::EINTR | errno::ECANCELED => Next::Again,
        errno::EAGAIN if !seen.last_resort => Next::Offload,
        errno::EAGAIN => Next::Later,
        // A cold buffered read whose submitting thread exited answers EFAULT (Linux 6.18, measured): once more, elsewhere.
        errno::EFAULT if seen.attempts == 0 && !seen.last_resort => Next::Offload,
        _ => give_up,
    }
}

/// True if the operation, having answered `code`, can be staged again without doing anything twice.
fn may_repeat(seen: &Seen, code: i32) -> bool {
    let flags = seen.flags;
    let appends = flags.contains(RwFlags::APPEND) && seen.kind.is_write();
    match code {
        // The kernel cancelled it unasked, before it began: its submitting thread had exited.
        errno::ECANCELED => true,
        errno::EINTR | errno::EFAULT => seen.kind.is_transfer() && !appends,
        // EAGAIN means that nothing was done. It is an answer to NOWAIT, and to whoever tries for a lock.
        errno::EAGAIN => seen.kind.is_transfer() && !flags.contains(RwFlags::NOWAIT),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: OpKind) -> Seen {
        Seen { kind, flags: RwFlags::NONE, want: 100, done: 0, attempts: 0, cancelled: false, last_resort: false }
    }

    #[test]
    fn short_transfers_go_on_until_the_end() {
        for kind in [OpKind::Read, OpKind::WriteVectored, OpKind::CopyRange] {
            assert_eq!(next(&seen(kind), 40), Next::Continue(40));
            assert_eq!(next(&Seen { done: 40, ..seen(kind) }, 60), Next::Finish(Ok(100)));
        }
    }

    #[test]
    fn nothing_read_is_the_end_nothing_written_is_an_error() {
        assert_eq!(next(&Seen { done: 40, ..seen(OpKind::Read) }, 0), Next::Finish(Ok(40)));
        assert_eq!(next(&seen(OpKind::Write), 0), Next::Finish(Err(errno::ENOSPC)));
        assert_eq!(next(&Seen { want: 0, ..seen(OpKind::Write) }, 0), Next::Finish(Ok(0)));
        assert_eq!(next(&seen(OpKind::CopyRange), 0), Next::Finish(Ok(0)));
    }

    #[test]
    fn flags_that_forbid_a_continuation() {
        for flags in [RwFlags::NOWAIT, RwFlags::ATOMIC, RwFlags::APPEND] {
            assert_eq!(next(&Seen { flags, ..seen(OpKind::Write) }, 40), Next::Finish(Ok(40)));
        }
    }

    #[test]
    fn a_failed_sync_is_never_repeated_a_cancelled_one_may_be() {
        for kind in [OpKind::SyncData, OpKind::SyncAll, OpKind::SyncDir] {
            for code in [errno::EIO, errno::EINTR, errno::EAGAIN, errno::ENOSPC] {
                assert_eq!(next(&seen(kind), -code), Next::Finish(Err(code)), "{kind:?} {code}");
            }
            assert_eq!(next(&seen(kind), -errno::ECANCELED), Next::Again);
            let asked = Seen { cancelled: true, ..seen(kind) };
            assert_eq!(next(&asked, -errno::ECANCELED), Next::Finish(Err(errno::ECANCELED)));
        }
    }

    #[test]
    fn what_is_not_idempotent_is_repeated_only_if_it_never_began() {
        for kind in [OpKind::Rename, OpKind::Open, OpKind::Unlink, OpKind::MakeDir] {
            for code in [errno::EINTR, errno::EAGAIN, errno::EFAULT] {
                assert_eq!(next(&seen(kind), -code), Next::Finish(Err(code)));
            }
        }
        let append = Seen { flags: RwFlags::APPEND, ..seen(OpKind::Write) };
        assert_eq!(next(&append, -errno::EINTR), Next::Finish(Err(errno::EINTR)));
        assert_eq!(next(&append, -errno::EFAULT), Next::Finish(Err(errno::EFAULT)));
    }

    #[test]
    fn would_block_goes_to_the_pool_then_waits_then_ends() {
        let read = seen(OpKind::Read);
        assert_eq!(next(&read, -errno::EAGAIN), Next::Offload);
        assert_eq!(next(&Seen { last_resort: true, ..read }, -errno::EAGAIN), Next::Later);
        let tired = Seen { attempts: ATTEMPTS_MAX, ..read };
        assert_eq!(next(&tired, -errno::EAGAIN), Next::Finish(Err(errno::EAGAIN)));
        let nowait = Seen { flags: RwFlags::NOWAIT, ..read };
        assert_eq!(next(&nowait, -errno::EAGAIN), Next::Finish(Err(errno::EAGAIN)));
        assert_eq!(next(&seen(OpKind::TryLock), -errno::EAGAIN), Next::Finish(Err(errno::EAGAIN)));
    }

    #[test]
    fn a_cancelled_transfer_answers_what_it_moved() {
        let cancelled = Seen { cancelled: true, done: 30, ..seen(OpKind::Read) };
        assert_eq!(next(&cancelled, 10), Next::Finish(Ok(40)));
        assert_eq!(next(&cancelled, -errno::ECANCELED), Next::Finish(Ok(30)));
        assert_eq!(next(&cancelled, -errno::EIO), Next::Finish(Err(errno::EIO)));
    }

    #[test]
    fn efault_is_tried_once_more_and_elsewhere() {
        assert_eq!(next(&seen(OpKind::Read), -errno::EFAULT), Next::Offload);
        let again = Seen { attempts: 1, last_resort: true, ..seen(OpKind::Read) };
        assert_eq!(next(&again, -errno::EFAULT), Next::Finish(Err(errno::EFAULT)));
    }
}
