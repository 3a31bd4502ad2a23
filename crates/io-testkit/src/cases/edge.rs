//! The edges of depth, batch and waiting.

use crate::{BLOCK, Bench, Cx, bytes::assert_same, pattern};
use io_core::{AlignedBuf, FileHandle, Op, OpKind, Wait};
use std::time::Duration;

/// A read of one block.
fn read_block(file: &FileHandle, block: usize) -> Op {
    Op::read(file, AlignedBuf::with_capacity(BLOCK), (block * BLOCK) as u64)
}

/// Takes what is done; each must be the read of the block that its offset says.
fn check_blocks(bench: &mut Bench, contents: &[u8]) -> usize {
    let done = bench.take_done();
    let count = done.len();
    for done in done {
        assert_eq!(done.result, BLOCK as i32, "{:?}", done.op);
        let at = done.op.offset() as usize;
        assert_same("a block", &done.op.into_buf::<AlignedBuf>().unwrap(), &contents[at..at + BLOCK]);
    }
    count
}

/// Thousands of reads through a deep queue: each is answered once, under its own token, with its own data. RocksDB#13205: two
/// users of a ring swallowed each other's completions.
pub fn every_op_completes_exactly_once(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(32);
        let contents = pattern(1, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let (mut started, mut finished) = (0, 0);
        while finished < 4000 {
            while started < 4000 && bench.try_start(read_block(&file, started * 7 % 64)).is_ok() {
                started += 1;
            }
            bench.wait_for(1);
            finished += check_blocks(&mut bench, &contents);
        }
        assert_eq!((started, bench.in_flight()), (4000, 0));
        // A doubled answer may come late.
        bench.reap(Wait::AtMost(Duration::from_millis(20)));
        assert_eq!(bench.ready(), 0);
    }
}

/// Staging to the brim: the operation that does not fit comes back, and all that did complete. doradb dropped them.
pub fn full_loses_nothing(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(16);
        let contents = pattern(2, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let depth = bench.driver().depth() as usize;
        assert!(depth >= 16, "asked for 16, got {depth}");
        for round in 0..3 {
            for i in 0..depth {
                bench.start(read_block(&file, (i + round) % 64));
            }
            for _ in 0..3 {
                bench.try_start(read_block(&file, 0)).expect_err("more than depth operations were staged");
            }
            bench.wait_all();
            assert_eq!(check_blocks(&mut bench, &contents), depth);
        }
    }
}

/// A batch with room for one: what does not fit stays for the next call.
pub fn room_of_one_loses_nothing(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench_with_room(16, 1);
        let contents = pattern(3, 16 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for block in 0..16 {
            bench.start(read_block(&file, block));
        }
        for left in (0..16).rev() {
            bench.wait_for(1);
            assert_eq!(check_blocks(&mut bench, &contents), 1);
            assert_eq!(bench.in_flight(), left);
        }
    }
}

/// A wait without anything in flight ends when its time is over: not before, not never. doradb spun here.
pub fn waiting_with_nothing_in_flight_ends_on_time(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let clock = bench.driver().clock();
    // The first submit may find a leftover of the set-up and come back early.
    bench.reap(Wait::No);
    for ms in [1, 30] {
        let begun = clock.now();
        bench.reap(Wait::AtMost(Duration::from_millis(ms)));
        let took = clock.now() - begun;
        assert!(took >= Duration::from_millis(ms), "came back after {took:?} of {ms} ms");
        assert!(took < Duration::from_secs(5), "came back after {took:?} of {ms} ms");
    }
}
