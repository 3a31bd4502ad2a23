//! Reads and writes that go well.

use crate::{BLOCK, Cx, Mode, bytes::assert_same, pattern};
use io_core::{AlignedBuf, IoBuf as _, Op, OpKind, RwFlags, errno};

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

/// Through the page cache any offset and any length will do.
pub fn offsets_and_lengths_need_no_alignment(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::Read, OpKind::Write]);
    let mut bench = cx.bench(4);
    let mut contents = pattern(1, 3 * BLOCK);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    for (i, (offset, len)) in [(0, 1), (1, 1), (4095, 2), (4090, 4110), (777, 7000), (12287, 1)].into_iter().enumerate()
    {
        let new = pattern(10 + i as u64, len);
        assert_eq!(bench.run(Op::write(&file, new.clone(), offset as u64)).0, len as i32);
        contents[offset..offset + len].copy_from_slice(&new);
        let (read, op) = bench.run(Op::read(&file, vec![0u8; len + 1], offset as u64));
        let there = (len + 1).min(contents.len() - offset);
        assert_eq!(read, there as i32);
        assert_same("what was read", &op.into_buf::<Vec<u8>>().unwrap(), &contents[offset..offset + there]);
    }
    assert_same("the file", &cx.contents(&name), &contents);
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

/// One piece is a transfer like any other.
pub fn a_single_piece(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::ReadVectored, OpKind::WriteVectored]) {
        let mut bench = cx.bench(4);
        let (name, file) = cx.file(mode, &pattern(1, 2 * BLOCK));
        let new = AlignedBuf::copy_of(&pattern(2, BLOCK));
        assert_eq!(bench.run(Op::write_vectored(&file, vec![new], BLOCK as u64)).0, BLOCK as i32);
        let (read, op) = bench.run(Op::read_vectored(&file, vec![AlignedBuf::with_capacity(2 * BLOCK)], 0));
        assert_eq!(read, 2 * BLOCK as i32);
        assert_same("the piece", &op.into_bufs::<AlignedBuf>().unwrap()[0], &cx.contents(&name));
    }
}

/// 1024 pieces (`IOV_MAX`) go in one operation.
pub fn as_many_pieces_as_there_may_be(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::ReadVectored, OpKind::WriteVectored]) {
        let mut bench = cx.bench(4);
        let piece = if mode == Mode::Direct { BLOCK } else { 7 };
        let (name, file) = cx.file(mode, &vec![0; 1024 * piece]);
        let new = pattern(3, 1024 * piece);
        let pieces = new.chunks(piece).map(AlignedBuf::copy_of).collect();
        assert_eq!(bench.run_whole(Op::write_vectored(&file, pieces, 0)).0, new.len() as i64);
        assert_same("the file", &cx.contents(&name), &new);
        let room = (0..1024).map(|_| AlignedBuf::with_capacity(piece)).collect();
        let (read, op) = bench.run_whole(Op::read_vectored(&file, room, 0));
        assert_eq!(read, new.len() as i64);
        let back: Vec<u8> = op.into_bufs::<AlignedBuf>().unwrap().iter().flat_map(|buf| buf.to_vec()).collect();
        assert_same("the pieces", &back, &new);
    }
}

/// Pieces of no bytes change nothing, wherever they stand; nothing but such pieces is a transfer of 0 bytes.
pub fn empty_pieces(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::ReadVectored, OpKind::WriteVectored]) {
        let mut bench = cx.bench(4);
        let old = pattern(1, 2 * BLOCK);
        let (name, file) = cx.file(mode, &old);
        let empty = || AlignedBuf::zeroed(0);
        assert_eq!(bench.run(Op::write_vectored(&file, vec![empty(), empty()], 0)).0, 0);
        assert_eq!(bench.run(Op::read_vectored(&file, vec![empty()], 0)).0, 0);
        assert_same("the file", &cx.contents(&name), &old);
        let new = pattern(2, 2 * BLOCK);
        let (first, second) = new.split_at(BLOCK);
        let pieces = vec![empty(), AlignedBuf::copy_of(first), empty(), empty(), AlignedBuf::copy_of(second), empty()];
        assert_eq!(bench.run(Op::write_vectored(&file, pieces, 0)).0, 2 * BLOCK as i32);
        assert_same("the file", &cx.contents(&name), &new);
    }
}

/// A transfer of 0 bytes answers 0 and changes nothing.
pub fn empty_transfers(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(4);
        let old = pattern(1, BLOCK);
        let (name, file) = cx.file(mode, &old);
        assert_eq!(bench.run(Op::write(&file, Vec::new(), 0)).0, 0);
        assert_eq!(bench.run(Op::read(&file, Vec::new(), 0)).0, 0);
        assert_same("the file", &cx.contents(&name), &old);
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

/// A read across the end answers what is there, and so does a vectored one.
pub fn reading_across_the_end_is_short(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::ReadVectored]) {
        let mut bench = cx.bench(4);
        let contents = pattern(5, 2 * BLOCK + 100);
        let (_, file) = cx.file(mode, &contents);
        let (read, op) = bench.run(Op::read(&file, AlignedBuf::with_capacity(4 * BLOCK), BLOCK as u64));
        assert_eq!(read, BLOCK as i32 + 100);
        assert_same("the rest", &op.into_buf::<AlignedBuf>().unwrap(), &contents[BLOCK..]);
        let room = [BLOCK, BLOCK, BLOCK].map(AlignedBuf::with_capacity).into();
        let (read, op) = bench.run(Op::read_vectored(&file, room, BLOCK as u64));
        assert_eq!(read, BLOCK as i32 + 100);
        let lens: Vec<usize> = op.into_bufs::<AlignedBuf>().unwrap().iter().map(|buf| buf.len()).collect();
        assert_eq!(lens, [BLOCK, 100, 0]);
    }
}

/// A write behind the end grows the file, and what lies between reads as zeros.
pub fn writing_past_the_end_leaves_zeros_between(cx: &Cx<'_>) {
    for mode in cx.growing_modes(&[OpKind::Write]) {
        let mut bench = cx.bench(4);
        let old = pattern(1, BLOCK);
        let (name, file) = cx.file(mode, &old);
        let new = pattern(2, BLOCK);
        assert_eq!(bench.run(Op::write(&file, AlignedBuf::copy_of(&new), 5 * BLOCK as u64)).0, BLOCK as i32);
        let now = cx.contents(&name);
        assert_same("the old part", &now[..BLOCK], &old);
        assert_same("the gap", &now[BLOCK..5 * BLOCK], &vec![0; 4 * BLOCK]);
        assert_same("the new part", &now[5 * BLOCK..], &new);
    }
}

/// Operations of different lengths at different places, all in flight at once: each gets its own answer and its own bytes.
pub fn answers_land_on_their_own_op(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(16);
        let contents = pattern(6, 256 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for round in 0..20 {
            let place = |i: usize| ((i * 17 + round) % 200 * BLOCK, (i % 15 + 1) * BLOCK);
            let started: Vec<_> = (0..16)
                .map(|i| bench.start(Op::read(&file, AlignedBuf::with_capacity(place(i).1), place(i).0 as u64)))
                .collect();
            for (i, token) in started.into_iter().enumerate() {
                let (at, len) = place(i);
                let done = bench.finish(token);
                assert_eq!(done.result, len as i32);
                assert_same("its bytes", &done.op.into_buf::<AlignedBuf>().unwrap(), &contents[at..at + len]);
            }
        }
    }
}

/// Many operations in flight on one block do not disturb one another.
pub fn one_block_read_by_many(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(32);
        let contents = pattern(7, BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for _ in 0..32 {
            bench.start(Op::read(&file, AlignedBuf::with_capacity(BLOCK), 0));
        }
        bench.wait_all();
        for done in bench.take_done() {
            assert_eq!(done.result, BLOCK as i32);
            assert_same("the block", &done.op.into_buf::<AlignedBuf>().unwrap(), &contents);
        }
    }
}

/// 16 MiB in one operation, there and back.
pub fn large_transfers(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(4);
        let (name, file) = cx.file(mode, &vec![0; 16 << 20]);
        let new = pattern(8, 16 << 20);
        assert_eq!(bench.run_whole(Op::write(&file, AlignedBuf::copy_of(&new), 0)).0, 16 << 20);
        assert_same("the file", &cx.contents(&name), &new);
        let (read, op) = bench.run_whole(Op::read(&file, AlignedBuf::with_capacity(16 << 20), 0));
        assert_eq!(read, 16 << 20);
        assert_same("what was read", &op.into_buf::<AlignedBuf>().unwrap(), &new);
    }
}

/// A request of 3 GiB moves what one transfer can, as a short one, and its rest continues at the right place. fsys 1.1
/// truncated the length to 32 bits.
pub fn more_than_two_gib_in_one_request(cx: &Cx<'_>) {
    #[cfg(not(target_os = "linux"))]
    cx.skip("needs Linux, to map the same memory many times");
    #[cfg(target_os = "linux")]
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let room = |len: usize| match crate::AliasBuf::new(len) {
            Ok(buf) => buf,
            Err(error) => cx.skip(format!("needs {len} bytes of address space: {error}")),
        };
        let (name, file) = cx.file(mode, &pattern(1, 16 * BLOCK));
        let (read, _) = bench.run(Op::read(&file, room(3 << 30), 4 * BLOCK as u64));
        assert_eq!(read, 12 * BLOCK as i32);
        if mode == Mode::Buffered || cx.rig().simulated() {
            // A hole of 2 GiB would fill the page cache with zeros.
            continue;
        }
        let whole = (2 << 30) + 16 * BLOCK as u64;
        std::fs::OpenOptions::new().write(true).open(cx.path(&name)).and_then(|file| file.set_len(whole)).unwrap();
        let (read, _) = bench.run_whole(Op::read(&file, room(3 << 30), 0));
        assert_eq!(read, whole as i64);
    }
}

/// Small buffers live inside the operation, larger ones of the same kind behind a box: the address is taken after the move.
pub fn buffers_inside_the_operation(cx: &Cx<'_>) {
    cx.needs_buffered(&[OpKind::Read, OpKind::Write]);
    let mut bench = cx.bench(8);
    let contents = pattern(9, 2 * BLOCK);
    let (name, file) = cx.file(Mode::Buffered, &contents);
    let small = bench.start(Op::read(&file, [0u8; 40], 100));
    let large = bench.start(Op::read(&file, [0u8; 3000], 200));
    let text = bench.start(Op::write(&file, "a static text", 5000));
    bench.wait_all();
    assert_same("40 bytes", &bench.take(small).unwrap().op.into_buf::<[u8; 40]>().unwrap(), &contents[100..140]);
    assert_same("3000 bytes", &bench.take(large).unwrap().op.into_buf::<[u8; 3000]>().unwrap(), &contents[200..3200]);
    assert_eq!(bench.take(text).unwrap().result, 13);
    assert_eq!(&cx.contents(&name)[5000..5013], b"a static text");
}

/// A window into a buffer is all that an operation touches of it. Streamline used slices after the buffer had moved.
pub fn windows_stay_windows(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read, OpKind::Write]) {
        let mut bench = cx.bench(4);
        let (name, file) = cx.file(mode, &pattern(1, 4 * BLOCK));
        let own = pattern(2, 4 * BLOCK);
        let window = AlignedBuf::copy_of(&own).slice(BLOCK..3 * BLOCK);
        let (read, op) = bench.run(Op::read(&file, window, BLOCK as u64));
        assert_eq!(read, 2 * BLOCK as i32);
        let buf = op.into_buf::<io_core::Slice<AlignedBuf>>().unwrap().into_inner();
        let contents = cx.contents(&name);
        assert_same("before the window", &buf[..BLOCK], &own[..BLOCK]);
        assert_same("the window", &buf[BLOCK..3 * BLOCK], &contents[BLOCK..3 * BLOCK]);
        assert_same("behind the window", &buf[3 * BLOCK..], &own[3 * BLOCK..]);
        let window = AlignedBuf::copy_of(&own).slice(2 * BLOCK..3 * BLOCK);
        assert_eq!(bench.run(Op::write(&file, window, 0)).0, BLOCK as i32);
        let now = cx.contents(&name);
        assert_same("what was written", &now[..BLOCK], &own[2 * BLOCK..3 * BLOCK]);
        assert_same("the rest of the file", &now[BLOCK..], &contents[BLOCK..]);
    }
}

/// `RWF_DSYNC` is a write like any other, only durable.
pub fn durable_writes(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Write, OpKind::WriteVectored]) {
        let mut bench = cx.bench(4);
        let (name, file) = cx.file(mode, &pattern(1, 2 * BLOCK));
        let new = pattern(2, BLOCK);
        let write = Op::write(&file, AlignedBuf::copy_of(&new), 0).with_flags(RwFlags::DSYNC);
        assert_eq!(bench.run(write).0, BLOCK as i32);
        let write = Op::write_vectored(&file, vec![AlignedBuf::copy_of(&new)], BLOCK as u64).with_flags(RwFlags::DSYNC);
        assert_eq!(bench.run(write).0, BLOCK as i32);
        assert_same("the file", &cx.contents(&name), &[&new[..], &new].concat());
    }
}

/// `RWF_NOWAIT` answers the data, or that it would have to wait, or that the file system cannot say; nothing is retried behind
/// the caller's back, and a short answer is right as far as it goes (tokio#3803: on Linux 5.9 it was not).
pub fn nowait_reads_data_or_says_why_not(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let contents = pattern(3, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for i in 0..64 {
            let at = i * BLOCK;
            let read = Op::read(&file, AlignedBuf::with_capacity(2 * BLOCK), at as u64).with_flags(RwFlags::NOWAIT);
            let (read, op) = bench.run(read);
            if read >= 0 {
                let buf = op.into_buf::<AlignedBuf>().unwrap();
                assert!(read > 0, "there is data at {at}");
                assert_same("what was read", &buf, &contents[at..at + read as usize]);
            } else {
                assert!([errno::EAGAIN, errno::EOPNOTSUPP].contains(&-read), "{read}");
            }
        }
    }
}

/// `RWF_APPEND` writes at the end whatever the offset says, each time, and leaves the rest alone.
pub fn appending_ignores_the_offset(cx: &Cx<'_>) {
    for mode in cx.growing_modes(&[OpKind::Write]) {
        let mut bench = cx.bench(4);
        let mut whole = pattern(1, BLOCK);
        let (name, file) = cx.file(mode, &whole);
        for seed in 2..6 {
            let new = pattern(seed, BLOCK);
            let write = Op::write(&file, AlignedBuf::copy_of(&new), 0).with_flags(RwFlags::APPEND);
            assert_eq!(bench.run(write).0, BLOCK as i32);
            whole.extend_from_slice(&new);
        }
        assert_same("the file", &cx.contents(&name), &whole);
    }
}

/// An I/O priority changes nothing but the order at the device.
pub fn priorities_change_no_data(cx: &Cx<'_>) {
    const BEST_EFFORT_6: u16 = 2 << 13 | 6;
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let contents = pattern(1, 2 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let read = Op::read(&file, AlignedBuf::with_capacity(2 * BLOCK), 0).with_ioprio(BEST_EFFORT_6);
        let (read, op) = bench.run(read);
        assert_eq!(read, 2 * BLOCK as i32);
        assert_same("what was read", &op.into_buf::<AlignedBuf>().unwrap(), &contents);
    }
}

/// Flags that a kernel or file system does not know are refused with `EOPNOTSUPP` (or `EINVAL`) and nothing happens; known
/// ones do the transfer.
pub fn unknown_flags_are_refused_whole(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Write]) {
        let mut bench = cx.bench(4);
        let old = pattern(1, BLOCK);
        let (name, file) = cx.file(mode, &old);
        for flag in [RwFlags::ATOMIC, RwFlags::DONTCACHE] {
            let before = cx.contents(&name);
            let new = pattern(2 + u64::from(flag.bits()), BLOCK);
            let (written, _) = bench.run(Op::write(&file, AlignedBuf::copy_of(&new), 0).with_flags(flag));
            if written < 0 {
                assert!([errno::EOPNOTSUPP, errno::EINVAL].contains(&-written), "{written}");
                assert_same("the file", &cx.contents(&name), &before);
            } else {
                assert_eq!(written, BLOCK as i32);
                assert_same("the file", &cx.contents(&name), &new);
            }
        }
    }
}
