//! What `verify`, `stat`, `salvage` and `bench` say.

use super::{cat, log, log_with, verified};
use crate::support::{Ran, dir, names};
use std::{fs, path::Path};

/// A log of several segments, of lines that tell their number.
fn filled(here: &Path) -> String {
    let input: String = (1..=3000).map(|n| format!("line {n} {}\n", "x".repeat(n % 300))).collect();
    let args = ["append", "l", "--lines", "--segment-size", "128k"];
    Ran::of(log_with(here, &args, input.as_bytes())).ok();
    input
}

/// Changes a byte of the first segment in which this stands.
fn spoil(here: &Path, text: &str) -> u64 {
    for number in 1.. {
        let path = here.join(format!("l/wal-{number:020}.seg"));
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(text.len()).position(|window| window == text.as_bytes()) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            return number;
        }
    }
    unreachable!("the directory ends")
}

#[test]
fn verify_has_the_words_that_were_agreed_on() {
    let here = dir();
    filled(here.path());
    let json = log(here.path(), &["verify", "l", "--json"]).ok().stdout;
    assert_eq!(json, "{\"records\":3000,\"first_lsn\":1,\"last_lsn\":3000,\"torn_tail_bytes\":0,\"damage\":[]}\n");
    assert_eq!(log(here.path(), &["verify", "l"]).ok().stdout, "3000 records, 1 to 3000\n");
}

#[test]
fn damage_is_named_and_the_rest_is_saved() {
    let here = dir();
    let input = filled(here.path());
    let segment = spoil(here.path(), "line 1500 ");
    let ran = log(here.path(), &["verify", "l", "--json"]);
    ran.failed("damaged");
    let found: serde_json::Value = ran.json();
    let damage = &found["damage"][0];
    assert_eq!((damage["segment"].as_u64(), damage["lsn"].as_u64()), (Some(segment), Some(1500)), "{found}");
    assert!(damage["offset"].as_u64().unwrap() > 0 && !damage["what"].as_str().unwrap().is_empty());
    log(here.path(), &["verify", "l"]).failed("damaged");

    let printed = log_with(here.path(), &["cat", "l", "--lines"], b"");
    let good: String = input.lines().take(1499).map(|line| format!("{line}\n")).collect();
    Ran { stdout: String::new(), ..Ran::of(printed.clone()) }.failed("record 1500");
    assert!(good.as_bytes().starts_with(&printed.stdout) && printed.stdout.len() > 10_000, "what is in front of it");
    Ran::of(log_with(here.path(), &["append", "l", "--lines", "--segment-size", "256k"], b"more\n")).failed("damaged");

    let ran = log(here.path(), &["salvage", "l", "out", "--json"]);
    ran.failed("damaged");
    let saved: serde_json::Value = ran.json();
    let records = saved["records"].as_u64().unwrap();
    assert!((2900..3000).contains(&records), "{saved}");
    let lines = String::from_utf8(cat(here.path(), &["out", "--lines"])).unwrap();
    assert_eq!(lines.lines().count() as u64, records);
    let mut all = input.lines();
    assert!(lines.lines().all(|line| all.any(|other| other == line)), "in order, nothing that was not there");
    assert_eq!(verified(here.path(), "out")["damage"], serde_json::json!([]));
    log(here.path(), &["salvage", "l", "out"]).refused("is not empty");
}

#[test]
fn salvage_of_a_good_log_is_a_copy() {
    let here = dir();
    let input = filled(here.path());
    let ran = log(here.path(), &["salvage", "l", "out"]).ok();
    assert!(ran.stdout.starts_with("3000 records were copied to out\n"), "{ran:?}");
    assert!(cat(here.path(), &["out", "--lines"]) == input.as_bytes());
}

#[test]
fn stat_knows_the_segments() {
    let here = dir();
    filled(here.path());
    let stat: serde_json::Value = log(here.path(), &["stat", "l", "--json"]).ok().json();
    assert_eq!((stat["records"].as_u64(), stat["last_lsn"].as_u64()), (Some(3000), Some(3000)), "{stat}");
    let segments = stat["segments"].as_array().unwrap();
    assert!(segments.len() > 4, "{stat}");
    let with_records: Vec<_> = segments.iter().filter(|segment| segment["last_lsn"] != 0).collect();
    let mut due = 1;
    for segment in &with_records {
        assert_eq!(segment["first_lsn"], due, "{stat}");
        due = segment["last_lsn"].as_u64().unwrap() + 1;
    }
    assert_eq!(due, 3001);
    assert!(with_records[..with_records.len() - 1].iter().all(|segment| segment["sealed"] == true), "{stat}");
    assert_eq!(segments.last().unwrap()["sealed"], false);
    assert_eq!(stat["file_bytes"].as_u64().unwrap(), segments.len() as u64 * (128 << 10));
    let text = log(here.path(), &["stat", "l"]).ok().stdout;
    assert!(text.starts_with("3000 records, 1 to 3000; ") && text.lines().count() == segments.len() + 1, "{text}");
    assert!(names(&here.path().join("l")).iter().all(|name| !name.ends_with(".idx")), "who looks leaves nothing");
}

#[test]
fn a_log_of_another_version_is_refused() {
    let here = dir();
    Ran::of(log_with(here.path(), &["append", "l", "--lines", "--segment-size", "256k"], b"a\n")).ok();
    let path = here.path().join("l/wal-00000000000000000001.seg");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 7;
    let sum = io_log_crc(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    for command in ["append", "cat", "verify", "stat"] {
        log(here.path(), &[command, "l"]).refused("version 7");
    }
}

/// CRC32C, bit by bit.
fn io_log_crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 })
    })
}

#[test]
fn a_bench_measures_and_leaves_nothing() {
    let here = dir();
    for args in [&["--writers", "8", "--bs", "1k"][..], &["--direct", "--fsync", "each", "--writers", "2"]] {
        let all = [&["bench", ".", "--seconds", "0.1", "--segment-size", "1m", "--json"], args].concat();
        let line: serde_json::Value = log(here.path(), &all).ok().json();
        let number = |name: &str| line[name].as_f64().unwrap();
        assert!(number("records") > 0.0 && number("p50") > 0.0 && number("p50") <= number("p99"), "{line}");
        assert!((number("iops") * number("seconds") / number("records") - 1.0).abs() < 0.01, "{line}");
        assert!(line["recovery"]["seconds"].as_f64().unwrap() > 0.0 && line["scan"]["mibs"].as_f64().unwrap() > 0.0);
        assert_eq!(names(here.path()), [""; 0]);
    }
    log(here.path(), &["bench", ".", "--bs", "1m", "--segment-size", "1m"]).refused("--bs 1048576");
    log(here.path(), &["bench", "nowhere"]).refused("nowhere");
}
