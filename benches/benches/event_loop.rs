//! What a trip through the event loop costs: client → channel → loop → listener → answer.
#![allow(missing_docs)]

use benches::NullDriver;
use criterion::{Criterion, criterion_group, criterion_main};
use io_core::{FileFacts, FileHandle};
use io_engine::{AIO, AIOEventListener, AIOEventLoop, AIOKind, IOQueue, LoopOptions};

struct Echo {
    file: FileHandle,
    answers: flume::Sender<Vec<u8>>,
}

impl AIOEventListener for Echo {
    type Request = Vec<u8>;
    type Submission = AIO<Vec<u8>>;

    fn on_request(&mut self, buf: Vec<u8>, queue: &mut IOQueue<AIO<Vec<u8>>>) -> Result<(), Vec<u8>> {
        queue.push(AIO::write(0, &self.file, buf, 0)).map_err(AIO::into_buf)
    }

    fn on_complete(
        &mut self,
        write: AIO<Vec<u8>>,
        result: std::io::Result<usize>,
        _: &mut IOQueue<AIO<Vec<u8>>>,
    ) -> AIOKind {
        result.unwrap();
        let _ = self.answers.send(write.into_buf());
        AIOKind::Write
    }
}

/// A null driver does not sleep, so the loop spins: this is the cost of the path, without the kernel's wake-up.
fn hop(c: &mut Criterion) {
    let file = FileHandle::from_std(std::fs::File::open("/dev/null").unwrap(), FileFacts::default());
    let (event_loop, client) = AIOEventLoop::new(Box::new(NullDriver::new(64)), LoopOptions::default()).unwrap();
    let (answers, answer) = flume::unbounded();
    let thread = event_loop.start_thread(Echo { file, answers });
    c.bench_function("event loop/hop", |b| {
        let mut buf = Some(vec![0u8; 64]);
        b.iter(|| {
            client.send(buf.take().unwrap()).unwrap();
            buf = Some(answer.recv().unwrap());
        });
    });
    client.shutdown();
    thread.join().unwrap();
}

criterion_group!(benches, hop);
criterion_main!(benches);
