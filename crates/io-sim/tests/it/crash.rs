//! Power cuts: what dies, what is left, and forks that do not disturb the living.

use crate::kit::{bench, content, create, done, open, refused};
use io_core::{Op, OpKind, OpenOptions, Wait, errno};
use io_sim::{Fault, SimDisk, SimOptions, TraceWhat, Which};
use io_testkit::Bench;

fn disk() -> SimDisk {
    SimDisk::new(SimOptions::seeded(31))
}

#[test]
fn a_cut_kills_drivers_and_open_files() {
    let disk = disk();
    disk.write_file("/f", &[1; 512]).unwrap();
    let file = open(&disk, "/f");
    let mut dying = bench(&disk, 8);
    for _ in 0..8 {
        dying.start(Op::write(&file, vec![2; 512], 0));
    }
    dying.reap(Wait::No);
    disk.power_cut();
    assert_eq!(dying.try_reap(Wait::Forever).unwrap_err().raw_os_error(), Some(errno::EIO));
    assert_eq!(dying.ready(), 0, "what was in flight is never answered");
    assert_eq!((disk.counters().in_flight, disk.counters().power_cuts), (0, 1));
    assert_eq!(refused(&disk, Op::read(&file, vec![0; 1], 0)), errno::EBADF);
    assert_eq!(disk.times_open("/f").unwrap(), 0);
    Bench::abandon(dying);
    drop(file);
    let mut reopened = Bench::new(Box::new(disk.reopen(1)));
    assert_eq!(reopened.run(Op::read(&open(&disk, "/f"), vec![0; 512], 0)).0, 512);
    assert!(disk.is_durable());
    let left = disk.read_file("/f").unwrap()[0];
    assert!(left == 1 || left == 2);
}

#[test]
fn a_write_in_flight_may_be_found_after_the_cut() {
    let disk = disk();
    disk.write_file("/f", &[1; 1024]).unwrap();
    let file = open(&disk, "/f");
    disk.wedge(Which::any());
    let mut bench = bench(&disk, 1);
    let token = bench.start(Op::write(&file, vec![2; 1024], 0));
    bench.reap(Wait::No);
    let mut found: Vec<_> = disk
        .crash_states(200, 5)
        .map(|left| {
            let bytes = left.read_file("/f").unwrap();
            (bytes[0], bytes[512])
        })
        .collect();
    found.sort();
    found.dedup();
    assert_eq!(found, [(1, 1), (1, 2), (2, 1), (2, 2)], "none of it, parts of it, all of it");
    disk.release_wedged();
    bench.finish(token);
}

#[test]
fn names_in_flight_may_be_found_after_the_cut() {
    let disk = disk();
    disk.write_file("/a", b"a").unwrap();
    disk.wedge(Which::any().always());
    let mut bench = bench(&disk, 2);
    bench.start(Op::rename("/a", "/b", io_core::RenameMode::Replace).unwrap());
    bench.start(Op::make_dir("/d", 0o755).unwrap());
    bench.reap(Wait::No);
    let mut moved = [false; 2];
    for left in disk.crash_states(100, 5) {
        let b = left.read_file("/b").is_ok();
        assert_ne!(b, left.read_file("/a").is_ok(), "one of the two names");
        moved[b as usize] = true;
    }
    assert_eq!(moved, [true; 2]);
    disk.release_wedged();
    bench.wait_all();
}

#[test]
fn a_fork_leaves_the_living_disk_alone() {
    let run = |fork: bool| {
        let disk = SimDisk::new(SimOptions::hostile(4));
        disk.write_file("/f", &[0; 8192]).unwrap();
        let file = open(&disk, "/f");
        let mut bench = bench(&disk, 8);
        for n in 0..200u64 {
            bench.start(Op::write(&file, vec![n as u8; 700], n * 37 % 7000));
            bench.reap(Wait::No);
            if n % 8 == 7 {
                bench.wait_all();
            }
            if fork {
                let left = disk.fork_after_power_cut(n);
                done(&left, Op::write(&open(&left, "/f"), vec![0xff; 8192], 0));
                done(&left, Op::unlink("/f").unwrap());
            }
        }
        bench.wait_all();
        (disk.read_file("/f").unwrap(), disk.durable_file("/f").unwrap(), disk.trace_hash(), disk.now())
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn equal_seeds_leave_equal_disks() {
    let disk = disk();
    disk.write_file("/f", &[0; 1 << 16]).unwrap();
    done(&disk, Op::write(&open(&disk, "/f"), vec![1; 1 << 16], 0));
    let point = disk.crash_point();
    let left = |seed| point.after_power_cut(seed).read_file("/f").unwrap();
    let all: Vec<_> = (0..20).map(left).collect();
    assert_eq!(all, (0..20).map(left).collect::<Vec<_>>());
    assert!(all.iter().any(|bytes| *bytes != all[0]));
}

#[test]
fn a_crash_point_outlives_what_was_in_flight() {
    let disk = disk();
    disk.write_file("/f", &[1; 512]).unwrap();
    let file = open(&disk, "/f");
    let mut bench = bench(&disk, 1);
    disk.wedge(Which::writes());
    let token = bench.start(Op::write(&file, vec![2; 512], 0));
    bench.reap(Wait::No);
    let point = disk.crash_point();
    disk.release_wedged();
    drop(bench.finish(token));
    drop(bench);
    drop((file, disk));
    let found = (0..50).map(|seed| point.after_power_cut(seed).read_file("/f").unwrap()[0]);
    assert!(found.clone().any(|byte| byte == 2) && found.clone().any(|byte| byte == 1));
}

#[test]
fn a_killed_process_loses_nothing_that_had_reached_the_system() {
    let disk = disk();
    let file = create(&disk, "/new");
    done(&disk, Op::write(&file, b"never synced".to_vec(), 0));
    let unlinked = create(&disk, "/unlinked");
    done(&disk, Op::unlink("/unlinked").unwrap());
    let left = disk.crash_point().after_kill(1);
    assert_eq!(left.read_file("/new").unwrap(), b"never synced");
    assert_eq!(left.times_open("/new").unwrap(), 0);
    assert!(!left.is_durable(), "it has reached the system, not the disk");
    drop(unlinked);
}

#[test]
fn the_power_can_be_cut_at_the_nth_operation() {
    let disk = disk();
    disk.write_file("/f", &[0; 4096]).unwrap();
    let file = open(&disk, "/f");
    disk.inject(Which::writes().nth(3), Fault::PowerCut);
    let mut bench = bench(&disk, 1);
    let mut acknowledged = 0;
    let error = loop {
        bench.start(Op::write(&file, vec![1; 512], acknowledged * 512));
        match bench.try_reap(Wait::Forever) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((acknowledged, error.raw_os_error()), (2, Some(errno::EIO)));
    assert!(disk.trace().iter().any(|event| event.what == TraceWhat::PowerCut));
    Bench::abandon(bench);
}

#[test]
fn recorded_points_are_bounded_and_in_order() {
    let disk = disk();
    disk.record_crash_points(10);
    let file = create(&disk, "/f");
    for n in 0..20 {
        done(&disk, Op::write(&file, vec![n; 10], 0));
        done(&disk, Op::read(&file, vec![n; 10], 0));
    }
    let points = disk.take_crash_points();
    assert_eq!(points.len(), 10);
    assert!(points.windows(2).all(|pair| pair[0].moment() <= pair[1].moment() && pair[0].at() <= pair[1].at()));
    assert!(points[0].after_power_cut(1).files().len() <= 1);
    done(&disk, Op::sync_data(&file));
    assert_eq!(disk.take_crash_points().len(), 3, "accepted, effective, completed");
    disk.record_crash_points(0);
    done(&disk, Op::sync_data(&file));
    assert!(disk.take_crash_points().is_empty());
}

#[test]
fn a_driver_dropped_with_operations_in_flight_is_silent_afterwards() {
    let disk = disk();
    disk.write_file("/f", &[0; 4096]).unwrap();
    let file = open(&disk, "/f");
    let mut dropped = bench(&disk, 16);
    for n in 0..16 {
        dropped.start(Op::write(&file, vec![1; 1], n));
    }
    dropped.reap(Wait::No);
    dropped.abandon();
    assert_eq!(disk.counters().in_flight, 0);
    let at_the_drop = disk.read_file("/f").unwrap();
    let mut other = bench(&disk, 1);
    other.reap(Wait::AtMost(std::time::Duration::from_secs(10)));
    assert_eq!(disk.read_file("/f").unwrap(), at_the_drop);
    let happened = at_the_drop.iter().filter(|&&byte| byte == 1).count();
    assert!((1..16).contains(&happened), "some happened, some did not: {happened}");
}

#[test]
fn inode_numbers_of_a_disk_that_was_cut_are_not_believed() {
    let disk = disk();
    disk.write_file("/f", b"").unwrap();
    let key = |disk: &SimDisk| open(disk, "/f").facts().inode.unwrap();
    let before = key(&disk);
    assert!(before.dev >> 63 == 1);
    assert_ne!(before.dev, key(&disk.fork_after_power_cut(1)).dev);
    disk.power_cut();
    let after = key(&disk);
    assert!(before.ino == after.ino && before.dev != after.dev);
}

#[test]
fn an_open_that_is_cut_off_leaks_nothing() {
    let disk = disk();
    disk.write_file("/f", b"").unwrap();
    let mut bench = bench(&disk, 2);
    bench.start(Op::open("/f", OpenOptions::READ).unwrap());
    bench.reap(Wait::No);
    bench.abandon();
    assert_eq!(disk.times_open("/f").unwrap(), 0);
    assert_eq!(content(&disk, "/f").unwrap(), b"");
    assert_eq!(disk.counters().accepted, disk.counters().completed + 1);
    assert!(OpKind::ALL.len() > 30);
}
