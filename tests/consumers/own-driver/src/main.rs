//! A driver of one's own under the engine: it only reads and writes, so each sync goes to the engine's thread pool, behind the
//! write that it covers.

mod driver;

use driver::InPlace;
use io_core::{AnyBuf, FileHandle, OpenOptions};
use io_engine::{AIO, AIOEventListener, AIOEventLoop, AIOKind, AnySubmission, IOQueue, LoopOptions};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::mpsc;

const BLOCKS: u64 = 64;
const BLOCK_BYTES: u64 = 4096;
const DEPTH: u32 = 8;

/// Writes a block, syncs it, reads it back, and answers with what was read.
struct Durable {
    file: FileHandle,
    /// Requests between their first operation and their answer. Each has one operation in the queue or in flight, so that
    /// as many as the depth always find room for their next one.
    begun: u32,
    answers: mpsc::Sender<io::Result<(u64, Vec<u8>)>>,
}

impl AIOEventListener for Durable {
    type Request = u64;
    type Submission = AnySubmission;

    fn on_request(&mut self, block: u64, queue: &mut IOQueue<AnySubmission>) -> Result<(), u64> {
        if self.begun == DEPTH {
            return Err(block);
        }
        queue.push(AIO::write(block, &self.file, content(block), block * BLOCK_BYTES).into_any()).map_err(|_| block)?;
        self.begun += 1;
        Ok(())
    }

    fn on_complete(
        &mut self,
        done: AnySubmission,
        result: io::Result<usize>,
        queue: &mut IOQueue<AnySubmission>,
    ) -> AIOKind {
        let (kind, block) = (done.kind(), done.key);
        if let Err(error) = result {
            self.begun -= 1;
            self.answers.send(Err(error)).unwrap();
            return kind;
        }
        let next = match kind {
            AIOKind::Write => AIO::sync_data(block, &self.file).into_any(),
            AIOKind::Sync => {
                let target = Vec::<u8>::with_capacity(BLOCK_BYTES as usize);
                AIO::read(block, &self.file, target, block * BLOCK_BYTES).into_any()
            }
            _ => {
                let read = done.into_any_buf().map(AnyBuf::downcast::<Vec<u8>>);
                let Some(Ok(read)) = read else { panic!("a read's buffer is the one that it was given") };
                self.begun -= 1;
                self.answers.send(Ok((block, read))).unwrap();
                return kind;
            }
        };
        queue.push(next).expect("an answered operation leaves its place to the next");
        kind
    }
}

fn content(block: u64) -> Vec<u8> {
    vec![block as u8 + 1; BLOCK_BYTES as usize]
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::temp_dir().join(format!("consumer-own-driver-{}", std::process::id()));
    let done = write_sync_read(&path);
    std::fs::remove_file(&path)?;
    done
}

fn write_sync_read(path: &Path) -> Result<(), Box<dyn Error>> {
    let file = io_engine::open(path, OpenOptions::CREATE_NEW)?;
    let (event_loop, client) = AIOEventLoop::new(Box::new(InPlace::new(DEPTH)), LoopOptions::default())?;
    let name = event_loop.driver_name();
    let (answers, answer) = mpsc::channel();
    let thread = event_loop.start_thread(Durable { file, begun: 0, answers });
    for block in 0..BLOCKS {
        client.send(block).map_err(|_| "the loop has ended")?;
    }
    let mut seen = vec![0; BLOCKS as usize];
    for _ in 0..BLOCKS {
        let (block, read) = answer.recv()??;
        assert_eq!(read, content(block));
        seen[block as usize] += 1;
    }
    client.shutdown();
    thread.join().map_err(|_| "the loop panicked")?;
    assert_eq!(seen, vec![1; BLOCKS as usize], "each request is answered exactly once");
    assert!(answer.recv().is_err(), "and nothing comes after");
    println!("{name}: wrote, synced and read {BLOCKS} blocks");
    Ok(())
}
