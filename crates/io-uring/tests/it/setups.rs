//! What a ring is asked for, and what it gets.

use super::{bench, driver, setups};
use io_core::{AlignedBuf, Driver, Op, OpClass, OpKind, OpenOptions, Wait, errno};
use io_testkit::{BLOCK, Disk, pattern, real_disks};
use io_uring_driver::{UringOptions, probe, uring};
use std::time::{Duration, Instant};

#[test]
fn the_probe_says_what_drivers_support() {
    let driver = driver!(UringOptions::default());
    let report = probe().unwrap();
    for op in &report.ops {
        assert_eq!(driver.supports().contains_kind(op.kind), op.refused.is_none(), "{op:?}");
    }
    // Whatever the kernel, this is what a ring is for.
    for kind in [OpKind::Read, OpKind::Write, OpKind::SyncData] {
        assert!(driver.supports().contains(kind, OpClass::Direct));
    }
    for kind in [OpKind::TryLock, OpKind::ReadDir, OpKind::CopyRange] {
        assert!(!driver.supports().contains_kind(kind), "there is no request for {kind:?}");
    }
    assert_eq!(driver.setup().eventfd, report.registration);
    assert_eq!(driver.setup().timed_wait, report.timed_wait);
    let owned = uring(UringOptions::default().owner_thread(true)).unwrap();
    assert_eq!(owned.setup().owner_thread, report.owner_thread);
    assert_eq!(owned.supports(), driver.supports());
}

#[test]
fn absurd_depths_become_possible_ones() {
    for (asked, got) in [(0, 1), (1, 1), (3, 3), (100, 100)] {
        assert_eq!(driver!(UringOptions::default().depth(asked)).depth(), got);
    }
    let driver = driver!(UringOptions::default().depth(u32::MAX));
    assert!((1..=32768).contains(&driver.depth()));
}

/// A deep driver takes its whole depth at once, in one submit.
#[test]
fn a_depth_of_thousands_works() {
    for options in setups() {
        let mut bench = bench(driver!(options.depth(4096)));
        let depth = bench.driver().depth();
        let file = super::memory_file(&[3; 64]);
        for _ in 0..depth {
            bench.start(Op::read(&file, vec![0u8; 4], 0));
        }
        let progress = bench.reap(Wait::No);
        assert_eq!((progress.accepted, progress.staged), (depth, 0));
        bench.wait_all();
        assert!(bench.take_done().iter().all(|done| done.result == 4));
    }
}

/// A polling ring takes direct transfers only. Where the device has no polling queues they are refused as themselves; waits still
/// end by wakes and on time.
#[test]
fn a_polling_ring_takes_direct_transfers_only() {
    let driver = driver!(UringOptions::default().depth(8).iopoll(true));
    assert!(driver.setup().iopoll);
    let direct = [OpKind::Read, OpKind::ReadVectored, OpKind::Write, OpKind::WriteVectored];
    for &kind in OpKind::ALL {
        assert!(!driver.supports().contains(kind, OpClass::Buffered), "{kind:?}");
        assert_eq!(driver.supports().contains(kind, OpClass::Direct), direct.contains(&kind), "{kind:?}");
    }
    let mut bench = bench(driver);
    let readiness = bench.driver().readiness();
    readiness.wake();
    bench.reap(Wait::Forever);
    let begun = Instant::now();
    bench.reap(Wait::AtMost(Duration::from_millis(20)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    for disk in real_disks() {
        let contents = pattern(1, BLOCK);
        let Ok(file) = disk.create("polled", &contents, OpenOptions::READ.direct()) else { continue };
        bench.insist();
        assert_eq!(bench.run(Op::sync_data(&file)).0, -errno::EOPNOTSUPP);
        let (result, op) = bench.run(Op::read(&file, AlignedBuf::with_capacity(BLOCK), 0));
        if result != BLOCK as i32 {
            assert_eq!(result, -errno::EOPNOTSUPP);
            continue;
        }
        assert_eq!(&*op.into_buf::<AlignedBuf>().unwrap(), &contents[..]);
    }
}
