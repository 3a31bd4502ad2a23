//! Without a runtime: `block_on` runs a future on the calling thread, which reaps its completions itself while it waits. Threads
//! share a `FileSystem`; a `LocalFs` belongs to one of them and is the shortest way there is.
//!
//! `cargo run --release -p io-fs --example without_a_runtime`

use futures_util::future::join_all;
use io_fs::{File, FileSystem, LocalFs, OpenOptions};
use std::{error::Error, io, thread, time::Instant};

const BLOCK: usize = 4096;
const READS: u64 = 20_000;

/// Thirty-two reads at a time, until all are done.
async fn read_all(file: &File) -> io::Result<()> {
    let reader = |first: u64| async move {
        let mut buf = Vec::with_capacity(BLOCK);
        for block in (first..READS).step_by(32) {
            let (read, back) = file.read_at(buf, block % 1024 * BLOCK as u64).await;
            assert_eq!((read?, back[7]), (BLOCK, (block % 1024) as u8));
            buf = back;
        }
        io::Result::Ok(())
    };
    join_all((0..32).map(reader)).await.into_iter().collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = tempfile::NamedTempFile::new()?;
    std::fs::write(&path, (0..1024).flat_map(|block| [block as u8; BLOCK]).collect::<Vec<_>>())?;

    let fs = FileSystem::new()?;
    let begun = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| fs.block_on(async { read_all(&fs.open(&path).await?).await }))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    println!("{}: two threads, {READS} reads each, in {:.1?}", fs.backend(), begun.elapsed());

    let local = LocalFs::new()?;
    let begun = Instant::now();
    local.block_on(async { read_all(&*local.open_with(&path, OpenOptions::READ).await?).await })?;
    println!("{}: this thread alone, {READS} reads, in {:.1?}", local.backend(), begun.elapsed());
    Ok(())
}
