//! The reaper thread while it sleeps on the readiness for something slow, and others come and go.

use super::{Transfer, in_time, poll_once, write};
use crate::puppet::{Puppet, Reply, Strings};
use io_engine::{
    ShardOptions, Shards,
    core::{FileFacts, FileHandle, Op, OpenOptions, errno},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// What is in flight and stays there; the reaper sleeps until it completes.
const SLOW: u64 = 1 << 20;

struct Scene {
    shards: Shards,
    strings: Strings,
    file: FileHandle,
    slow: Transfer<Vec<u8>>,
    _dir: tempfile::TempDir,
}

/// A file that says to be direct, so that a seated thread may hold operations on it back; and the reaper asleep.
fn scene(mut reply: impl FnMut() -> Reply + Send + 'static) -> Scene {
    let (puppet, strings) = Puppet::new(16);
    strings.script(move |seen| if seen.offset == SLOW { Reply::Hold } else { reply() });
    let shards = Shards::new(vec![puppet.without_pool().boxed()], ShardOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), vec![0; 4096]).unwrap();
    let plain = io_engine::open(dir.path().join("f"), OpenOptions::READ_WRITE).unwrap();
    let file = plain.with_facts(FileFacts { direct: true, ..FileFacts::default() }).unwrap();
    let mut slow = write(&shards, &file, vec![1], SLOW);
    assert!(poll_once(&mut slow).is_pending());
    thread::sleep(Duration::from_millis(100));
    Scene { shards, strings, file, slow, _dir: dir }
}

impl Scene {
    fn end(self) {
        self.strings.release_held_with(1);
        self.shards.block_on(self.slow).0.unwrap();
    }
}

/// Whoever holds an operation back computes, or waits for somebody who waits for it.
#[test]
fn what_a_busy_thread_holds_back_is_submitted_all_the_same() {
    in_time("held back", || {
        let scene = scene(|| Reply::Answer(1));
        scene.shards.block_on(async {
            let mut held_back = write(&scene.shards, &scene.file, vec![1], 0);
            if poll_once(&mut held_back).is_pending() {
                thread::sleep(Duration::from_millis(500));
                assert!(poll_once(&mut held_back).is_ready(), "nobody has submitted it");
            }
        });
        scene.end();
    });
}

/// The thread that is to repeat an operation after a pause goes away in that pause.
#[test]
fn a_pause_is_over_although_who_began_it_is_gone() {
    in_time("a pause", || {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let scene = scene(move || match counted.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Answer(-errno::EAGAIN),
            _ => Reply::Answer(1),
        });
        let mut paused = write(&scene.shards, &scene.file, vec![1], 0);
        let _ = scene.shards.block_on(async { poll_once(&mut paused) });
        let until = Instant::now() + Duration::from_secs(2);
        while tries.load(Ordering::SeqCst) < 2 {
            assert!(Instant::now() < until, "it is never repeated");
            thread::sleep(Duration::from_millis(1));
        }
        scene.end();
    });
}

/// The same, where a turn in passing (of a cancel, say) finds what has to be repeated.
#[test]
fn a_pause_that_a_cancel_begins_is_over_in_time() {
    in_time("a pause after a cancel", || {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let scene = scene(move || match counted.fetch_add(1, Ordering::SeqCst) {
            0..3 => Reply::Answer(-errno::EAGAIN),
            _ => Reply::Answer(1),
        });
        let op = Op::write(&scene.file, vec![1u8], 0);
        let mut paused = scene.shards.operation(op, |answer| -> io::Result<usize> { answer.result });
        let polled = scene.shards.block_on(async { poll_once(&mut paused) });
        let mut slow = scene.slow;
        slow.cancel();
        scene.shards.turn();
        let until = Instant::now() + Duration::from_secs(2);
        while tries.load(Ordering::SeqCst) < 4 {
            assert!(Instant::now() < until, "it is not repeated: {polled:?}");
            thread::sleep(Duration::from_millis(1));
        }
        if polled.is_pending() {
            assert_eq!(scene.shards.block_on(paused).unwrap(), 1);
        }
        scene.strings.release_held_with(1);
        let _ = scene.shards.block_on(slow);
    });
}
