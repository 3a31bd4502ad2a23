//! What a power cut may take, and what it never takes.

use crate::kit::{bench, content, create, done, open, outcomes};
use io_core::{AlignedBuf, Op, OpKind, OpenOptions, RenameMode, RwFlags};
use io_sim::{Fault, SimDisk, SimOptions, Survivors, Which};
use io_testkit::pattern;

fn disk() -> SimDisk {
    SimDisk::new(SimOptions::seeded(11))
}

#[test]
fn a_write_that_nobody_synced_may_vanish_and_may_stay() {
    let disk = disk();
    disk.write_file("/f", &[1; 512]).unwrap();
    done(&disk, Op::write(&open(&disk, "/f"), vec![2; 512], 0));
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/f").unwrap()[0]), [1, 2]);
    assert_eq!(disk.durable_file("/f").unwrap(), [1; 512]);
}

#[test]
fn what_was_synced_never_vanishes() {
    for sync in [Op::sync_data, Op::sync_all] {
        let disk = disk();
        disk.write_file("/f", b"").unwrap();
        let file = open(&disk, "/f");
        let bytes = pattern(1, 100_000);
        done(&disk, Op::write(&file, bytes.clone(), 0));
        done(&disk, sync(&file));
        done(&disk, Op::write(&file, vec![0; 10], 100_000));
        assert!(disk.crash_states(200, 1).all(|left| left.read_file("/f").unwrap()[..100_000] == bytes));
        assert_eq!(disk.durable_file("/f").unwrap(), bytes);
    }
}

#[test]
fn direct_io_is_no_promise() {
    let disk = disk();
    disk.write_file("/f", &[1; 4096]).unwrap();
    let file = disk.open("/f", OpenOptions::READ_WRITE.direct()).unwrap();
    done(&disk, Op::write(&file, AlignedBuf::zeroed(4096), 0));
    assert!(outcomes(&disk, 100, |left| content(left, "/f").unwrap()[0]).contains(&1));
    done(&disk, Op::sync_data(&file));
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/f").unwrap()), [vec![0; 4096]]);
}

#[test]
fn a_durable_write_is_durable_with_its_size_and_nothing_else() {
    let disk = disk();
    disk.write_file("/f", &[1; 512]).unwrap();
    let file = open(&disk, "/f");
    done(&disk, Op::write(&file, vec![3; 512], 0));
    done(&disk, Op::write(&file, vec![2; 512], 4096).with_flags(RwFlags::DSYNC));
    let found = outcomes(&disk, 200, |left| {
        let left = content(left, "/f").unwrap();
        assert_eq!((left.len(), &left[4096..]), (4608, &[2; 512][..]));
        left[0]
    });
    assert_eq!(found, [1, 3], "the other write is as undecided as before");
}

#[test]
fn a_file_whose_name_nobody_synced_may_be_gone() {
    let disk = disk();
    let file = create(&disk, "/new");
    done(&disk, Op::write(&file, b"synced".to_vec(), 0));
    done(&disk, Op::sync_all(&file));
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/new")), [None, Some(b"synced".to_vec())]);
    assert!(disk.durable_file("/new").is_err());
    done(&disk, Op::sync_dir("/").unwrap());
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/new")), [Some(b"synced".to_vec())]);
    assert!(disk.is_durable());
}

#[test]
fn where_a_file_sync_syncs_names_the_directories_above_come_along() {
    let disk = SimDisk::new(SimOptions { sync_names: true, ..SimOptions::seeded(1) });
    done(&disk, Op::make_dir("/d", 0o755).unwrap());
    let file = create(&disk, "/d/new");
    done(&disk, Op::sync_data(&file));
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/d/new")), [Some(vec![])]);
}

#[test]
fn a_name_without_synced_content_may_lead_to_an_empty_file() {
    let disk = disk();
    let file = create(&disk, "/new");
    done(&disk, Op::write(&file, vec![7; 600], 0));
    done(&disk, Op::sync_dir("/").unwrap());
    let lens = outcomes(&disk, 200, |left| content(left, "/new").unwrap().len());
    assert_eq!(lens, [0, 600]);
    let grown_without_content =
        disk.crash_states(200, 1).any(|left| left.read_file("/new").unwrap().starts_with(&[0; 512]));
    assert!(grown_without_content, "size and content survive apart");
}

#[test]
fn a_rename_leaves_the_old_name_or_the_new_one() {
    let disk = disk();
    disk.write_file("/old", b"content").unwrap();
    done(&disk, Op::rename("/old", "/new", RenameMode::Replace).unwrap());
    let names = |left: &SimDisk| left.files().iter().map(|f| f.display().to_string()).collect::<Vec<_>>();
    assert_eq!(outcomes(&disk, 100, names), [["/new"], ["/old"]]);
    done(&disk, Op::sync_dir("/").unwrap());
    assert_eq!(outcomes(&disk, 100, names), [["/new"]]);
}

#[test]
fn replacing_a_file_leaves_all_of_the_old_or_all_of_the_new() {
    let disk = disk();
    disk.write_file("/f", b"old").unwrap();
    let temporary = create(&disk, "/f.tmp");
    done(&disk, Op::write(&temporary, b"new".to_vec(), 0));
    done(&disk, Op::sync_data(&temporary));
    done(&disk, Op::rename("/f.tmp", "/f", RenameMode::Replace).unwrap());
    let found = outcomes(&disk, 200, |left| (content(left, "/f").unwrap(), content(left, "/f.tmp").is_some()));
    let (old, new) = (b"old".to_vec(), b"new".to_vec());
    assert_eq!(found, [(new, false), (old.clone(), false), (old, true)]);
}

#[test]
fn the_directory_of_the_new_name_decides_a_rename() {
    let disk = disk();
    disk.create_dir_all("/to").unwrap();
    disk.write_file("/from/f", b"").unwrap();
    done(&disk, Op::rename("/from/f", "/to/f", RenameMode::NoReplace).unwrap());
    done(&disk, Op::sync_dir("/from").unwrap());
    let places = |left: &SimDisk| (content(left, "/from/f").is_some(), content(left, "/to/f").is_some());
    assert_eq!(outcomes(&disk, 100, places), [(false, true), (true, false)]);
    done(&disk, Op::sync_dir("/to").unwrap());
    assert_eq!(outcomes(&disk, 100, places), [(false, true)]);
}

#[test]
fn an_exchange_happens_as_a_whole() {
    let disk = disk();
    disk.write_file("/a", b"a").unwrap();
    disk.write_file("/d/b", b"b").unwrap();
    done(&disk, Op::rename("/a", "/d/b", RenameMode::Exchange).unwrap());
    let places = |left: &SimDisk| (content(left, "/a").unwrap(), content(left, "/d/b").unwrap());
    let [a, b] = [b"a".to_vec(), b"b".to_vec()];
    assert_eq!(outcomes(&disk, 100, places), [(a.clone(), b.clone()), (b, a)]);
}

#[test]
fn a_removed_file_may_come_back() {
    let disk = disk();
    disk.write_file("/f", b"content").unwrap();
    done(&disk, Op::unlink("/f").unwrap());
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/f")), [None, Some(b"content".to_vec())]);
    done(&disk, Op::sync_dir("/").unwrap());
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/f")), [None]);
}

#[test]
fn a_file_in_a_new_directory_needs_both_directories_synced() {
    let disk = disk();
    done(&disk, Op::make_dir("/d", 0o755).unwrap());
    let file = create(&disk, "/d/f");
    done(&disk, Op::sync_all(&file));
    done(&disk, Op::sync_dir("/d").unwrap());
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/d/f").is_some()), [false, true]);
    done(&disk, Op::sync_dir("/").unwrap());
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/d/f").is_some()), [true]);
}

#[test]
fn nothing_is_lost_by_being_moved_into_a_new_directory() {
    let disk = disk();
    disk.write_file("/f", b"precious").unwrap();
    done(&disk, Op::make_dir("/a", 0o755).unwrap());
    done(&disk, Op::make_dir("/a/b", 0o755).unwrap());
    done(&disk, Op::rename("/f", "/a/b/f", RenameMode::Replace).unwrap());
    let places = |left: &SimDisk| (content(left, "/f").is_some(), content(left, "/a/b/f").is_some());
    assert_eq!(outcomes(&disk, 300, places), [(false, true), (true, false)]);
    done(&disk, Op::sync_dir("/a/b").unwrap());
    assert_eq!(outcomes(&disk, 100, places), [(false, true)]);
}

#[test]
fn truncation_may_be_undone() {
    let disk = disk();
    disk.write_file("/f", &[1; 2000]).unwrap();
    let file = open(&disk, "/f");
    done(&disk, Op::truncate(&file, 1000));
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/f").unwrap().len()), [1000, 2000]);
    done(&disk, Op::sync_data(&file));
    assert_eq!(outcomes(&disk, 100, |left| content(left, "/f").unwrap()), [[1; 1000]]);
}

#[test]
fn permissions_are_undecided_until_synced() {
    let disk = disk();
    disk.write_file("/f", b"").unwrap();
    done(&disk, Op::set_permissions("/f", 0o600).unwrap());
    let mode = |left: &SimDisk| match crate::kit::answer(left, Op::stat_path("/f", true).unwrap()) {
        io_core::Output::Metadata(metadata) => metadata.mode,
        other => panic!("a stat answered {other:?}"),
    };
    assert_eq!(outcomes(&disk, 100, mode), [0o600, 0o644]);
    done(&disk, Op::sync_all(&open(&disk, "/f")));
    assert_eq!(outcomes(&disk, 100, mode), [0o600]);
}

#[test]
fn sectors_are_torn_only_where_asked_for() {
    for torn in [false, true] {
        let disk = SimDisk::new(SimOptions { torn, ..SimOptions::seeded(5) });
        disk.write_file("/f", &[1; 4096]).unwrap();
        done(&disk, Op::write(&open(&disk, "/f"), vec![2; 4096], 0));
        let found = outcomes(&disk, 200, |left| {
            let bytes = content(left, "/f").unwrap();
            bytes.chunks(512).any(|sector| sector.contains(&1) && sector.contains(&2))
        });
        assert_eq!(found.contains(&true), torn);
    }
}

#[test]
fn larger_sectors_stay_together() {
    let disk = SimDisk::new(SimOptions { sector: 4096, ..SimOptions::seeded(5) });
    disk.write_file("/f", &[1; 8192]).unwrap();
    done(&disk, Op::write(&open(&disk, "/f"), vec![2; 8192], 0));
    let found = outcomes(&disk, 200, |left| {
        let bytes = content(left, "/f").unwrap();
        assert!(bytes.chunks(4096).all(|sector| sector.iter().all(|&byte| byte == sector[0])));
        (bytes[0], bytes[4096])
    });
    assert_eq!(found, [(1, 1), (1, 2), (2, 1), (2, 2)]);
}

#[test]
fn an_atomic_write_is_never_torn() {
    let options = SimOptions { atomic_write_max: 4096, torn: true, ..SimOptions::seeded(5) };
    let disk = SimDisk::new(options);
    disk.write_file("/f", &[1; 4096]).unwrap();
    let file = disk.open("/f", OpenOptions::READ_WRITE.direct()).unwrap();
    done(&disk, Op::write(&file, AlignedBuf::copy_of(&[2; 4096]), 0).with_flags(RwFlags::ATOMIC));
    assert_eq!(outcomes(&disk, 200, |left| content(left, "/f").unwrap()), [[1; 4096], [2; 4096]]);
}

/// The classic: a waiter joins a sync that is under way and reports its own, later write as durable.
#[test]
fn a_sync_under_way_does_not_cover_what_is_written_meanwhile() {
    let mut lost = 0;
    for seed in 0..60 {
        let disk = SimDisk::new(SimOptions { survivors: Survivors::Nothing, ..SimOptions::seeded(seed) });
        disk.write_file("/f", &[1; 1024]).unwrap();
        let file = open(&disk, "/f");
        let mut bench = bench(&disk, 4);
        let before = bench.start(Op::write(&file, vec![2; 512], 0));
        bench.finish(before);
        disk.inject(Which::syncs(), Fault::Slow(std::time::Duration::from_millis(5)));
        let sync = bench.start(Op::sync_data(&file));
        bench.reap(io_core::Wait::No);
        let meanwhile = bench.start(Op::write(&file, vec![2; 512], 512));
        bench.finish(meanwhile);
        assert_eq!(bench.finish(sync).result, 0);
        disk.power_cut();
        let left = disk.read_file("/f").unwrap();
        assert_eq!(left[..512], [2; 512], "written and completed before the sync");
        lost += (left[512] == 1) as u32;
    }
    assert!(lost > 10, "{lost} of 60 would have been reported durable and were lost");
}

#[test]
fn a_lost_sync_makes_nothing_durable_and_the_next_one_does() {
    let disk = SimDisk::new(SimOptions { survivors: Survivors::Nothing, ..SimOptions::seeded(1) });
    disk.write_file("/f", &[1; 10]).unwrap();
    let file = open(&disk, "/f");
    disk.inject(Which::syncs(), Fault::LoseSync);
    done(&disk, Op::write(&file, vec![2; 10], 0));
    done(&disk, Op::sync_data(&file));
    assert_eq!(disk.durable_file("/f").unwrap(), [1; 10]);
    done(&disk, Op::sync_data(&file));
    assert_eq!(disk.durable_file("/f").unwrap(), [2; 10]);
    disk.inject(Which::writes(), Fault::LoseSync);
    done(&disk, Op::write(&file, vec![3; 10], 0).with_flags(RwFlags::DSYNC));
    assert_eq!(disk.durable_file("/f").unwrap(), [2; 10]);
    disk.inject(Which::kind(OpKind::SyncDir), Fault::LoseSync);
    drop(create(&disk, "/new"));
    done(&disk, Op::sync_dir("/").unwrap());
    assert!(disk.durable_file("/new").is_err());
    done(&disk, Op::sync_dir("/").unwrap());
    assert_eq!(disk.durable_file("/new").unwrap(), b"");
}

#[test]
fn survivors_can_be_all_or_nothing() {
    for (survivors, left) in [(Survivors::Nothing, None), (Survivors::Everything, Some(vec![1; 5000]))] {
        let disk = SimDisk::new(SimOptions { survivors, torn: true, ..SimOptions::seeded(1) });
        let file = create(&disk, "/new");
        done(&disk, Op::write(&file, vec![1; 5000], 0));
        assert_eq!(outcomes(&disk, 50, |disk| content(disk, "/new")), [left]);
    }
}

#[test]
fn directory_changes_do_not_wait_for_ever() {
    let disk = SimDisk::new(SimOptions { survivors: Survivors::Nothing, ..SimOptions::seeded(1).without_latency() });
    let mut bench = bench(&disk, 64);
    for n in 0..20_000 {
        let token = bench.start(Op::make_dir(format!("/{n}"), 0o755).unwrap());
        assert_eq!(bench.finish(token).result, 0);
    }
    let left = disk.fork_after_power_cut(1);
    assert!(left.open("/0", OpenOptions::READ).is_ok(), "the oldest is durable by age");
    assert!(left.open("/19999", OpenOptions::READ).is_err());
}
