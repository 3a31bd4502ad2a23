//! A disk that is full, or gets full in the middle of the work.
#![cfg(target_os = "linux")]

use crate::support::{Ran, Tmpfs, bytes, dir, drivers, iofs, names, start, wait_for};
use std::fs;

#[test]
fn a_copy_that_does_not_fit_leaves_nothing() {
    let Some(tmpfs) = Tmpfs::mount("copy to a full disk", "1m") else { return };
    let here = dir();
    fs::write(here.path().join("from"), bytes(4 << 20)).unwrap();
    let to = tmpfs.path().join("to");
    for driver in drivers("copy to a full disk") {
        for force in [false, true] {
            let mut args = vec!["copy", "from", to.to_str().unwrap(), "--driver", driver];
            args.extend(force.then_some("--force"));
            if force {
                fs::write(&to, "old").unwrap();
            }
            let ran = iofs(here.path(), args);
            ran.failed("No space left on device");
            if force {
                assert_eq!(fs::read(&to).unwrap(), b"old", "what was there is still there");
                fs::remove_file(&to).unwrap();
            }
            assert_eq!(names(tmpfs.path()), [""; 0], "{driver}");
        }
    }
}

#[test]
fn a_scratch_file_that_does_not_fit_is_not_begun() {
    let Some(tmpfs) = Tmpfs::mount("compare on a full disk", "12m") else { return };
    for size in ["64k", "16m", "1t"] {
        iofs(tmpfs.path(), ["compare", "--size", size]).refused("are free");
    }
    iofs(tmpfs.path(), ["bench", "--file", "wal", "--op", "wal-append", "--size", "16m"]).refused("are free");
    assert_eq!(names(tmpfs.path()), [""; 0]);
}

/// Errors during a row are counted and told, the comparison goes on, and its files are removed.
#[test]
fn a_disk_that_gets_full_fails_its_rows() {
    let Some(tmpfs) = Tmpfs::mount("compare while the disk fills", "17m") else { return };
    for driver in drivers("compare while the disk fills") {
        let child =
            start(tmpfs.path(), &["compare", "--size", "8m", "--seconds", "0.05", "--json", "--driver", driver]);
        let scratch = || names(tmpfs.path()).into_iter().find(|name| name.starts_with("iofs-scratch-"));
        let full = |name: String| fs::metadata(tmpfs.path().join(name)).is_ok_and(|m| m.len() == 8 << 20);
        wait_for("the scratch file", || scratch().is_some_and(full));
        let filler = tmpfs.path().join("filler");
        assert!(fs::write(&filler, vec![1; 16 << 20]).is_err(), "the disk is full now");
        let ran = Ran::of(child.wait_with_output().unwrap());
        ran.failed("No space left on device");
        let report: serde_json::Value = ran.json();
        let errors = |workload: &str| {
            let rows = report["rows"].as_array().unwrap().iter();
            rows.filter(|row| row["workload"] == workload)
                .map(|row| row["errors"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        assert!(!errors("wal-append").is_empty() && errors("wal-append").iter().all(|&n| n > 0), "{report}");
        assert!(errors("randread").iter().chain(&errors("randwrite")).all(|&n| n == 0), "{report}");
        assert_eq!(names(tmpfs.path()), ["filler"]);
        fs::remove_file(filler).unwrap();
    }
}
