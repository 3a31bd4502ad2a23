use super::world::{World, real_worlds, worlds};
use futures_util::future::join_all;
use io_fs::{AppendFailed, File, Op, OpenOptions, errno};
use io_sim::{Fault, SimOptions, Which};
use std::io;

const TASKS: usize = 32;
const EACH: usize = 20;

/// A record that says who wrote it and how long it is.
fn record(task: usize, n: usize) -> Vec<u8> {
    let len = 8 + (task * 7 + n * 13) % 200;
    let mut bytes = vec![task as u8; len];
    bytes[..4].copy_from_slice(&[0xA5, task as u8, n as u8, len as u8]);
    bytes
}

/// Reads the records back; every one has to be there once, and nothing between them.
fn check(content: &[u8], name: &str) {
    let (mut at, mut seen) = (0, std::collections::HashSet::new());
    while at < content.len() {
        assert_eq!(content[at], 0xA5, "{name}: no record at {at}");
        let (task, n, len) = (content[at + 1] as usize, content[at + 2] as usize, content[at + 3] as usize);
        assert!(content[at..at + len] == record(task, n), "{name}: a torn record at {at}");
        assert!(seen.insert((task, n)), "{name}: twice");
        at += len;
    }
    assert_eq!(seen.len(), TASKS * EACH, "{name}: records are lost");
}

#[test]
fn tasks_and_handles_append_without_overlap_or_loss() {
    for world in worlds() {
        world.fs.block_on(async {
            let files = [
                world.fs.open_append(world.path("log")).await.unwrap(),
                world.fs.open_append(world.path("log")).await.unwrap(),
            ];
            let task = async |task: usize, file: &File| {
                for n in 0..EACH {
                    let (at, buf) = file.append(record(task, n)).await;
                    let (at, len) = (at.unwrap(), buf.len());
                    let (read, back) = file.read_exact_at(Vec::with_capacity(len), at).await;
                    read.unwrap();
                    assert!(back == record(task, n), "{}", world.name);
                }
            };
            join_all((0..TASKS).map(|i| task(i, &files[i % 2]))).await;
        });
        check(&world.content("log"), &world.name);
    }
}

/// The same from several threads, each with a handle of its own that was not opened for appending, on a file that has content.
#[test]
fn threads_append_without_overlap_or_loss() {
    for world in real_worlds() {
        std::thread::scope(|scope| {
            for task in 0..TASKS {
                let world = &world;
                scope.spawn(move || {
                    world.fs.block_on(async {
                        let file = world.fs.open_with(world.path("log"), OpenOptions::CREATE).await.unwrap();
                        for n in 0..EACH {
                            file.append(record(task, n)).await.0.unwrap();
                        }
                    });
                });
            }
        });
        check(&world.content("log"), &world.name);
    }
}

#[test]
fn places_are_given_in_the_order_of_the_calls() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("log"), OpenOptions::CREATE).await.unwrap();
            file.write_at(b"head".to_vec(), 0).await.0.unwrap();
            let appends = [file.append(b"one".to_vec()), file.append(b"two!".to_vec()), file.append(b"3".to_vec())];
            let mut offsets = Vec::new();
            for append in appends.into_iter().rev() {
                offsets.push(append.await.0.unwrap());
            }
            assert_eq!(offsets, [11, 7, 4], "{}", world.name);
            drop(file.append(b"given back".to_vec()));
            assert_eq!(file.append(b".".to_vec()).await.0.unwrap(), 12, "{}", world.name);
            file.write_at(b"behind".to_vec(), 20).await.0.unwrap();
            assert_eq!(file.append(b"x".to_vec()).await.0.unwrap(), 26, "{}: other writes count", world.name);
            file.truncate(4).await.unwrap();
            assert_eq!(file.append(b"tail".to_vec()).await.0.unwrap(), 4, "{}: truncations, too", world.name);
        });
        assert_eq!(world.content("log"), b"headtail", "{}", world.name);
    }
}

#[test]
fn a_failed_append_names_its_gap_and_later_ones_keep_their_places() {
    let world = World::sim(SimOptions::seeded(11));
    let disk = world.sim.as_ref().unwrap();
    world.fs.block_on(async {
        let file = world.fs.open_append(world.path("log")).await.unwrap();
        assert_eq!(file.append(vec![b'a'; 10]).await.0.unwrap(), 0);
        disk.inject(Which::writes(), Fault::Short(4));
        disk.inject(Which::writes().nth(2), Fault::Errno(errno::EIO));
        let (first, second) = (file.append(vec![b'b'; 10]), file.append(vec![b'c'; 10]));
        let (result, buf) = first.await;
        let error = result.unwrap_err();
        assert_eq!(buf, vec![b'b'; 10]);
        let failed = AppendFailed::in_error(&error).expect("the error says more");
        assert_eq!((failed.offset, failed.len, failed.written, failed.reclaimed), (Some(10), 10, 4, false));
        assert_eq!(failed.gap(), Some((14, 6)));
        assert_eq!(second.await.0.unwrap(), 20);

        disk.fail(Which::writes(), errno::ENOSPC);
        let error = file.append(vec![b'd'; 10]).await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let failed = AppendFailed::in_error(&error).unwrap();
        assert!(failed.reclaimed && failed.gap().is_none(), "the last place goes to the next one: {failed}");
        assert_eq!(file.append(vec![b'e'; 2]).await.0.unwrap(), 30);
    });
    assert_eq!(world.content("log"), b"aaaaaaaaaabbbb\0\0\0\0\0\0ccccccccccee");
}

#[test]
fn a_size_that_cannot_be_asked_fails_the_append_and_no_other() {
    let world = World::sim(SimOptions::seeded(12));
    let disk = world.sim.as_ref().unwrap();
    world.fs.block_on(async {
        let file = world.fs.open_with(world.path("log"), OpenOptions::CREATE).await.unwrap();
        disk.fail(Which::kind(io_fs::OpKind::Stat), errno::EIO);
        let (first, second) = (file.append(vec![1; 10]), file.append(vec![2; 10]));
        let error = first.await.0.unwrap_err();
        let failed = AppendFailed::in_error(&error).unwrap();
        assert_eq!((failed.offset, failed.written, failed.reclaimed), (None, 0, false));
        assert_eq!(second.await.0.unwrap(), 10);
    });
}

/// An open file of its own, as another process has it: the lock belongs to the open file, not to the process.
#[test]
fn another_process_is_refused_and_the_lock_is_shared_within_this_one() {
    for world in worlds() {
        let path = world.path("log");
        world.fs.block_on(async {
            let stranger = world.fs.open_with(&path, OpenOptions::CREATE).await.unwrap();
            let end = i64::MAX as u64 - 1;
            let run = |op| world.fs.shards().operation(op, |answer| answer.result.map(drop));
            let lock = || run(Op::try_lock(stranger.handle(), end, 1, true));
            let unlock = || run(Op::unlock(stranger.handle(), end, 1));

            lock().await.unwrap();
            let error = world.fs.open_append(&path).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{}: {error}", world.name);
            assert!(error.to_string().contains("open for appending in another process"), "{error}");
            unlock().await.unwrap();

            let files = join_all((0..8).map(|_| world.fs.open_append(&path))).await;
            let mut files: Vec<_> = files.into_iter().map(Result::unwrap).collect();
            while let Some(file) = files.pop() {
                assert!(lock().await.is_err(), "{}: {} handles have lost the lock", world.name, files.len() + 1);
                file.close().await.unwrap();
            }
            lock().await.unwrap();
            unlock().await.unwrap();
            let again = world.fs.open_append(&path).await.unwrap();
            again.append(b"still".to_vec()).await.0.unwrap();
        });
    }
}

#[test]
fn the_kernels_end_is_for_several_processes_and_the_two_do_not_mix() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("log"), OpenOptions::CREATE).await.unwrap();
            if let (Err(error), _) = file.append_shared(b"one ".to_vec()).await {
                let failed = AppendFailed::in_error(&error).expect("said by an append");
                // A short append cannot be continued; the hostile simulators do that.
                assert!(world.sim.is_some() && failed.written > 0, "{}: {error}", world.name);
                return;
            }
            let other = world.fs.open_rw(world.path("log")).await.unwrap();
            other.write_at(b"two ".to_vec(), 4).await.0.unwrap();
            file.append_shared(b"3".to_vec()).await.0.unwrap();
            assert_eq!(world.content("log"), b"one two 3", "{}", world.name);
            let error = other.append(b"by the cursor".to_vec()).await.0.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}", world.name);
        });
    }
}

/// With a process of its own: this test, run once more with a file to open.
#[test]
fn a_second_process_is_told_and_gets_its_turn() {
    const FILE: &str = "IOFS_TEST_APPEND_TO";
    if let Some(path) = std::env::var_os(FILE) {
        let fs = io_fs::FileSystem::new().unwrap();
        let appended = fs.block_on(async {
            let file = fs.open_append(&path).await?;
            file.append(b"child".to_vec()).await.0
        });
        return println!("<{}>", appended.map_or_else(|error| error.kind().to_string(), |at| at.to_string()));
    }
    let child = |path: &std::path::Path| {
        let name = "files::append::a_second_process_is_told_and_gets_its_turn";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(FILE, path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for world in real_worlds() {
        let path = world.path("log");
        let file = world.fs.block_on(async {
            let file = world.fs.open_append(&path).await.unwrap();
            file.append(b"parent".to_vec()).await.0.unwrap();
            file
        });
        let refused = child(&path);
        assert!(refused.contains(&format!("<{}>", io::ErrorKind::WouldBlock)), "{}: {refused}", world.name);
        drop(file);
        let turn = child(&path);
        assert!(turn.contains("<6>"), "{}: {turn}", world.name);
        assert_eq!(world.content("log"), b"parentchild");
    }
}

/// A handle that reads keeps what is known of the inode; who has the lock after another process must not take it for the truth.
#[test]
fn what_others_appended_between_two_locks_is_not_overwritten() {
    for world in real_worlds() {
        let path = world.path("log");
        world.fs.block_on(async {
            let first = world.fs.open_append(&path).await.unwrap();
            let reader = world.fs.open(&path).await.unwrap();
            assert_eq!(first.append(b"ours".to_vec()).await.0.unwrap(), 0);
            drop(first);
            // As another process does, now that the lock is free.
            std::io::Write::write_all(&mut std::fs::File::options().append(true).open(&path).unwrap(), b"theirs")
                .unwrap();
            let second = world.fs.open_append(&path).await.unwrap();
            assert_eq!(second.append(b"ours".to_vec()).await.0.unwrap(), 10, "{}", world.name);
            drop(reader);
        });
        assert_eq!(world.content("log"), b"ourstheirsours", "{}", world.name);
    }
}
