//! Byte-range locks, between opens of one process where they belong to the open file, and between processes.

use crate::{file_with, result};
use io_core::{FileFacts, Op, OpenOptions, errno};
use io_testkit::nobodys_file;
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
use {
    crate::output,
    io_core::{FileHandle, LockHolder, Output},
};

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn holder(file: &FileHandle, offset: u64, len: u64, exclusive: bool) -> Option<LockHolder> {
    match output(Op::query_lock(file, offset, len, exclusive)) {
        Output::Lock(holder) => holder,
        other => panic!("{other:?}"),
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
#[test]
fn two_opens_exclude_each_other() {
    let (_dir, path, one) = file_with(b"");
    let two = io_threadpool::open(&path, OpenOptions::READ_WRITE).unwrap();
    let lock = |file: &FileHandle, at, len, exclusive| result(Op::try_lock(file, at, len, exclusive));
    assert_eq!(lock(&one, 10, 10, true), 0);
    assert_eq!(lock(&two, 19, 1, true), -errno::EAGAIN);
    assert_eq!(lock(&two, 0, 0, false), -errno::EAGAIN, "to the end of the file");
    assert_eq!(lock(&two, 0, 10, true), 0, "the bytes before");
    assert_eq!(lock(&two, 20, 10, true), 0, "the bytes behind");
    assert_eq!(lock(&one, 10, 10, false), 0, "a holder changes its own lock");
    assert_eq!(lock(&two, 10, 10, false), 0, "shared");
    assert_eq!(lock(&one, 10, 10, true), -errno::EAGAIN, "not alone any more");
    assert_eq!(result(Op::unlock(&two, 0, 0)), 0);
    assert_eq!(lock(&one, 0, 0, true), 0);
    assert_eq!(result(Op::unlock(&one, 5, 1)), 0);
    assert_eq!(lock(&two, 5, 1, true), 0, "a byte was given back");
    assert_eq!(result(Op::unlock(&two, 100, 1)), 0, "giving back what one has not got is fine");
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
#[test]
fn the_holder_is_told() {
    let (_dir, path, one) = file_with(b"");
    let two = io_threadpool::open(&path, OpenOptions::READ_WRITE).unwrap();
    assert_eq!(holder(&two, 0, 0, true), None);
    assert_eq!(result(Op::try_lock(&one, 100, 50, true)), 0);
    let held = LockHolder { exclusive: true, offset: 100, len: 50, pid: None };
    assert_eq!(holder(&two, 0, 0, true), Some(held));
    assert_eq!(holder(&two, 0, 0, false), Some(held));
    assert_eq!(holder(&two, 149, 1, false), Some(held));
    assert_eq!(holder(&two, 150, 0, true), None);
    assert_eq!(holder(&one, 0, 0, true), None, "one's own lock is in nobody's way");
    assert_eq!(result(Op::try_lock(&one, 100, 0, false)), 0);
    assert_eq!(holder(&two, 0, 0, true), Some(LockHolder { exclusive: false, len: 0, ..held }));
    assert_eq!(holder(&two, 0, 0, false), None, "shared locks get along");
}

/// SQLite locks far behind the end of the file, and the lock goes with the open file, not with the thread or the clone.
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
#[test]
fn a_lock_goes_with_its_open_file() {
    let (_dir, path, one) = file_with(b"");
    let two = io_threadpool::open(&path, OpenOptions::READ_WRITE).unwrap();
    assert_eq!(result(Op::try_lock(&one, 0x4000_0000, 512, true)), 0);
    let clone = one.clone();
    drop(one);
    // A third open and its end are nobody's business. (POSIX locks would all be lost here.)
    drop(io_threadpool::open(&path, OpenOptions::READ_WRITE).unwrap());
    assert_eq!(result(Op::try_lock(&two, 0x4000_0000, 1, true)), -errno::EAGAIN);
    drop(clone);
    assert_eq!(result(Op::try_lock(&two, 0x4000_0000, 1, true)), 0);
}

#[test]
fn bad_ranges_and_files_have_their_errors() {
    let (_dir, path, file) = file_with(b"");
    let nobodys = nobodys_file(FileFacts::default());
    assert_eq!(result(Op::try_lock(&nobodys, 0, 0, true)), -errno::EBADF);
    assert_eq!(result(Op::unlock(&nobodys, 0, 0)), -errno::EBADF);
    assert_eq!(result(Op::query_lock(&nobodys, 0, 0, true)), -errno::EBADF);
    assert_eq!(result(Op::try_lock(&file, 1 << 63, 0, true)), -errno::EINVAL);
    assert_eq!(result(Op::try_lock(&file, 0, u64::MAX, true)), -errno::EINVAL);
    let read_only = io_threadpool::open(&path, OpenOptions::READ).unwrap();
    assert_eq!(result(Op::try_lock(&read_only, 0, 0, true)), -errno::EBADF, "an exclusive lock wants write access");
    assert_eq!(result(Op::try_lock(&read_only, 0, 0, false)), 0);
}

/// Another process holds a lock of the classic kind: it is in the way, and its process is named.
#[cfg(target_os = "linux")]
#[test]
fn a_lock_of_another_process_names_it() {
    use std::{
        io::{BufRead, BufReader, Write},
        os::fd::AsRawFd,
        process::{Command, Stdio},
    };
    const HOLD: &str = "IOFS_TEST_HOLD_LOCK";
    if let Some(path) = std::env::var_os(HOLD) {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        // SAFETY: all zeros is a value of this plain structure.
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        range.l_type = libc::F_WRLCK as libc::c_short;
        (range.l_start, range.l_len) = (7, 3);
        // SAFETY: the command reads one structure.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &range) }, 0);
        println!("\nheld");
        std::io::stdout().flush().unwrap();
        // Until the parent closes its end.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let (_dir, path, file) = file_with(b"0123456789");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["locks::a_lock_of_another_process_names_it", "--exact", "--nocapture", "--test-threads=1"])
        .env(HOLD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "held"), "the child never held the lock");
    assert_eq!(result(Op::try_lock(&file, 0, 0, false)), -errno::EAGAIN);
    let expected = LockHolder { exclusive: true, offset: 7, len: 3, pid: Some(child.id()) };
    assert_eq!(holder(&file, 0, 0, true), Some(expected));
    drop(child.stdin.take());
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    assert_eq!(result(Op::try_lock(&file, 0, 0, true)), 0);
}
