//! Ctrl-C at any time leaves no file behind.
#![cfg(unix)]

use crate::support::{Ran, bytes, dir, names, signal, start, wait_for};
use std::{fs, time::Duration};

#[test]
fn compare_removes_its_files_whenever_it_is_interrupted() {
    let here = dir();
    // While the scratch file is made, during the first rows, during later ones with a log beside it.
    for (name, delay) in [("INT", 0), ("INT", 20), ("TERM", 150), ("INT", 700), ("HUP", 1500)] {
        let child = start(here.path(), &["compare", "--size", "16m", "--seconds", "0.05"]);
        wait_for("the scratch file", || !names(here.path()).is_empty());
        std::thread::sleep(Duration::from_millis(delay));
        signal(&child, name);
        let ran = Ran::of(child.wait_with_output().unwrap());
        ran.failed("interrupted");
        assert_eq!(ran.stdout, "");
        assert_eq!(names(here.path()), [""; 0], "{name} after {delay} ms");
    }
}

#[test]
fn a_users_file_survives_an_interrupt() {
    let here = dir();
    let content = bytes(1 << 20);
    fs::write(here.path().join("f"), &content).unwrap();
    let child = start(here.path(), &["compare", "--file", "f"]);
    wait_for("the scratch file", || names(here.path()).len() == 2);
    signal(&child, "INT");
    Ran::of(child.wait_with_output().unwrap()).failed("interrupted");
    assert_eq!(names(here.path()), ["f"]);
    assert!(fs::read(here.path().join("f")).unwrap() == content);
}
