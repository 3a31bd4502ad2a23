//! Reads and writes that go well.

use crate::{BLOCK, Cx, bytes::assert_same, pattern};
use io_core::{AlignedBuf, Op, OpKind};

/// Blocks written out of order at their offsets are what a read of each, and the file itself, holds afterwards.
pub fn what_was_written_is_read(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(8);
        let (name, file) = cx.file(mode, &pattern(1, 8 * BLOCK));
        let new = pattern(2, 8 * BLOCK);
        for block in [3, 0, 7, 5, 1, 6, 2, 4] {
            let at = block * BLOCK;
            let (written, _) = bench.run(Op::write(&file, AlignedBuf::copy_of(&new[at..at + BLOCK]), at as u64));
            assert_eq!(written, BLOCK as i32);
        }
        for block in [6, 1, 0, 7, 2, 5, 3, 4] {
            let at = block * BLOCK;
            let (read, op) = bench.run(Op::read(&file, AlignedBuf::with_capacity(BLOCK), at as u64));
            assert_eq!(read, BLOCK as i32);
            assert_same("a block", &op.into_buf::<AlignedBuf>().unwrap(), &new[at..at + BLOCK]);
        }
        assert_same("the file", &cx.contents(&name), &new);
    }
}

/// The pieces of a vectored transfer follow one another in the file.
pub fn vectored_pieces_are_in_order(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::ReadVectored, OpKind::WriteVectored]) {
        let mut bench = cx.bench(4);
        let (name, file) = cx.file(mode, &vec![0; 8 * BLOCK]);
        let new = pattern(3, 6 * BLOCK);
        let pieces = [&new[..BLOCK], &new[BLOCK..4 * BLOCK], &new[4 * BLOCK..]];
        let pieces: Vec<AlignedBuf> = pieces.into_iter().map(AlignedBuf::copy_of).collect();
        let (written, _) = bench.run(Op::write_vectored(&file, pieces, BLOCK as u64));
        assert_eq!(written, 6 * BLOCK as i32);
        assert_same("the file", &cx.contents(&name)[BLOCK..7 * BLOCK], &new);
        let room = [2 * BLOCK, BLOCK, 3 * BLOCK].map(AlignedBuf::with_capacity).into();
        let (read, op) = bench.run(Op::read_vectored(&file, room, BLOCK as u64));
        assert_eq!(read, 6 * BLOCK as i32);
        let back: Vec<u8> = op.into_bufs::<AlignedBuf>().unwrap().iter().flat_map(|buf| buf.to_vec()).collect();
        assert_same("the pieces", &back, &new);
    }
}

/// At and behind the end of a file there are 0 bytes, which is no error. io-engine turned it into `EINVAL`; RocksDB#10368
/// looped for ever at a direct file's end.
pub fn reading_past_the_end_is_zero_bytes(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let (_, file) = cx.file(mode, &pattern(4, 2 * BLOCK));
        for blocks in [2, 3, 1 << 20] {
            let (read, op) = bench.run(Op::read(&file, AlignedBuf::with_capacity(BLOCK), blocks * BLOCK as u64));
            assert_eq!(read, 0);
            assert!(op.into_buf::<AlignedBuf>().unwrap().is_empty());
        }
    }
}

/// A read across the end answers what is there.
pub fn reading_across_the_end_is_short(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let contents = pattern(5, 2 * BLOCK + 100);
        let (_, file) = cx.file(mode, &contents);
        let (read, op) = bench.run(Op::read(&file, AlignedBuf::with_capacity(4 * BLOCK), BLOCK as u64));
        assert_eq!(read, BLOCK as i32 + 100);
        assert_same("the rest", &op.into_buf::<AlignedBuf>().unwrap(), &contents[BLOCK..]);
    }
}
