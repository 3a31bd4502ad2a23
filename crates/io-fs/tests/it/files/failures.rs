//! What a failure leaves is said.

use super::world::{World, pattern};
use io_fs::{InDoubt, OpenOptions, ShortWrite, SyncFailed, errno};
use io_sim::{Fault, SimOptions, Which};
use std::io;

#[test]
fn a_full_disk_in_the_middle_of_a_write_says_how_far_it_got() {
    for (seed, hostile) in [(1, false), (2, true), (3, true), (4, true)] {
        let options = if hostile { SimOptions::hostile(seed) } else { SimOptions::seeded(seed) };
        let world = World::sim(SimOptions { capacity: 10 * 4096, ..options });
        let bytes = pattern(16 * 4096, seed);
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            let (result, buf) = file.write_at(bytes.clone(), 0).await;
            let error = result.unwrap_err();
            let short = ShortWrite::in_error(&error).unwrap_or_else(|| panic!("{}: {error:?}", world.name));
            assert_eq!((short.written, short.code), (10 * 4096, errno::ENOSPC), "{}", world.name);
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(buf == bytes, "the buffer comes back");
            assert!(world.content("f") == bytes[..10 * 4096], "{}", world.name);

            let (result, pieces) = file.write_vectored_at(vec![vec![7; 4096], vec![8; 9 * 4096 + 1]], 4096).await;
            let error = result.unwrap_err();
            assert_eq!(ShortWrite::in_error(&error).map(|s| s.written), Some(9 * 4096), "{}", world.name);
            assert_eq!(pieces.len(), 2);
            let (result, _) = file.write_all_at(vec![1; 10], 20 * 4096).await;
            let error = result.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno::ENOSPC), "nothing was written, nothing is claimed");
        });
    }
}

#[test]
fn a_write_that_fails_after_short_ones_says_how_far_it_got() {
    let world = World::sim(SimOptions::seeded(5));
    let disk = world.sim.as_ref().unwrap();
    world.fs.block_on(async {
        let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
        disk.inject(Which::writes(), Fault::Short(1000));
        disk.inject(Which::writes().nth(2), Fault::Errno(errno::EIO));
        let error = file.write_at(vec![1; 5000], 0).await.0.unwrap_err();
        assert_eq!(ShortWrite::in_error(&error), Some(ShortWrite { written: 1000, code: errno::EIO }));
        assert!(error.to_string().ends_with("after 1000 bytes were written"), "{error}");
    });
}

#[test]
fn a_failed_sync_poisons_every_handle_and_names_the_bytes() {
    let world = World::sim(SimOptions::seeded(6));
    let disk = world.sim.as_ref().unwrap();
    let other_fs = world.another_fs();
    let path = world.path("f");
    let (one, two) = world.fs.block_on(async {
        let one = world.fs.open_with(&path, OpenOptions::CREATE).await.unwrap();
        let two = world.fs.open_rw(&path).await.unwrap();
        one.write_at(vec![1; 100], 0).await.0.unwrap();
        one.sync_data().await.unwrap();
        assert_eq!(one.in_doubt(), None);
        one.write_at(vec![2; 100], 1000).await.0.unwrap();
        two.write_at(vec![2; 50], 1100).await.0.unwrap();
        two.punch_hole(8192, 4096).await.unwrap();
        (one, two)
    });
    let three = other_fs.block_on(async {
        let three = other_fs.open_rw(&path).await.unwrap();
        three.write_at(vec![3; 10], 5000).await.0.unwrap();
        three
    });
    world.fs.block_on(async {
        disk.fail(Which::syncs(), errno::EIO);
        let error = two.sync_data().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno::EIO), "the first one hears the system's error");
        let doubt = InDoubt::Ranges(vec![1000..1150, 5000..5010, 8192..12288]);
        for file in [&one, &two, &three] {
            assert_eq!(file.in_doubt(), Some(doubt.clone()));
        }
        let sticky = |error: io::Error| SyncFailed::in_error(&error).expect("the sticky failure").code;
        assert_eq!(sticky(one.sync_data().await.unwrap_err()), errno::EIO);
        assert_eq!(sticky(two.sync_all().await.unwrap_err()), errno::EIO);
        assert_eq!(sticky(one.write_durable_at(vec![4; 10], 20_000).await.0.unwrap_err()), errno::EIO);
        one.write_at(vec![5; 1], 0).await.0.unwrap();
        let InDoubt::Ranges(ranges) = one.in_doubt().unwrap() else { panic!("few ranges") };
        assert_eq!(ranges.first(), Some(&(0..1)), "what is written from now on is in doubt as well");
    });
    other_fs.block_on(async {
        assert!(SyncFailed::in_error(&three.sync_data().await.unwrap_err()).is_some(), "another file system object");
    });
    drop((one, two, three));
    world.fs.block_on(async {
        let anew = world.fs.open_rw(&path).await.unwrap();
        anew.sync_data().await.unwrap();
        assert_eq!(anew.in_doubt(), None, "opened anew");
    });
}

#[test]
fn many_places_are_the_whole_file() {
    let world = World::sim(SimOptions::seeded(7));
    let disk = world.sim.as_ref().unwrap();
    world.fs.block_on(async {
        let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
        for i in 0..200 {
            file.write_at(vec![1; 10], i * 100).await.0.unwrap();
        }
        disk.fail(Which::syncs(), errno::EIO);
        file.sync_all().await.unwrap_err();
        assert_eq!(file.in_doubt(), Some(InDoubt::Whole));
    });
}
