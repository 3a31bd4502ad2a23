//! What a storage layer imports: the facade alone, without a line of unsafe code. Run over every driver that works here.
#![forbid(unsafe_code)]

use io_fs::{
    AIO, AIOEventListener, AIOEventLoop, AIOKind, DriverOptions, FileHandle, IOQueue, LoopOptions, OpenOptions,
};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;

const BYTES: usize = 1 << 20;
const BLOCK_BYTES: usize = 16 << 10;

/// Answers each request, a block's number, with the block.
struct Reader {
    file: FileHandle,
    answers: mpsc::Sender<(u64, io::Result<Vec<u8>>)>,
}

impl AIOEventListener for Reader {
    type Request = u64;
    type Submission = AIO<Vec<u8>>;

    fn on_request(&mut self, block: u64, queue: &mut IOQueue<AIO<Vec<u8>>>) -> Result<(), u64> {
        let target = Vec::with_capacity(BLOCK_BYTES);
        queue.push(AIO::read(block, &self.file, target, block * BLOCK_BYTES as u64)).map_err(|_| block)
    }

    fn on_complete(&mut self, read: AIO<Vec<u8>>, result: io::Result<usize>, _: &mut IOQueue<AIO<Vec<u8>>>) -> AIOKind {
        let block = read.key;
        self.answers.send((block, result.map(|_| read.into_buf()))).unwrap();
        AIOKind::Read
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let content: Vec<u8> = (0..BYTES).map(|at| (at / 7 % 251) as u8).collect();
    let path = std::env::temp_dir().join(format!("consumer-fs-only-{}", std::process::id()));
    std::fs::write(&path, &content)?;
    let done = read_with_each(&path, &content);
    std::fs::remove_file(&path)?;
    done
}

fn read_with_each(path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    let mut ran = 0;
    for (name, unavailable) in io_fs::survey(&DriverOptions::default()) {
        match unavailable {
            None => {
                let mut options = DriverOptions::default();
                options.driver = Some(name);
                read_all(options, path, content)?;
                ran += 1;
            }
            Some(unavailable) => skip(&unavailable.to_string())?,
        }
    }
    assert!(ran > 0, "the thread pool runs everywhere");
    Ok(())
}

fn read_all(options: DriverOptions, path: &Path, content: &[u8]) -> Result<(), Box<dyn Error>> {
    let driver = io_fs::select(&options)?.driver;
    let (event_loop, client) = AIOEventLoop::new(driver, LoopOptions::default())?;
    let name = event_loop.driver_name();
    let (answers, answer) = mpsc::channel();
    let file = io_fs::open(path, OpenOptions::READ)?;
    let thread = event_loop.start_thread(Reader { file, answers });
    let blocks = (BYTES / BLOCK_BYTES) as u64;
    for block in 0..blocks {
        client.send(block).map_err(|_| "the loop has ended")?;
    }
    for _ in 0..blocks {
        let (block, read) = answer.recv()?;
        let from = block as usize * BLOCK_BYTES;
        assert_eq!(read?, content[from..from + BLOCK_BYTES], "block {block} by {name}");
    }
    client.shutdown();
    thread.join().map_err(|_| "the loop panicked")?;
    println!("{name}: read {blocks} blocks");
    Ok(())
}

/// Tells the test run which driver was not tried.
fn skip(reason: &str) -> io::Result<()> {
    println!("skipped: {reason}");
    match std::env::var_os("IOFS_SKIP_LOG") {
        Some(log) => writeln!(std::fs::File::options().append(true).open(log)?, "consumer fs-only\tmain\t{reason}"),
        None => Ok(()),
    }
}
