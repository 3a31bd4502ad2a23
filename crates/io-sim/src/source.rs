//! Where an operation's arguments come from: the lent memory itself, or a copy made of it for a crash point.

use crate::{
    memory::{Described, Lent},
    options::DirectRules,
};
use io_core::RawOp;
use std::path::{Path, PathBuf};

/// Arguments of an operation, beyond the numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Lent(&'a Lent),
    Copied(&'a Copied),
}

/// A copy of what an operation in flight would put on the disk; it outlives the operation.
#[derive(Debug)]
pub(crate) struct Copied {
    op: Described,
    bytes: Vec<u8>,
    path: Option<PathBuf>,
    second_path: Option<PathBuf>,
    aligned: bool,
    null: bool,
}

impl Copied {
    pub(crate) fn new(lent: &Lent, rules: DirectRules) -> Copied {
        let null = lent.has_null();
        let mut bytes = Vec::new();
        if lent.op().kind().is_write() && !null {
            lent.take(u64::MAX, |piece| bytes.extend_from_slice(piece));
        }
        Copied {
            op: lent.described(),
            bytes,
            path: lent.path().map(Path::to_path_buf),
            second_path: lent.second_path().map(Path::to_path_buf),
            aligned: lent.is_aligned(rules.mem_align, rules.offset_align),
            null,
        }
    }
}

impl Copied {
    /// True if a write's memory still holds what was copied from it.
    pub(crate) fn is_still_in(&self, lent: &Lent) -> bool {
        let mut left = &self.bytes[..];
        let mut same = true;
        lent.take(left.len() as u64, |piece| {
            let (now, later) = left.split_at(piece.len());
            same &= now == piece;
            left = later;
        });
        same
    }
}

impl<'a> Source<'a> {
    pub(crate) fn op(self) -> &'a RawOp {
        match self {
            Source::Lent(lent) => lent.op(),
            Source::Copied(copied) => copied.op.op(),
        }
    }

    pub(crate) fn path(self) -> &'a Path {
        let path = match self {
            Source::Lent(lent) => lent.path(),
            Source::Copied(copied) => copied.path.as_deref(),
        };
        path.expect("an operation on a path has one")
    }

    pub(crate) fn second_path(self) -> &'a Path {
        let path = match self {
            Source::Lent(lent) => lent.second_path(),
            Source::Copied(copied) => copied.second_path.as_deref(),
        };
        path.expect("a rename has two paths")
    }

    /// Bytes that a transfer asks for.
    pub(crate) fn len(self) -> u64 {
        match self {
            Source::Lent(lent) => lent.len(),
            Source::Copied(copied) => copied.bytes.len() as u64,
        }
    }

    pub(crate) fn is_aligned(self, rules: DirectRules) -> bool {
        match self {
            Source::Lent(lent) => lent.is_aligned(rules.mem_align, rules.offset_align),
            Source::Copied(copied) => copied.aligned,
        }
    }

    pub(crate) fn has_null(self) -> bool {
        match self {
            Source::Lent(lent) => lent.has_null(),
            Source::Copied(copied) => copied.null,
        }
    }

    /// Gives the first `limit` bytes of a write out, piece by piece.
    pub(crate) fn take(self, limit: u64, mut out: impl FnMut(&[u8])) {
        match self {
            Source::Lent(lent) => lent.take(limit, out),
            Source::Copied(copied) => out(&copied.bytes[..limit as usize]),
        }
    }
}
