//! Copies a file in chunks, eight at a time: each task reads one, writes it, and takes the next.
//!
//! `cargo run -p io-fs --example copy -- FROM TO`; without names it makes a file and copies that. In a program of your own
//! `FileSystem::copy` is shorter, whole or not at all, and uses reflinks; this shows how buffers and tasks go round.

use futures_util::future::join_all;
use io_fs::{FileOptions, FileSystem, OpenOptions};
use std::{cell::Cell, io, path::PathBuf, time::Instant};

const CHUNK: usize = 256 << 10;
const TASKS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = tempfile::tempdir()?;
    let mut names = std::env::args_os().skip(1).map(PathBuf::from);
    let (from, to) = match (names.next(), names.next()) {
        (Some(from), Some(to)) => (from, to),
        _ => (here.path().join("from"), here.path().join("to")),
    };
    if from.starts_with(here.path()) {
        std::fs::write(&from, (0..20_000_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>())?;
    }
    let fs = FileSystem::new()?;
    let begun = Instant::now();
    let bytes = fs.block_on(async {
        let source = fs.open(&from).await?;
        let copy = fs.open_with(&to, FileOptions::new().write(true).create_new(true)).await?;
        let next = Cell::new(0);
        let bytes = Cell::new(0);
        let task = || async {
            // One buffer for each task: it goes to an operation and comes back with its answer.
            let mut buf = Vec::with_capacity(CHUNK);
            loop {
                let at = next.replace(next.get() + CHUNK as u64);
                let (read, filled) = source.read_at(buf, at).await;
                if read? == 0 {
                    return io::Result::Ok(());
                }
                let (written, back) = copy.write_at(filled, at).await;
                bytes.set(bytes.get() + written?);
                buf = back;
            }
        };
        for done in join_all((0..TASKS).map(|_| task())).await {
            done?;
        }
        copy.sync_all().await?;
        io::Result::Ok(bytes.get())
    })?;
    println!("{}: {bytes} bytes copied and synced in {:.1?}", fs.backend(), begun.elapsed());
    let same = fs.block_on(async {
        let (a, b) =
            (fs.metadata(&from).await?.size, fs.open_with(&to, OpenOptions::READ).await?.metadata().await?.size);
        io::Result::Ok(a == b)
    })?;
    assert!(same, "the copy is as long as its original");
    Ok(())
}
