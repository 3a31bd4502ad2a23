//! Memory of the caller's own: borrowed pages by `UnsafeAIO`, arenas that are registered with the driver, windows into buffers.

use crate::{
    random::Random,
    world::{World, assert_same, drain, run},
};
use io_engine::{
    AIO, AIOEventListener, AIOEventLoop, AIOKind, Arena, ArenaBuf, IOQueue, Inflight, LoopOptions, UnsafeAIO,
    core::{FileHandle, IoBuf, Op, Slice},
};
use io_testkit::{BLOCK, pattern};
use std::{
    io,
    sync::{Arc, Mutex, mpsc},
};

every_driver!(a_buffer_pool_of_borrowed_pages, an_arena_that_is_registered, more_arenas_than_a_ring_has_places_for);

const PAGES: usize = 16;
const BLOCKS: u64 = 64;

/// A cache of pages in one block of memory, as a database has it: the pages are its own, the loop borrows them.
struct Pool {
    memory: *mut u8,
    file: FileHandle,
    contents: Arc<Mutex<Vec<u8>>>,
    left: u32,
    random: Random,
    over: mpsc::Sender<()>,
    in_flight: u32,
}

// SAFETY: the memory is leaked, and the pool alone hands out its pages.
unsafe impl Send for Pool {}

impl Pool {
    fn page(&self, key: u64) -> *mut u8 {
        self.memory.wrapping_add(key as usize % PAGES * BLOCK)
    }

    /// The page's next operation: each page reads and writes blocks of its own.
    fn next(&mut self, key: u64) -> UnsafeAIO<(u64, Option<u8>)> {
        let block = self.random.below(BLOCKS / PAGES as u64) * PAGES as u64 + key % PAGES as u64;
        let at = block * BLOCK as u64;
        self.in_flight += 1;
        if self.random.below(2) == 0 {
            let byte = self.random.next() as u8;
            let page = self.page(key);
            // SAFETY: the page is not lent at this moment: its last operation has come back.
            unsafe { page.write_bytes(byte, BLOCK) };
            // SAFETY: the page is written by nobody until this comes back; the memory is leaked.
            unsafe { UnsafeAIO::write(key, &self.file, page, BLOCK, at) }.with_tag((at, Some(byte)))
        } else {
            // SAFETY: the page is touched by nobody until this comes back; the memory is leaked and initialized.
            unsafe { UnsafeAIO::read(key, &self.file, self.page(key), BLOCK, at) }.with_tag((at, None))
        }
    }
}

impl AIOEventListener for Pool {
    type Request = ();
    type Submission = UnsafeAIO<(u64, Option<u8>)>;

    fn on_request(&mut self, (): (), queue: &mut IOQueue<Self::Submission>) -> Result<(), ()> {
        for key in 0..PAGES as u64 {
            let op = self.next(key);
            queue.push(op).map_err(drop)?;
        }
        Ok(())
    }

    fn on_complete(
        &mut self,
        op: Self::Submission,
        result: io::Result<usize>,
        queue: &mut IOQueue<Self::Submission>,
    ) -> AIOKind {
        assert_eq!(result.unwrap(), BLOCK);
        let kind = op.kind();
        let (base, len, (at, written)) = op.into_parts();
        assert_eq!(len, BLOCK);
        let range = at as usize..at as usize + BLOCK;
        {
            let mut contents = self.contents.lock().unwrap();
            match written {
                Some(byte) => contents[range].fill(byte),
                None => {
                    // SAFETY: the page is the pool's again.
                    let page = unsafe { std::slice::from_raw_parts(base, len) };
                    assert_same("a page", page, &contents[range]);
                }
            }
        }
        self.in_flight -= 1;
        if self.left > 0 {
            self.left -= 1;
            let key = (base as usize - self.memory as usize) / BLOCK;
            let next = self.next(key as u64);
            queue.push(next).expect("a place was given back");
        } else if self.in_flight == 0 {
            let _ = self.over.send(());
        }
        kind
    }
}

fn a_buffer_pool_of_borrowed_pages(world: &World) {
    let old = pattern(1, BLOCKS as usize * BLOCK);
    let file = world.file(&old);
    let memory = vec![0u8; (PAGES + 1) * BLOCK].leak();
    let aligned = memory.as_mut_ptr().wrapping_add(memory.as_ptr().align_offset(BLOCK));
    let contents = Arc::new(Mutex::new(old));
    let (over, ended) = mpsc::channel();
    let pool = Pool {
        memory: aligned,
        file: file.handle.clone(),
        contents: contents.clone(),
        left: 2000,
        random: Random::new(1),
        over,
        in_flight: 0,
    };
    let (event_loop, client) = AIOEventLoop::new(world.driver(PAGES as u32), LoopOptions::default()).unwrap();
    let thread = event_loop.start_thread(pool);
    client.send(()).unwrap();
    ended.recv_timeout(crate::world::PATIENCE).expect("the pool comes to its end");
    client.shutdown();
    thread.join().unwrap();
    assert_same("the file", &world.contents(&file), &contents.lock().unwrap());
}

fn an_arena_that_is_registered(world: &World) {
    let contents = pattern(1, BLOCKS as usize * BLOCK);
    let file = world.file(&contents);
    let arena = Arena::new(8, 2 * BLOCK);
    let mut core: Inflight<Op> = world.core(8);
    // Registered or not, everything works; which it is, is the driver's business.
    let _ = core.register_arena(&arena);
    let _ = core.register_file(&file.handle);
    let mut bufs: Vec<_> = std::iter::from_fn(|| arena.take()).collect();
    assert_eq!(bufs.len(), 8);
    for round in 0..20 {
        let mut at_of = std::collections::HashMap::new();
        for (i, buf) in bufs.drain(..).enumerate() {
            let at = (round * 8 + i) % 62 * BLOCK;
            at_of.insert(core.accept(Op::read(&file.handle, buf, at as u64)).unwrap(), at);
        }
        for finished in drain(&mut core) {
            let at = at_of[&finished.token];
            assert_eq!(finished.result.unwrap(), 2 * BLOCK);
            let buf = finished.carrier.into_buf::<ArenaBuf>().unwrap();
            assert_same("read", &buf, &contents[at..at + 2 * BLOCK]);
            bufs.push(buf);
        }
    }
    // Written from, too; and windows into a buffer lie within what is registered as well.
    let mut buf = bufs.pop().unwrap();
    buf.copy_from_slice(&contents[5 * BLOCK..7 * BLOCK]);
    let (result, op) = run(&mut core, Op::write(&file.handle, buf, 0));
    assert_eq!(result.unwrap(), 2 * BLOCK);
    let window = op.into_buf::<ArenaBuf>().unwrap().slice(BLOCK..2 * BLOCK);
    let (result, op) = run(&mut core, Op::read(&file.handle, window, 9 * BLOCK as u64));
    assert_eq!(result.unwrap(), BLOCK);
    let buf = op.into_buf::<Slice<ArenaBuf>>().unwrap().into_inner();
    assert_same("before the window", &buf[..BLOCK], &contents[5 * BLOCK..6 * BLOCK]);
    assert_same("the window", &buf[BLOCK..], &contents[9 * BLOCK..10 * BLOCK]);
    assert_same("the file", &world.contents(&file)[..2 * BLOCK], &contents[5 * BLOCK..7 * BLOCK]);
    // Buffers outlive driver, core and arena.
    core.unregister_file(file.handle.id());
    run(&mut core, Op::stat(&file.handle)).0.unwrap();
    drop(core);
    drop(arena);
    assert_eq!(buf[0], contents[5 * BLOCK]);
    drop((buf, bufs));
}

/// What cannot be registered any more is used unregistered, beside what is.
fn more_arenas_than_a_ring_has_places_for(world: &World) {
    let contents = pattern(1, 8 * BLOCK);
    let arenas: Vec<_> = (0..40).map(|_| Arena::new(1, BLOCK)).collect();
    let files: Vec<_> = (0..80).map(|_| world.file(&contents[..BLOCK])).collect();
    struct All(mpsc::Sender<(usize, Vec<u8>)>, Vec<Arena>, Vec<FileHandle>);
    impl AIOEventListener for All {
        type Request = usize;
        type Submission = AIO<ArenaBuf>;
        fn on_request(&mut self, nth: usize, queue: &mut IOQueue<AIO<ArenaBuf>>) -> Result<(), usize> {
            let Some(buf) = self.1[nth % self.1.len()].take() else { return Err(nth) };
            queue.push(AIO::read(nth as u64, &self.2[nth], buf, 0)).map_err(|_| nth)
        }
        fn on_complete(
            &mut self,
            read: AIO<ArenaBuf>,
            result: io::Result<usize>,
            _: &mut IOQueue<AIO<ArenaBuf>>,
        ) -> AIOKind {
            assert_eq!(result.unwrap(), BLOCK);
            let (key, kind) = (read.key, read.kind());
            self.0.send((key as usize, read.into_buf().to_vec())).unwrap();
            kind
        }
    }
    let (mut event_loop, client) = AIOEventLoop::new(world.driver(16), LoopOptions::default()).unwrap();
    arenas.iter().for_each(|arena| event_loop.register_arena(arena));
    files.iter().for_each(|file| event_loop.register_file(&file.handle));
    let (tx, rx) = mpsc::channel();
    let handles = files.iter().map(|file| file.handle.clone()).collect();
    let thread = event_loop.start_thread(All(tx, arenas, handles));
    for nth in 0..80 {
        client.send(nth).unwrap();
    }
    let mut seen: Vec<_> = (0..80)
        .map(|_| {
            let (nth, bytes) = rx.recv_timeout(crate::world::PATIENCE).expect("every read is answered");
            assert_same("read", &bytes, &contents[..BLOCK]);
            nth
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..80).collect::<Vec<_>>());
    client.shutdown();
    thread.join().unwrap();
}
