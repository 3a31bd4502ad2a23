//! A journal and a snapshot that survive power cuts: one half writes and says what is durable, the other looks at what was left.
//! `cargo xtask powercut` runs the first in a virtual machine, cuts the power at every write of its disk, and lets the second judge.
//!
//! `power_cut append DIR DISK OFFSET RECORDS [without-syncs]` appends records to journals in `DIR`, replaces a snapshot now and then, and
//! after each durable record writes the number of those so far to `OFFSET` of `DISK`. `power_cut check DIR RECORDS` wants so many.

use io_fs::{File, FileOptions, FileSystem, OpenOptions};
use std::{env, error::Error, fs, io, path::Path};

const RECORD: usize = 512;
const PER_JOURNAL: u64 = 40;
const PER_SNAPSHOT: u64 = 16;

fn record(n: u64) -> Vec<u8> {
    (0..RECORD as u64 / 8).flat_map(|word| ((n + 1) << 16 | word).to_le_bytes()).collect()
}

/// Two pages and a bit, so that it can be torn.
fn snapshot(n: u64) -> Vec<u8> {
    record(n).repeat(17)
}

fn journal(dir: &Path, n: u64) -> std::path::PathBuf {
    dir.join(format!("journal-{}", n / PER_JOURNAL))
}

async fn append(fs: &FileSystem, dir: &Path, acks: &File, at: u64, records: u64, syncs: bool) -> io::Result<()> {
    let mut file = None;
    for n in 0..records {
        if n % PER_JOURNAL == 0 {
            let new = fs.open_with(journal(dir, n), OpenOptions::CREATE_NEW).await?;
            new.allocate(0, PER_JOURNAL * RECORD as u64).await?;
            if syncs {
                fs.sync_dir(dir).await?;
            }
            file = Some(new);
        }
        let file = file.as_ref().expect("opened above");
        let offset = n % PER_JOURNAL * RECORD as u64;
        if syncs {
            file.write_durable_at(record(n), offset).await.0?;
        } else {
            file.write_at(record(n), offset).await.0?;
        }
        if (n + 1) % PER_SNAPSHOT == 0 {
            replace(fs, dir, snapshot(n), syncs).await?;
        }
        // Direct, so that it is on its way when the write returns; from the pool, so that it is aligned.
        let mut ack = fs.buffer_pool().acquire_blocking(RECORD);
        ack.extend_from_slice(&record(n));
        acks.write_at(ack, at).await.0?;
    }
    Ok(())
}

async fn replace(fs: &FileSystem, dir: &Path, bytes: Vec<u8>, syncs: bool) -> io::Result<()> {
    if syncs {
        return fs.replace(dir.join("snapshot"), bytes).await.0;
    }
    let file = fs.create(dir.join("new")).await?;
    file.write_at(bytes, 0).await.0?;
    fs.rename(dir.join("new"), dir.join("snapshot")).await
}

/// The first thing that was acknowledged and is not there.
fn missing(dir: &Path, acknowledged: u64) -> Option<String> {
    for n in 0..acknowledged {
        let there = fs::read(journal(dir, n)).unwrap_or_default();
        let at = (n % PER_JOURNAL) as usize * RECORD;
        if there.get(at..at + RECORD) != Some(&record(n)) {
            return Some(format!("record {n} of {acknowledged}"));
        }
    }
    let due = acknowledged / PER_SNAPSHOT * PER_SNAPSHOT;
    match fs::read(dir.join("snapshot")) {
        // A later one is as good: its replacement was under way.
        Ok(bytes) if bytes.len() == snapshot(0).len() => {
            let n = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) >> 16;
            (n < due || bytes != snapshot(n.saturating_sub(1))).then(|| format!("the snapshot of {due}: it is of {n}"))
        }
        Ok(bytes) => Some(format!("the snapshot: it has {} bytes", bytes.len())),
        Err(error) => (due > 0).then(|| format!("the snapshot of {due}: {error}")),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["append", dir, disk, offset, records, ref rest @ ..] => {
            let fs = FileSystem::new()?;
            println!("driver: {}", fs.backend().driver());
            let syncs = !rest.contains(&"without-syncs");
            fs.block_on(async {
                let acks = fs.open_with(disk, FileOptions::new().write(true).direct(true)).await?;
                append(&fs, Path::new(dir), &acks, offset.parse()?, records.parse()?, syncs).await?;
                Ok(())
            })
        }
        ["check", dir, acknowledged] => match missing(Path::new(dir), acknowledged.parse()?) {
            Some(what) => Err(format!("lost: {what}").into()),
            None => Ok(()),
        },
        _ => Err("power_cut append DIR DISK OFFSET RECORDS [without-syncs] | power_cut check DIR RECORDS".into()),
    }
}
