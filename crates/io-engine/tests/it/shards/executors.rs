//! Futures that move between executors, executors that end in the middle, and foreign code that calls back.

use super::*;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU32, Ordering},
    task::Wake,
};

#[test]
fn begun_in_one_block_on_and_ended_in_another() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 20);
        in_time("a future that moved", move || {
            for i in 0..64u64 {
                let mut op = write(&shards, &file, vec![i as u8; 8192], i * 8192);
                let begun = shards.block_on(async { poll_once(&mut op) });
                let there = shards.clone();
                let ended = std::thread::spawn(move || match begun {
                    Poll::Ready(done) => done,
                    Poll::Pending => there.block_on(op),
                });
                assert_eq!(ended.join().unwrap().0.unwrap(), 8192);
            }
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn many_threads_block_on_at_once() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 20);
        in_time("threads side by side", move || {
            let threads: Vec<_> = (0..6u64)
                .map(|t| {
                    let (shards, file) = (shards.clone(), file.clone());
                    std::thread::spawn(move || {
                        shards.block_on(async {
                            for i in 0..100u64 {
                                let at = (t * 16 + i % 16) * 4096;
                                let (n, buf) = write(&shards, &file, vec![t as u8; 4096], at).await;
                                assert_eq!(n.unwrap(), 4096);
                                let (n, buf) = read(&shards, &file, buf, at).await;
                                assert!(n.unwrap() == 4096 && buf.iter().all(|&b| b == t as u8));
                                if i % 25 == 0 {
                                    sync(&shards, &file).await.unwrap();
                                }
                            }
                        });
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn a_block_on_inside_another() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        in_time("a nested call", move || {
            let n = shards.block_on(async {
                let inner = shards.block_on(read(&shards, &file, Vec::with_capacity(512), 0)).0.unwrap();
                inner + read(&shards, &file, Vec::with_capacity(512), 512).await.0.unwrap()
            });
            assert_eq!(n, 1024);
        });
    });
}

#[test]
fn a_thread_in_block_on_that_waits_for_another_one() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 20);
        in_time("a thread that waits for a thread", move || {
            for i in 0..20u64 {
                shards.block_on(async {
                    // Begun here, perhaps staged only; this thread does not come round to its shard before the other one is done.
                    let mut op = write(&shards, &file, vec![i as u8; 4096], i * 4096);
                    let begun = poll_once(&mut op);
                    let there = shards.clone();
                    let ended = std::thread::spawn(move || match begun {
                        Poll::Ready(done) => done,
                        Poll::Pending => there.block_on(op),
                    });
                    assert_eq!(ended.join().unwrap().0.unwrap(), 4096);
                });
            }
        });
    });
}

#[test]
fn nested_calls_of_an_engine_for_one_thread() {
    for name in DriverName::REAL {
        let mut wanted = DriverOptions::default();
        wanted.driver = Some(name);
        let Ok(selected) = select(&wanted) else { continue };
        in_time("nested calls", move || {
            let shards = Shards::owned(selected.driver, ShardOptions::default()).unwrap();
            let (_dir, file) = scratch(1 << 16);
            let n = shards.block_on(async {
                let mut outer = write(&shards, &file, vec![1u8; 512], 0);
                let begun = poll_once(&mut outer);
                let inner = shards.block_on(write(&shards, &file, vec![2u8; 512], 512)).0.unwrap();
                let timed = read(&shards, &file, vec![0u8; 64], 0).with_timeout(Duration::from_secs(20));
                inner
                    + timed.await.unwrap().0.unwrap()
                    + match begun {
                        Poll::Ready(done) => done.0.unwrap(),
                        Poll::Pending => outer.await.0.unwrap(),
                    }
            });
            assert_eq!(n, 1088);
            assert_eq!(shards.threads(), 0);
            comes_to_rest(&shards);
        });
    }
}

#[test]
fn an_engine_that_goes_leaves_no_descriptor_in_a_runtime_that_stays() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    for name in DriverName::REAL {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        // smol's reactor, too, is made once for the process.
        smol::block_on(smol::spawn(smol::Timer::after(Duration::from_millis(1))));
        let before = descriptors();
        let Some(shards) = shards_with(name, 2, ShardOptions::default()) else { continue };
        let (_dir, file) = scratch(1 << 20);
        runtime.block_on(async {
            let tasks: Vec<_> =
                (0..64u64).map(|i| tokio::spawn(write(&shards, &file, vec![1u8; 4096], i * 4096))).collect();
            for task in tasks {
                task.await.unwrap().0.unwrap();
            }
            sync(&shards, &file).await.unwrap();
        });
        drop((shards, file));
        let until = Instant::now() + PATIENCE;
        // Other tests of this process may have descriptors of their own: this is about those that never go.
        while descriptors() > before && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(descriptors() <= before, "{name}: {} descriptors before, {} now", before, descriptors());
    }
}

#[test]
fn a_sync_shared_by_two_engines_outlives_the_one_that_began_it() {
    for name in DriverName::REAL {
        let (Some(first), Some(second)) =
            (shards_with(name, 1, ShardOptions::default()), shards_with(name, 1, ShardOptions::default()))
        else {
            continue;
        };
        let (_dir, file) = scratch(1 << 20);
        in_time("a sync of two engines", move || {
            for i in 0..50u64 {
                let engine = if i == 49 { first.clone() } else { second.clone() };
                let mut begun = sync(&engine, &file);
                let _ = poll_once(&mut begun);
                drop(begun);
                smol::block_on(sync(&second, &file)).unwrap();
            }
            let mut begun = sync(&first, &file);
            let _ = poll_once(&mut begun);
            drop((begun, first));
            match smol::block_on(sync(&second, &file)) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}"),
            }
            smol::block_on(sync(&second, &file)).unwrap();
        });
    }
}

#[test]
fn a_panic_leaves_the_others_alone() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 20);
        in_time("after a panic", move || {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                shards.block_on(async {
                    let mut lost = write(&shards, &file, vec![1u8; 1 << 16], 0);
                    let _ = poll_once(&mut lost);
                    panic!("on purpose");
                })
            }));
            assert!(panicked.is_err());
            assert_eq!(shards.block_on(read(&shards, &file, Vec::with_capacity(512), 0)).0.unwrap(), 512);
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn a_future_woken_from_another_thread() {
    on_every_driver(|shards| {
        in_time("a wake from outside", move || {
            for _ in 0..200 {
                let (tx, rx) = flume::bounded::<u32>(1);
                let sender = std::thread::spawn(move || tx.send(7).unwrap());
                assert_eq!(shards.block_on(rx.into_recv_async()).unwrap(), 7);
                sender.join().unwrap();
            }
        });
    });
}

/// A waker that begins another operation when it is woken, and one more when it is dropped.
struct Caller {
    shards: Shards,
    file: FileHandle,
    woken: AtomicU32,
    unpark: std::thread::Thread,
}

impl Caller {
    fn call(&self) {
        let mut op = write(&self.shards, &self.file, vec![9u8; 512], 0);
        let _ = poll_once(&mut op);
        let _ = (self.shards.load(), self.shards.stats());
    }
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.call();
        self.unpark.unpark();
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.call();
    }
}

/// A buffer whose drop reads the file.
struct Nosy(Vec<u8>, Shards, FileHandle);

impl Drop for Nosy {
    fn drop(&mut self) {
        let mut op = read(&self.1, &self.2, Vec::with_capacity(512), 0);
        let _ = poll_once(&mut op);
    }
}

// SAFETY: the vector's block stays where it is.
#[allow(unsafe_code)]
unsafe impl IoBuf for Nosy {
    fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

/// A waker that panics.
struct Bad;

impl Wake for Bad {
    fn wake(self: Arc<Self>) {
        panic!("expected by the test");
    }
}

/// A waker that tells.
struct Good(std::sync::mpsc::Sender<()>);

impl Wake for Good {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// A waker's panic once ended the thread that called it: the reaper, and then nobody reaped any more; the thread of the deadlines,
/// and then nothing timed out.
#[test]
#[cfg(unix)]
fn a_waker_that_panics_harms_nobody_else() {
    use crate::{cancel::Fifo, world::PATIENCE};
    on_every_driver(|shards| {
        if shards.driver_name() == DriverName::Uring {
            return; // it opens pipes without waiting for the other end
        }
        let dirs = [(); 4].map(|()| tempfile::tempdir().unwrap());
        let fifos = [0, 1, 2, 3].map(|i| Fifo::new(dirs[i].path()));
        let open = |i: usize| {
            let op = Op::open(&fifos[i].0, OpenOptions::READ).unwrap();
            shards.operation(op, |answer| answer.result.map(drop))
        };
        let (tell, told) = std::sync::mpsc::channel();
        let (bad, good) = (Waker::from(Arc::new(Bad)), Waker::from(Arc::new(Good(tell))));
        let (mut bad, mut good) = (Context::from_waker(&bad), Context::from_waker(&good));
        // Woken by the reaper.
        let (mut first, mut second) = (open(0), open(1));
        assert!(Pin::new(&mut first).poll(&mut bad).is_pending());
        assert!(Pin::new(&mut second).poll(&mut good).is_pending());
        fifos[0].let_go();
        std::thread::sleep(Duration::from_millis(20));
        fifos[1].let_go();
        assert!(told.recv_timeout(PATIENCE).is_ok(), "the completion of another operation was lost");
        assert!(Pin::new(&mut second).poll(&mut good).is_ready());
        // Woken by the deadlines.
        let (mut first, mut second) =
            (open(2).with_timeout(Duration::from_millis(10)), open(3).with_timeout(Duration::from_millis(40)));
        assert!(Pin::new(&mut first).poll(&mut bad).is_pending());
        assert!(Pin::new(&mut second).poll(&mut good).is_pending());
        assert!(told.recv_timeout(PATIENCE).is_ok(), "another operation's deadline was lost");
        fifos[2].let_go();
        fifos[3].let_go();
        drop((first, second));
        comes_to_rest(&shards);
    });
}

#[test]
fn wakers_and_buffers_that_call_back() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        in_time("foreign code that calls back", move || {
            for i in 0..100u64 {
                let caller = Arc::new(Caller {
                    shards: shards.clone(),
                    file: file.clone(),
                    woken: AtomicU32::new(0),
                    unpark: std::thread::current(),
                });
                let waker = Waker::from(caller.clone());
                let mut cx = Context::from_waker(&waker);
                let mut op = write(&shards, &file, Nosy(vec![1; 512], shards.clone(), file.clone()), i * 512);
                if i % 3 == 0 {
                    let _ = Pin::new(&mut op).poll(&mut cx);
                    continue; // dropped in flight
                }
                while Pin::new(&mut op).poll(&mut cx).is_pending() {
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            }
            comes_to_rest(&shards);
        });
    });
}

#[test]
fn a_task_of_inline_completions_lets_its_neighbours_run() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        in_time("a neighbour", move || {
            let executor = smol::LocalExecutor::new();
            let turns = std::rc::Rc::new(std::cell::Cell::new(0u32));
            smol::block_on(executor.run(async {
                let counter = turns.clone();
                let neighbour = executor.spawn(async move {
                    loop {
                        counter.set(counter.get() + 1);
                        smol::future::yield_now().await;
                    }
                });
                for i in 0..2000u64 {
                    read(&shards, &file, Vec::with_capacity(64), i % 512 * 64).await.0.unwrap();
                }
                drop(neighbour);
            }));
            assert!(turns.get() >= 40, "the neighbour had {} turns while 2000 reads were done", turns.get());
        });
    });
}

#[test]
fn nothing_runs_while_nothing_is_in_flight() {
    on_every_driver(|shards| {
        let (_dir, file) = scratch(1 << 16);
        smol::block_on(async {
            write(&shards, &file, vec![1u8; 4096], 0).await.0.unwrap();
            sync(&shards, &file).await.unwrap();
        });
        comes_to_rest(&shards);
        std::thread::sleep(Duration::from_millis(300));
        let (before, turns) = (threads_switches(), shards.stats());
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(threads_switches(), before, "a thread of the engine woke up");
        assert_eq!(shards.stats(), turns);
    });
}

/// Context switches of this process's reaper threads.
fn threads_switches() -> u64 {
    let mut switches = 0;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if !name.starts_with("iofs-") {
            continue;
        }
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let count = |line: &str| line.split_whitespace().last().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        switches += status.lines().filter(|line| line.contains("ctxt_switches")).map(count).sum::<u64>();
    }
    switches
}
