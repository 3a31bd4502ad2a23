//! `log`: records in, and the same records out, whatever happens in between.

mod append;
mod cat;
mod interrupt;
mod kill;
mod report;

use crate::support::{Ran, command};
use std::{
    io::Write as _,
    path::Path,
    process::{Output, Stdio},
};

/// Runs `iofs log` with this on its standard input.
fn log_with(cwd: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = command(cwd)
        .arg("log")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // It may end before it has read all.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

fn log(cwd: &Path, args: &[&str]) -> Ran {
    Ran::of(log_with(cwd, args, b""))
}

/// What `cat` prints, byte by byte.
#[track_caller]
fn cat(cwd: &Path, args: &[&str]) -> Vec<u8> {
    let output = log_with(cwd, &[&["cat"], args].concat(), b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[track_caller]
fn verified(cwd: &Path, dir: &str) -> serde_json::Value {
    log(cwd, &["verify", dir, "--json"]).ok().json()
}

/// The list of commands, and each command's own help, say what it does.
#[test]
fn every_command_says_what_it_does() {
    let dir = crate::support::dir();
    let help = |args: &[&str]| String::from_utf8(log_with(dir.path(), args, b"").stdout).unwrap();
    let list = help(&["--help"]);
    let commands = [
        ("append", "Appends"),
        ("cat", "Prints"),
        ("verify", "Reads"),
        ("stat", "Says"),
        ("salvage", "Copies"),
        ("bench", "Measures"),
    ];
    for (command, begins) in commands {
        assert!(help(&[command, "--help"]).starts_with(begins), "{command}");
        let line = list.lines().find(|line| line.trim_start().starts_with(command)).expect(command);
        assert!(line.contains(begins), "{line}");
    }
}
