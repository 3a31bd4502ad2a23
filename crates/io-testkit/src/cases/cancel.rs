//! Cancel is a wish; exactly one completion is the law.

use crate::{BLOCK, Bench, Cx, GuardBuf, bytes::assert_same, pattern};
use io_core::{FileHandle, Op, OpKind, Token, Wait, errno};
use std::time::Duration;

const MIB: usize = 1 << 20;

fn read(file: &FileHandle, len: usize) -> Op {
    Op::read(file, GuardBuf::with_capacity(len), 0)
}

/// Takes what is done: each is a read of the start of `contents`, or was cancelled. Buffers are released at once, so that a
/// touch after the completion shows. Answers how many were cancelled.
#[track_caller]
fn check_reads(bench: &mut Bench, contents: &[u8]) -> usize {
    let mut cancelled = 0;
    for done in bench.take_done() {
        if done.result == -errno::ECANCELED {
            cancelled += 1;
            continue;
        }
        assert!(done.result > 0, "{:?} of {:?}", done.result, done.op);
        assert_same("what was read", &done.op.into_buf::<GuardBuf>().unwrap(), &contents[..done.result as usize]);
    }
    cancelled
}

/// Nothing more comes: a second completion panics in the bench.
#[track_caller]
fn nothing_more(bench: &mut Bench) {
    assert_eq!(bench.in_flight(), 0);
    bench.reap(Wait::AtMost(Duration::from_millis(10)));
    assert_eq!(bench.ready(), 0);
}

/// Cancelling what was never there, or is long gone, answers nothing and harms nobody.
pub fn unknown_token(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let (_, file) = cx.file(mode, &pattern(1, BLOCK));
        bench.cancel(Token::new(3, 77));
        bench.reap(Wait::No);
        let token = bench.start(read(&file, BLOCK));
        assert_eq!(bench.finish(token).result, BLOCK as i32);
        bench.cancel(token);
        // The same slot flies again under the next generation: the late wish is not its.
        assert_eq!(bench.run(read(&file, BLOCK)).0, BLOCK as i32);
        nothing_more(&mut bench);
    }
}

/// Cancelled while staged: it completes as cancelled or in full, once, and its neighbours do not notice.
pub fn before_the_submit(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let contents = pattern(2, BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for victim in 0..8 {
            let tokens: Vec<Token> = (0..8).map(|_| bench.start(read(&file, BLOCK))).collect();
            bench.cancel(tokens[victim]);
            bench.wait_all();
            for (i, token) in tokens.into_iter().enumerate() {
                let result = bench.take(token).expect("all have completed").result;
                let cancelled = i == victim && result == -errno::ECANCELED;
                assert!(cancelled || result == BLOCK as i32, "{result} of {i}, {victim} was cancelled");
            }
            nothing_more(&mut bench);
        }
    }
}

/// Cancelled in flight: SYNC_CANCEL of a disk read answers ENOENT and the read completes in full, others are cancelled; either
/// way once, and the buffer is the owner's again from then on. foyer#1286, glommio#118: it was not.
pub fn in_flight(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(16);
        let contents = pattern(3, 2 * MIB);
        let (_, file) = cx.file(mode, &contents);
        for round in 0..8 {
            let tokens: Vec<Token> = (0..16).map(|_| bench.start(read(&file, 2 * MIB))).collect();
            bench.reap(Wait::No);
            for token in tokens.into_iter().skip(round % 3) {
                bench.cancel(token);
            }
            bench.wait_all();
            check_reads(&mut bench, &contents);
        }
        nothing_more(&mut bench);
    }
}

/// Cancelled when it has completed but was not reaped: it keeps its own result. compio#746 lost the buffer of such a one.
pub fn completed_but_not_reaped(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench_with_room(4, 1);
        let contents = pattern(4, BLOCK);
        let (_, file) = cx.file(mode, &contents);
        for _ in 0..5 {
            let tokens: Vec<Token> = (0..4).map(|_| bench.start(read(&file, BLOCK))).collect();
            bench.wait_for(1);
            std::thread::sleep(Duration::from_millis(10));
            tokens.into_iter().for_each(|token| bench.cancel(token));
            bench.wait_all();
            check_reads(&mut bench, &contents);
        }
        nothing_more(&mut bench);
    }
}

/// Wished for again and again, before and after the submit: still one completion.
pub fn twice_and_more(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(8);
        let contents = pattern(5, MIB);
        let (_, file) = cx.file(mode, &contents);
        for _ in 0..10 {
            let token = bench.start(read(&file, MIB));
            (0..3).for_each(|_| bench.cancel(token));
            bench.reap(Wait::No);
            (0..20).for_each(|_| bench.cancel(token));
            bench.wait_all();
            check_reads(&mut bench, &contents);
            bench.cancel(token);
        }
        nothing_more(&mut bench);
    }
}

/// At full depth every operation is cancelled: the wishes need no room that is not there.
pub fn at_full_depth(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        for submit_first in [false, true] {
            let mut bench = cx.bench(8);
            let contents = pattern(6, 16 * BLOCK);
            let (_, file) = cx.file(mode, &contents);
            let depth = bench.driver().depth() as usize;
            let tokens: Vec<Token> = (0..depth).map(|_| bench.start(read(&file, 16 * BLOCK))).collect();
            if submit_first {
                bench.reap(Wait::No);
            }
            tokens.into_iter().for_each(|token| bench.cancel(token));
            bench.wait_all();
            assert_eq!(bench.ready(), depth);
            check_reads(&mut bench, &contents);
            nothing_more(&mut bench);
        }
    }
}

/// A long mixture of starts, wishes (also for what is long gone) and reaping.
pub fn a_storm_of_wishes(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(16);
        let contents = pattern(7, 16 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let mut tokens: Vec<Token> = Vec::new();
        let mut dice = 1u32;
        for _ in 0..2000 {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if let Ok(token) = bench.try_start(read(&file, (dice >> 8) as usize % 16 * BLOCK + BLOCK)) {
                tokens.push(token);
            }
            if dice % 3 == 0 {
                let back = (dice >> 16) as usize % 40;
                if let Some(&token) = tokens.iter().rev().nth(back) {
                    bench.cancel(token);
                }
            }
            if dice % 5 == 0 || bench.in_flight() == 16 {
                bench.reap(if dice % 2 == 0 { Wait::No } else { Wait::AtMost(Duration::from_millis(1)) });
                check_reads(&mut bench, &contents);
            }
        }
        bench.wait_all();
        check_reads(&mut bench, &contents);
        nothing_more(&mut bench);
    }
}

/// A cancelled write has written its block or has not, as its answer says, and nobody else's.
pub fn of_writes(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Write]) {
        let mut bench = cx.bench(16);
        let old = pattern(8, 16 * 64 * BLOCK);
        let new = pattern(9, 16 * 64 * BLOCK);
        let piece = 64 * BLOCK;
        for submit_first in [false, true] {
            let (name, file) = cx.file(mode, &old);
            let tokens: Vec<Token> = (0..16)
                .map(|i| {
                    let buf = GuardBuf::copy_of(&new[i * piece..(i + 1) * piece]);
                    bench.start(Op::write(&file, buf, (i * piece) as u64))
                })
                .collect();
            if submit_first {
                bench.reap(Wait::No);
            }
            for token in tokens.iter().step_by(2) {
                bench.cancel(*token);
            }
            bench.wait_all();
            let now = cx.contents(&name);
            for (i, token) in tokens.into_iter().enumerate() {
                let result = bench.take(token).expect("all have completed").result;
                let cancelled = i % 2 == 0 && result == -errno::ECANCELED;
                assert!(cancelled || result > 0, "{result}");
                let (at, done) = (i * piece, result.max(0) as usize);
                assert_same("what was written", &now[at..at + done], &new[at..at + done]);
                assert_same("what was not", &now[at + done..at + piece], &old[at + done..at + piece]);
            }
            nothing_more(&mut bench);
        }
    }
}

/// An operation that cannot go on neither holds others up nor gets lost when it is cancelled. It is the opening of a FIFO that
/// nobody else opens, or where that does not wait (io_uring tries it without blocking first, and succeeds) the read of an
/// empty pipe.
pub fn of_a_stuck_operation(cx: &Cx<'_>) {
    #[cfg(not(unix))]
    cx.skip("needs Unix");
    #[cfg(unix)]
    {
        use crate::handles;
        use io_core::{FileFacts, OpenOptions};
        cx.needs_real_files();
        cx.needs(&[OpKind::Open]);
        let mode = cx.modes(&[OpKind::Read])[0];
        let mut bench = cx.bench(8);
        let contents = pattern(10, BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let fifo = cx.path(&cx.fresh());
        if let Err(error) = handles::make_fifo(&fifo) {
            cx.skip(format!("needs FIFOs: {error}"));
        }
        let Ok((reader, writer)) = handles::pipe(FileFacts::default()) else { cx.skip("needs a pipe") };
        let mut stuck = bench.start(Op::open(&fifo, OpenOptions::READ).unwrap());
        bench.reap(Wait::AtMost(Duration::from_millis(50)));
        if let Some(opened) = bench.take(stuck) {
            assert_eq!(opened.result, 0);
            stuck = bench.start(Op::read(&reader, GuardBuf::with_capacity(BLOCK), 0));
            bench.reap(Wait::AtMost(Duration::from_millis(50)));
        }
        for _ in 0..20 {
            let token = bench.start(read(&file, BLOCK));
            assert_eq!(bench.finish(token).result, BLOCK as i32);
        }
        assert!(bench.take(stuck).is_none(), "there is nobody at the other end");
        bench.cancel(stuck);
        bench.reap(Wait::AtMost(Duration::from_millis(20)));
        // Whether the wish was granted or not: now somebody is at the other end.
        let other_end = std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        handles::write_all(&writer, b"12345");
        let result = bench.finish(stuck).result;
        assert!([0, 5, -errno::ECANCELED, -errno::EINTR].contains(&result), "{result}");
        drop(other_end);
        nothing_more(&mut bench);
    }
}
