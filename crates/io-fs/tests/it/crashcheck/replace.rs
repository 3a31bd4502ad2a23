//! `FileSystem::replace`: all of the old content or all of the new, and the new one once it was reported.

use super::{bytes, draw, explorer, on, on_a_liar, text};
use io_fs::{FileSystem, OpKind};
use io_sim::{Acks, SimDisk, Which};

#[derive(Clone, Copy, Debug)]
enum Note {
    Begun { file: u64, version: u64 },
    Done { file: u64, version: u64 },
}

const FILES: u64 = 2;

fn path(file: u64) -> String {
    format!("/d/f{file}")
}

fn content(seed: u64, file: u64, version: u64) -> Vec<u8> {
    bytes(&[seed, file, version], (draw(&[seed, version, file]) % 9000) as usize)
}

async fn replace(fs: &FileSystem, acks: &Acks<Note>, file: u64, version: u64) -> Result<(), String> {
    acks.note(Note::Begun { file, version });
    fs.replace(path(file), content(acks.seed(), file, version)).await.0.map_err(text)?;
    acks.note(Note::Done { file, version });
    Ok(())
}

async fn workload(fs: FileSystem, acks: Acks<Note>) -> Result<(), String> {
    let mut versions = [0; FILES as usize];
    for step in 0..4 {
        let file = draw(&[acks.seed(), step]) % FILES;
        versions[file as usize] += 1;
        replace(&fs, &acks, file, versions[file as usize]).await?;
    }
    Ok(())
}

/// Each file is a version from the last that was reported to the last that was begun; then each is replaced once more.
async fn check(fs: FileSystem, disk: &SimDisk, acks: &Acks<Note>) -> Result<(), String> {
    for file in 0..FILES {
        let (mut done, mut begun) = (0, 0);
        for note in acks.given() {
            match *note {
                Note::Begun { file: of, version } if of == file => begun = version,
                Note::Done { file: of, version } if of == file => done = version,
                _ => {}
            }
        }
        let found = disk.read_file(path(file)).ok();
        let is = |version: &u64| match &found {
            Some(found) => *version > 0 && *found == content(acks.seed(), file, *version),
            None => *version == 0,
        };
        if !(done..=begun).any(|version| is(&version)) {
            let len = found.map(|found| found.len());
            return Err(format!("file {file} with {len:?} bytes is none of the versions {done} to {begun}"));
        }
        if draw(&[acks.seed(), file, begun]) % 2 == 0 {
            replace(&fs, acks, file, begun + 1).await?;
        }
    }
    Ok(())
}

fn set_up(disk: &SimDisk) -> Result<(), String> {
    disk.create_dir_all("/d").map_err(text)
}

#[test]
fn what_was_replaced_is_old_or_new() {
    let workload = |disk: &SimDisk, acks: &Acks<Note>| {
        set_up(disk)?;
        on(disk, |fs| workload(fs, acks.clone()))
    };
    explorer().test("replace", 2000, workload, |disk, acks| on(disk, |fs| check(fs, disk, acks)));
}

#[test]
fn lost_syncs_of_a_replacement_are_found() {
    for which in [Which::syncs(), Which::kind(OpKind::SyncDir)] {
        let workload = |disk: &SimDisk, acks: &Acks<Note>| {
            set_up(disk)?;
            on_a_liar(disk, which.clone(), |fs| workload(fs, acks.clone()))
        };
        let failure = explorer().explore(workload, |disk, acks| on(disk, |fs| check(fs, disk, acks))).unwrap_err();
        assert!(failure.repeats && failure.what.contains("none of the versions"), "{failure}");
    }
}
