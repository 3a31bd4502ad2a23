//! `compare`: what it measures, what it says, what it leaves.

use crate::support::{Ran, bytes, dir, drivers, iofs, names, start, wait_for};
use serde::Deserialize;
use std::{collections::BTreeSet, fs, path::Path};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    file: String,
    size: u64,
    verified_bytes: u64,
    rows: Vec<Row>,
    unavailable: Vec<Missing>,
    #[serde(default)]
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    driver: String,
    workload: String,
    direct: bool,
    qd: u32,
    ops: u64,
    iops: f64,
    mibs: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    cpu_us_per_op: f64,
    errors: u64,
    verified: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Missing {
    driver: String,
    reason: String,
    remedy: String,
}

const WORKLOADS: [&str; 5] = ["randread", "seqread", "randwrite", "seqwrite", "wal-append"];

/// Every row was run, well, and found right; gives the drivers.
#[track_caller]
fn all_good(report: &Report) -> BTreeSet<&str> {
    for row in &report.rows {
        assert!(row.verified && row.errors == 0 && row.ops >= u64::from(row.qd), "{row:?} {:?}", report.notes);
        assert!(row.iops > 0.0 && row.mibs >= 0.0 && row.cpu_us_per_op >= 0.0, "{row:?}");
        assert!(0.0 < row.p50_us && row.p50_us <= row.p99_us && row.p99_us <= row.p999_us, "{row:?}");
    }
    assert!(report.verified_bytes > 0);
    report.rows.iter().map(|row| row.driver.as_str()).collect()
}

fn keys(report: &Report) -> BTreeSet<(&str, &str, bool, u32)> {
    report.rows.iter().map(|row| (row.driver.as_str(), row.workload.as_str(), row.direct, row.qd)).collect()
}

/// A direct row is there for every buffered one, or a note says why not.
fn routes(report: &Report) -> Vec<bool> {
    let refused = report.notes.iter().any(|note| note.contains("direct rows are left out"));
    if refused { vec![false] } else { vec![false, true] }
}

#[track_caller]
fn complete(report: &Report, runs: &BTreeSet<&str>, workloads: &[&str]) {
    let mut wanted = BTreeSet::new();
    for &driver in runs {
        for &workload in workloads {
            for direct in routes(report) {
                wanted.extend([(driver, workload, direct, 1), (driver, workload, direct, 32)]);
            }
        }
    }
    assert_eq!(keys(report), wanted);
    assert_eq!(report.rows.len(), wanted.len(), "no row twice");
}

#[test]
fn every_driver_and_std_in_every_workload_on_a_scratch_file() {
    let here = dir();
    let ran = iofs(here.path(), ["compare", "--size", "9m", "--seconds", "0.03", "--json"]).ok();
    let report: Report = ran.json();
    assert_eq!((report.size, names(here.path())), (9 << 20, vec![]));
    assert!(Path::new(&report.file).starts_with(here.path().canonicalize().unwrap()), "{report:?}");
    let runs = all_good(&report);
    let mut all: BTreeSet<_> = drivers("compare every driver").into_iter().collect();
    all.insert("std");
    assert_eq!(runs, all);
    complete(&report, &runs, &WORKLOADS);
    // Who does not run is listed, with cause and remedy.
    let missing: BTreeSet<_> = report.unavailable.iter().map(|missing| missing.driver.as_str()).collect();
    assert_eq!(missing, ["aio", "threadpool", "uring"].into_iter().filter(|name| !runs.contains(name)).collect());
    assert!(report.unavailable.iter().all(|missing| !missing.reason.is_empty() && !missing.remedy.is_empty()));
    assert!(report.verified_bytes > report.rows.len() as u64 * 4096);
}

#[test]
fn named_drivers_run_beside_std_and_no_others() {
    let here = dir();
    for driver in drivers("compare named driver") {
        for front in ["shard", "loop"] {
            let mut args = vec!["compare", "--size", "1m", "--seconds", "0.01", "--json"];
            args.extend(["--driver", driver, "--front", front]);
            let ran = iofs(here.path(), args).ok();
            assert_eq!(all_good(&ran.json()), ["std", driver].into());
        }
    }
    let ran = iofs(here.path(), ["compare", "--size", "64k", "--seconds", "0.01", "--json", "--driver", "std"]).ok();
    let report: Report = ran.json();
    assert_eq!(all_good(&report), ["std"].into());
    complete(&report, &["std"].into(), &WORKLOADS);
    assert_eq!(names(here.path()), [""; 0]);
}

#[test]
fn the_scratch_file_goes_where_it_is_told() {
    let (here, there) = (dir(), dir());
    let there = there.path().to_str().unwrap();
    let args = ["compare", "--dir", there, "--size", "64k", "--seconds", "0.01", "--json", "--driver", "std"];
    let ran = iofs(here.path(), args).ok();
    assert!(ran.json::<Report>().file.starts_with(there));
    assert_eq!((names(here.path()), names(Path::new(there))), (vec![], vec![]));
}

/// A file of the user's is opened for reading and for nothing else, and is as it was.
#[test]
fn a_users_file_is_only_read() {
    let here = dir();
    let path = here.path().join("precious");
    let content = bytes((3 << 20) + 123);
    fs::write(&path, &content).unwrap();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions.clone()).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();

    let child = start(here.path(), &["compare", "--file", "precious", "--seconds", "0.03", "--json"]);
    let flags = std::thread::spawn({
        let (id, path) = (child.id(), path.clone());
        move || open_flags(id, &path)
    });
    let ran = Ran::of(child.wait_with_output().unwrap()).ok();
    let flags = flags.join().unwrap();
    if cfg!(target_os = "linux") {
        assert!(!flags.is_empty(), "it was open at some time");
        assert!(flags.iter().all(|flags| flags & 3 == 0), "opened with {flags:?}");
    }

    let report: Report = ran.json();
    assert_eq!((report.file.as_str(), report.size), ("precious", content.len() as u64));
    let runs = all_good(&report);
    assert!(runs.contains("std") && runs.len() > 1);
    complete(&report, &runs, &WORKLOADS);
    assert!(fs::read(&path).unwrap() == content, "the content is as it was");
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.modified().unwrap(), metadata.permissions()), (modified, permissions));
    assert_eq!(names(here.path()), ["precious"]);
}

/// The flags with which a process has a file open, looked at again and again until it ends (proc_pid_fdinfo(5)).
fn open_flags(id: u32, path: &Path) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    while let Ok(fds) = fs::read_dir(format!("/proc/{id}/fd")) {
        let fds: Vec<_> = fds.flatten().collect();
        if fds.is_empty() && !seen.is_empty() {
            break;
        }
        for fd in fds {
            if fs::read_link(fd.path()).is_ok_and(|to| to == path) {
                let info = format!("/proc/{id}/fdinfo/{}", fd.file_name().to_string_lossy());
                let info = fs::read_to_string(info).unwrap_or_default();
                let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
                seen.extend(flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()));
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    seen
}

#[test]
fn small_and_odd_files_work() {
    let here = dir();
    for len in [1, 4095, 4097, 100_000] {
        fs::write(here.path().join("f"), bytes(len)).unwrap();
        let ran = iofs(here.path(), ["compare", "--file", "f", "--seconds", "0.005", "--json"]).ok();
        let report: Report = ran.json();
        assert_eq!(report.size, len as u64);
        all_good(&report);
        let direct_reads = report.rows.iter().filter(|row| row.direct && row.workload == "randread").count();
        if len < 4096 {
            assert_eq!(direct_reads, 0);
            assert!(report.notes.iter().any(|note| note.contains("smaller than a block")), "{report:?}");
        }
        assert_eq!(names(here.path()), ["f"]);
    }
}

#[test]
fn size_limits_the_part_that_is_read() {
    let here = dir();
    fs::write(here.path().join("f"), bytes(1 << 20)).unwrap();
    let args = ["compare", "--file", "f", "--size", "64k", "--seconds", "0.01", "--json", "--driver", "std"];
    assert_eq!(iofs(here.path(), args).ok().json::<Report>().size, 64 << 10);
}

/// `verified` is found out: a file that loses its end under the readers is an error, not a row like any other.
#[test]
fn a_file_that_shrinks_meanwhile_fails_the_comparison() {
    let here = dir();
    let path = here.path().join("f");
    fs::write(&path, bytes(4 << 20)).unwrap();
    let child = start(here.path(), &["compare", "--file", "f", "--seconds", "0.2", "--json", "--driver", "threadpool"]);
    wait_for("the scratch file", || names(here.path()).len() > 1);
    std::thread::sleep(std::time::Duration::from_millis(300));
    fs::File::options().write(true).open(&path).unwrap().set_len(8192).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    ran.failed("rows failed or are not verified");
    let report: Report = ran.json();
    assert!(report.rows.iter().any(|row| row.errors > 0), "{report:?}");
    assert!(report.rows.iter().filter(|row| row.workload.contains("write")).all(|row| row.verified));
    assert!(report.notes.iter().any(|note| note.contains("failed, the first: ")), "{:?}", report.notes);
    assert_eq!(names(here.path()), ["f"]);
}

#[test]
fn a_table_for_people() {
    let here = dir();
    let ran = iofs(here.path(), ["compare", "--size", "64k", "--seconds", "0.01", "--driver", "threadpool"]).ok();
    for word in ["driver", "IOPS", "p99.9", "CPU", "threadpool", "std", "wal-append", "buffered", "compared"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    assert!(ran.stderr.contains(" rows of 0.01 s, with verification about "), "{ran:?}");
    let escapes = ran.stdout.contains('\x1b') || ran.stderr.contains('\x1b');
    assert!(!escapes, "no progress bar where nobody looks: {ran:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let here = dir();
    let args = ["compare", "--size", "64k", "--seconds", "0.01", "--driver", "std"];
    let mut child = start(here.path(), &args);
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap()).ok();
    assert_eq!(ran.stderr.lines().count(), 1, "the estimate: {ran:?}");
    for help in [&["--help"][..], &["compare", "--help"], &["--version"]] {
        let mut child = start(here.path(), help);
        drop(child.stdout.take());
        assert_eq!(Ran::of(child.wait_with_output().unwrap()).ok().stderr, "");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error() {
    let here = dir();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let args = ["compare", "--size", "64k", "--seconds", "0.01", "--driver", "std", "--json"];
    let output = crate::support::command(here.path()).args(args).stdout(full).output().unwrap();
    Ran::of(output).failed("writing the output");
    assert_eq!(names(here.path()), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn on_tmpfs() {
    let Some(tmpfs) = crate::support::Tmpfs::mount("compare on tmpfs", "64m") else { return };
    let ran = iofs(tmpfs.path(), ["compare", "--size", "8m", "--seconds", "0.01", "--json"]).ok();
    let report: Report = ran.json();
    let runs = all_good(&report);
    complete(&report, &runs, &WORKLOADS);
    assert_eq!(names(tmpfs.path()), [""; 0]);
}

#[test]
fn help_has_examples() {
    let here = dir();
    for (command, words) in [
        ("compare", ["iofs compare --file", "128 KiB", "32 threads", "never written"]),
        ("copy", ["iofs copy", "--verify", "renamed", "256k"]),
        ("bench", ["iofs bench", "tasks of tokio or smol", "FILE.ready", "wal-append"]),
    ] {
        let help = iofs(here.path(), [command, "--help"]).ok().stdout;
        assert!(help.contains("Examples:"), "{help}");
        let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "`{word}` is not in {help}");
        }
    }
    let help = iofs(here.path(), ["--help"]).ok().stdout;
    assert!(help.contains("Exit codes:") && help.contains("IOFS_DRIVER"), "{help}");
}
