//! `bench`: the harness's flags in, the harness's line out.

use crate::support::{bytes, dir, drivers, iofs, names};
use serde::Deserialize;
use std::fs;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    peer: String,
    ops: u64,
    seconds: f64,
    iops: f64,
    mibs: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    user: f64,
    sys: f64,
    csw: u64,
    rss_kib: u64,
    cpu_us_op: f64,
    csw_op: f64,
    busy: f64,
    bs: u64,
    qd: u32,
    direct: u8,
}

impl Line {
    #[track_caller]
    fn makes_sense(&self) {
        assert_eq!(self.peer, "iofs");
        assert!(self.ops > 0 && self.seconds > 0.0 && self.iops > 0.0 && self.mibs > 0.0, "{self:?}");
        assert!(self.p50 > 0.0 && self.p50 <= self.p99 && self.p99 <= self.p999, "{self:?}");
        let rate = self.ops as f64 / self.seconds;
        assert!((self.iops / rate - 1.0).abs() < 0.01, "{self:?}");
        assert!((self.mibs / (rate * self.bs as f64 / 1048576.0) - 1.0).abs() < 0.01, "{self:?}");
        assert!(self.user >= 0.0 && self.sys >= 0.0 && self.cpu_us_op >= 0.0 && self.busy >= 0.0, "{self:?}");
        assert!(self.csw_op * self.ops as f64 <= self.csw as f64 + 1.0, "{self:?}");
        assert!(!cfg!(target_os = "linux") || self.rss_kib > 0, "{self:?}");
    }
}

/// What is done, and to which file.
const OPS: [(&str, &str); 6] = [
    ("randread", "data"),
    ("seqread", "data"),
    ("randwrite", "own"),
    ("seqwrite", "own"),
    ("mixed", "own"),
    ("wal-append", "log"),
];

#[test]
fn the_line_of_the_harness_for_every_driver_and_operation() {
    let here = dir();
    fs::write(here.path().join("data"), bytes(4 << 20)).unwrap();
    for driver in drivers("bench every driver") {
        for (op, file) in OPS {
            for (front, (qd, bs)) in [("shard", ("1", "4k")), ("shard", ("32", "4k")), ("loop", ("8", "64k"))] {
                let mut args = vec!["bench", "--json", "--runtime", "local", "--file", file, "--size", "4m"];
                args.extend(["--op", op, "--qd", qd, "--bs", bs, "--driver", driver, "--seconds", "0.02"]);
                args.extend(["--front", front]);
                args.extend(["--direct", "0", "--seed", "3", "--workers", "2", "--wal", "prealloc", "--group", "0"]);
                let line: Line = iofs(here.path(), &args).ok().json();
                line.makes_sense();
                assert_eq!((line.qd.to_string().as_str(), line.direct), (qd, 0));
            }
        }
    }
    assert_eq!(names(here.path()), ["data", "log", "log.ready", "own", "own.ready"]);
    assert!(fs::read(here.path().join("data")).unwrap() == bytes(4 << 20), "read, not written");
}

#[test]
fn every_runtime_on_every_driver() {
    let here = dir();
    fs::write(here.path().join("data"), bytes(1 << 20)).unwrap();
    let mut direct = true;
    for driver in drivers("bench on every runtime") {
        for runtime in ["local", "localfs", "tokio", "smol"] {
            for (op, file) in OPS {
                for (past_cache, qd, ops) in [("0", "1", "20"), ("0", "16", "60"), ("1", "8", "40")] {
                    if past_cache == "1" && !direct {
                        continue;
                    }
                    let mut args = vec!["bench", "--json", "--file", file, "--size", "1m", "--op", op, "--ops", ops];
                    args.extend(["--runtime", runtime, "--driver", driver, "--qd", qd, "--direct", past_cache]);
                    let ran = iofs(here.path(), &args);
                    if past_cache == "1" && ran.code == Some(2) {
                        ran.refused("refuses O_DIRECT");
                        crate::support::skip("bench --direct", "the file system of the build refuses O_DIRECT");
                        direct = false;
                        continue;
                    }
                    let line: Line = ran.ok().json();
                    line.makes_sense();
                    assert_eq!((line.ops.to_string().as_str(), line.direct.to_string().as_str()), (ops, past_cache));
                }
            }
        }
    }
    assert!(fs::read(here.path().join("data")).unwrap() == bytes(1 << 20), "read, not written");
}

#[test]
fn more_lanes_than_a_ring_is_deep() {
    let here = dir();
    fs::write(here.path().join("data"), bytes(1 << 20)).unwrap();
    for runtime in ["local", "localfs", "tokio", "smol"] {
        let mut args = vec!["bench", "--json", "--file", "data", "--size", "1m", "--bs", "512", "--runtime", runtime];
        args.extend(["--qd", "3000", "--ops", "9000", "--workers", "3"]);
        assert_eq!(iofs(here.path(), &args).ok().json::<Line>().ops, 9000, "{runtime}");
    }
}

#[test]
fn ops_are_counted() {
    let here = dir();
    fs::write(here.path().join("data"), bytes(1 << 20)).unwrap();
    for (qd, ops) in [("1", 1), ("8", 3), ("8", 1000)] {
        let text = ops.to_string();
        let args = ["bench", "--json", "--file", "data", "--size", "1m", "--qd", qd, "--ops", &text];
        assert_eq!(iofs(here.path(), args).ok().json::<Line>().ops, ops);
    }
}

#[test]
fn odd_blocks_and_blocks_as_large_as_the_file() {
    let here = dir();
    fs::write(here.path().join("data"), bytes(10_007)).unwrap();
    for (bs, size) in [("10007", "10007"), ("1", "10007"), ("999", "10000")] {
        let args = ["bench", "--json", "--file", "data", "--size", size, "--bs", bs, "--ops", "50", "--op", "seqread"];
        iofs(here.path(), args).ok().json::<Line>().makes_sense();
    }
}

#[test]
fn somebody_elses_file_is_written_to_on_request_only() {
    let here = dir();
    let path = here.path().join("data");
    fs::write(&path, bytes(64 << 10)).unwrap();
    let args = ["bench", "--json", "--file", "data", "--size", "64k", "--op", "randwrite", "--ops", "40"];
    iofs(here.path(), args).refused("--overwrite");
    assert!(fs::read(&path).unwrap() == bytes(64 << 10));
    iofs(here.path(), args.into_iter().chain(["--overwrite"])).ok();
    assert!(fs::read(&path).unwrap() != bytes(64 << 10));
    assert_eq!(fs::metadata(&path).unwrap().len(), 64 << 10);
    assert_eq!(names(here.path()), ["data"], "written to in place, it has not become ours");
}

#[test]
fn logs_of_three_kinds() {
    let here = dir();
    for wal in ["prealloc", "grow", "fallocate", "grow", "prealloc"] {
        let args =
            ["bench", "--json", "--file", "log", "--size", "256k", "--op", "wal-append", "--ops", "10", "--qd", "2"];
        let line: Line = iofs(here.path(), args.into_iter().chain(["--wal", wal])).ok().json();
        assert_eq!(line.ops, 10);
        let len = fs::metadata(here.path().join("log")).unwrap().len();
        assert_eq!(len, if wal == "grow" { 40 << 10 } else { 256 << 10 }, "{wal}");
    }
}

#[test]
fn what_cannot_be_done_is_said_in_the_harness_way() {
    let here = dir();
    fs::write(here.path().join("data"), bytes(8192)).unwrap();
    let log = "--op wal-append --group 1";
    let others = ["--front loop", "--runtime localfs", "--wal grow"].map(|other| format!("{log} {other}"));
    let extras = ["--front callback", "--front loop --runtime tokio", "--op randread --group 1"].map(str::to_owned);
    for extra in extras.iter().chain(&others) {
        let args = ["bench", "--json", "--file", "data", "--size", "8k"];
        let ran = iofs(here.path(), args.into_iter().chain(extra.split(' ')));
        assert_eq!(ran.code, Some(2), "{extra}: {ran:?}");
        let said: serde_json::Value = ran.json();
        assert!(said["unsupported"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
    }
}

/// Appenders that share a log, which is begun anew each time and kept to its size.
#[test]
fn appenders_share_the_commits_of_a_log() {
    let here = dir();
    let args = ["bench", "--json", "--file", "log", "--size", "4m", "--op", "wal-append", "--group", "1"];
    for driver in drivers("bench a log") {
        for extra in ["--qd 1 --direct 1", "--qd 16 --bs 1000", "--qd 16 --runtime tokio", "--qd 4 --runtime smol"] {
            let extra = extra.split(' ').chain(["--driver", driver, "--seconds", "0.05"]);
            let line: Line = iofs(here.path(), args.into_iter().chain(extra)).ok().json();
            line.makes_sense();
        }
        let counted = ["--ops", "3000", "--qd", "32", "--driver", driver, "--seconds", "60"];
        let line: Line = iofs(here.path(), args.into_iter().chain(counted)).ok().json();
        assert_eq!(line.ops, 3000);
        let segments = names(&here.path().join("log.d")).into_iter().filter(|name| name.ends_with(".seg")).count();
        assert!(segments <= 8, "12 MiB were appended, and {segments} segments of 1 MiB are there");
    }
    assert_eq!(names(here.path()), ["log.d", "log.d.ready"]);
    fs::remove_file(here.path().join("log.d.ready")).unwrap();
    iofs(here.path(), args).refused("--overwrite");
    iofs(here.path(), args.into_iter().chain(["--overwrite", "--ops", "3"])).ok();
}
