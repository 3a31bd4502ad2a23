//! Every fault surfaces on the operation that it was meant for, once.

use crate::kit::{bench, done, open, refused};
use io_core::{
    AccessMode, Advice, AlignedBuf, Driver as _, FileHandle, Lifetime, Op, OpKind, OpSet, OpenOptions, Output,
    RenameMode, RwFlags, Wait, errno,
};
use io_sim::{FailedSync, Fault, SimDisk, SimOptions, Which};
use io_testkit::Bench;
use std::time::Duration;

fn disk() -> SimDisk {
    SimDisk::new(SimOptions::seeded(21))
}

/// An operation of this kind that succeeds, for each `n`.
fn sample(kind: OpKind, disk: &SimDisk, file: &FileHandle, other: &FileHandle, n: u32) -> Op {
    let name = |what: &str| format!("/d/{what}{n}");
    match kind {
        OpKind::Read => Op::read(file, vec![0; 512], 0),
        OpKind::ReadVectored => Op::read_vectored(file, vec![vec![0; 512], vec![0; 512]], 0),
        OpKind::Write => Op::write(file, vec![1; 512], 0),
        OpKind::WriteVectored => Op::write_vectored(file, vec![vec![1; 512], vec![2; 512]], 0),
        OpKind::SyncData => Op::sync_data(file),
        OpKind::SyncAll => Op::sync_all(file),
        OpKind::SyncRange => Op::sync_range(file, 0, 512),
        OpKind::Allocate => Op::allocate(file, 0, 8192, false),
        OpKind::PunchHole => Op::punch_hole(file, 0, 4096),
        OpKind::ZeroRange => Op::zero_range(file, 0, 4096, false),
        OpKind::Truncate => Op::truncate(file, 8192),
        OpKind::Advise => Op::advise(file, 0, 0, Advice::Sequential),
        OpKind::WriteHint => Op::write_hint(file, Lifetime::Short),
        OpKind::TryLock => Op::try_lock(file, 0, 0, true),
        OpKind::Unlock => Op::unlock(file, 0, 0),
        OpKind::QueryLock => Op::query_lock(file, 0, 0, true),
        OpKind::Open => Op::open("/d/f", OpenOptions::READ).unwrap(),
        OpKind::Close => Op::close(disk.open("/d/f", OpenOptions::READ).unwrap()).unwrap(),
        OpKind::Stat => Op::stat(file),
        OpKind::StatFs => Op::stat_fs("/d").unwrap(),
        OpKind::Access => Op::access("/d/f", AccessMode::ReadWrite).unwrap(),
        OpKind::RealPath => Op::real_path("/d/f").unwrap(),
        OpKind::SetPermissions => Op::set_permissions("/d/f", 0o600).unwrap(),
        OpKind::Rename => Op::rename(name("from"), name("to"), RenameMode::NoReplace).unwrap(),
        OpKind::Unlink => Op::unlink(name("gone")).unwrap(),
        OpKind::MakeDir => Op::make_dir(name("new"), 0o755).unwrap(),
        OpKind::RemoveDir => Op::remove_dir(name("dir")).unwrap(),
        OpKind::ReadDir => Op::read_dir("/d").unwrap(),
        OpKind::SyncDir => Op::sync_dir("/d").unwrap(),
        OpKind::CopyRange => Op::copy_range(file, 0, other, 0, 512),
        OpKind::Clone => Op::clone_range(file, 0, other, 0, 0),
    }
}

#[test]
fn any_error_at_any_operation_once() {
    for &kind in OpKind::ALL {
        for code in [errno::EIO, errno::ENOSPC, errno::EINTR, errno::ECANCELED] {
            let disk = disk();
            disk.write_file("/d/f", &[7; 8192]).unwrap();
            disk.write_file("/d/other", b"").unwrap();
            for n in 0..3 {
                disk.write_file(format!("/d/from{n}"), b"").unwrap();
                disk.write_file(format!("/d/gone{n}"), b"").unwrap();
                disk.create_dir_all(format!("/d/dir{n}")).unwrap();
            }
            let (file, other) = (open(&disk, "/d/f"), open(&disk, "/d/other"));
            let before = disk.read_file("/d/f").unwrap();
            disk.fail(Which::kind(kind).under("/d").nth(2), code);
            let mut bench = bench(&disk, 2);
            let (first, _) = bench.run(sample(kind, &disk, &file, &other, 0));
            assert!(first >= 0, "{kind:?} answered {first} before the fault");
            disk.write_file("/d/f", &before).unwrap();
            let (second, mut op) = bench.run(sample(kind, &disk, &file, &other, 1));
            assert_eq!(second, -code, "{kind:?}");
            assert!(matches!(op.take_output(), Output::None), "{kind:?} failed and answered");
            assert_eq!(disk.read_file("/d/f").unwrap(), before, "{kind:?} failed and had an effect");
            let (third, _) = bench.run(sample(kind, &disk, &file, &other, 2));
            assert!(third >= 0, "{kind:?} answered {third} after the fault");
            assert_eq!(disk.counters().failed, 1);
        }
    }
}

#[test]
fn a_fault_meets_its_file_and_no_other() {
    let disk = disk();
    disk.write_file("/a", &[0; 512]).unwrap();
    disk.write_file("/b", &[0; 512]).unwrap();
    disk.fail(Which::reads().path("/b").nth(3), errno::EIO);
    let mut bench = bench(&disk, 16);
    let (a, b) = (open(&disk, "/a"), open(&disk, "/b"));
    let tokens: Vec<_> =
        (0..16).map(|n| bench.start(Op::read(if n % 2 == 0 { &a } else { &b }, vec![0; 9], 0))).collect();
    bench.wait_all();
    let results: Vec<_> = tokens.into_iter().map(|token| bench.take(token).unwrap().result).collect();
    let failed: Vec<_> = (0..16).filter(|&n| results[n] < 0).collect();
    assert_eq!(failed, [5], "the third read of /b");
}

#[test]
fn short_transfers_move_a_prefix() {
    let disk = disk();
    disk.write_file("/f", &[1; 8192]).unwrap();
    let file = open(&disk, "/f");
    disk.inject(Which::reads(), Fault::Short(100));
    let (result, op) = bench(&disk, 1).run(Op::read(&file, Vec::<u8>::with_capacity(4096), 0));
    assert_eq!((result, op.into_buf::<Vec<u8>>().unwrap().len()), (100, 100));
    disk.inject(Which::writes(), Fault::Short(100));
    assert_eq!(done(&disk, Op::write(&file, vec![2; 4096], 0)).0, 100);
    let bytes = disk.read_file("/f").unwrap();
    assert!(bytes[..100] == [2; 100] && bytes[100..].iter().all(|&byte| byte == 1));
    disk.inject(Which::kind(OpKind::CopyRange), Fault::Short(10));
    assert_eq!(done(&disk, Op::copy_range(&file, 0, &file, 4096, 4096)).0, 10);
    // Direct transfers are short by whole units, and never by all of them.
    let direct = disk.open("/f", OpenOptions::READ_WRITE.direct()).unwrap();
    for (limit, moved) in [(1500, 1024), (100, 4096)] {
        disk.inject(Which::writes(), Fault::Short(limit));
        assert_eq!(done(&disk, Op::write(&direct, AlignedBuf::zeroed(4096), 0)).0, moved);
    }
}

#[test]
fn short_by_chance_moves_something_and_never_all() {
    let disk = SimDisk::new(SimOptions { short: 1.0, ..SimOptions::seeded(3) });
    disk.write_file("/f", &[1; 4096]).unwrap();
    let file = open(&disk, "/f");
    for _ in 0..100 {
        assert!((1..4096).contains(&done(&disk, Op::read(&file, vec![0; 4096], 0)).0));
        assert!((1..4096).contains(&done(&disk, Op::write(&file, vec![0; 4096], 0)).0));
    }
    assert_eq!(done(&disk, Op::read(&file, vec![0; 1], 0)).0, 1, "one byte cannot be short");
    let (moved, _) = bench(&disk, 1).run_whole(Op::write(&file, vec![9; 4096], 0));
    assert_eq!((moved, disk.read_file("/f").unwrap()), (4096, vec![9; 4096]));
}

#[test]
fn push_back_keeps_the_order_and_ends() {
    let disk = SimDisk::new(SimOptions::seeded(1).without_latency());
    disk.write_file("/f", &[0; 512]).unwrap();
    let file = open(&disk, "/f");
    disk.inject(Which::writes().nth(2), Fault::PushBack(2));
    let mut bench = bench(&disk, 4);
    for n in 1..=4 {
        bench.start(Op::write(&file, vec![n; 1], 0));
    }
    let progress = [(); 3].map(|()| bench.reap(Wait::Forever));
    assert_eq!(progress.map(|p| (p.accepted, p.staged)), [(1, 3), (0, 3), (3, 0)]);
    assert_eq!(bench.take_done().len(), 4);
    assert_eq!(disk.read_file("/f").unwrap()[0], 4);
    assert_eq!(disk.counters().pushed_back, 2);
}

#[test]
fn what_is_pushed_back_can_be_cancelled() {
    let disk = disk();
    disk.write_file("/f", &[0; 512]).unwrap();
    let file = open(&disk, "/f");
    disk.inject(Which::writes(), Fault::PushBack(u32::MAX));
    let mut bench = bench(&disk, 4);
    let cancelled = bench.start(Op::write(&file, vec![1; 1], 0));
    let behind = bench.start(Op::read(&file, vec![1; 1], 0));
    assert_eq!(bench.reap(Wait::No).staged, 2);
    bench.cancel(cancelled);
    assert_eq!(bench.finish(cancelled).result, -errno::ECANCELED);
    assert_eq!(bench.finish(behind).result, 1);
    assert_eq!(disk.read_file("/f").unwrap()[0], 0);
}

#[test]
fn a_wedged_operation_waits_for_its_release_and_for_nothing_else() {
    let disk = SimDisk::new(SimOptions { idle_max: Duration::from_millis(20), ..SimOptions::seeded(1) });
    disk.write_file("/f", &[5; 512]).unwrap();
    let file = open(&disk, "/f");
    disk.wedge(Which::reads());
    let mut bench = bench(&disk, 4);
    let wedged = bench.start(Op::read(&file, Vec::<u8>::with_capacity(512), 0));
    let others: Vec<_> = (0..3).map(|_| bench.start(Op::read(&file, vec![0; 512], 0))).collect();
    for token in others {
        assert_eq!(bench.finish(token).result, 512);
    }
    bench.cancel(wedged);
    bench.reap(Wait::AtMost(Duration::from_secs(3600)));
    bench.reap(Wait::Forever);
    assert_eq!((bench.in_flight(), disk.counters().wedged), (1, 1));
    disk.release_wedged();
    let done = bench.finish(wedged);
    assert_eq!((done.result, done.op.into_buf::<Vec<u8>>().unwrap()), (512, vec![5; 512]));
    assert_eq!(disk.counters().wedged, 0);
}

#[test]
fn a_slow_operation_is_overtaken() {
    let disk = disk();
    disk.write_file("/f", &[0; 512]).unwrap();
    let file = open(&disk, "/f");
    disk.inject(Which::reads(), Fault::Slow(Duration::from_secs(10)));
    let mut bench = bench(&disk, 2);
    let slow = bench.start(Op::read(&file, vec![0; 1], 0));
    let quick = bench.start(Op::read(&file, vec![0; 1], 0));
    bench.finish(quick);
    assert!(disk.now() < Duration::from_secs(1) && bench.in_flight() == 1);
    bench.finish(slow);
    assert!(disk.now() >= Duration::from_secs(10));
}

#[test]
fn cancels_come_in_time_or_too_late_and_answer_once() {
    let disk = disk();
    disk.write_file("/f", &[0; 512]).unwrap();
    let file = open(&disk, "/f");
    let mut bench = bench(&disk, 8);
    let mut cancelled = 0;
    for round in 0..100u8 {
        disk.write_file("/f", &[0; 512]).unwrap();
        let token = bench.start(Op::write(&file, vec![round + 1; 512], 0));
        bench.reap(Wait::No);
        bench.cancel(token);
        let result = bench.finish(token).result;
        let written = disk.read_file("/f").unwrap()[0] != 0;
        assert_eq!(written, result == 512, "cancelled means that nothing happened");
        assert!(result == 512 || result == -errno::ECANCELED);
        cancelled += (result < 0) as u64;
    }
    assert!((10..90).contains(&cancelled), "{cancelled} of 100");
    assert_eq!(disk.counters().cancelled, cancelled);
}

#[test]
fn a_failed_sync_is_not_repaired_by_the_next_one() {
    for (how, readable) in [(FailedSync::KeepsPages, 2), (FailedSync::DropsPages, 1)] {
        let disk = SimDisk::new(SimOptions { failed_sync: how, ..SimOptions::seeded(1) });
        disk.write_file("/f", &[1; 512]).unwrap();
        let file = open(&disk, "/f");
        done(&disk, Op::write(&file, vec![2; 512], 0));
        disk.fail(Which::syncs(), errno::EIO);
        assert_eq!(refused(&disk, Op::sync_data(&file)), errno::EIO);
        assert_eq!(disk.read_file("/f").unwrap()[0], readable);
        done(&disk, Op::sync_data(&file));
        assert_eq!(disk.durable_file("/f").unwrap()[0], 1, "success, and not durable");
    }
}

#[test]
fn a_sync_that_never_began_may_be_repeated() {
    for code in [errno::ECANCELED, errno::EAGAIN, errno::EINTR] {
        let disk = disk();
        disk.write_file("/f", &[1; 512]).unwrap();
        let file = open(&disk, "/f");
        done(&disk, Op::write(&file, vec![2; 512], 0));
        disk.fail(Which::syncs(), code);
        assert_eq!(refused(&disk, Op::sync_all(&file)), code);
        done(&disk, Op::sync_all(&file));
        assert_eq!(disk.durable_file("/f").unwrap()[0], 2);
    }
}

#[test]
fn a_full_disk_writes_what_fits_and_recovers() {
    let disk = SimDisk::new(SimOptions { capacity: 4 * 4096, ..SimOptions::seeded(1) });
    disk.write_file("/f", b"").unwrap();
    let file = open(&disk, "/f");
    assert_eq!(done(&disk, Op::write(&file, vec![1; 3 * 4096], 0)).0, 3 * 4096);
    assert_eq!(done(&disk, Op::write(&file, vec![1; 2 * 4096], 3 * 4096)).0, 4096, "short, as much as fits");
    assert_eq!(refused(&disk, Op::write(&file, vec![1; 4096], 4 * 4096)), errno::ENOSPC);
    assert_eq!(done(&disk, Op::write(&file, vec![2; 4096], 0)).0, 4096, "overwriting needs no space");
    for op in [Op::allocate(&file, 0, 5 * 4096, false), Op::zero_range(&file, 4 * 4096, 1, false)] {
        assert_eq!(refused(&disk, op), errno::ENOSPC);
    }
    done(&disk, Op::punch_hole(&file, 4096, 4096));
    assert_eq!(done(&disk, Op::write(&file, vec![3; 100], 4 * 4096)).0, 100);
    disk.set_capacity(1 << 20);
    assert_eq!(done(&disk, Op::write(&file, vec![3; 4096], 1 << 16)).0, 4096);
}

#[test]
fn an_unlinked_file_gives_its_space_back_when_it_is_closed() {
    let disk = SimDisk::new(SimOptions { capacity: 4096, ..SimOptions::seeded(1) });
    disk.write_file("/a", &[1; 4096]).unwrap();
    disk.write_file("/b", b"").unwrap();
    let (a, b) = (open(&disk, "/a"), open(&disk, "/b"));
    done(&disk, Op::unlink("/a").unwrap());
    assert_eq!(refused(&disk, Op::write(&b, vec![1; 1], 0)), errno::ENOSPC);
    drop(a);
    done(&disk, Op::write(&b, vec![1; 1], 0));
}

#[test]
fn a_failed_close_closes_unless_it_never_began() {
    let disk = disk();
    disk.write_file("/f", b"").unwrap();
    for (code, left) in [(errno::EIO, 0), (errno::ECANCELED, 1)] {
        let file = disk.open("/f", OpenOptions::READ).unwrap();
        disk.fail(Which::kind(OpKind::Close), code);
        let (result, op) = bench(&disk, 1).run(Op::close(file).unwrap());
        assert_eq!((result, disk.times_open("/f").unwrap()), (-code, left));
        drop(op);
        assert_eq!(disk.times_open("/f").unwrap(), 0);
    }
}

#[test]
fn what_is_not_supported_says_so() {
    let supports = OpSet::ALL.without_kind(OpKind::Rename);
    let disk = SimDisk::new(SimOptions { supports, ..SimOptions::seeded(1) });
    disk.write_file("/f", b"").unwrap();
    assert_eq!(disk.driver(1).supports(), supports);
    let op = Op::rename("/f", "/g", RenameMode::Replace).unwrap();
    assert_eq!(refused(&disk, op), errno::EOPNOTSUPP);
    assert!(disk.read_file("/f").is_ok());
}

#[test]
fn nowait_misses_answer_eagain_and_do_nothing() {
    let disk = SimDisk::new(SimOptions { nowait_miss: 1.0, ..SimOptions::seeded(1) });
    disk.write_file("/f", &[1; 10]).unwrap();
    let file = open(&disk, "/f");
    let op = Op::write(&file, vec![2; 10], 0).with_flags(RwFlags::NOWAIT);
    assert_eq!(refused(&disk, op), errno::EAGAIN);
    assert_eq!(disk.read_file("/f").unwrap(), [1; 10]);
    done(&disk, Op::read(&file, vec![0; 10], 0));
}

#[test]
fn a_broken_driver_says_so_and_another_one_goes_on() {
    let disk = disk();
    disk.write_file("/f", &[1; 512]).unwrap();
    let file = open(&disk, "/f");
    let mut broken = bench(&disk, 4);
    broken.start(Op::read(&file, vec![0; 512], 0));
    broken.reap(Wait::No);
    disk.break_drivers(errno::EBADF);
    for wait in [Wait::No, Wait::Forever] {
        assert_eq!(broken.try_reap(wait).unwrap_err().raw_os_error(), Some(errno::EBADF));
    }
    broken.driver().readiness().wait(None);
    assert_eq!(disk.counters().in_flight, 0);
    done(&disk, Op::read(&file, vec![0; 512], 0));
    Bench::abandon(broken);
}

/// Breaking the promise of `prepare` on purpose, in the one way that stays within Rust's rules: through a cell.
#[test]
fn changing_a_write_in_flight_is_noticed() {
    use io_core::{FileRef, RawOp, Token};
    use std::{cell::Cell, panic::AssertUnwindSafe};
    let noticed = (0..20).filter(|&seed| {
        let disk = SimDisk::new(SimOptions::seeded(seed));
        disk.write_file("/f", b"").unwrap();
        let file = open(&disk, "/f");
        let at: FileRef = file.at();
        let bytes: Vec<Cell<u8>> = vec![Cell::new(1); 512];
        let write =
            RawOp::Write { file: at, buf: bytes.as_ptr().cast(), len: 512, offset: 0, flags: RwFlags::NONE, ioprio: 0 };
        let (mut driver, mut out) = (disk.driver(1), io_core::Completions::with_limit(1));
        // SAFETY: memory and file outlive the driver. That nobody mutates the memory is what is broken below, in this thread
        // and between the driver's calls, so no reference to the bytes is alive then.
        unsafe { driver.prepare(Token::new(0, 0), &write) }.unwrap();
        driver.submit(Wait::No, &mut out).unwrap();
        bytes[511].set(2);
        std::panic::catch_unwind(AssertUnwindSafe(|| driver.submit(Wait::Forever, &mut out))).is_err()
    });
    let noticed = noticed.count();
    assert!((5..20).contains(&noticed), "{noticed} of 20: whenever the bytes were taken early");
}
