//! One operation on its way: what was decided about it when it was accepted.

use crate::{
    faults::Fault,
    memory::Lent,
    options::SimOptions,
    random::{Random, nanos},
    source::{Copied, Source},
};
use io_core::{FileRef, OpKind, Output, RawOp, RwFlags, StatTarget, Token, errno};
use std::sync::Arc;

/// Transfers above this are never copied twice.
const COPY_MAX: u64 = 1 << 20;

/// An accepted operation. It takes effect at one moment and completes at another one, not before.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) driver: u32,
    pub(crate) token: Token,
    pub(crate) lent: Lent,
    /// A copy of what it would put on the disk, made early.
    pub(crate) copied: Option<Arc<Copied>>,
    pub(crate) plan: Plan,
    pub(crate) state: State,
    pub(crate) result: i32,
    /// What a read has read and not yet put into its memory.
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing has happened yet.
    Begun,
    /// Others see what it did.
    Effective,
    /// It waits to be reaped.
    Complete,
}

/// What was decided when the operation was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) effect_at: u64,
    pub(crate) complete_at: u64,
    pub(crate) errno: Option<i32>,
    /// Most bytes that it moves.
    pub(crate) limit: u64,
    pub(crate) lose_sync: bool,
    pub(crate) wedged: bool,
    /// Its memory is touched as early as possible instead of as late as possible.
    pub(crate) early: bool,
}

impl Plan {
    /// Draws what becomes of an operation.
    pub(crate) fn draw(lent: &Lent, fault: Option<Fault>, options: &SimOptions, now: u64, random: &mut Random) -> Plan {
        let (op, kind) = (lent.op(), lent.op().kind());
        let flags = flags(op);
        let durable = kind.is_sync() || kind == OpKind::SyncDir || flags.contains(RwFlags::DSYNC);
        let mut took = random.nanos(if durable { &options.sync_latency } else { &options.latency });
        if random.chance(options.slow) {
            took = took.saturating_mul(100);
        }
        let effect = match random.below(3) {
            0 => 0,
            1 => took,
            _ => random.below(took),
        };
        let early = random.chance(0.5);
        let mut errno = None;
        if !options.supports.contains_kind(kind) {
            errno = Some(errno::EOPNOTSUPP);
        } else if flags.contains(RwFlags::NOWAIT) && random.chance(options.nowait_miss) {
            errno = Some(errno::EAGAIN);
        }
        let mut limit = u64::MAX;
        if (kind.is_transfer() || kind == OpKind::CopyRange) && random.chance(options.short) {
            let len = match op {
                RawOp::CopyRange { len, .. } => *len as u64,
                _ => lent.len(),
            };
            limit = 1 + random.below(len.saturating_sub(1));
        }
        let mut plan = Plan {
            effect_at: now.saturating_add(effect),
            complete_at: now.saturating_add(took),
            errno,
            limit,
            lose_sync: false,
            wedged: false,
            early,
        };
        match fault {
            Some(Fault::Errno(code)) => plan.errno = Some(code),
            Some(Fault::Short(bytes)) if bytes > 0 => plan.limit = bytes as u64,
            Some(Fault::Wedge) => plan.wedged = true,
            Some(Fault::Slow(by)) => plan.complete_at = plan.complete_at.saturating_add(nanos(by)),
            Some(Fault::LoseSync) => plan.lose_sync = true,
            Some(Fault::Short(_) | Fault::PushBack(_) | Fault::PowerCut) | None => {}
        }
        plan
    }
}

impl Flight {
    pub(crate) fn source(&self) -> Source<'_> {
        match &self.copied {
            Some(copied) => Source::Copied(copied),
            None => Source::Lent(&self.lent),
        }
    }

    /// True if the bytes of a write are to be taken now, or what is read is to be put into its memory at once.
    pub(crate) fn copies_at_once(lent: &Lent, early: bool) -> bool {
        let kind = lent.op().kind();
        match (kind.is_write(), kind.is_read()) {
            (true, _) => early && lent.len() <= COPY_MAX,
            (_, true) => early || lent.len() > COPY_MAX,
            _ => false,
        }
    }

    /// True if a power cut may still find its effect on the disk.
    pub(crate) fn may_still_happen(&self) -> bool {
        self.state == State::Begun && self.plan.errno.is_none() && changes(self.lent.op().kind())
    }
}

/// The flags of a transfer.
pub(crate) fn flags(op: &RawOp) -> RwFlags {
    match *op {
        RawOp::Read { flags, .. }
        | RawOp::ReadVectored { flags, .. }
        | RawOp::Write { flags, .. }
        | RawOp::WriteVectored { flags, .. } => flags,
        _ => RwFlags::NONE,
    }
}

/// True for what leaves a trace on the disk.
pub(crate) fn changes(kind: OpKind) -> bool {
    match kind {
        OpKind::Write
        | OpKind::WriteVectored
        | OpKind::Allocate
        | OpKind::PunchHole
        | OpKind::ZeroRange
        | OpKind::Truncate
        | OpKind::Open
        | OpKind::SetPermissions
        | OpKind::Rename
        | OpKind::Unlink
        | OpKind::MakeDir
        | OpKind::RemoveDir
        | OpKind::CopyRange
        | OpKind::Clone => true,
        OpKind::Read
        | OpKind::ReadVectored
        | OpKind::SyncData
        | OpKind::SyncAll
        | OpKind::SyncRange
        | OpKind::Advise
        | OpKind::WriteHint
        | OpKind::TryLock
        | OpKind::Unlock
        | OpKind::QueryLock
        | OpKind::Close
        | OpKind::Stat
        | OpKind::StatFs
        | OpKind::Access
        | OpKind::RealPath
        | OpKind::ReadDir
        | OpKind::SyncDir => false,
    }
}

/// The file that an operation works on (the source of a copy), its offset and its length, as far as it has such.
pub(crate) fn place(lent: &Lent) -> (Option<FileRef>, u64, u64) {
    match *lent.op() {
        RawOp::Read { file, offset, .. }
        | RawOp::ReadVectored { file, offset, .. }
        | RawOp::Write { file, offset, .. }
        | RawOp::WriteVectored { file, offset, .. } => (Some(file), offset, lent.len()),
        RawOp::SyncRange { file, offset, len }
        | RawOp::Allocate { file, offset, len, .. }
        | RawOp::PunchHole { file, offset, len }
        | RawOp::ZeroRange { file, offset, len, .. }
        | RawOp::Advise { file, offset, len, .. }
        | RawOp::TryLock { file, offset, len, .. }
        | RawOp::Unlock { file, offset, len }
        | RawOp::QueryLock { file, offset, len, .. }
        | RawOp::Clone { from: file, from_offset: offset, len, .. } => (Some(file), offset, len),
        RawOp::CopyRange { from, from_offset, len, .. } => (Some(from), from_offset, len as u64),
        RawOp::Truncate { file, len } => (Some(file), 0, len),
        RawOp::SyncData { file }
        | RawOp::SyncAll { file }
        | RawOp::WriteHint { file, .. }
        | RawOp::Close { file }
        | RawOp::Stat { target: StatTarget::File(file), .. } => (Some(file), 0, 0),
        RawOp::Open { .. }
        | RawOp::Stat { target: StatTarget::Path { .. }, .. }
        | RawOp::StatFs { .. }
        | RawOp::Access { .. }
        | RawOp::RealPath { .. }
        | RawOp::SetPermissions { .. }
        | RawOp::Rename { .. }
        | RawOp::Unlink { .. }
        | RawOp::MakeDir { .. }
        | RawOp::RemoveDir { .. }
        | RawOp::ReadDir { .. }
        | RawOp::SyncDir { .. } => (None, 0, 0),
    }
}
