//! Random reads from the tasks of a tokio runtime: no threads beside its own are needed, its reactor watches the rings.
//!
//! `cargo run --release -p io-fs --features tokio --example random_reads_tokio`

use io_fs::FileSystem;
use std::{error::Error, time::Instant};

const BLOCK: usize = 4096;
const BLOCKS: u64 = 4096;
const TASKS: u64 = 32;
const READS: u64 = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, (0..BLOCKS).flat_map(|block| [block as u8; BLOCK]).collect::<Vec<_>>())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let fs = FileSystem::new()?;
    println!("driver: {}", fs.backend());
    let begun = Instant::now();
    runtime.block_on(async {
        let file = fs.open(file.path()).await?;
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                // Clones are the same open file, and go wherever the task goes.
                let file = file.clone();
                tokio::spawn(async move {
                    let (mut buf, mut random) = (Vec::with_capacity(BLOCK), task + 1);
                    for _ in 0..READS {
                        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        let block = (random >> 33) % BLOCKS;
                        let (read, back) = file.read_at(buf, block * BLOCK as u64).await;
                        assert_eq!((read?, back[0], back[BLOCK - 1]), (BLOCK, block as u8, block as u8));
                        buf = back;
                    }
                    std::io::Result::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} reads by {TASKS} tasks in {seconds:.3} s: {:.0} a second",
        TASKS * READS,
        (TASKS * READS) as f64 / seconds
    );
    Ok(())
}
