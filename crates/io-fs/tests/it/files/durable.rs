use super::world::{World, pattern, worlds};
use futures_util::future::join_all;
use io_fs::{AlignedBuf, DurableRoute, OpenOptions, SyncFailed, errno};
use io_sim::{SimOptions, Which};
use std::time::Duration;

#[test]
fn what_is_answered_is_durable_by_either_route() {
    for world in worlds() {
        for direct in [false, true] {
            let options = if direct { OpenOptions::CREATE.direct() } else { OpenOptions::CREATE };
            let name = if direct { "direct" } else { "buffered" };
            world.fs.block_on(async {
                let file = &world.fs.open_with(world.path(name), options).await.unwrap();
                file.sync_all().await.unwrap();
                world.fs.sync_dir(world.path("")).await.unwrap();
                let writer = async |task: u64, writes: u64| {
                    for n in 0..writes {
                        let bytes = pattern(4096, task * 1000 + n);
                        let at = task * 4096;
                        let (result, buf) = file.write_durable_at(AlignedBuf::copy_of(&bytes), at).await;
                        assert_eq!((result.unwrap(), buf.len()), (4096, 4096), "{}", world.name);
                        if let Some(disk) = &world.sim {
                            let there = disk.durable_file(world.path(name)).unwrap();
                            assert!(there[at as usize..][..4096] == bytes, "{}: not durable", world.name);
                        }
                    }
                };
                writer(0, 120).await;
                join_all((0..16).map(|task| writer(task, 20))).await;
            });
            let content = world.content(name);
            for task in 0..16 {
                let last = pattern(4096, task * 1000 + 19);
                assert!(content[task as usize * 4096..][..4096] == last, "{}", world.name);
            }
        }
        let table = world.fs.durability_table();
        for (direct, writers) in [(false, 1), (false, 16), (true, 1), (true, 16)] {
            let row = table.iter().find(|row| (row.direct, row.writers) == (direct, writers));
            let row = row.unwrap_or_else(|| panic!("{}: {table:?}", world.name));
            assert!(row.writes > 100 && (row.refused || row.comparisons > 0), "{}: {row}", world.name);
        }
    }
}

/// The simulator's syncs take one time and its writes another, so the routes can be told apart: one sync that sixteen share is
/// cheaper than anything, and one writer saves the write.
#[test]
fn the_routes_are_chosen_by_what_they_take() {
    let slow = Duration::from_millis(1)..=Duration::from_millis(1);
    let options = SimOptions { latency: slow.clone(), sync_latency: slow, ..SimOptions::seeded(51) };
    let world = World::sim(options);
    world.fs.block_on(async {
        let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
        for n in 0..300 {
            file.write_durable_at(vec![1; 512], n * 512).await.0.unwrap();
        }
    });
    let table = world.fs.durability_table();
    assert_eq!((table.len(), table[0].route, table[0].concurrent), (1, DurableRoute::Dsync, false), "{}", table[0]);
    assert_eq!(table[0].dsync, Some(Duration::from_millis(1)), "{}", table[0]);
    assert_eq!(table[0].write_then_sync, Some(Duration::from_millis(2)), "{}", table[0]);
}

#[test]
fn a_durable_write_that_fails_is_an_error_by_either_route_and_poisons() {
    for seed in 0..4 {
        let world = World::sim(SimOptions::seeded(60 + seed));
        let disk = world.sim.as_ref().unwrap();
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            // Past 32 writes the other route is tried.
            for _ in 0..seed * 12 {
                file.write_durable_at(vec![1; 512], 0).await.0.unwrap();
            }
            disk.fail(Which::writes(), errno::EIO);
            disk.fail(Which::syncs(), errno::EIO);
            let first = file.write_durable_at(vec![2; 512], 4096).await.0;
            first.expect_err("neither is durable");
            let second = file.write_durable_at(vec![2; 512], 4096).await.0;
            let third = file.write_durable_at(vec![2; 512], 4096).await.0.unwrap_err();
            // A plain write that failed marks nothing: then the sync behind the second write is the one that does.
            assert!(second.is_err() && SyncFailed::in_error(&third).is_some(), "{}: {third:?}", world.name);
            assert!(file.in_doubt().unwrap().contains(4096), "{}", world.name);
        });
    }
}

/// A sync waits for all writes before it and fails with them; but theirs is not this one's failure.
#[test]
fn somebody_elses_failed_write_does_not_fail_a_durable_one() {
    let world = World::sim(SimOptions::seeded(71));
    world.fs.block_on(async {
        let file = &world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
        let durable = async |task: u64| {
            for n in 0..50 {
                file.write_durable_at(vec![task as u8; 512], task * 512 + n * 8192).await.0.unwrap();
            }
        };
        let failing = async {
            for _ in 0..50 {
                // Behind the largest file: refused, after other writes were accepted.
                file.write_at(vec![9; 512], i64::MAX as u64 - 511).await.0.unwrap_err();
            }
        };
        let durables = join_all((0..8).map(durable));
        futures_util::future::join(durables, failing).await;
        assert_eq!(file.in_doubt(), None);
    });
    let table = world.fs.durability_table();
    assert!(table.iter().any(|row| row.write_then_sync.is_some()), "the route in question was not taken: {table:?}");
}

/// The third way: the write by the driver, its sync by the pool that stands beside it. What is answered is as durable, and it is measured
/// like the others.
#[test]
fn the_pool_syncs_what_the_driver_has_written() {
    for mut world in super::world::real_worlds() {
        let mut config = world.fs.config().clone();
        config.durable_route = Some(DurableRoute::WriteThenPoolSync);
        let free = std::mem::replace(&mut world.fs, io_fs::FileSystem::with_config(config).unwrap());
        let syncs = |via: io_fs::Via| {
            let rows = world.fs.snapshot().operations;
            rows.iter()
                .filter(|row| row.kind == io_fs::OpKind::SyncData && row.via == via)
                .map(|row| row.count)
                .sum::<u64>()
        };
        world.fs.block_on(async {
            let file = &world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            for n in 0..20 {
                file.write_durable_at(pattern(512, n), n * 512).await.0.unwrap();
            }
            join_all((0..16).map(|n| async move { file.write_durable_at(pattern(512, n), n * 512).await.0.unwrap() }))
                .await;
        });
        let has_pool = world.fs.shards().has_offload();
        let (by_pool, by_driver) = (syncs(io_fs::Via::Offload), syncs(io_fs::Via::Driver(world.fs.backend().driver())));
        assert!(by_pool >= if has_pool { 20 } else { 0 }, "{}: {by_pool} by the pool", world.name);
        assert!(by_driver == 0 || !has_pool, "{}: {by_driver} by the driver", world.name);
        assert!(world.content("f")[15 * 512..][..512] == pattern(512, 15));
        if has_pool {
            free.block_on(async {
                let file = free.open_with(world.path("g"), OpenOptions::CREATE).await.unwrap();
                for n in 0..2000 {
                    file.write_durable_at(vec![1; 512], n % 8 * 512).await.0.unwrap();
                }
            });
            let row = free.durability_table()[0];
            assert!(row.write_then_pool_sync.is_some() && row.writers == 1, "{}: {row}", world.name);
        }
    }
}
