//! Signals end the input, not the records.
#![cfg(unix)]

use super::{cat, log_with, verified};
use crate::support::{Ran, command, dir, names, signal, start, wait_for};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
};

#[test]
fn what_was_acknowledged_before_a_signal_is_there() {
    for (name, args) in [("INT", &[][..]), ("TERM", &["--writers", "8"]), ("TERM", &["--fsync", "each"])] {
        let here = dir();
        let mut child = command(here.path());
        let child = child.args(["log", "append", "l", "--lines", "--ack", "--segment-size", "1m"]).args(args);
        let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || (0..).find(|n| writeln!(input, "line {n}").is_err()));
        let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acked: u64 = acks.by_ref().take(100).map(|line| line.unwrap().parse().unwrap()).max().unwrap();
        signal(&child, name);
        acked = acks.map(|line| line.unwrap().parse().unwrap()).max().unwrap_or(acked).max(acked);
        let ran = Ran::of(child.wait_with_output().unwrap());
        ran.failed("interrupted");
        feeder.join().unwrap();
        let found = verified(here.path(), "l");
        assert!(found["records"].as_u64().unwrap() >= acked, "{acked} were acknowledged: {found}");
        assert_eq!(found["torn_tail_bytes"], 0, "it was closed");
        let printed = String::from_utf8(cat(here.path(), &["l", "--lines"])).unwrap();
        assert!(printed.lines().enumerate().all(|(n, line)| line == format!("line {n}")));
    }
}

#[test]
fn following_ends_well_with_a_signal() {
    let here = dir();
    Ran::of(log_with(here.path(), &["append", "l", "--lines", "--segment-size", "256k"], b"a\n")).ok();
    for name in ["INT", "TERM"] {
        let mut child = start(here.path(), &["log", "cat", "l", "--lines", "--follow"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "a");
        signal(&child, name);
        assert_eq!(Ran::of(child.wait_with_output().unwrap()).ok().stderr, "");
    }
}

#[test]
fn a_bench_that_is_interrupted_leaves_nothing() {
    let here = dir();
    let child = start(here.path(), &["log", "bench", ".", "--seconds", "60", "--segment-size", "1m"]);
    wait_for("the log", || !names(here.path()).is_empty());
    std::thread::sleep(std::time::Duration::from_millis(200));
    signal(&child, "INT");
    Ran::of(child.wait_with_output().unwrap()).failed("interrupted");
    assert_eq!(names(here.path()), [""; 0]);
}
