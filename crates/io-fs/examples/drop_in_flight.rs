//! Dropping a future in flight: the interest in its answer is lost, and nothing else. The buffer stays with the engine for as long as
//! the system may write into it, and goes back to its arena after that.
//!
//! `cargo run -p io-fs --example drop_in_flight`

use futures_util::FutureExt;
use io_fs::{Arena, ArenaBuf, FileOptions, FileSystem};
use std::{error::Error, thread, time::Duration};

const BUFS: u32 = 16;
const SIZE: usize = 1 << 20;

/// Takes every buffer that is there.
fn at_home(arena: &Arena) -> Vec<ArenaBuf> {
    std::iter::from_fn(|| arena.take()).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    // Past the page cache, where the file system allows it: from there answers come later, not at once.
    let dir = tempfile::tempdir_in(".")?;
    let path = dir.path().join("data");
    std::fs::write(&path, vec![7; BUFS as usize * SIZE])?;
    let fs = FileSystem::new()?;
    let file = fs.block_on(fs.open_with(&path, FileOptions::new().read(true).direct_or_buffered(true)))?;
    let arena = Arena::new(BUFS, SIZE);

    let mut inline = 0;
    for (i, buf) in at_home(&arena).into_iter().enumerate() {
        // Polled once, which begins the read, and dropped.
        inline += u32::from(file.read_at(buf, (i * SIZE) as u64).now_or_never().is_some());
    }
    let (orphans, bytes) = fs.shards().orphans();
    println!("{}: {BUFS} reads begun and dropped, {inline} of them answered at once", fs.backend());
    println!("now {orphans} are in flight for nobody, with {bytes} bytes; {} buffers are home", at_home(&arena).len());

    // The file may go, too: what is in flight holds it open.
    drop(file);
    while at_home(&arena).len() < BUFS as usize {
        thread::sleep(Duration::from_millis(1));
    }
    println!("later: all {BUFS} buffers are home, {} orphans are left", fs.shards().orphans().0);
    assert!(at_home(&arena).iter_mut().all(|buf| {
        buf.resize(SIZE);
        buf.iter().all(|&byte| byte == 7)
    }));
    println!("each was filled while nobody waited for it");
    Ok(())
}
