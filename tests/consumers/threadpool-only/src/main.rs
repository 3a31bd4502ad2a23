//! The portable driver without an engine: several operations in flight at once, in any order of completion.

use io_core::{Completions, Driver, Op, OpenOptions, RawOp, Token, Wait};
use io_threadpool::ThreadPoolOptions;
use std::error::Error;
use std::path::Path;

const BLOCKS: u32 = 8;
const BLOCK_BYTES: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("consumer-threadpool-only-{}", std::process::id()));
    let done = write_and_read(&path);
    std::fs::remove_file(&path)?;
    done
}

fn write_and_read(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut driver = io_threadpool::threadpool(ThreadPoolOptions { depth: BLOCKS, ..ThreadPoolOptions::default() })?;
    let file = io_threadpool::open(path, OpenOptions::CREATE_NEW)?;
    let at = |block: u32| u64::from(block) * BLOCK_BYTES as u64;
    let content = |block: u32| vec![block as u8 + 1; BLOCK_BYTES];

    let writes = (0..BLOCKS).map(|block| Op::write(&file, content(block), at(block))).collect();
    run_all(&mut driver, 1, writes)?;
    let reads = (0..BLOCKS).map(|block| Op::read(&file, Vec::<u8>::with_capacity(BLOCK_BYTES), at(block))).collect();
    for (block, read) in run_all(&mut driver, 2, reads)?.into_iter().enumerate() {
        let read: Vec<u8> = read.into_buf().map_err(|_| "the buffer is of another type")?;
        assert_eq!(read, content(block as u32));
    }
    println!("{}: wrote and read {BLOCKS} blocks", driver.name());
    Ok(())
}

/// Takes all operations through the driver at once, each in the slot of its index, and gives them back in their order.
fn run_all(driver: &mut dyn Driver, generation: u64, mut ops: Vec<Op>) -> Result<Vec<Op>, Box<dyn Error>> {
    for (slot, op) in ops.iter_mut().enumerate() {
        let raw = op.raw(0, RawOp::MAX_TRANSFER);
        // SAFETY: the operations own buffers and files, the vector does not grow, and none is touched before its answer.
        unsafe { driver.prepare(Token::new(slot as u32, generation), &raw) }
            .map_err(|_| "more operations than depth")?;
    }
    let mut answered = 0;
    let mut answers = Completions::with_limit(4);
    while answered < ops.len() {
        driver.submit(Wait::Forever, &mut answers)?;
        for answer in answers.drain() {
            assert_eq!(answer.token.generation(), generation);
            let bytes = answer.into_io()?;
            assert_eq!(bytes as usize, BLOCK_BYTES);
            // SAFETY: that was the completion of all that was staged of this operation.
            unsafe { ops[answer.token.slot() as usize].settle(u64::from(bytes), answer.result) };
            answered += 1;
        }
    }
    Ok(ops)
}
