//! No allocation per operation in the steady state: counted, in a process of its own, over all its threads.
#![cfg(target_os = "linux")]

use crate::world::World;
use io_engine::{
    AIO, AIOEventListener, AIOEventLoop, AIOKind, Arena, ArenaBuf, IOQueue, LoopOptions, core::FileHandle,
};
use io_testkit::{BLOCK, Mode, pattern};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

/// The system's allocator, and a count.
pub struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
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
        assert!(
            allocations <= 8,
            "{allocations} allocations in {MEASURED} {mode:?} transfers on {}",
            world.which.name()
        );
    }
}

/// As [`every_driver!`](crate::every_driver), with a process for each: other tests allocate, too. (The simulator keeps a trace
/// and is not meant to be fast.)
macro_rules! in_a_process {
    ($($module:ident $which:ident $feature:literal),+ $(,)?) => {
        $(
            #[cfg(feature = $feature)]
            mod $module {
                #[test]
                fn no_allocation_per_operation() {
                    io_testkit::in_child!("alone", io_testkit::confine::Confinement::none(), || {
                        let which = crate::world::Which::$which;
                        crate::world::on(which, "no_allocation_per_operation", super::no_allocation_per_operation);
                    });
                }
            }
        )+
    };
}

in_a_process!(uring Uring "io-uring", uring_shared UringShared "io-uring", aio Aio "libaio", threadpool ThreadPool "threadpool");
