//! A process that appends is killed at random moments; what it acknowledged is there.
#![cfg(unix)]

use super::{cat, verified};
use crate::support::{bytes, command, dir};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    time::{Duration, Instant},
};

/// `IOFS_KILL_ROUNDS` says how many; 50 without it.
fn rounds() -> usize {
    std::env::var("IOFS_KILL_ROUNDS").map_or(50, |text| text.parse().expect("a number of rounds"))
}

/// Each round goes on with the log that the one before has left, some of them with a new one. No line is like another, so a record that is
/// in the wrong place, or comes back from an earlier life of a segment, is seen.
#[test]
fn every_acknowledged_record_survives_sigkill() {
    let (rounds, begun) = (rounds(), Instant::now());
    let mut draws = bytes(rounds * 4).into_iter();
    let mut draw = |below: u8| draws.next().unwrap() % below;
    let ways: [&[&str]; 4] =
        [&[], &["--writers", "16"], &["--fsync", "each", "--writers", "4"], &["--direct", "--writers", "3"]];
    let mut here = dir();
    // What is in the log, by record.
    let mut lines: Vec<String> = Vec::new();
    let (mut acknowledged, mut torn) = (0, 0);
    for round in 0..rounds {
        if draw(8) == 0 {
            here = dir();
            lines.clear();
        }
        let way = ways[usize::from(draw(4))];
        let mut child = command(here.path());
        let child = child.args(["log", "append", "l", "--lines", "--ack", "--segment-size", "256k"]).args(way);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let line = move |n: usize| format!("{round} {n} {}", "x".repeat(n * 37 % 900));
        let feeder = std::thread::spawn(move || (0..).find(|&n| writeln!(input, "{}", line(n)).is_err()));
        let mut acks = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let before = lines.len() as u64;
        // Some die while they open the log.
        let first = if draw(4) == 0 { None } else { acks.next() };
        std::thread::sleep(Duration::from_millis(u64::from(draw(60))));
        child.kill().unwrap();
        let last = acks.chain(first).map(|ack| ack.parse().unwrap()).max().unwrap_or(before);
        child.wait().unwrap();
        feeder.join().unwrap();

        if !here.path().join("l/wal-00000000000000000001.seg").exists() {
            assert_eq!(last, 0, "it had not come to make a segment");
            continue;
        }
        // What a killed process had given to the kernel may still be written for a moment after it is gone.
        let (found, printed) = loop {
            let found = verified(here.path(), "l");
            let printed = String::from_utf8(cat(here.path(), &["l", "--lines"])).unwrap();
            if verified(here.path(), "l") == found {
                break (found, printed);
            }
        };
        torn += usize::from(found["torn_tail_bytes"] != 0);
        let now: Vec<String> = printed.lines().map(str::to_owned).collect();
        assert_eq!(found["records"], now.len(), "round {round}");
        assert!(now.len() as u64 >= last, "round {round}: {last} were acknowledged, {} are there", now.len());
        assert!(now.starts_with(&lines), "round {round}: what was there is not any more");
        for (n, new) in now[lines.len()..].iter().enumerate() {
            assert_eq!(*new, line(n), "round {round}");
        }
        acknowledged += last - before;
        lines = now;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("{rounds} rounds in {seconds:.1} s, {acknowledged} records acknowledged, {torn} torn tails");
    assert!(acknowledged as usize > rounds * 10, "{acknowledged} records are too few to say anything");
}
