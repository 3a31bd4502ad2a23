//! What a ring does to the threads that submit to it (Linux 6.18, measured): completions of direct reads run on the submitting thread,
//! so they interrupt its system calls and wait while it sleeps uninterruptibly. `SubmitFrom::EngineThread` keeps both away from the
//! caller; with `SubmitFrom::Caller` the results are right all the same.
#![cfg(target_os = "linux")]
#![allow(unsafe_code)] // epoll_wait(2) and posix_spawn(3)

use super::*;
use io_engine::{SubmitFrom, core::AlignedBuf};
use std::{ffi::CString, ptr};

const READS: u64 = 16;

/// With operations that the device is asked for, in the thread of the test and on each driver.
fn with_direct_reads(submit_from: SubmitFrom, test: impl Fn(&Shards, &FileHandle)) {
    let (dir, _) = scratch(1 << 20);
    let direct = match io_engine::open(dir.path().join("f"), OpenOptions::READ.direct()) {
        Ok(file) => file,
        Err(error) => return skip("shards", "callers", &format!("no direct files here: {error}")),
    };
    let mut options = ShardOptions::default();
    options.submit_from = submit_from;
    for name in DriverName::REAL {
        // Made on another thread: the end of a ring calls on the one that made it, too.
        let made = std::thread::spawn(move || shards_with(name, 1, options));
        if let Some(shards) = made.join().unwrap() {
            test(&shards, &direct);
        }
    }
}

fn begin_reads(shards: &Shards, file: &FileHandle) -> Vec<Transfer<AlignedBuf>> {
    let mut all: Vec<_> = (0..READS).map(|i| read(shards, file, AlignedBuf::with_capacity(4096), i * 4096)).collect();
    all.retain_mut(|op| poll_once(op).is_pending());
    all
}

fn end_reads(all: Vec<Transfer<AlignedBuf>>) {
    for op in all {
        assert_eq!(smol::block_on(op).0.unwrap(), 4096);
    }
}

/// Waits on an epoll that never has an event: how it ended.
fn wait_in_epoll(at_most_ms: i32) -> io::Result<i32> {
    // SAFETY: takes numbers, and a place for one event that is this function's.
    unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        let n = libc::epoll_wait(epoll, &mut event, 1, at_most_ms);
        let answer = if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n) };
        libc::close(epoll);
        answer
    }
}

#[test]
fn completions_interrupt_nobody_who_lets_the_engine_submit() {
    with_direct_reads(SubmitFrom::EngineThread, |shards, file| {
        for _ in 0..10 {
            let all = begin_reads(shards, file);
            assert_eq!(wait_in_epoll(20).unwrap(), 0, "interrupted on {}", shards.driver_name());
            end_reads(all);
        }
    });
}

#[test]
fn a_caller_that_is_interrupted_gets_its_results() {
    with_direct_reads(SubmitFrom::Caller, |shards, file| {
        for _ in 0..10 {
            let all = begin_reads(shards, file);
            if let Err(error) = wait_in_epoll(20) {
                assert_eq!(error.raw_os_error(), Some(libc::EINTR));
            }
            end_reads(all);
        }
    });
}

/// The calling thread sleeps uninterruptibly until posix_spawn(3) has started a program, which first has to open a pipe that nobody
/// writes to before `time` is over.
fn sleep_uninterruptibly(time: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let c_path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    let argv = [c"true".as_ptr().cast_mut(), ptr::null_mut()];
    let writer = std::thread::spawn(move || {
        std::thread::sleep(time);
        std::fs::OpenOptions::new().write(true).open(path).map(drop)
    });
    // SAFETY: all places are this function's, the strings end in NUL and outlive the calls.
    unsafe {
        assert_eq!(libc::mkfifo(c_path.as_ptr(), 0o600), 0);
        let mut actions = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&mut actions);
        libc::posix_spawn_file_actions_addopen(&mut actions, 0, c_path.as_ptr(), libc::O_RDONLY, 0);
        let (mut pid, none) = (0, [ptr::null_mut()]);
        let program = c"/bin/true".as_ptr();
        let started = libc::posix_spawn(&mut pid, program, &actions, ptr::null(), argv.as_ptr(), none.as_ptr());
        libc::posix_spawn_file_actions_destroy(&mut actions);
        assert_eq!(started, 0);
        libc::waitpid(pid, ptr::null_mut(), 0);
    }
    writer.join().unwrap().unwrap();
}

/// How long the reads of a caller that sleeps so take others who wait for them.
fn waited_beside_a_sleeper(submit_from: SubmitFrom) -> Vec<(DriverName, Duration)> {
    let waited = std::cell::RefCell::new(Vec::new());
    with_direct_reads(submit_from, |shards, file| {
        let all = begin_reads(shards, file);
        let begun = Instant::now();
        let waiter = std::thread::spawn(move || {
            end_reads(all);
            begun.elapsed()
        });
        sleep_uninterruptibly(Duration::from_millis(900));
        waited.borrow_mut().push((shards.driver_name(), waiter.join().unwrap()));
        comes_to_rest(shards);
    });
    waited.into_inner()
}

#[test]
fn who_sleeps_holds_up_nobody_if_the_engine_submits() {
    for (driver, waited) in waited_beside_a_sleeper(SubmitFrom::EngineThread) {
        assert!(waited < Duration::from_millis(800), "{driver}: the reads took {waited:?}");
    }
}

#[test]
fn who_sleeps_is_waited_for_and_nothing_is_lost() {
    for (driver, waited) in waited_beside_a_sleeper(SubmitFrom::Caller) {
        assert!(waited < PATIENCE, "{driver}: the reads took {waited:?}");
    }
}
