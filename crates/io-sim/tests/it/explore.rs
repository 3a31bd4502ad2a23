//! The explorer finds each planted mistake, passes the right store, and says what it did.

use crate::store::{self, Ack, Bug};
use io_core::OpenOptions;
use io_sim::{Acks, CrashFailure, CrashId, Explored, Explorer, SimDisk, SimOptions};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A seed whose run replaces the snapshot now and then.
const SEED: u64 = 0b01_0110;

fn explore(explorer: &Explorer, bug: Bug) -> Result<Explored, CrashFailure> {
    explorer.explore(|disk, acks| store::workload(disk, acks, bug), |disk, acks| store::check(disk, acks, bug))
}

fn reproduce(explorer: &Explorer, id: &CrashId, bug: Bug) -> Result<(), CrashFailure> {
    explorer.reproduce(id, |disk, acks| store::workload(disk, acks, bug), |disk, acks| store::check(disk, acks, bug))
}

/// The mistake is found, can be done again by its name, and the right store survives the same crash.
#[track_caller]
fn caught(explorer: &Explorer, bug: Bug, words: &str) -> CrashFailure {
    let failure = explore(explorer, bug).expect_err("the mistake is not found");
    assert!(failure.what.contains(words), "{failure}");
    assert!(failure.repeats, "{failure}");
    let id: CrashId = failure.id.to_string().parse().unwrap();
    assert_eq!(reproduce(explorer, &id, bug).unwrap_err().what, failure.what);
    failure
}

#[test]
fn the_right_store_passes() {
    for seed in [SEED, 1, 2] {
        let explorer = Explorer::new(seed).runs(4).cuts(12).recovery_cuts(2).recovery_depth(2);
        let explored = explore(&explorer, Bug::None).unwrap();
        assert_eq!(explored.runs, 4);
        assert!(explored.points > 200 && explored.states > 4000, "{explored}");
        assert!(explored.recoveries_cut > explored.states / 2, "{explored}");
    }
}

#[test]
fn the_right_store_passes_on_a_hostile_disk() {
    let disk = SimOptions { sync_names: true, ..SimOptions::hostile(0) };
    explore(&Explorer::new(5).disk(disk).runs(6), Bug::None).unwrap();
}

#[test]
fn a_directory_that_is_not_synced_is_caught() {
    caught(&Explorer::new(SEED), Bug::NoDirSync, "Record(0) was acknowledged and is lost");
}

#[test]
fn an_early_acknowledgement_is_caught() {
    let failure = caught(&Explorer::new(SEED), Bug::AckBeforeSync, "Record(0) was acknowledged and is lost");
    // The smallest: nothing but the first record, and nothing of it survives.
    assert!(failure.id.to_string().ends_with(".0"), "{failure}");
}

#[test]
fn a_rename_before_the_data_is_caught() {
    caught(&Explorer::new(SEED), Bug::RenameBeforeData, "the snapshot of");
}

/// It takes two cuts: one that tears the tail, and one after the record that was put behind it.
#[test]
fn appending_behind_a_torn_tail_is_caught_by_cuts_during_recovery() {
    let explorer = Explorer::new(SEED).runs(8).recovery_cuts(3);
    let failure = caught(&explorer, Bug::AppendAfterTornTail, "was acknowledged and is lost");
    assert_eq!(failure.id.to_string().matches('/').count(), 2, "{failure}");
    explore(&explorer.recovery_cuts(0), Bug::AppendAfterTornTail).unwrap();
}

#[test]
fn what_is_found_does_not_depend_on_the_threads() {
    let found = |threads| explore(&Explorer::new(SEED).runs(20).threads(threads), Bug::RenameBeforeData).unwrap_err();
    let (one, many) = (found(1), found(4));
    assert_eq!((&one.id, &one.what, &one.story), (&many.id, &many.what, &many.story));
    let explored = |threads| explore(&Explorer::new(SEED).runs(5).threads(threads), Bug::None).unwrap();
    assert_eq!(explored(1), explored(4));
}

#[test]
fn a_failure_says_where_it_was_and_what_was_left() {
    let failure = explore(&Explorer::new(SEED), Bug::AckBeforeSync).unwrap_err();
    let text = failure.to_string();
    for words in ["the power is cut here", "left: /store/log", "acknowledged: 1", "Write of 200 bytes", "reproduce"] {
        assert!(text.contains(words), "`{words}` is missing: {text}");
    }
    assert_eq!(text, format!("{failure:?}"));
}

#[test]
fn exploring_nothing_is_a_failure() {
    let nothing = |_: &SimDisk, _: &Acks<()>| Ok(());
    for explorer in [Explorer::new(1), Explorer::new(1).until_points(100)] {
        let failure = explorer.explore(nothing, nothing).unwrap_err();
        assert!(failure.what.contains("nothing was explored"), "{failure}");
    }
    let failure = explore(&Explorer::new(1).points_max(5), Bug::None).unwrap_err();
    assert!(failure.what.contains("more than 5 crash points"), "{failure}");
}

#[test]
fn workloads_and_checks_may_fail_or_panic() {
    let good = |disk: &SimDisk, acks: &Acks<Ack>| store::workload(disk, acks, Bug::None);
    let fails = |_: &SimDisk, _: &Acks<Ack>| Err("no luck".to_owned());
    let panics = |_: &SimDisk, _: &Acks<Ack>| panic!("no luck at all");
    let explorer = Explorer::new(1).threads(1);
    let failure = explorer.explore(fails, good).unwrap_err();
    assert_eq!((failure.what.as_str(), failure.id.to_string().as_str()), ("the workload failed: no luck", "1"));
    let failure = explorer.explore(panics, good).unwrap_err();
    assert!(failure.what.contains("no luck at all"), "{failure}");
    let failure = explorer.explore(good, panics).unwrap_err();
    assert_eq!((failure.what.as_str(), failure.id.to_string().as_str()), ("panicked: no luck at all", "1/0.0"));
}

/// A workload that draws from elsewhere is told that it does.
#[test]
fn what_does_not_repeat_is_said() {
    let calls = AtomicU64::new(0);
    let workload = |disk: &SimDisk, acks: &Acks<Ack>| store::workload(disk, acks, Bug::None);
    let check = |_: &SimDisk, _: &Acks<Ack>| match calls.fetch_add(1, Ordering::Relaxed) {
        40 => Err("once".to_owned()),
        _ => Ok(()),
    };
    let failure = Explorer::new(1).threads(1).explore(workload, check).unwrap_err();
    assert!(failure.what == "once" && !failure.repeats, "{failure}");
    assert!(failure.to_string().contains("did not happen again"), "{failure}");
}

#[test]
fn a_name_of_a_crash_that_cannot_be_is_refused() {
    let refuse = |id: &str| reproduce(&Explorer::new(1), &id.parse().unwrap(), Bug::None).unwrap_err();
    assert!(refuse("1/100000.0").what.contains("there is no point 100000"));
    assert!(refuse("1/3.0/100000.0").what.contains("there is no point 100000"));
    reproduce(&Explorer::new(1), &"1/3.0/2.0".parse().unwrap(), Bug::None).unwrap();
}

#[test]
fn runs_go_on_until_there_are_points_enough_and_progress_is_told() {
    let last = Arc::new(AtomicU64::new(0));
    let seen = last.clone();
    let tell = move |explored: &Explored| seen.store(explored.points, Ordering::Relaxed);
    let begun = std::time::Instant::now();
    let mut points = 1000;
    while last.load(Ordering::Relaxed) == 0 {
        let explored = explore(&Explorer::new(1).until_points(points).progress(tell.clone()), Bug::None).unwrap();
        assert!(explored.points >= points && explored.runs > 1, "{explored}");
        points *= 4;
        assert!(begun.elapsed().as_secs() < 60, "progress is never told");
    }
}

/// What is set up past the drivers is durable, and taken points are not cut at.
#[test]
fn set_up_by_hand_makes_no_points() {
    let workload = |disk: &SimDisk, _: &Acks<()>| {
        disk.write_file("/there", b"always").map_err(|error| error.to_string())?;
        let file = disk.open("/new", OpenOptions::CREATE_NEW).map_err(|error| error.to_string())?;
        let mut bench = io_testkit::Bench::new(Box::new(disk.driver(1)));
        bench.run(io_core::Op::write(&file, vec![1; 100], 0));
        disk.take_crash_points();
        bench.run(io_core::Op::write(&file, vec![2; 100], 0));
        Ok(())
    };
    let check = |disk: &SimDisk, _: &Acks<()>| match disk.read_file("/there") {
        Ok(bytes) if bytes == b"always" => Ok(()),
        other => Err(format!("{other:?}")),
    };
    let explored = Explorer::new(3).recovery_cuts(0).explore(workload, check).unwrap();
    assert!((2..=4).contains(&explored.points), "{explored}");
}
