//! Keeps a sync behind the writes it covers and remembers what a failure means. All of it is per inode, see `inode.rs`; nothing
//! is ever linked in the kernel, where a short write would break the chain (turso#4291).

#[cfg(feature = "tracing")]
use crate::trace;
use crate::{
    failure::{SyncFailed, loses_data},
    inode::{Change, Inode, Mailbox, Sync},
};
use io_core::{Op, Readiness, RwFlags, Token};
use std::sync::Arc;

/// Whether an operation may be staged now.
pub(crate) enum Admission {
    /// It may; a change has this epoch of its inode.
    Go(Option<u64>),
    /// Later: the mailbox tells.
    Wait,
    /// It cannot succeed.
    Failed(SyncFailed),
}

#[inline]
pub(crate) fn admit(op: &Op, token: Token, mailbox: &Arc<Mailbox>, readiness: &Arc<dyn Readiness>) -> Admission {
    if let Some(file) = op.changes() {
        let inode = Inode::of(file);
        if op.flags().contains(RwFlags::DSYNC) {
            if let Some(failed) = inode.failed() {
                return Admission::Failed(failed);
            }
        }
        return Admission::Go(Some(inode.begin_change(Change::of(op))));
    }
    let Some(file) = op.file().filter(|_| op.kind().is_sync()) else { return Admission::Go(None) };
    match Inode::of(file).begin_sync(token, mailbox, readiness) {
        Sync::Go => Admission::Go(None),
        Sync::Wait => Admission::Wait,
        Sync::Failed(failed) => Admission::Failed(failed),
    }
}

/// The operation is answered: releases who waited for it, and marks the inode where the failure means lost data. A sync that the
/// system called good fails all the same if something durable failed on the inode meanwhile (I8).
#[inline]
pub(crate) fn answered(op: &Op, epoch: Option<u64>, code: Option<i32>) -> Result<(), SyncFailed> {
    if let (Some(file), Some(epoch)) = (op.changes(), epoch) {
        let inode = Inode::of(file);
        if code.is_some_and(|code| loses_data(op.kind(), op.flags(), code)) {
            mark(inode, op, code.unwrap_or_default());
        }
        inode.end_change(epoch, Change::of(op), op.done(), code);
        return match inode.failed() {
            Some(failed) if code.is_none() && op.flags().contains(RwFlags::DSYNC) => Err(failed),
            _ => Ok(()),
        };
    }
    let Some(file) = op.file().filter(|_| op.kind().is_sync()) else { return Ok(()) };
    let inode = Inode::of(file);
    inode.end_sync(code.is_none());
    match code {
        Some(code) if loses_data(op.kind(), op.flags(), code) => mark(inode, op, code),
        Some(_) => {}
        None => return inode.failed().map_or(Ok(()), Err),
    }
    Ok(())
}

/// From here on nobody can say what of the inode is durable.
#[cold]
fn mark(inode: &Inode, op: &Op, code: i32) {
    #[cfg(feature = "tracing")]
    if inode.failed().is_none() {
        let key = op.file().and_then(|file| file.facts().inode);
        trace::later(trace::Later::Marked { kind: op.kind(), code, inode: key });
    }
    let _ = op;
    inode.fail(code);
}

/// A sync that was admitted is answered without having run.
#[cold]
pub(crate) fn never_ran(op: &Op) {
    if let Some(file) = op.file().filter(|_| op.kind().is_sync()) {
        Inode::of(file).end_sync(false);
    }
}

/// The operation will never be answered: nobody can say what became of its data.
pub(crate) fn lost(op: &Op, epoch: Option<u64>) {
    let code = io_core::errno::EIO;
    if let (Some(file), Some(epoch)) = (op.changes(), epoch) {
        let inode = Inode::of(file);
        mark(inode, op, code);
        inode.end_change(epoch, Change::of(op), 0, Some(code));
    } else if let Some(file) = op.file().filter(|_| op.kind().is_sync()) {
        mark(Inode::of(file), op, code);
    }
}
