//! What goes in comes out.

use super::{cat, log, log_with, verified};
use crate::support::{Ran, bytes, command, dir, drivers, names, wait_for};
use std::{fs, process::Stdio};

#[test]
fn a_file_comes_back_as_it_was() {
    let here = dir();
    let content = bytes(3 << 20);
    fs::write(here.path().join("in"), &content).unwrap();
    let ways: [&[&str]; 7] = [
        &[],
        &["--chunks", "777", "--segment-size", "1m"],
        &["--chunks", "1m", "--segment-size", "2m"],
        &["--writers", "8", "--segment-size", "1m"],
        &["--fsync", "each", "--writers", "4", "--chunks", "100k"],
        &["--fsync", "none", "--segment-size", "1m"],
        &["--direct", "--segment-size", "1m"],
    ];
    for (n, way) in ways.iter().enumerate() {
        let log_dir = format!("log{n}");
        let ran = log(here.path(), &[&["append", &log_dir, "--input", "in", "--json"], *way].concat()).ok();
        let report: serde_json::Value = ran.json();
        assert_eq!((report["bytes"].as_u64(), report["first_lsn"].as_u64()), (Some(3 << 20), Some(1)), "{way:?}");
        assert_eq!(report["records"], report["last_lsn"]);
        assert!(cat(here.path(), &[&log_dir]) == content, "{way:?}");
        let found = verified(here.path(), &log_dir);
        assert_eq!((&found["records"], found["torn_tail_bytes"].as_u64()), (&report["records"], Some(0)), "{way:?}");
    }
}

#[test]
fn every_driver_appends_and_prints() {
    let here = dir();
    let content = bytes(300_000);
    fs::write(here.path().join("in"), &content).unwrap();
    for driver in drivers("log append") {
        for direct in [&[][..], &["--direct"]] {
            let log_dir = format!("{driver}{}", direct.len());
            let args =
                ["append", &log_dir, "--input", "in", "--driver", driver, "--segment-size", "256k", "--chunks", "9k"];
            log(here.path(), &[&args, direct].concat()).ok();
            assert!(cat(here.path(), &[&log_dir, "--driver", driver]) == content, "{driver} {direct:?}");
        }
    }
}

#[test]
fn lines_come_back_as_lines() {
    let here = dir();
    let input = b"one\n\nthree\r\n\xff\x00\xfe\nno newline at the end";
    let ran =
        Ran::of(log_with(here.path(), &["append", "l", "--lines", "--ack", "--segment-size", "256k"], input)).ok();
    assert_eq!(ran.stdout, "1\n2\n3\n4\n5\n");
    assert!(ran.stderr.contains("5 records, 1 to 5"), "{ran:?}");
    assert_eq!(cat(here.path(), &["l", "--lines"]), [&input[..], b"\n"].concat());
    assert_eq!(cat(here.path(), &["l"]), b"onethree\r\xff\x00\xfeno newline at the end");
    assert_eq!(cat(here.path(), &["l", "--lines", "--from", "4"]), b"\xff\x00\xfe\nno newline at the end\n");
    let json = String::from_utf8(cat(here.path(), &["l", "--json"])).unwrap();
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[2], serde_json::json!({ "lsn": 3, "text": "three\r" }));
    assert_eq!(lines[3], serde_json::json!({ "lsn": 4, "hex": "ff00fe" }));
}

#[test]
fn many_writers_keep_the_order_of_the_input() {
    let here = dir();
    let input: String = (0..5000).map(|n| format!("{n} {}\n", "x".repeat(n % 200))).collect();
    for fsync in ["group", "each", "none"] {
        let args = ["append", fsync, "--lines", "--writers", "64", "--fsync", fsync, "--segment-size", "256k"];
        Ran::of(log_with(here.path(), &args, input.as_bytes())).ok();
        assert!(cat(here.path(), &[fsync, "--lines"]) == input.as_bytes(), "{fsync}");
    }
}

#[test]
fn an_empty_input_is_an_empty_log_and_an_existing_log_goes_on() {
    let here = dir();
    let ran = log(here.path(), &["append", "l", "--segment-size", "256k"]).ok();
    assert!(ran.stdout.starts_with("0 records, 0 bytes"), "{ran:?}");
    assert_eq!(cat(here.path(), &["l"]), b"");
    assert_eq!(verified(here.path(), "l")["records"], 0);
    for (n, part) in [b"a\nb\n", b"c\nd\n"].iter().enumerate() {
        let ran =
            Ran::of(log_with(here.path(), &["append", "l", "--lines", "--json", "--segment-size", "256k"], *part)).ok();
        assert_eq!(ran.json::<serde_json::Value>()["first_lsn"], n * 2 + 1);
    }
    assert_eq!(cat(here.path(), &["l", "--lines"]), b"a\nb\nc\nd\n");
}

#[test]
fn what_cannot_be_a_record_is_refused() {
    let here = dir();
    let input = [b"good\n".as_slice(), &[b'x'; 100_000], b"\nbehind\n"].concat();
    let ran = Ran::of(log_with(here.path(), &["append", "l", "--lines", "--segment-size", "64k"], &input));
    ran.failed("standard input: line 2 is longer than a record may be");
    assert!(ran.stderr.contains("1 records were appended"), "{ran:?}");
    assert_eq!(cat(here.path(), &["l"]), b"good");
    let refused = |args: &[&str], because: &str| {
        log(here.path(), &[&["append", "none"], args].concat()).refused(because);
        assert!(!here.path().join("none").exists(), "nothing is made");
    };
    refused(&["--chunks", "64k", "--segment-size", "64k"], "--chunks 65536 is more than a record");
    refused(&["--segment-size", "5000"], "--segment-size is 5000; it has to be a multiple of 4096");
    refused(&["--segment-size", "4k"], "--segment-size");
    refused(&["--input", "nowhere"], "nowhere");
    refused(&["--input", "."], "is a directory");
    refused(&["--ack", "--fsync", "none"], "--ack says what is durable");
    refused(&["--lines", "--chunks", "5"], "--lines");
    refused(&["--writers", "0"], "--writers");
    refused(&["--driver", "std"], "std is the baseline");
    refused(&["--fsync", "sometimes"], "sometimes");
}

#[test]
fn one_process_at_a_time_writes() {
    let here = dir();
    let mut first = command(here.path());
    let first = first
        .args(["log", "append", "l", "--lines", "--ack", "--segment-size", "256k"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut first = first.stderr(Stdio::null()).spawn().unwrap();
    wait_for("the lock", || fs::read(here.path().join("l/lock")).is_ok_and(|lock| !lock.is_empty()));
    let second = Ran::of(log_with(here.path(), &["append", "l", "--lines", "--segment-size", "256k"], b"b\n"));
    second.failed(&format!("open for writing in process {}", first.id()));
    // Who only reads is not kept out.
    log(here.path(), &["verify", "l"]).ok();
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    assert_eq!(names(here.path()), ["l"]);
}

/// The acknowledgements are for who wants them; the records are appended all the same.
#[test]
fn who_does_not_listen_to_acknowledgements_stops_nothing() {
    let here = dir();
    let input: String = (0..2000).map(|n| format!("{n}\n")).collect();
    fs::write(here.path().join("in"), &input).unwrap();
    let mut child = command(here.path());
    let child = child
        .args(["log", "append", "l", "--lines", "--ack", "--input", "in", "--segment-size", "256k"])
        .stdout(Stdio::piped());
    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap()).ok();
    assert!(ran.stderr.contains("2000 records"), "{ran:?}");
    assert!(cat(here.path(), &["l", "--lines"]) == input.as_bytes());
}

/// What was acknowledged before the disk was full is there, and nothing is acknowledged that is not.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_it_with_what_was_acknowledged() {
    let Some(tmpfs) = crate::support::Tmpfs::mount("log append to a full disk", "6m") else { return };
    let input: String = (1..100_000).map(|n| format!("line {n} {}\n", "x".repeat(n % 300))).collect();
    for writers in ["1", "8"] {
        let args = ["append", writers, "--lines", "--ack", "--segment-size", "1m", "--writers", writers];
        let ran = Ran::of(log_with(tmpfs.path(), &args, input.as_bytes()));
        ran.failed("No space left on device");
        let acked: usize = ran.stdout.lines().last().unwrap().parse().unwrap();
        let found = verified(tmpfs.path(), writers)["records"].as_u64().unwrap() as usize;
        assert!(acked > 1000 && found >= acked, "{acked} were acknowledged, {found} are there");
        let printed = cat(tmpfs.path(), &[writers, "--lines"]);
        assert!(input.as_bytes().starts_with(&printed));
        fs::remove_dir_all(tmpfs.path().join(writers)).unwrap();
    }
}
