//! No allocation per operation in the steady state: counted, in a process of its own, over all its threads.
#![cfg(target_os = "linux")]

use crate::world::{Which, World};
use io_engine::{
    AIO, AIOEventListener, AIOEventLoop, AIOKind, Arena, ArenaBuf, IOQueue, LoopOptions, Operation, ShardOptions,
    Shards,
    core::{BufResult, FileHandle},
};
use io_testkit::{BLOCK, Mode, pattern};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::{Future, poll_fn},
    io,
    mem::size_of,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    task::Poll,
    time::Duration,
};

/// The system's allocator, and a count.
pub struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);
/// Bytes that are allocated now.
static LIVE: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add((size as u64).wrapping_sub(layout.size() as u64), Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Allocations of the process so far.
pub fn count() -> u64 {
    COUNT.load(Ordering::SeqCst)
}

const DEPTH: u64 = 32;
const WARM_UP: u64 = 3000;
const MEASURED: u64 = 10_000;

/// Keeps a depth of reads and writes going with the buffers of an arena.
struct Steady {
    file: FileHandle,
    arena: Arena,
    done: u64,
    at_warm: u64,
    /// Allocations in the measured part.
    found: Arc<AtomicU64>,
    over: mpsc::Sender<()>,
}

impl Steady {
    fn next(&self, key: u64, buf: ArenaBuf) -> AIO<ArenaBuf> {
        let at = (key * 7919 + self.done) % 64 * BLOCK as u64;
        match key % 4 {
            // A write writes what is initialized: make sure that it is all.
            0 => {
                let mut buf = buf;
                buf.resize(BLOCK);
                AIO::write(key, &self.file, buf, at)
            }
            _ => AIO::read(key, &self.file, buf, at),
        }
    }
}

impl AIOEventListener for Steady {
    type Request = ();
    type Submission = AIO<ArenaBuf>;

    fn on_request(&mut self, (): (), queue: &mut IOQueue<AIO<ArenaBuf>>) -> Result<(), ()> {
        for key in 0..DEPTH {
            let buf = self.arena.take().expect("as many buffers as depth");
            queue.push(self.next(key, buf)).map_err(drop)?;
        }
        Ok(())
    }

    fn on_complete(
        &mut self,
        done: AIO<ArenaBuf>,
        result: io::Result<usize>,
        queue: &mut IOQueue<AIO<ArenaBuf>>,
    ) -> AIOKind {
        assert_eq!(result.unwrap(), BLOCK);
        self.done += 1;
        if self.done == WARM_UP {
            self.at_warm = COUNT.load(Ordering::SeqCst);
        }
        if self.done == WARM_UP + MEASURED {
            self.found.store(COUNT.load(Ordering::SeqCst) - self.at_warm, Ordering::SeqCst);
        }
        let (key, kind) = (done.key, done.kind());
        let buf = done.into_buf();
        if self.done < WARM_UP + MEASURED {
            let next = self.next(key, buf);
            queue.push(next).expect("a place was given back");
        } else if self.done == WARM_UP + MEASURED + DEPTH - 1 {
            let _ = self.over.send(());
        }
        kind
    }
}

fn measure(world: &World, mode: Mode) -> u64 {
    let file = world.file_in(mode, &pattern(1, 64 * BLOCK));
    let arena = Arena::new(DEPTH as u32, BLOCK);
    let found = Arc::new(AtomicU64::new(u64::MAX));
    let (over, ended) = mpsc::channel();
    let mut options = LoopOptions::default();
    // Part of the steady state, too.
    options.stats_every = 16;
    let (mut event_loop, client) = AIOEventLoop::new(world.driver(DEPTH as u32), options).unwrap();
    event_loop.register_arena(&arena);
    event_loop.register_file(&file.handle);
    let listener = Steady { file: file.handle.clone(), arena, done: 0, at_warm: 0, found: found.clone(), over };
    let thread = event_loop.start_thread(listener);
    client.send(()).unwrap();
    ended.recv_timeout(Duration::from_secs(60)).expect("the loop goes on");
    client.shutdown();
    thread.join().unwrap();
    found.load(Ordering::SeqCst)
}

fn no_allocation_per_operation(world: &World) {
    for mode in Mode::ALL {
        let allocations = measure(world, mode);
        // None per operation. Each thread that comes to deliver something makes room for that once, and on a busy machine some come late.
        assert!(
            allocations <= MEASURED / 200,
            "{allocations} allocations in {MEASURED} {mode:?} transfers on {}",
            world.which.name()
        );
    }
}

fn shards_on(world: &World, options: ShardOptions) -> Shards {
    let driver = world.driver(DEPTH as u32);
    match world.which {
        Which::Uring => Shards::owned(driver, options).unwrap(),
        _ => Shards::new(vec![driver], options).unwrap(),
    }
}

type Transfer<B> = Operation<BufResult<usize, B>>;

/// Keeps a depth of reads and writes going by futures; the allocations of the measured part.
async fn keep_going(shards: &Shards, file: &FileHandle, arena: &Arena) -> u64 {
    let next = |key: u64, done: u64, mut buf: ArenaBuf| {
        let at = (key * 7919 + done) % 64 * BLOCK as u64;
        match key % 4 {
            0 => {
                buf.resize(BLOCK);
                shards.write_at(file, buf, at)
            }
            _ => shards.read_at(file, buf, at),
        }
    };
    let buf = || arena.take().expect("as many buffers as depth");
    let mut ops: Vec<Option<Transfer<ArenaBuf>>> = (0..DEPTH).map(|key| Some(next(key, 0, buf()))).collect();
    let (mut done, mut at_warm, mut found) = (0, 0, 0);
    poll_fn(|cx| {
        let mut pending = 0;
        for (key, slot) in ops.iter_mut().enumerate() {
            let Some(op) = slot else { continue };
            let Poll::Ready((result, buf)) = Pin::new(op).poll(cx) else {
                pending += 1;
                continue;
            };
            assert_eq!(result.unwrap(), BLOCK);
            done += 1;
            match done {
                WARM_UP => at_warm = count(),
                n if n == WARM_UP + MEASURED => found = count() - at_warm,
                _ => {}
            }
            *slot = (done <= WARM_UP + MEASURED).then(|| next(key as u64, done, buf));
            if slot.is_some() {
                pending += 1;
                // A fresh operation begins with the next poll.
                cx.waker().wake_by_ref();
            }
        }
        if pending > 0 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    found
}

fn no_allocation_per_operation_of_shards(world: &World) {
    for mode in Mode::ALL {
        let file = world.file_in(mode, &pattern(1, 64 * BLOCK));
        let arena = Arena::new(DEPTH as u32, BLOCK);
        let shards = shards_on(world, ShardOptions::default());
        let allocations = shards.block_on(keep_going(&shards, &file.handle, &arena));
        let counted: u64 = shards.metrics().iter().map(|row| row.count).sum();
        assert!(counted >= WARM_UP + MEASURED, "{counted} operations were counted");
        // None per operation. Each thread that comes to deliver something makes room for that once, and on a busy machine some come late.
        assert!(
            allocations <= MEASURED / 200,
            "{allocations} allocations in {MEASURED} {mode:?} transfers through shards on {}",
            world.which.name()
        );
    }
}

/// A hundred thousand operations at once, most of which wait in the engine.
fn little_memory_per_accepted_operation(world: &World) {
    const MANY: usize = 100_000;
    const EACH_MAX: u64 = 256;
    static BYTES: [u8; BLOCK] = [7; BLOCK];
    let file = world.file_in(Mode::Buffered, &pattern(1, 64 * BLOCK));
    let shards = shards_on(world, ShardOptions::default());
    // What is lazily made once is made.
    shards.block_on(async { shards.write_at(&file.handle, &BYTES[..], 0).await.0.unwrap() });
    let mut ops: Vec<Transfer<&'static [u8]>> = Vec::with_capacity(MANY);
    let before = LIVE.load(Ordering::SeqCst);
    shards.block_on(async {
        for i in 0..MANY {
            let mut op = shards.write_at(&file.handle, &BYTES[..512], (i % 512) as u64 * 512);
            // Those that are done at once would not be accepted ones: another one takes their place.
            while poll_fn(|cx| Poll::Ready(Pin::new(&mut op).poll(cx).is_ready())).await {
                op = shards.write_at(&file.handle, &BYTES[..512], 0);
            }
            ops.push(op);
        }
        let each = (LIVE.load(Ordering::SeqCst) - before) / MANY as u64;
        assert!(each <= EACH_MAX, "{each} bytes an operation on {}", world.which.name());
        assert!(size_of::<Transfer<&'static [u8]>>() <= 128, "{} in the future", size_of::<Transfer<&'static [u8]>>());
        for op in ops.drain(..) {
            assert_eq!(op.await.0.unwrap(), 512);
        }
    });
    assert_eq!(shards.load(), (0, 0, 0));
}

/// As [`every_driver!`](crate::every_driver), with a process for each: other tests allocate, too. (The simulator keeps a trace
/// and is not meant to be fast.)
macro_rules! in_a_process {
    (@ $which:ident $case:ident) => {
        #[test]
        fn $case() {
            io_testkit::in_child!("alone", io_testkit::confine::Confinement::none(), || {
                crate::world::on(crate::world::Which::$which, stringify!($case), super::$case);
            });
        }
    };
    ($($module:ident $which:ident $feature:literal),+ $(,)?) => {
        $(
            #[cfg(feature = $feature)]
            mod $module {
                in_a_process!(@ $which no_allocation_per_operation);
                in_a_process!(@ $which no_allocation_per_operation_of_shards);
                in_a_process!(@ $which little_memory_per_accepted_operation);
            }
        )+
    };
}

in_a_process!(uring Uring "io-uring", uring_shared UringShared "io-uring", aio Aio "libaio", threadpool ThreadPool "threadpool");
