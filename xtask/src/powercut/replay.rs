//! Makes each moment of a disk again, mounts it, and asks the program what is there.

use super::block_log::{BlockLog, Entry};
use crate::exec::Interrupted;
use crate::sys;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;

#[derive(Debug)]
pub(super) struct Replay<'a> {
    pub(super) log: &'a BlockLog,
    /// The disk as it was before.
    pub(super) disk: &'a Path,
    pub(super) program: &'a Path,
    pub(super) seed: u64,
    pub(super) dir: &'a Path,
}

/// What came out of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) points: u64,
    pub(super) lost: u64,
    /// Disks that could not be mounted.
    pub(super) refused: u64,
    /// What was lost at the first point of the first round that lost something.
    pub(super) first: Option<Loss>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Loss {
    round: u64,
    point: usize,
    what: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {} ({:?}), after {} entries: {}", self.round, How::of(self.round), self.point, self.what)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} points, {} lost, {} not mountable", self.points, self.lost, self.refused)?;
        self.first.iter().try_for_each(|first| write!(f, "; the first: {first}"))
    }
}

/// What becomes of writes that no flush has followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// They are there.
    AsLogged,
    /// Each of them may be missing.
    Dropped,
    /// Each of their sectors may be missing.
    Torn,
}

impl How {
    /// Rounds take turns; only the first one is as logged, because it is always the same.
    fn of(round: u64) -> How {
        match round {
            0 => How::AsLogged,
            odd if odd % 2 == 1 => How::Dropped,
            _ => How::Torn,
        }
    }
}

impl Replay<'_> {
    /// Cuts at every entry in as many rounds as it takes; where one round is more than enough, at some entries only.
    pub(super) fn run(&self, points: u64) -> Result<Tally> {
        let entries = self.log.entries.len() as u64 + 1;
        // Never the first round alone: losses show when writes are missing.
        let rounds = points.div_ceil(entries).max(3);
        let stride = (rounds * entries / points.max(1)).max(1) as usize;
        let next = AtomicU64::new(0);
        let tally = Mutex::new(Tally::default());
        let base = fs::read(self.disk)?;
        let work = |worker: usize| -> Result<()> {
            let mut site = Site::new(self, worker, &base)?;
            loop {
                let round = next.fetch_add(1, Ordering::Relaxed);
                if round >= rounds {
                    return Ok(());
                }
                self.round(&mut site, round, stride, &base, &tally)?;
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from).min(4);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("a worker panicked"))
        })?;
        Ok(tally.into_inner().expect("a worker panicked"))
    }

    fn round(&self, site: &mut Site, round: u64, stride: usize, base: &[u8], tally: &Mutex<Tally>) -> Result<()> {
        let mut durable = base.to_vec();
        let mut pending: Vec<&Entry> = Vec::new();
        let mut acked = 0;
        for point in 0..=self.log.entries.len() {
            if sys::interrupted() {
                return Err(Interrupted.into());
            }
            if point % stride == round as usize % stride {
                let left = self.left(&durable, &pending, round, point);
                let found = site.ask(self.program, &left, acked)?;
                let mut tally = tally.lock().expect("a worker panicked");
                tally.points += 1;
                if tally.points.is_multiple_of(500) {
                    eprintln!("  {} points, {} lost", tally.points, tally.lost);
                }
                match found {
                    Found::All => {}
                    Found::NoFileSystem => tally.refused += 1,
                    Found::Lost(what) => {
                        tally.lost += 1;
                        let loss = Loss { round, point, what };
                        tally.first = tally.first.take().into_iter().chain([loss]).min();
                    }
                }
            }
            let Some(entry) = self.log.entries.get(point) else { break };
            acked = entry.ack.map_or(acked, |ack| acked.max(ack));
            if entry.flush {
                pending.drain(..).for_each(|entry| apply(&mut durable, entry, self.log.data(entry)));
            }
            if entry.fua {
                // Earlier writes to the same place do not come back over it.
                pending.push(entry);
                self.settle(&mut durable, &mut pending);
            } else if entry.ack.is_none() {
                pending.push(entry);
            }
        }
        Ok(())
    }

    /// A write that is durable by itself takes along what was pending before it at the same place.
    fn settle(&self, durable: &mut [u8], pending: &mut Vec<&Entry>) {
        let Some(last) = pending.pop() else { return };
        let end = |entry: &Entry| entry.at + self.log.data(entry).len() as u64;
        pending.retain(|entry| {
            let apart = end(entry) <= last.at || end(last) <= entry.at;
            if !apart {
                apply(durable, entry, self.log.data(entry));
            }
            apart
        });
        apply(durable, last, self.log.data(last));
    }

    /// The disk that a cut here leaves.
    fn left(&self, durable: &[u8], pending: &[&Entry], round: u64, point: usize) -> Vec<u8> {
        let mut left = durable.to_vec();
        let mut drawn = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (round << 32) ^ point as u64;
        let mut lost = || {
            drawn = drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)).is_multiple_of(4)
        };
        for entry in pending {
            let data = self.log.data(entry);
            match How::of(round) {
                How::AsLogged => apply(&mut left, entry, data),
                How::Dropped if lost() => {}
                How::Dropped => apply(&mut left, entry, data),
                How::Torn => {
                    for (n, sector) in data.chunks(SECTOR).enumerate().filter(|_| !lost()) {
                        put(&mut left, entry.at + (n * SECTOR) as u64, sector);
                    }
                }
            }
        }
        left
    }
}

fn apply(disk: &mut [u8], entry: &Entry, data: &[u8]) {
    put(disk, entry.at, data);
}

fn put(disk: &mut [u8], at: u64, data: &[u8]) {
    disk[at as usize..at as usize + data.len()].copy_from_slice(data);
}

enum Found {
    All,
    Lost(String),
    NoFileSystem,
}

/// One worker's image and mount point.
struct Site {
    image: std::path::PathBuf,
    mount: std::path::PathBuf,
    file: File,
    seen: Vec<u8>,
}

impl Site {
    /// In memory where there is a place for that: the image is written and mounted thousands of times.
    fn new(replay: &Replay<'_>, worker: usize, base: &[u8]) -> Result<Site> {
        let mount = replay.dir.join(format!("mnt{worker}"));
        fs::create_dir_all(&mount)?;
        let shm = Path::new("/dev/shm");
        let dir = if shm.is_dir() { shm } else { replay.dir };
        let image = dir.join(format!("iofs-powercut-{}-{worker}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&image)?;
        let mut site = Site { image, mount, file, seen: vec![0; base.len()] };
        site.file.write_all(base)?;
        Ok(site)
    }

    fn ask(&mut self, program: &Path, disk: &[u8], acked: u64) -> Result<Found> {
        self.show(disk)?;
        let mount = Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&self.image).arg(&self.mount).output();
        let mount = mount.context("cannot start mount")?;
        if !mount.status.success() {
            // Every mount failing is told by the tally.
            return Ok(Found::NoFileSystem);
        }
        let check = Command::new(program).arg("check").arg(&self.mount).arg(acked.to_string()).output();
        let unmounted = Command::new("umount").arg(&self.mount).stdin(Stdio::null()).status()?;
        if !unmounted.success() {
            bail!("cannot unmount {}", self.mount.display());
        }
        let check = check.with_context(|| format!("cannot start {}", program.display()))?;
        if check.status.success() {
            return Ok(Found::All);
        }
        Ok(Found::Lost(String::from_utf8_lossy(&check.stderr).trim().to_owned()))
    }

    /// The image becomes this disk. Mounting has changed it in places that we do not know, so it is read.
    fn show(&mut self, disk: &[u8]) -> Result<()> {
        self.file.rewind()?;
        self.file.read_exact(&mut self.seen)?;
        for (n, (old, new)) in self.seen.chunks(BLOCK).zip(disk.chunks(BLOCK)).enumerate() {
            if old != new {
                self.file.seek(SeekFrom::Start((n * BLOCK) as u64))?;
                self.file.write_all(new)?;
            }
        }
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        if crate::mounts::type_of(&mounts, &self.mount).is_some() {
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
        let _ = fs::remove_file(&self.image);
        let _ = fs::remove_dir(&self.mount);
    }
}

#[cfg(test)]
mod tests {
    use super::super::block_log::tests::log;
    use super::*;

    fn with<R>(entries: &[(u64, u64, &[u8])], look: impl FnOnce(&Replay<'_>) -> R) -> R {
        let log = BlockLog::parse(log(entries), u64::MAX).unwrap();
        let nowhere = Path::new("");
        look(&Replay { log: &log, disk: nowhere, program: nowhere, seed: 3, dir: nowhere })
    }

    #[test]
    fn writes_without_a_flush_are_there_missing_or_torn() {
        with(&[(0, 0, &[1; 4096]), (8, 0, &[2; 4096])], |replay| {
            let pending: Vec<&Entry> = replay.log.entries.iter().collect();
            let disk = vec![0; 8192];
            let whole = [vec![1; 4096], vec![2; 4096]].concat();
            assert_eq!(replay.left(&disk, &pending, 0, 2), whole, "round 0 is as logged");
            let sectors = |round, point| -> Vec<u8> {
                replay.left(&disk, &pending, round, point).chunks(SECTOR).map(|sector| sector[0]).collect()
            };
            let dropped: Vec<_> = (0..50).map(|point| sectors(1, point)).collect();
            assert!(dropped.iter().all(|disk| disk[..8].iter().all(|n| *n == disk[0])), "writes are whole");
            assert!(dropped.iter().any(|disk| (disk[0], disk[8]) == (0, 2)));
            assert!(dropped.iter().any(|disk| (disk[0], disk[8]) == (1, 0)));
            let torn = |disk: &Vec<u8>| disk[..8].contains(&0) && disk[..8].contains(&1);
            assert!((0..50).map(|point| sectors(2, point)).any(|disk| torn(&disk)));
        });
    }

    #[test]
    fn a_write_that_is_durable_by_itself_takes_along_what_it_covers() {
        with(&[(0, 0, &[1; 1024]), (4, 0, &[3; 512]), (1, 2, &[2; 512])], |replay| {
            let mut durable = vec![0; 4096];
            let mut pending: Vec<&Entry> = replay.log.entries.iter().collect();
            replay.settle(&mut durable, &mut pending);
            let sectors: Vec<u8> = durable.chunks(SECTOR).map(|sector| sector[0]).collect();
            assert_eq!(sectors, [1, 2, 0, 0, 0, 0, 0, 0]);
            assert_eq!(pending.len(), 1, "what is elsewhere goes on waiting");
        });
    }
}
