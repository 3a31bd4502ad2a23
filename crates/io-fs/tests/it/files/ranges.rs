use super::world::{World, pattern, worlds};
use io_fs::{OpenOptions, RangeOptions, errno};
use io_sim::{SimOptions, Which};
use proptest::prelude::*;

const SIZE: usize = 40_000;

fn expected(content: &[u8], (offset, len): (u64, usize)) -> &[u8] {
    let begin = (offset as usize).min(content.len());
    &content[begin..(begin + len).min(content.len())]
}

fn gaps() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![Just(None), Just(Some(0)), Just(Some(4096)), (0..20_000u64).prop_map(Some)]
}

fn some_ranges() -> impl Strategy<Value = Vec<(u64, usize)>> {
    prop::collection::vec((0..(SIZE as u64 + 2000), 0..6000usize), 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ranges_are_what_the_model_has(
        ranges in some_ranges(), gap in gaps(), most in 1..50_000usize, direct: bool, seed in 0..1000u64,
    ) {
        let world = World::sim(SimOptions::hostile(seed));
        let content = pattern(SIZE, seed);
        world.sim.as_ref().unwrap().write_file(world.path("f"), &content).unwrap();
        world.fs.block_on(async {
            let options = if direct { OpenOptions::READ.direct() } else { OpenOptions::READ };
            let file = world.fs.open_with(world.path("f"), options).await.unwrap();
            let how = RangeOptions::new().coalesce_gap(gap).transfer_max(most);
            let answers = file.read_ranges_with(&ranges, how).await;
            assert_eq!(answers.len(), ranges.len());
            for (answer, &range) in answers.into_iter().zip(&ranges) {
                assert!(answer.unwrap()[..] == *expected(&content, range), "{range:?}");
            }
        });
    }
}

#[test]
fn every_driver_reads_ranges() {
    for world in worlds() {
        let content = pattern(SIZE, 4);
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            file.write_at(content.clone(), 0).await.0.unwrap();
            let ranges: Vec<_> = (0..500).map(|i| ((i * 7919) % SIZE as u64, (i as usize * 31) % 900)).collect();
            for options in [OpenOptions::READ, OpenOptions::READ.direct()] {
                let file = world.fs.open_with(world.path("f"), options).await.unwrap();
                for how in [RangeOptions::new(), RangeOptions::new().coalesce_gap(None)] {
                    for (answer, &range) in file.read_ranges_with(&ranges, how).await.into_iter().zip(&ranges) {
                        assert!(answer.unwrap()[..] == *expected(&content, range), "{} {range:?}", world.name);
                    }
                }
            }
        });
    }
}

#[test]
fn neighbours_are_one_transfer_and_share_its_memory() {
    let world = World::sim(SimOptions::seeded(41));
    let disk = world.sim.as_ref().unwrap();
    disk.write_file(world.path("f"), &pattern(SIZE, 5)).unwrap();
    let reads = || world.fs.shards().stats().iter().map(|s| s.accepted).sum::<u64>();
    world.fs.block_on(async {
        let file = world.fs.open(world.path("f")).await.unwrap();
        let ranges: Vec<_> = (0..10).map(|i| (i * 1000, 500)).collect();
        let before = reads();
        let bufs = file.read_ranges(&ranges).await;
        assert_eq!(reads() - before, 1);
        let first = bufs[0].as_ref().unwrap();
        let second = bufs[1].as_ref().unwrap();
        assert_eq!(second.as_ptr() as usize - first.as_ptr() as usize, 1000, "nothing is copied");
        let before = reads();
        let mut bufs = file.read_ranges_with(&ranges, RangeOptions::new().coalesce_gap(None)).await;
        assert_eq!(reads() - before, 10, "exact");
        let one = bufs.remove(0).unwrap();
        let at = one.as_ptr();
        let vec = one.into_vec();
        assert_eq!(vec.as_ptr(), at, "the only range of its transfer");
    });
}

#[test]
fn each_range_has_its_own_error() {
    let world = World::sim(SimOptions::seeded(42));
    let disk = world.sim.as_ref().unwrap();
    let content = pattern(SIZE, 6);
    disk.write_file(world.path("f"), &content).unwrap();
    world.fs.block_on(async {
        let file = world.fs.open(world.path("f")).await.unwrap();
        let ranges = [(0, 100), (200, 100), (400, 100)];
        // The joined transfer, and then one of its three ranges.
        disk.fail(Which::reads(), errno::EIO);
        disk.fail(Which::reads().nth(3), errno::EIO);
        let answers = file.read_ranges(&ranges).await;
        let failed: Vec<_> = answers.iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, true, false]);
        assert_eq!(answers[1].as_ref().unwrap_err().raw_os_error(), Some(errno::EIO));
        assert_eq!(answers[2].as_ref().unwrap()[..], content[400..500]);
        assert!(file.read_ranges(&[]).await.is_empty());
    });
}
