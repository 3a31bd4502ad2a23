//! A refused operation between good ones, and the rest of what can happen to a batch on its way to the kernel.

use crate::fixture::{Blocks, bench, driver, every_way, options};
use io_core::{
    AlignedBuf, Completions, Driver, FileHandle, Full, Op, OpKind, OpenOptions, Progress, RawOp, RwFlags, Token, Wait,
    errno,
};
use io_testkit::{BLOCK, Bench, Disk, nobodys_file, pattern, real_disks};

/// Flags that no kernel knows.
fn unknown_flags() -> RwFlags {
    RwFlags::ATOMIC | RwFlags::APPEND | RwFlags::DONTCACHE | RwFlags::NOWAIT
}

/// An operation that fails in its own way, and with what.
type Bad = (&'static str, fn(&Blocks, &FileHandle) -> Op, &'static [i32]);

const BAD: [Bad; 5] = [
    ("a descriptor that is none", |_, nobody| Op::read(nobody, AlignedBuf::with_capacity(BLOCK), 0), &[errno::EBADF]),
    ("a sync of nothing", |_, nobody| Op::sync_data(nobody), &[errno::EBADF]),
    (
        "a negative offset",
        |blocks, _| Op::read(&blocks.file, AlignedBuf::with_capacity(BLOCK), 1 << 63),
        &[errno::EINVAL],
    ),
    (
        "flags that do not go together",
        |blocks, _| Op::read(&blocks.file, AlignedBuf::with_capacity(BLOCK), 0).with_flags(unknown_flags()),
        &[errno::EOPNOTSUPP, errno::EINVAL],
    ),
    // Not refused by io_submit but answered through the ring: both ways have to end alike.
    ("a misaligned offset", |blocks, _| Op::read(&blocks.file, AlignedBuf::with_capacity(BLOCK), 7), &[errno::EINVAL]),
];

/// io_submit stops at the first iocb that it refuses: upstream drivers then failed the whole batch, or lost its rest.
#[test]
fn a_refused_operation_fails_as_itself_wherever_it_stands() {
    let blocks = Blocks::new(16);
    let nobody = nobodys_file(*blocks.file.facts());
    for options in every_way(16) {
        let mut bench = bench(options);
        for (what, make, errnos) in BAD {
            if what == "a misaligned offset" && !blocks.is_strict() {
                continue;
            }
            let all: Vec<usize> = (0..16).collect();
            for places in [&[0][..], &[7], &[15], &[0, 15], &[3, 4, 5], &all] {
                let is_bad = |i| places.contains(&i);
                let ops = (0..16).map(|i| if is_bad(i) { make(&blocks, &nobody) } else { blocks.read(i) });
                let tokens: Vec<Token> = ops.map(|op| bench.start(op)).collect();
                assert_eq!(bench.reap(Wait::No), Progress { accepted: 16, staged: 0 }, "{what} at {places:?}");
                bench.wait_all();
                for (i, token) in tokens.into_iter().enumerate() {
                    let done = bench.take(token).expect("all have completed");
                    if is_bad(i) {
                        assert!(errnos.contains(&-done.result), "{what} at {places:?}: {}", done.result);
                    } else {
                        blocks.assert_read(i, done.result, done.op);
                    }
                }
            }
        }
    }
}

#[test]
fn refusals_that_do_not_fit_wait_in_the_driver() {
    let blocks = Blocks::new(8);
    let nobody = nobodys_file(*blocks.file.facts());
    for options in every_way(8) {
        let mut bench = Bench::with_room(Box::new(driver(options)), 1);
        for _ in 0..8 {
            bench.start(Op::sync_data(&nobody));
        }
        assert_eq!(bench.reap(Wait::No), Progress { accepted: 8, staged: 0 });
        assert_eq!(bench.ready(), 1);
        // Seven wait in the driver, so one may be started and no more.
        let token = bench.start(blocks.read(5));
        assert!(bench.try_start(blocks.read(6)).is_err(), "what waits in the driver counts");
        for left in (0..8).rev() {
            assert_eq!(bench.in_flight(), left + 1);
            bench.reap(Wait::Forever);
        }
        let last = bench.finish(token);
        blocks.assert_read(5, last.result, last.op);
        assert_eq!(bench.take_done().iter().filter(|done| done.result == -errno::EBADF).count(), 8);
    }
}

#[test]
fn what_aio_cannot_do_is_answered_so_and_harms_nothing() {
    let blocks = Blocks::new(2);
    let mut bench = bench(options(8));
    assert!(!bench.driver().supports().contains_kind(OpKind::Truncate));
    let cut = bench.start(Op::truncate(&blocks.file, 0));
    let read = bench.start(blocks.read(1));
    let gone = bench.start(Op::unlink("/nowhere/nothing").unwrap());
    assert_eq!(bench.reap(Wait::No).accepted, 3);
    assert_eq!(bench.finish(cut).result, -errno::EOPNOTSUPP);
    assert_eq!(bench.finish(gone).result, -errno::EOPNOTSUPP);
    let done = bench.finish(read);
    blocks.assert_read(1, done.result, done.op);
    assert!(blocks.now() == blocks.contents);
}

#[test]
fn an_operation_cancelled_before_its_submission_never_happens() {
    let blocks = Blocks::new(8);
    for options in every_way(8) {
        let mut bench = bench(options);
        let write = |block: usize| Op::write(&blocks.file, AlignedBuf::copy_of(&[0; BLOCK]), (block * BLOCK) as u64);
        for victim in [0, 3, 7] {
            let tokens: Vec<Token> =
                (0..8).map(|i| bench.start(if i == victim { write(i) } else { blocks.read(i) })).collect();
            bench.cancel(tokens[victim]);
            bench.cancel(tokens[victim]);
            assert_eq!(bench.reap(Wait::No), Progress { accepted: 8, staged: 0 });
            bench.wait_all();
            for (i, token) in tokens.into_iter().enumerate() {
                let done = bench.take(token).expect("all have completed");
                if i == victim {
                    assert_eq!(done.result, -errno::ECANCELED);
                } else {
                    blocks.assert_read(i, done.result, done.op);
                }
            }
        }
        assert!(blocks.now() == blocks.contents, "a cancelled write was written");
    }
}

#[test]
fn an_operation_cancelled_in_flight_completes_once() {
    let blocks = Blocks::new(32);
    for options in every_way(32) {
        let mut bench = bench(options);
        for _ in 0..20 {
            let tokens: Vec<Token> = (0..32).map(|i| bench.start(blocks.read(i))).collect();
            bench.reap(Wait::No);
            tokens.iter().for_each(|&token| bench.cancel(token));
            bench.wait_all();
            // The bench asserts that none comes twice. What the kernel cannot cancel comes in full.
            for (i, token) in tokens.iter().enumerate() {
                let done = bench.take(*token).expect("all have completed");
                blocks.assert_read(i, done.result, done.op);
                bench.cancel(*token);
            }
        }
        bench.reap(Wait::No);
        assert_eq!((bench.in_flight(), bench.ready()), (0, 0));
    }
}

/// Slots are the core's business: those beyond the depth may be busy on another driver.
#[test]
fn any_slot_number_is_a_token() {
    let blocks = Blocks::new(2);
    let mut driver = driver(options(2));
    let mut out = Completions::with_limit(2);
    let tokens = [Token::new(Token::MAX_SLOT, 1 << 39), Token::new(2, 0)];
    let mut ops: Vec<Op> = (0..2).map(|i| blocks.read(i)).collect();
    for (token, op) in tokens.iter().zip(&mut ops) {
        // SAFETY: the operations rest in their vector until both have completed, below.
        unsafe { driver.prepare(*token, &op.raw(0, RawOp::MAX_TRANSFER)) }.unwrap();
    }
    let mut more = blocks.read(0);
    // SAFETY: refused, so nothing is in flight.
    assert_eq!(unsafe { driver.prepare(Token::new(5, 5), &more.raw(0, RawOp::MAX_TRANSFER)) }, Err(Full));
    while out.len() < 2 {
        driver.submit(Wait::Forever, &mut out).unwrap();
    }
    let mut got: Vec<Token> = out.as_slice().iter().map(|done| done.token).collect();
    got.sort();
    assert_eq!(got, { [tokens[1], tokens[0]] });
}

#[test]
fn transfers_of_every_kind_with_their_flags() {
    let disk = &real_disks()[0];
    let file = disk.create("plain", &[], OpenOptions::READ_WRITE).unwrap();
    let mut bench = bench(options(4));
    let write = Op::write(&file, pattern(3, 10_000), 0).with_flags(RwFlags::DSYNC).with_ioprio(2 << 13 | 4);
    assert_eq!(bench.run(write).0, 10_000);
    let append = Op::write(&file, pattern(4, 100), 0).with_flags(RwFlags::APPEND);
    assert_eq!(bench.run(append).0, 100);
    let pieces = vec![pattern(5, 7), pattern(6, 4000)];
    assert_eq!(bench.run(Op::write_vectored(&file, pieces, 10_100)).0, 4007);
    let (result, op) = bench.run(Op::read_vectored(&file, vec![vec![0; 10_100], vec![0; 7], vec![0; 9000]], 0));
    assert_eq!(result, 14_107);
    let bufs = op.into_bufs::<Vec<u8>>().unwrap();
    assert_eq!(bufs[0][..10_000], pattern(3, 10_000));
    assert_eq!(bufs[0][10_000..], pattern(4, 100));
    assert_eq!((&bufs[1], &bufs[2]), (&pattern(5, 7), &pattern(6, 4000)));
    for sync in [Op::sync_data(&file), Op::sync_all(&file)] {
        assert_eq!(bench.run(sync).0, 0);
    }
    // What only root may have, refused by io_submit with EPERM, is that operation's own trouble; root gets it.
    let real_time = Op::read(&file, vec![0; 8], 0).with_ioprio(1 << 13);
    assert!([8, -errno::EPERM].contains(&bench.run(real_time).0));
}
