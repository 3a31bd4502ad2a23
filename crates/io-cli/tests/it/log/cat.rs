//! Reading a log, also while it is written.

use super::{cat, log, log_with};
use crate::support::{Ran, command, dir};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Stdio},
};

fn start_cat(cwd: &std::path::Path, args: &[&str]) -> Child {
    let mut child = command(cwd);
    child.args(["log", "cat"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_reader_that_goes_away_has_what_it_wanted() {
    let here = dir();
    let input: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    Ran::of(log_with(here.path(), &["append", "l", "--lines", "--segment-size", "256k"], input.as_bytes())).ok();
    for args in [&["l", "--lines"][..], &["l", "--json"], &["l", "--lines", "--follow"]] {
        let mut child = start_cat(here.path(), args);
        let mut first = [0; 5];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let ran = Ran::of(child.wait_with_output().unwrap()).ok();
        assert_eq!(ran.stderr, "", "{args:?}");
    }
}

#[test]
fn a_reader_that_follows_sees_what_is_appended_later() {
    let here = dir();
    let line = |n: usize| format!("{n} {}", "x".repeat(n % 500));
    let batch = |from: usize| (from..from + 400).map(|n| line(n) + "\n").collect::<String>();
    let append = |from: usize| {
        let args = ["append", "l", "--lines", "--segment-size", "128k"];
        Ran::of(log_with(here.path(), &args, batch(from).as_bytes())).ok();
    };
    append(0);
    let mut child = start_cat(here.path(), &["l", "--lines", "--follow", "--from", "11"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for from in [0, 400, 800] {
        for n in from.max(10)..from + 400 {
            assert_eq!(lines.next().unwrap().unwrap(), line(n));
        }
        if from < 800 {
            append(from + 400);
        }
    }
    drop(lines);
    // It finds out when it prints something.
    append(1200);
    assert_eq!(Ran::of(child.wait_with_output().unwrap()).ok().stderr, "");
}

/// One process appends record by record, another one prints them as they come.
#[test]
fn a_reader_follows_a_writer_that_is_still_there() {
    let here = dir();
    let mut writer = command(here.path());
    let writer = writer
        .args(["log", "append", "l", "--lines", "--ack", "--segment-size", "256k"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut writer = writer.stderr(Stdio::null()).spawn().unwrap();
    let (mut input, mut acks) = (writer.stdin.take().unwrap(), BufReader::new(writer.stdout.take().unwrap()).lines());
    let mut append = |n: u64| {
        writeln!(input, "record {n}").unwrap();
        assert_eq!(acks.next().unwrap().unwrap(), n.to_string(), "a line is a record as soon as it is there");
    };
    append(1);
    let mut reader = start_cat(here.path(), &["l", "--lines", "--follow"]);
    let mut seen = BufReader::new(reader.stdout.take().unwrap()).lines();
    for n in 1..30 {
        assert_eq!(seen.next().unwrap().unwrap(), format!("record {n}"));
        append(n + 1);
    }
    drop(input);
    assert!(writer.wait().unwrap().success());
    assert_eq!(seen.next().unwrap().unwrap(), "record 30");
    reader.kill().unwrap();
    reader.wait().unwrap();
}

#[test]
fn what_is_no_log_is_said() {
    let here = dir();
    std::fs::create_dir(here.path().join("empty")).unwrap();
    std::fs::write(here.path().join("file"), "x").unwrap();
    for command in ["cat", "verify", "stat"] {
        log(here.path(), &[command, "empty"]).refused("there is no log in it");
        log(here.path(), &[command, "nowhere"]).refused("nowhere");
        log(here.path(), &[command, "file"]).refused("file");
    }
    log(here.path(), &["salvage", "empty", "out"]).refused("there is no log in it");
    log(here.path(), &[]).refused("iofs log --help");
    log(here.path(), &["cat", "empty", "--from", "0"]).refused("--from");
    let ran = Ran::of(log_with(here.path(), &["append", "l", "--lines", "--segment-size", "256k"], b"a\nb\n")).ok();
    assert!(ran.stdout.contains("2 records"));
    assert_eq!(cat(here.path(), &["l", "--from", "3"]), b"", "not there yet");
}
