//! Random reads from tasks of smol's executor on two threads.
//!
//! `cargo run --release -p io-fs --example random_reads_smol`

use io_fs::FileSystem;
use std::{error::Error, io, thread, time::Instant};

const BLOCK: usize = 4096;
const BLOCKS: u64 = 4096;
const TASKS: u64 = 32;
const READS: u64 = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, (0..BLOCKS).flat_map(|block| [block as u8; BLOCK]).collect::<Vec<_>>())?;
    let fs = FileSystem::new()?;
    println!("driver: {}", fs.backend());
    let file = smol::block_on(fs.open(file.path()))?;
    let read_many = |task: u64| {
        let file = file.clone();
        async move {
            let (mut buf, mut random) = (Vec::with_capacity(BLOCK), task + 1);
            for _ in 0..READS {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let block = (random >> 33) % BLOCKS;
                let (read, back) = file.read_at(buf, block * BLOCK as u64).await;
                assert_eq!((read?, back[0], back[BLOCK - 1]), (BLOCK, block as u8, block as u8));
                buf = back;
            }
            io::Result::Ok(())
        }
    };
    let executor = smol::Executor::new();
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| smol::block_on(executor.run(stopped.recv())));
        }
        let tasks: Vec<_> = (0..TASKS).map(|task| executor.spawn(read_many(task))).collect();
        let done = smol::block_on(async {
            for task in tasks {
                task.await?;
            }
            io::Result::Ok(())
        });
        drop(stop);
        done
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} reads by {TASKS} tasks in {seconds:.3} s: {:.0} a second",
        TASKS * READS,
        (TASKS * READS) as f64 / seconds
    );
    Ok(())
}
