//! The event loop with a listener, over one driver.

use io_fs::{
    AIO, AIOEventListener, AIOEventLoop, AIOKind, DriverName, DriverOptions, FileHandle, IOQueue, LoopOptions,
    OpenOptions,
};
use std::error::Error;
use std::io;
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

/// Writes a file by other means, and reads it block by block.
pub fn run(driver: DriverName, dir: &Path) -> Result<(), Box<dyn Error>> {
    let content: Vec<u8> = (0..BYTES).map(|at| (at / 7 % 251) as u8).collect();
    let path = dir.join("blocks");
    std::fs::write(&path, &content)?;
    let mut options = DriverOptions::default();
    options.driver = Some(driver);
    read_all(options, &path, &content)
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
