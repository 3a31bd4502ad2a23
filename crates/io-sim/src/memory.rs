//! The one place that touches what operations point at.
//!
//! A [`Lent`] is made when an operation is staged and dropped when its completion is pushed (or when its driver is dropped):
//! between the two, by the promise of `Driver::prepare`, the addresses in it are good. So the methods are safe, and nothing
//! outside this file dereferences a pointer. When they are called is decided elsewhere, by chance, as early as acceptance or as
//! late as the completion, so that a core that frees a buffer too early meets AddressSanitizer here.

use io_core::{FileFacts, FileHandle, IoVec, OpPath, Output, RawFile, RawOp, StatTarget};
use std::{any::Any, path::Path, ptr, slice};

/// An operation whose addresses are good as long as this lives.
#[derive(Debug)]
pub(crate) struct Lent(RawOp);

/// The description of an operation that may be over: only its numbers are of use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described(RawOp);

// SAFETY: nobody dereferences the addresses of a `Described`; as numbers they may be shared.
unsafe impl Sync for Described {}

impl Described {
    pub(crate) fn op(&self) -> &RawOp {
        &self.0
    }
}

impl Lent {
    /// Takes an operation over.
    ///
    /// # Safety
    /// As `Driver::prepare`, until the value is dropped: memory and paths that `op` names stay valid and unmoved, nobody mutates
    /// a write's memory or touches a read's.
    pub(crate) unsafe fn new(op: RawOp) -> Lent {
        Lent(op)
    }

    /// The description. Its addresses are not for use.
    pub(crate) fn op(&self) -> &RawOp {
        &self.0
    }

    /// The description, for who outlives the operation.
    pub(crate) fn described(&self) -> Described {
        Described(self.0)
    }

    /// The path that the operation names (the first, if it names two).
    pub(crate) fn path(&self) -> Option<&Path> {
        let path: *const OpPath = match self.0 {
            RawOp::Open { path, .. }
            | RawOp::Stat { target: StatTarget::Path { path, .. }, .. }
            | RawOp::StatFs { path, .. }
            | RawOp::Access { path, .. }
            | RawOp::RealPath { path, .. }
            | RawOp::SetPermissions { path, .. }
            | RawOp::Rename { from: path, .. }
            | RawOp::Unlink { path }
            | RawOp::MakeDir { path, .. }
            | RawOp::RemoveDir { path }
            | RawOp::ReadDir { path, .. }
            | RawOp::SyncDir { path } => path,
            _ => return None,
        };
        // SAFETY: a path that an operation names is valid until its completion, and `self` is gone by then (I1, I3).
        Some(unsafe { &*path }.as_path())
    }

    /// The second path of a rename.
    pub(crate) fn second_path(&self) -> Option<&Path> {
        let RawOp::Rename { to, .. } = self.0 else { return None };
        // SAFETY: as in `path`.
        Some(unsafe { &*to }.as_path())
    }

    /// The memory of a transfer, piece by piece, at most [`RawOp::MAX_TRANSFER`] bytes of it.
    fn pieces(&self) -> impl Iterator<Item = (*mut u8, usize)> {
        let (single, many): (_, &[IoVec]) = match self.0 {
            RawOp::Read { buf, len, .. } => (Some((buf, len as usize)), &[]),
            RawOp::Write { buf, len, .. } => (Some((buf.cast_mut(), len as usize)), &[]),
            RawOp::ReadVectored { iov, count, .. } | RawOp::WriteVectored { iov, count, .. } if count > 0 => {
                // SAFETY: `count` pieces are described there until the completion, and `self` is gone by then (I1, I5).
                (None, unsafe { slice::from_raw_parts(iov, count as usize) })
            }
            _ => (None, &[]),
        };
        let mut room = RawOp::MAX_TRANSFER as usize;
        let all = single.into_iter().chain(many.iter().map(|piece| (piece.base, piece.len)));
        all.filter(|&(_, len)| len > 0).map(move |(base, len)| {
            let part = len.min(room);
            room -= part;
            (base, part)
        })
    }

    /// Bytes that the transfer asks for.
    pub(crate) fn len(&self) -> u64 {
        self.pieces().map(|(_, len)| len as u64).sum()
    }

    /// True if each piece begins at a multiple of `mem` and has a length that is a multiple of `len`.
    pub(crate) fn is_aligned(&self, mem: u32, len: u32) -> bool {
        self.pieces().all(|(base, bytes)| base as usize % mem as usize == 0 && bytes % len as usize == 0)
    }

    /// True if a piece of the transfer has no address at all.
    pub(crate) fn has_null(&self) -> bool {
        self.pieces().any(|(base, _)| base.is_null())
    }

    /// Gives the first `limit` bytes of a write out, piece by piece.
    pub(crate) fn take(&self, limit: u64, mut out: impl FnMut(&[u8])) {
        let mut left = limit;
        for (base, len) in self.pieces() {
            let part = left.min(len as u64) as usize;
            if part > 0 {
                // SAFETY: a write's memory is initialized, and valid and unchanged until the completion (I1, I3).
                out(unsafe { slice::from_raw_parts(base, part) });
            }
            left -= part as u64;
        }
    }

    /// Writes into the memory of a read, from its start on.
    pub(crate) fn filler(&self) -> impl FnMut(&[u8]) {
        let mut pieces = self.pieces();
        let mut at: (*mut u8, usize) = (ptr::null_mut(), 0);
        move |mut bytes| {
            while !bytes.is_empty() {
                if at.1 == 0 {
                    at = pieces.next().expect("no more is read than was asked for");
                }
                let part = bytes.len().min(at.1);
                // SAFETY: the `at.1` bytes at `at.0` are the rest of a piece of a read's memory: writable until the completion,
                // touched by nobody else (I1, I3). `bytes` is the simulator's own.
                unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at.0, part) };
                at = (at.0.wrapping_add(part), at.1 - part);
                bytes = &bytes[part..];
            }
        }
    }

    /// Puts the typed answer where it belongs; what was there comes back, to be dropped where that is safe.
    pub(crate) fn answer(&self, output: Output) -> Output {
        let out: *mut Output = match self.0 {
            RawOp::QueryLock { out, .. }
            | RawOp::Open { out, .. }
            | RawOp::Stat { out, .. }
            | RawOp::StatFs { out, .. }
            | RawOp::RealPath { out, .. }
            | RawOp::ReadDir { out, .. } => out,
            _ => return output,
        };
        // SAFETY: the output place is valid until the completion and belongs to the driver until then (I1, I3).
        unsafe { ptr::replace(out, output) }
    }
}

/// The handle of a simulated file.
pub(crate) fn handle(raw: RawFile, owner: Box<dyn Any + Send + Sync>, facts: FileFacts) -> FileHandle {
    assert!(raw.get() > i32::MAX as i64, "a number that a real driver could take for a file");
    // SAFETY: no real driver takes the number for a file (asserted).
    unsafe { FileHandle::from_raw(raw, owner, facts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::{FileFacts, Op};

    fn file() -> FileHandle {
        handle(RawFile::new(1 << 40), Box::new(()), FileFacts::default())
    }

    /// The operation rests in its box while the `Lent` lives.
    fn lend(op: &mut Op) -> Lent {
        // SAFETY: the tests keep the operation where it is, and touch it only when the `Lent` is gone.
        unsafe { Lent::new(op.raw(0, RawOp::MAX_TRANSFER)) }
    }

    #[test]
    fn writes_come_out_in_order_up_to_the_limit() {
        let mut op = Op::write_vectored(&file(), vec![b"abc".to_vec(), vec![], b"defgh".to_vec()], 0);
        let lent = lend(&mut op);
        let mut taken = Vec::new();
        lent.take(5, |piece| taken.extend_from_slice(piece));
        assert_eq!((lent.len(), &taken[..]), (8, &b"abcde"[..]));
        assert!(!lent.is_aligned(1, 2) && lent.is_aligned(1, 1) && !lent.has_null());
    }

    #[test]
    fn reads_fill_piece_after_piece() {
        let mut op = Op::read_vectored(&file(), vec![vec![0u8; 2], vec![0u8; 3], vec![0u8; 4]], 0);
        let lent = lend(&mut op);
        let mut fill = lent.filler();
        fill(b"a");
        fill(b"bcdef");
        drop(fill);
        // SAFETY: six bytes were read, and nobody uses the operation's addresses any more.
        unsafe { op.settle(6, 6) };
        assert_eq!(op.into_bufs::<Vec<u8>>().unwrap(), [b"ab".to_vec(), b"cde".to_vec(), b"f".to_vec()]);
    }

    #[test]
    fn paths_and_answers_find_their_places() {
        let mut op = Op::rename("a", "b", io_core::RenameMode::Replace).unwrap();
        let lent = lend(&mut op);
        assert_eq!((lent.path().unwrap(), lent.second_path().unwrap()), (Path::new("a"), Path::new("b")));
        assert!(matches!(lent.answer(Output::Lock(None)), Output::Lock(None)), "no place: it comes back");
        let mut op = Op::read_dir("d").unwrap();
        let lent = lend(&mut op);
        assert!(matches!(lent.answer(Output::Entries(Vec::new())), Output::None));
        assert!(matches!(op.take_output(), Output::Entries(_)));
    }
}
