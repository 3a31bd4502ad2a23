//! Each fault does what it says, and only that.

use crate::reference::Reference;
use io_core::{AlignedBuf, Armed, Completions, FileHandle, Op, OpKind, OpenOptions, Wait, errno};
use io_testkit::{BLOCK, Bench, Disk as _, Fault, Faults, Faulty, RealDisk, RealRig, Rule, pattern, real_disks};
use std::time::{Duration, Instant};

// Without rules it is the driver inside: the whole suite says so.
io_testkit::conformance!(
    wrapped,
    RealRig::new(crate::REFERENCE, |depth| Ok(Box::new(Faulty::new(crate::reference::open(depth)?).0)))
);

fn bench(rule: Rule) -> (Bench, Faults, RealDisk, FileHandle) {
    let (driver, faults) = Faulty::new(Reference::new(8));
    faults.add(rule);
    let disk = real_disks().remove(0);
    let file = disk.create("file", &pattern(1, 4 * BLOCK), OpenOptions::READ_WRITE).unwrap();
    (Bench::new(Box::new(driver)), faults, disk, file)
}

fn read(file: &FileHandle) -> Op {
    Op::read(file, AlignedBuf::with_capacity(4 * BLOCK), 0)
}

#[test]
fn short_transfers_are_short_for_real() {
    let (mut bench, faults, disk, file) = bench(Rule::new(Fault::Short(100)));
    let new = pattern(2, 3 * BLOCK);
    let (written, _) = bench.run(Op::write(&file, AlignedBuf::copy_of(&new), 0));
    assert_eq!(written, 100);
    let pieces = new.chunks(70).map(<[u8]>::to_vec).collect();
    assert_eq!(bench.run(Op::write_vectored(&file, pieces, 200)).0, 100);
    let now = disk.contents("file").unwrap();
    let old = pattern(1, 4 * BLOCK);
    assert!(now[..100] == new[..100] && now[100..200] == old[100..200]);
    assert!(now[200..300] == new[..100] && now[300..] == old[300..]);
    let (whole, op) = bench.run_whole(read(&file));
    assert_eq!(whole, 4 * BLOCK as i64);
    assert_eq!(op.into_buf::<AlignedBuf>().unwrap()[..], now);
    assert_eq!(faults.injected(), 2 + (4 * BLOCK).div_ceil(100) as u64);
}

#[test]
fn refused_is_not_run_and_garbled_is() {
    let (mut bench, faults, disk, file) = bench(Rule::of(OpKind::Write, Fault::Refuse(errno::EIO)).times(1));
    faults.add(Rule::of(OpKind::Write, Fault::Garble(errno::ENOSPC)).times(1));
    let write = || Op::write(&file, vec![9u8; 10], 0);
    assert_eq!(bench.run(write()).0, -errno::EIO);
    assert_ne!(disk.contents("file").unwrap()[..10], [9; 10]);
    assert_eq!(bench.run(write()).0, -errno::ENOSPC);
    assert_eq!(disk.contents("file").unwrap()[..10], [9; 10]);
    assert_eq!((bench.run(write()).0, faults.injected()), (10, 2));
}

#[test]
fn rules_choose_by_kind_condition_and_count() {
    let (mut bench, faults, _disk, file) =
        bench(Rule::of(OpKind::SyncData, Fault::Refuse(errno::EIO)).after(1).times(2));
    let results: Vec<i32> = (0..5).map(|_| bench.run(Op::sync_data(&file)).0).collect();
    assert_eq!(results, [0, -errno::EIO, -errno::EIO, 0, 0]);
    faults.clear();
    let far = |op: &io_core::RawOp| matches!(op, io_core::RawOp::Read { offset, .. } if *offset > 100);
    faults.add(Rule::new(Fault::Refuse(errno::EIO)).when(far));
    assert_eq!(bench.run(read(&file)).0, 4 * BLOCK as i32);
    assert_eq!(bench.run(Op::read(&file, vec![0u8; 10], 101)).0, -errno::EIO);
}

#[test]
fn a_delayed_completion_comes_late_and_others_pass_it() {
    let by = Duration::from_millis(60);
    let (mut bench, _faults, _disk, file) = bench(Rule::of(OpKind::SyncAll, Fault::Delay(by)));
    let begun = Instant::now();
    let slow = bench.start(Op::sync_all(&file));
    let quick = bench.start(read(&file));
    bench.wait_for(1);
    assert!(bench.take(quick).is_some() && bench.take(slow).is_none());
    bench.reap(Wait::Forever);
    assert_eq!(bench.take(slow).expect("a wait without a bound ends with a completion").result, 0);
    assert!(begun.elapsed() >= by);
}

#[test]
fn a_delayed_completion_rings_who_sleeps_outside() {
    let (mut bench, _faults, _disk, file) = bench(Rule::new(Fault::Delay(Duration::from_millis(30))));
    let token = bench.start(read(&file));
    bench.reap(Wait::No);
    while bench.driver().arm(true) == Armed::Waiting && bench.ready() == 0 {
        bench.driver().readiness().wait(Some(Duration::from_secs(10)));
        bench.reap(Wait::No);
    }
    assert!(bench.finish(token).result > 0);
}

#[test]
fn pushed_back_stays_staged_for_so_many_submits() {
    let (mut bench, _faults, _disk, file) = bench(Rule::new(Fault::PushBack(3)).times(1));
    let token = bench.start(read(&file));
    for _ in 0..3 {
        let begun = Instant::now();
        let progress = bench.reap(Wait::AtMost(Duration::from_secs(10)));
        assert_eq!((progress.accepted, progress.staged), (0, 1));
        assert!(begun.elapsed() < Duration::from_secs(5), "it waited with staged work");
    }
    let progress = bench.reap(Wait::AtMost(Duration::from_secs(10)));
    assert_eq!((progress.accepted, progress.staged), (1, 0));
    assert_eq!(bench.finish(token).result, 4 * BLOCK as i32);
}

#[test]
fn a_wedged_op_stays_until_it_is_let_go() {
    let (mut bench, faults, _disk, file) = bench(Rule::new(Fault::Wedge).times(1));
    let wedged = bench.start(read(&file));
    for _ in 0..20 {
        assert_eq!(bench.run(read(&file)).0, 4 * BLOCK as i32);
    }
    bench.cancel(wedged);
    bench.reap(Wait::AtMost(Duration::from_millis(20)));
    assert_eq!(bench.in_flight(), 1);
    faults.unwedge();
    assert_eq!(bench.finish(wedged).result, 4 * BLOCK as i32);
}

#[test]
fn wedged_ops_use_depth() {
    let (mut bench, faults, _disk, file) = bench(Rule::new(Fault::Wedge));
    for _ in 0..8 {
        bench.start(read(&file));
    }
    bench.try_start(read(&file)).expect_err("the depth is used up");
    faults.unwedge();
    bench.wait_all();
}

#[test]
fn a_broken_channel_says_so_and_keeps_what_is_in_flight() {
    for deaf in [true, false] {
        let (mut bench, faults, _disk, file) = bench(Rule::of(OpKind::SyncAll, Fault::Delay(Duration::from_millis(5))));
        let before = bench.start(Op::sync_all(&file));
        bench.reap(Wait::No);
        faults.break_channel(errno::EBADF, deaf);
        let after = bench.start(read(&file));
        // A sync takes as long as the disk likes; a driver that is deaf is asked for a while.
        let begun = Instant::now();
        let asked = Duration::from_millis(if deaf { 50 } else { 20_000 });
        while begun.elapsed() < asked && bench.ready() == 0 {
            let error = bench.try_reap(Wait::AtMost(Duration::from_millis(1))).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno::EBADF));
        }
        assert!(bench.take(after).is_none(), "it never reached the system");
        assert_eq!(bench.take(before).is_some(), !deaf);
        faults.mend_channel();
        bench.wait_all();
        assert_eq!(bench.finish(after).result, 4 * BLOCK as i32);
    }
}

#[test]
fn refusals_respect_the_room() {
    let (driver, faults) = Faulty::new(Reference::new(8));
    faults.add(Rule::new(Fault::Refuse(errno::EIO)));
    let mut bench = Bench::with_room(Box::new(driver), 1);
    let disk = real_disks().remove(0);
    let file = disk.create("file", b"x", OpenOptions::READ_WRITE).unwrap();
    for _ in 0..8 {
        bench.start(read(&file));
    }
    bench.reap(Wait::No);
    assert_eq!((bench.ready(), bench.driver().arm(true)), (1, Armed::ReadyNow));
    bench.wait_all();
    assert_eq!(bench.ready(), 8);
    let mut none = Completions::with_limit(1);
    bench.driver().submit(Wait::AtMost(Duration::from_millis(1)), &mut none).unwrap();
    assert!(none.is_empty());
}
