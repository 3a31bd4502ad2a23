//! The edges of depth, batch and waiting.

use crate::{BLOCK, Bench, Cx, bytes::assert_same, pattern};
use io_core::{AlignedBuf, Completion, Completions, FileHandle, Op, OpKind, Token, Wait};
use std::time::{Duration, Instant};

/// A read of one block.
fn read_block(file: &FileHandle, block: usize) -> Op {
    Op::read(file, AlignedBuf::with_capacity(BLOCK), (block * BLOCK) as u64)
}

/// Takes what is done; each must be the read of the block that its offset says.
#[track_caller]
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

/// Operations that are in flight use depth as staged ones do, until their completion is delivered.
pub fn depth_counts_what_is_in_flight(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench_with_room(8, 1);
        let contents = pattern(3, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let depth = bench.driver().depth() as usize;
        for i in 0..depth {
            bench.start(read_block(&file, i % 64));
        }
        bench.wait_for(1);
        // One was delivered; all others may have completed by now, and still count.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(check_blocks(&mut bench, &contents), 1);
        assert_eq!(bench.driver().depth() as usize, depth, "the depth changed");
        bench.start(read_block(&file, 0));
        bench.try_start(read_block(&file, 0)).expect_err("more than depth operations are out");
        bench.wait_all();
        assert_eq!(check_blocks(&mut bench, &contents), depth);
    }
}

/// The smallest driver there is works, one operation after the other.
pub fn depth_one_is_enough(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(1);
        let contents = pattern(4, 4 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for i in 0..200 {
            bench.start(read_block(&file, i % 4));
            bench.wait_all();
            assert_eq!(check_blocks(&mut bench, &contents), 1);
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

/// More completions than room, over many rounds: rings wrap, counters pass one another, nothing is lost.
pub fn more_completions_than_room(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench_with_room(16, 3);
        let contents = pattern(5, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let (mut started, mut finished) = (0, 0);
        while finished < 1000 {
            while started < 1000 && bench.try_start(read_block(&file, started % 64)).is_ok() {
                started += 1;
            }
            bench.reap(Wait::AtMost(Duration::from_secs(1)));
            assert!(bench.ready() <= 3);
            finished += check_blocks(&mut bench, &contents);
        }
        assert_eq!(bench.in_flight(), 0);
    }
}

/// Without room a submit brings out what is staged, delivers nothing, and does not sleep.
pub fn without_room_it_does_not_wait(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let contents = pattern(6, 4 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let mut full = Completions::with_limit(1);
        full.push(Completion::new(Token::new(0, 0), 0));
        for block in 0..4 {
            bench.start(read_block(&file, block));
            bench.driver().submit(Wait::Forever, &mut full).expect("the channel is broken");
            assert_eq!(full.len(), 1);
        }
        bench.wait_all();
        assert_eq!(check_blocks(&mut bench, &contents), 4);
    }
}

/// A wait without anything in flight ends when its time is over: not before, not never. doradb spun here.
pub fn waiting_with_nothing_in_flight_ends_on_time(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let clock = bench.driver().clock();
    // The first submit may find a leftover of the set-up and come back early.
    bench.reap(Wait::No);
    for ms in [0, 1, 30] {
        let begun = clock.now();
        bench.reap(Wait::AtMost(Duration::from_millis(ms)));
        let took = clock.now() - begun;
        assert!(took >= Duration::from_millis(ms), "came back after {took:?} of {ms} ms");
        assert!(took < Duration::from_secs(5), "came back after {took:?} of {ms} ms");
    }
}

/// A look returns at once, whether something is in flight or not.
pub fn a_look_does_not_wait(cx: &Cx<'_>) {
    let mut bench = cx.bench(4);
    let begun = Instant::now();
    for _ in 0..1000 {
        let progress = bench.reap(Wait::No);
        assert_eq!((progress.accepted, progress.staged), (0, 0));
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// A wait without a bound ends with a completion.
pub fn forever_ends_with_a_completion(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let contents = pattern(7, 4 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for i in 0..100 {
            bench.start(read_block(&file, i % 4));
            while bench.ready() == 0 {
                bench.reap(Wait::Forever);
            }
            assert_eq!(check_blocks(&mut bench, &contents), 1);
        }
    }
}

/// What has completed already ends a wait before it begins.
pub fn completions_that_are_there_end_the_wait(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench_with_room(8, 2);
        let contents = pattern(8, 8 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for block in 0..8 {
            bench.start(read_block(&file, block));
        }
        bench.reap(Wait::No);
        std::thread::sleep(Duration::from_millis(50));
        let mut seen = bench.ready();
        while bench.in_flight() > 0 {
            bench.reap(Wait::Forever);
            seen = bench.ready().max(seen);
        }
        assert_eq!((seen, check_blocks(&mut bench, &contents)), (8, 8));
    }
}

/// Operations of earlier submits are answered by later ones, while new ones join them.
pub fn earlier_submits_are_answered_later(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(32);
        let contents = pattern(9, 32 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for block in 0..32 {
            bench.start(read_block(&file, block));
            bench.reap(Wait::No);
        }
        bench.wait_all();
        assert_eq!(check_blocks(&mut bench, &contents), 32);
    }
}

/// `Progress` counts what each submit brought to the system, and what it did not.
pub fn progress_counts_what_was_accepted(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(16);
        let contents = pattern(10, 16 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for count in [1, 5, 16] {
            for block in 0..count {
                bench.start(read_block(&file, block));
            }
            let mut accepted = 0;
            loop {
                let progress = bench.reap(Wait::No);
                accepted += progress.accepted;
                assert_eq!(accepted + progress.staged, count as u32);
                if progress.staged == 0 {
                    break;
                }
            }
            assert_eq!(bench.reap(Wait::No).accepted, 0, "accepted a second time");
            bench.wait_all();
            assert_eq!(check_blocks(&mut bench, &contents), count);
        }
    }
}

/// Waits that are over before the operations are: they come back in time, and no completion is lost on the way.
pub fn short_waits_beside_slow_operations(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(16);
        let contents = pattern(11, 64 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for round in 1..=10 {
            for _ in 0..16 {
                bench.start(Op::read(&file, AlignedBuf::with_capacity(64 * BLOCK), 0));
            }
            // Longer and longer, for clocks that only waiting moves.
            let (begun, mut longer) = (Instant::now(), 0);
            while bench.in_flight() > 0 {
                let one = Instant::now();
                bench.reap(Wait::AtMost(Duration::from_micros(longer)));
                longer += round;
                assert!(one.elapsed() < Duration::from_secs(10));
                assert!(begun.elapsed() < cx.patience(), "{} never came", bench.in_flight());
            }
            for done in bench.take_done() {
                assert_eq!(done.result, 64 * BLOCK as i32);
                assert_same("the file", &done.op.into_buf::<AlignedBuf>().unwrap(), &contents);
            }
        }
    }
}
