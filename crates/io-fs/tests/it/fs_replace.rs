//! A file's content replaced: all of the old or all of the new, whatever happens.

use crate::fs_kit::*;
use io_fs::{OpKind, errno};
use io_sim::{CrashPoint, Fault, SimOptions, Which};
use std::io::ErrorKind;

#[test]
fn contents_of_all_sizes_take_each_others_place() {
    everywhere(|site| {
        for (round, len) in [5, 0, 3 << 20, 1, 4096, 0].into_iter().enumerate() {
            let new = content(round as u8, len);
            let (result, back) = site.run(site.fs.replace(site.at("f"), new.clone()));
            result.unwrap();
            assert!(back == new, "the buffer comes back");
            assert!(site.get("f") == new, "round {round}");
            assert_eq!(site.names(), ["f"], "nothing else is left");
        }
    });
}

#[cfg(unix)]
#[test]
fn permissions_stay_and_a_new_file_has_the_usual_ones() {
    everywhere(|site| {
        let path = site.put("f", b"old");
        for mode in [0o640, 0o600, 0o444, 0o755] {
            site.run(site.fs.set_permissions(&path, mode)).unwrap();
            site.run(site.fs.replace(&path, b"new".to_vec())).0.unwrap();
            assert_eq!(site.mode("f"), mode);
        }
        site.run(site.fs.replace(site.at("new"), b"new".to_vec())).0.unwrap();
        site.run(site.fs.create(site.at("usual"))).unwrap();
        assert_eq!(site.mode("new"), site.mode("usual"));
    });
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    everywhere(|site| {
        site.run(site.fs.create_dir_all(site.at("d"))).unwrap();
        site.put("d/real", b"old");
        let link = site.link("d/real", "l");
        site.run(site.fs.replace(&link, b"new".to_vec())).0.unwrap();
        assert_eq!(site.get("d/real"), b"new");
        let metadata = site.run(site.fs.symlink_metadata(&link)).unwrap();
        assert_eq!(metadata.kind, io_fs::FileKind::Symlink);
        assert_eq!(names_in(&site.fs, &site.at("d")), ["real"]);
    });
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_refused() {
    everywhere(|site| {
        let link = site.link("nowhere", "l");
        let error = site.run(site.fs.replace(&link, b"new".to_vec())).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("leads nowhere"), "{error}");
        assert_eq!(site.names(), ["l"]);
    });
}

#[test]
fn names_that_can_be_no_file_are_refused() {
    everywhere(|site| {
        let dir = site.dir.to_str().unwrap();
        for path in [format!("{dir}/new/"), format!("{dir}/new/."), format!("{dir}/missing/new")] {
            assert_eq!(site.run(site.fs.replace(&path, vec![1])).0.unwrap_err().kind(), ErrorKind::NotFound, "{path}");
        }
        assert_eq!(
            site.run(site.fs.replace(format!("{dir}/.."), vec![1])).0.unwrap_err().kind(),
            ErrorKind::IsADirectory
        );
        assert!(site.names().is_empty());
    });
}

#[test]
fn of_many_at_once_one_stays_whole() {
    on_real_drivers(|site| {
        let path = site.put("f", &content(0, 50_000));
        smol::block_on(async {
            let tasks: Vec<_> = (1..=16u8)
                .map(|seed| {
                    let (fs, path) = (site.fs.clone(), path.clone());
                    smol::spawn(async move {
                        for _ in 0..3 {
                            fs.replace(&path, content(seed, 50_000)).await.0.unwrap();
                        }
                    })
                })
                .collect();
            let whole: Vec<_> = (0..=16u8).map(|seed| content(seed, 50_000)).collect();
            let watched = || whole.contains(&site.get("f"));
            for task in tasks {
                assert!(watched());
                task.await;
            }
            assert!(watched());
        });
        assert_eq!(site.names(), ["f"]);
    });
}

#[test]
fn every_error_on_the_way_leaves_the_old_file_and_nothing_else() {
    use OpKind::*;
    for kind in [RealPath, Stat, Open, Write, SetPermissions, SyncAll, Rename] {
        for errno in [errno::EIO, errno::ENOSPC, errno::EACCES] {
            for nth in 1..=2 {
                let site = simulated(SimOptions::seeded(7));
                let path = site.put("f", b"the old content");
                site.run(site.fs.set_permissions(&path, 0o640)).unwrap();
                site.sim().fail(Which::kind(kind).nth(nth), errno);
                let new = content(1, 10_000);
                let (result, back) = site.run(site.fs.replace(&path, new.clone()));
                assert_eq!(back, new);
                let Err(error) = result else {
                    assert_eq!(site.get("f"), new, "{kind:?} number {nth} is none of its operations");
                    assert!(nth == 2);
                    continue;
                };
                site.sim().clear_faults();
                assert_eq!(error.kind(), std::io::Error::from_raw_os_error(errno).kind(), "{kind:?}");
                assert_eq!(
                    (site.names(), site.get("f")),
                    (vec!["f".to_owned()], b"the old content".to_vec()),
                    "{kind:?}"
                );
                assert_eq!(site.mode("f"), 0o640);
            }
        }
    }
}

#[test]
fn a_full_disk_costs_the_old_content_nothing() {
    let site = simulated(SimOptions { capacity: 64 << 10, ..SimOptions::seeded(3) });
    let path = site.put("f", &content(1, 30_000));
    let error = site.run(site.fs.replace(&path, content(2, 60_000))).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert_eq!((site.names(), site.get("f")), (vec!["f".to_owned()], content(1, 30_000)));
    site.run(site.fs.replace(&path, content(3, 20_000))).0.unwrap();
    assert_eq!(site.get("f"), content(3, 20_000));
}

#[test]
fn a_directory_that_cannot_be_synced_is_said_and_the_new_content_is_there() {
    let site = simulated(SimOptions::seeded(3));
    let path = site.put("f", b"old");
    site.sim().fail(Which::kind(OpKind::SyncDir), errno::EIO);
    let error = site.run(site.fs.replace(&path, b"new".to_vec())).0.unwrap_err();
    assert!(error.to_string().contains("has its new content"), "{error}");
    assert_eq!((site.names(), site.get("f")), (vec!["f".to_owned()], b"new".to_vec()));
}

#[test]
fn a_replacement_that_is_given_up_leaves_old_or_new_and_no_temporary_file() {
    let (mut old, mut new, mut left_behind) = (0, 0, 0);
    for polls in 1..60 {
        let site = simulated(SimOptions::seeded(polls.into()));
        let path = site.put("f", b"old");
        let over = given_up_after(&site.fs, polls, site.fs.replace(&path, b"new".to_vec()));
        // What was begun ends.
        while site.fs.snapshot().in_flight > 0 {
            site.run(site.fs.metadata(&site.dir)).unwrap();
        }
        match site.get("f").as_slice() {
            b"old" if !over => old += 1,
            b"new" => new += 1,
            other => panic!("{other:?} after {polls} polls"),
        }
        left_behind += site.names().len() - 1;
    }
    assert!(old > 2 && new > 2, "{old} times old, {new} times new");
    assert_eq!(left_behind, 0, "temporary files were left behind");
}

/// Where an operation waits for its turn before it begins, dropping it would mean that it is never done.
#[test]
fn a_replacement_that_is_given_up_cleans_up_where_the_engine_submits() {
    for driver in io_fs::DriverName::REAL {
        let Some(fs) = real(driver, |config| config.submit_from = io_fs::SubmitFrom::EngineThread) else { continue };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let names = || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_written = || names().any(|name| name != path && std::fs::metadata(name).is_ok_and(|it| it.len() > 0));
        let mut given_up = 0;
        for _ in 0..6 {
            std::fs::write(&path, "old").unwrap();
            let mut replacement = Box::pin(fs.replace(&path, vec![7; 8 << 20]));
            let mut over = false;
            // Before its content is written, who has made the file may not know yet that it is there.
            while !over && !is_written() {
                over = glance(&mut replacement).is_ready();
            }
            drop(replacement);
            given_up += u32::from(!over);
            let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while names().count() > 1 && std::time::Instant::now() < until {
                std::thread::yield_now();
            }
            assert_eq!(names().collect::<Vec<_>>(), std::slice::from_ref(&path), "{driver}");
        }
        assert!(given_up > 0, "{driver}");
    }
}

#[test]
fn leftovers_of_a_crash_are_in_nobodys_way() {
    let site = simulated(SimOptions::seeded(11));
    let path = site.put("f", b"old");
    site.sim().record_crash_points(10_000);
    site.run(site.fs.replace(&path, b"new".to_vec())).0.unwrap();
    let mut leftovers = 0;
    for point in site.sim().take_crash_points() {
        let disk = point.after_kill(1);
        let fs = over(&disk);
        let before = names_in(&fs, &site.dir).len();
        leftovers += before - 1;
        fs.block_on(fs.replace(&path, b"newer".to_vec())).0.unwrap();
        assert_eq!(disk.read_file(&path).unwrap(), b"newer");
        assert_eq!(names_in(&fs, &site.dir).len(), before);
    }
    assert!(leftovers > 0, "no crash left a temporary file, so nothing was shown");
}

/// What crashes may leave of a replacement.
#[derive(Debug, Default)]
struct Left {
    old: u32,
    new: u32,
    /// Neither, or the old one although the new one was reported.
    wrong: u32,
}

const OLD: usize = 9_000;
const NEW: usize = 23_456;

/// Replaces a file with a fault, or without, and asks every crash point several times what is left.
fn crash(seed: u64, fault: Option<(Which, Fault)>, is_there: bool) -> Left {
    let site = simulated(SimOptions { torn: true, short: 0.2, ..SimOptions::seeded(seed) });
    let path = site.at("f");
    if is_there {
        site.put("f", &content(1, OLD));
    }
    site.sim().record_crash_points(100_000);
    if let Some((which, fault)) = fault {
        site.sim().inject(which, fault);
    }
    site.run(site.fs.replace(&path, content(2, NEW))).0.unwrap();
    let acknowledged = site.sim().moment();
    let mut left = Left::default();
    let mut points = site.sim().take_crash_points();
    points.push(site.sim().crash_point());
    assert!(points.len() > 10, "only {} crash points", points.len());
    for point in &points {
        let cut = (0..6).map(|seed| point.after_power_cut(seed));
        for disk in cut.chain([point.after_kill(seed)]) {
            let content_left = disk.read_file(&path).ok();
            judge(&mut left, point, acknowledged, is_there, content_left);
        }
    }
    left
}

fn judge(left: &mut Left, point: &CrashPoint, acknowledged: u64, was_there: bool, found: Option<Vec<u8>>) {
    let is_new = found.as_ref().is_some_and(|found| *found == content(2, NEW));
    let is_old = match &found {
        Some(found) => was_there && *found == content(1, OLD),
        None => !was_there,
    };
    match (is_new, is_old && point.moment() < acknowledged) {
        (true, _) => left.new += 1,
        (false, true) => left.old += 1,
        (false, false) => left.wrong += 1,
    }
}

#[test]
fn every_crash_leaves_all_of_the_old_or_all_of_the_new() {
    for seed in 0..12 {
        for is_there in [true, false] {
            let left = crash(seed, None, is_there);
            assert!(left.old > 0 && left.new > 0 && left.wrong == 0, "seed {seed}: {left:?}");
        }
    }
}

/// The negative control: the test above sees what it is there to see.
#[test]
fn without_the_sync_of_the_file_crashes_leave_neither() {
    let wrong: u32 = (0..12).map(|seed| crash(seed, Some((Which::syncs(), Fault::LoseSync)), true).wrong).sum();
    assert!(wrong > 0);
}

/// The same for what is promised after success.
#[test]
fn without_the_sync_of_the_directory_crashes_bring_the_old_content_back() {
    let which = || Which::kind(OpKind::SyncDir);
    let wrong: u32 = (0..12).map(|seed| crash(seed, Some((which(), Fault::LoseSync)), true).wrong).sum();
    assert!(wrong > 0);
}
