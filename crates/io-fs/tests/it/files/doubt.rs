//! In doubt is at least what is not durable.

use super::world::World;
use futures_util::future::join_all;
use io_fs::{File, InDoubt, OpenOptions, errno};
use io_sim::{FailedSync, SimOptions, Which};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: usize },
    Durable { offset: u64, len: usize },
    Append { len: usize },
    Punch { offset: u64, len: u64 },
    SyncData,
    SyncAll,
}

fn step() -> impl Strategy<Value = Step> {
    let (offset, len) = (0..60_000u64, 1..5000usize);
    prop_oneof![
        4 => (offset.clone(), len.clone()).prop_map(|(offset, len)| Step::Write { offset, len }),
        1 => (offset.clone(), len.clone()).prop_map(|(offset, len)| Step::Durable { offset, len }),
        1 => len.prop_map(|len| Step::Append { len }),
        1 => (offset, 1..9000u64).prop_map(|(offset, len)| Step::Punch { offset, len }),
        1 => Just(Step::SyncData),
        1 => Just(Step::SyncAll),
    ]
}

async fn run(file: &File, step: Step, fill: u8) {
    match step {
        Step::Write { offset, len } => drop(file.write_at(vec![fill; len], offset).await.0.unwrap()),
        Step::Durable { offset, len } => drop(file.write_durable_at(vec![fill; len], offset).await.0.unwrap()),
        Step::Append { len } => drop(file.append(vec![fill; len]).await.0.unwrap()),
        Step::Punch { offset, len } => file.punch_hole(offset, len).await.unwrap(),
        Step::SyncData => file.sync_data().await.unwrap(),
        Step::SyncAll => file.sync_all().await.unwrap(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// Batches of steps at once, in any order of completion; then a sync fails, and every byte whose durable content is not the one
    /// that readers see has to be named.
    #[test]
    fn every_byte_that_is_not_durable_is_in_doubt(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..8), 1..8), seed in 0..10_000u64,
    ) {
        let options = SimOptions { failed_sync: FailedSync::KeepsPages, ..SimOptions::hostile(seed) };
        let world = World::sim(options);
        let disk = world.sim.as_ref().unwrap();
        disk.write_file(world.path("f"), &[0xEE; 1000]).unwrap();
        let doubt = world.fs.block_on(async {
            let file = &world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            for (n, batch) in batches.iter().enumerate() {
                let fill = |i: usize| (n * 8 + i) as u8 + 1;
                join_all(batch.iter().enumerate().map(|(i, step)| run(file, step.clone(), fill(i)))).await;
            }
            disk.fail(Which::syncs(), errno::EIO);
            file.sync_data().await.unwrap_err();
            file.in_doubt().unwrap()
        });
        let (now, durable) = (world.content("f"), disk.durable_file(world.path("f")).unwrap());
        for at in 0..now.len().max(durable.len()) {
            // The size is not content: what only growing made is not named.
            let byte = |content: &[u8]| content.get(at).copied().unwrap_or(0);
            let same = byte(&now) == byte(&durable);
            assert!(same || doubt.contains(at as u64), "byte {at} is not durable, and not in doubt: {doubt}");
        }
    }
}

/// The other half: what a sync has confirmed is not in doubt.
#[test]
fn what_was_synced_is_not_in_doubt() {
    let world = World::sim(SimOptions::seeded(81));
    let disk = world.sim.as_ref().unwrap();
    world.fs.block_on(async {
        let file = &world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
        for round in 0..50 {
            join_all((0..4).map(|i| run(file, Step::Write { offset: i * 7000, len: 100 }, round))).await;
            join_all((0..3).map(|i| run(file, if i == 0 { Step::SyncAll } else { Step::SyncData }, 0))).await;
        }
        run(file, Step::Durable { offset: 90_000, len: 10 }, 1).await;
        file.sync_all().await.unwrap();
        file.write_at(vec![1; 5], 50_000).await.0.unwrap();
        disk.fail(Which::syncs(), errno::EIO);
        file.sync_data().await.unwrap_err();
        assert_eq!(file.in_doubt(), Some(InDoubt::Ranges(std::iter::once(50_000..50_005).collect())));
    });
}
