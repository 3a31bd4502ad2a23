//! A ring that dies below its futures.

use super::*;
use io_engine::core::{OpKind, errno};
use io_testkit::{Fault, Faulty, Rule};

#[test]
fn new_operations_go_elsewhere_and_files_keep_working() {
    for name in [DriverName::Uring, DriverName::Aio] {
        let Some(mut inner) = drivers(name, 1, 16) else { continue };
        let (driver, faults) = Faulty::new(inner.remove(0));
        let shards = Shards::new(vec![Box::new(driver)], ShardOptions::default()).unwrap();
        let (_dir, file) = scratch(1 << 16);
        in_time("a ring that dies", move || {
            smol::block_on(async {
                assert_eq!(write(&shards, &file, vec![1u8; 512], 0).await.0.unwrap(), 512);
                faults.break_channel(errno::EBADF, true);
                // The one that finds out may have been given to the ring already: nobody knows what becomes of it.
                let _ = write(&shards, &file, vec![9u8; 512], 1024).with_timeout(Duration::from_millis(100)).await;
                for i in 0..32u64 {
                    let (n, _) = write(&shards, &file, vec![2u8; 512], i * 512).await;
                    assert_eq!(n.unwrap(), 512);
                }
                let (n, buf) = read(&shards, &file, Vec::with_capacity(512), 512).await;
                assert_eq!((n.unwrap(), buf[0]), (512, 2));
            });
            comes_to_rest(&shards);
        });
    }
}

#[test]
fn what_the_dead_ring_holds_is_quarantined_and_its_waiter_can_time_out() {
    let Some(mut inner) = drivers(DriverName::Uring, 1, 16) else { return };
    let (driver, faults) = Faulty::new(inner.remove(0));
    let shards = Shards::new(vec![Box::new(driver)], ShardOptions::default()).unwrap();
    let (_dir, file) = scratch(1 << 16);
    in_time("a ring that dies with an operation inside", move || {
        smol::block_on(async {
            faults.add(Rule::of(OpKind::Write, Fault::Wedge).times(1));
            let mut lost = write(&shards, &file, vec![1u8; 512], 0);
            assert!(poll_once(&mut lost).is_pending());
            faults.break_channel(errno::EBADF, true);
            let late = lost.with_timeout(Duration::from_millis(2500)).await.unwrap_err();
            assert_eq!(shards.stats()[0].quarantined, 1);
            assert_eq!(shards.load(), (0, 0, 0), "it counts no more");
            assert!(late.ticket.try_claim().is_err(), "its memory is not coming back");
            assert_eq!(read(&shards, &file, Vec::with_capacity(512), 512).await.0.unwrap(), 512);
        });
    });
}
