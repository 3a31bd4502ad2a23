//! One driver without an engine: a write, a sync and a read by hand, each answered exactly once.

use io_aio::AioOptions;
use io_core::{Completions, Driver, FileFacts, FileHandle, Op, RawOp, Token, Wait};
use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let mut driver = match io_aio::aio(AioOptions { depth: 8, ..AioOptions::default() }) {
        Ok(driver) => driver,
        Err(unavailable) => return skip(&unavailable.to_string()),
    };
    let file = scratch_file()?;
    let written = b"one driver, no engine".to_vec();

    let write = run(&mut driver, 1, Op::write(&file, written.clone(), 0))?;
    assert_eq!(write.0 as usize, written.len());
    run(&mut driver, 2, Op::sync_data(&file))?;
    let (bytes, read) = run(&mut driver, 3, Op::read(&file, Vec::<u8>::with_capacity(64), 0))?;
    let read: Vec<u8> = read.into_buf().map_err(|_| "the buffer is of another type")?;
    assert_eq!((bytes as usize, read.as_slice()), (written.len(), written.as_slice()));
    println!("{}: wrote, synced and read {bytes} bytes", driver.name());
    Ok(())
}

/// Takes one operation through the driver and gives it back with its result.
fn run(driver: &mut dyn Driver, generation: u64, mut op: Op) -> Result<(u32, Op), Box<dyn Error>> {
    let token = Token::new(0, generation);
    let raw = op.raw(0, RawOp::MAX_TRANSFER);
    // SAFETY: `op` owns buffer and file, and stays where it is until its completion is there; the token is new.
    unsafe { driver.prepare(token, &raw) }.map_err(|_| "an idle driver has room")?;
    let mut answers = Completions::with_limit(4);
    while answers.is_empty() {
        driver.submit(Wait::Forever, &mut answers)?;
    }
    assert_eq!(answers.len(), 1, "one operation, one answer");
    let answer = answers.as_slice()[0];
    assert_eq!(answer.token, token);
    let bytes = answer.into_io()?;
    // SAFETY: that was the completion of all that was staged of `op`.
    unsafe { op.settle(u64::from(bytes), answer.result) };
    Ok((bytes, op))
}

/// A file that goes away by itself, also when we fail.
fn scratch_file() -> std::io::Result<FileHandle> {
    let path = std::env::temp_dir().join(format!("consumer-core-aio-{}", std::process::id()));
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(FileHandle::from_std(file, FileFacts { seekable: true, ..FileFacts::default() }))
}

/// Tells the test run why nothing was tried here.
fn skip(reason: &str) -> Result<(), Box<dyn Error>> {
    println!("skipped: {reason}");
    if let Some(log) = std::env::var_os("IOFS_SKIP_LOG") {
        writeln!(std::fs::File::options().append(true).open(log)?, "consumer core-aio\tmain\t{reason}")?;
    }
    Ok(())
}
