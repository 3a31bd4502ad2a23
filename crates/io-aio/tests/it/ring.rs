//! The completion ring, as far as a user can see it.

use crate::fixture::{Blocks, bench, driver, every_way, options};
use io_core::Wait;
use io_testkit::Bench;

/// Ten times round a ring that is as large as a machine of hundreds of CPUs makes it, in batches of every size, every read
/// checked. The page cache answers, so that it does not take long.
#[test]
fn the_ring_goes_round_and_round() {
    const READS: usize = 30_000;
    let blocks = Blocks::buffered(64);
    for options in every_way(16) {
        let mut bench = Bench::with_room(Box::new(driver(options)), 5);
        let (mut begun, mut ended) = (0, 0);
        while ended < READS {
            for _ in 0..begun % 17 {
                begun += usize::from(bench.try_start(blocks.read(begun % 64)).is_ok());
            }
            if begun == ended {
                bench.start(blocks.read(begun % 64));
                begun += 1;
            }
            bench.reap(if ended % 3 == 0 { Wait::No } else { Wait::Forever });
            for done in bench.take_done() {
                let block = done.op.offset() as usize / io_testkit::BLOCK;
                blocks.assert_read(block, done.result, done.op);
                ended += 1;
            }
        }
    }
}

#[test]
fn a_full_depth_completes_before_anybody_looks() {
    let blocks = Blocks::buffered(64);
    for options in every_way(64) {
        let mut bench = bench(options);
        for _ in 0..50 {
            while bench.try_start(blocks.read(bench.in_flight() % 64)).is_ok() {}
            assert_eq!(bench.in_flight(), 64);
            // Cached reads complete inside io_submit: the ring now holds them all.
            bench.wait_all();
            assert!(bench.take_done().iter().all(|done| done.result == io_testkit::BLOCK as i32));
        }
    }
}

#[test]
fn many_contexts_at_once() {
    let blocks = Blocks::new(4);
    let mut benches: Vec<Bench> = (0..20).map(|_| bench(options(8))).collect();
    for bench in &mut benches {
        for block in 0..4 {
            bench.start(blocks.read(block));
        }
        bench.reap(Wait::No);
    }
    while let Some(mut bench) = benches.pop() {
        bench.wait_all();
        for done in bench.take_done() {
            blocks.assert_read(done.op.offset() as usize / io_testkit::BLOCK, done.result, done.op);
        }
    }
}
