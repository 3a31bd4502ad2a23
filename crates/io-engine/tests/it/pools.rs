//! Pools of buffers: against a model, under threads, in line, and registered with drivers that come and go.

use io_engine::{
    BufferPool, DriverOptions, PoolBuf, PoolOptions, ShardOptions, Shards, SizeClass, WhenExhausted,
    core::{DriverName, IoBuf, IoBufMut, Op, OpenOptions},
    select,
};
use io_testkit::{pattern, skip};
use proptest::prelude::*;
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

fn class(size: usize, buffers: usize) -> SizeClass {
    SizeClass { size, bytes_max: size * buffers }
}

fn pool(classes: &[SizeClass], when_exhausted: WhenExhausted) -> BufferPool {
    BufferPool::new(PoolOptions::default().classes(classes).when_exhausted(when_exhausted))
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Nothing is out, and what there is is free.
#[track_caller]
fn assert_all_home(pool: &BufferPool) {
    let stats = pool.stats();
    for class in &stats.classes {
        assert_eq!((class.out, class.free, class.waiting), (0, class.total, 0), "{stats:?}");
    }
    assert_eq!((stats.heap, stats.heap_bytes), (0, 0), "{stats:?}");
}

/// Fills all of a buffer with marks of its own.
fn sign(buf: &mut PoolBuf, mark: u64) {
    buf.resize(buf.capacity());
    for word in buf.chunks_exact_mut(8) {
        word.copy_from_slice(&mark.to_le_bytes());
    }
}

#[track_caller]
fn assert_signed(buf: &PoolBuf, mark: u64) {
    assert_eq!(buf.len(), buf.capacity());
    assert!(buf.chunks_exact(8).all(|word| word == mark.to_le_bytes()), "another buffer lies over this one");
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize),
    Return(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![0..70_000usize, Just(4096), Just(4097), Just(65536), Just(65537)];
    prop::collection::vec(
        prop_oneof![3 => len.prop_map(Step::Take), 2 => any::<usize>().prop_map(Step::Return)],
        0..120,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn histories_agree_with_a_model(steps in steps(), waits in any::<bool>()) {
        let sizes = [(4096usize, 5u32), (8192, 3), (65536, 2)];
        let classes: Vec<_> = sizes.iter().map(|&(size, n)| class(size, n as usize)).collect();
        let pool = pool(&classes, if waits { WhenExhausted::Wait } else { WhenExhausted::Heap });
        let mut out: Vec<(PoolBuf, u64)> = Vec::new();
        let (mut levels, mut exhausted, mut too_large) = ([0u32; 3], [0u64; 3], 0);
        for (mark, step) in steps.into_iter().enumerate() {
            match step {
                Step::Take(len) => {
                    let fits = sizes.iter().position(|&(size, _)| size >= len);
                    let buf = pool.try_acquire(len);
                    let room = fits.is_some_and(|class| levels[class] < sizes[class].1);
                    match fits {
                        Some(class) if room => levels[class] += 1,
                        Some(class) => exhausted[class] += 1,
                        None => too_large += 1,
                    }
                    prop_assert_eq!(buf.is_none(), waits && fits.is_some() && !room);
                    let Some(mut buf) = buf else { continue };
                    prop_assert_eq!(buf.is_heap(), !room);
                    let capacity = fits.map_or(len.next_multiple_of(4096), |class| sizes[class].0);
                    prop_assert_eq!((buf.len(), buf.capacity()), (0, capacity));
                    prop_assert_eq!(IoBufMut::as_mut_ptr(&mut buf).addr() % 4096, 0);
                    sign(&mut buf, mark as u64);
                    out.push((buf, mark as u64));
                }
                Step::Return(which) => {
                    if out.is_empty() {
                        continue;
                    }
                    let at = which % out.len();
                    let (buf, mark) = out.swap_remove(at);
                    assert_signed(&buf, mark);
                    if !buf.is_heap() {
                        levels[sizes.iter().position(|&(size, _)| size == buf.capacity()).unwrap()] -= 1;
                    }
                }
            }
            let stats = pool.stats();
            for (class, stats) in stats.classes.iter().enumerate() {
                prop_assert_eq!(stats.out, levels[class]);
                prop_assert_eq!(stats.out + stats.free, stats.total);
                prop_assert!(stats.total <= sizes[class].1 && stats.high_water >= stats.out);
                prop_assert_eq!(stats.exhausted, exhausted[class]);
                prop_assert_eq!(stats.fallbacks, if waits { 0 } else { exhausted[class] });
            }
            prop_assert_eq!(stats.too_large, too_large);
            prop_assert_eq!(stats.heap as usize, out.iter().filter(|(buf, _)| buf.is_heap()).count());
        }
        out.iter().for_each(|(buf, mark)| assert_signed(buf, *mark));
        out.clear();
        assert_all_home(&pool);
    }
}

#[test]
fn it_grows_by_arenas_of_huge_pages_and_stops_at_its_bound() {
    let pool = pool(&[class(64 << 10, 160)], WhenExhausted::Wait);
    assert_eq!(pool.stats().classes[0].total, 0);
    let first = pool.try_acquire(1).unwrap();
    // 10 MiB in at most four arenas of whole huge pages: 4 + 4 + 2.
    assert_eq!(pool.stats().classes[0].total, 64);
    assert_eq!(first.as_ptr().addr() % (2 << 20), 0);
    let mut all: Vec<_> = std::iter::from_fn(|| pool.try_acquire(1)).collect();
    all.push(first);
    assert_eq!(all.len(), 160);
    let mut starts: Vec<_> = all.iter().map(|buf| buf.as_ptr().addr()).collect();
    starts.sort();
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 64 << 10));
    assert_eq!(pool.stats().classes[0].total_max, 160);
}

#[cfg(target_os = "linux")]
#[test]
fn an_arena_is_on_huge_pages_once_it_is_touched() {
    let enabled = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if !enabled.contains("[madvise]") && !enabled.contains("[always]") {
        return skip("pools", "huge pages", &format!("the system gives none: {enabled}"));
    }
    let pool = BufferPool::default();
    let mut buf = pool.try_acquire(1 << 20).unwrap();
    sign(&mut buf, 1);
    let at = buf.as_ptr().addr();
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut here = false;
    for line in smaps.lines() {
        let range = line.split_whitespace().next().and_then(|word| word.split_once('-'));
        if let Some((Ok(start), Ok(end))) =
            range.map(|(a, b)| (usize::from_str_radix(a, 16), usize::from_str_radix(b, 16)))
        {
            here = (start..end).contains(&at);
        }
        if here && line.starts_with("AnonHugePages:") {
            let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            if kib == 0 {
                // It may be out of them for the moment.
                return skip("pools", "huge pages", "the system gave small pages");
            }
            return assert!(kib >= 2048, "{line}");
        }
    }
    panic!("the buffer is in no mapping");
}

#[test]
fn threads_never_share_a_buffer_and_bring_every_one_home() {
    for when_exhausted in [WhenExhausted::Wait, WhenExhausted::Heap] {
        let pool = pool(&[class(4096, 7), class(16384, 3)], when_exhausted);
        let marks = AtomicU64::new(1);
        thread::scope(|scope| {
            let (give, take) = std::sync::mpsc::sync_channel::<(PoolBuf, u64)>(2);
            // Buffers return on another thread than they were taken on.
            scope.spawn(move || take.iter().for_each(|(buf, mark)| assert_signed(&buf, mark)));
            for seed in 0..4u64 {
                let (pool, marks, give) = (&pool, &marks, give.clone());
                scope.spawn(move || {
                    for round in 0..2000u64 {
                        let len = if (round + seed) % 3 == 0 { 16384 } else { 4096 };
                        let mut buf = match round % 3 {
                            0 => pool.acquire_blocking(len),
                            1 => smol::block_on(pool.acquire(len)),
                            _ => match pool.try_acquire(len) {
                                Some(buf) => buf,
                                None => continue,
                            },
                        };
                        let mark = marks.fetch_add(1, Ordering::Relaxed);
                        sign(&mut buf, mark);
                        if round % 2 == 0 {
                            thread::yield_now();
                            assert_signed(&buf, mark);
                        } else {
                            give.send((buf, mark)).unwrap();
                        }
                    }
                });
            }
        });
        let stats = pool.stats();
        assert_eq!((stats.classes[0].total, stats.classes[1].total), (7, 3));
        assert_all_home(&pool);
    }
}

/// Waiters that are dropped at any moment, on several threads: no buffer is lost with them and nobody waits for ever.
#[test]
fn waiters_that_go_lose_nothing() {
    let pool = pool(&[class(4096, 2)], WhenExhausted::Wait);
    thread::scope(|scope| {
        for seed in 0..4u64 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..3000u64 {
                    let mut waiter = pool.acquire(1);
                    match (round + seed) % 3 {
                        // Served or not, it goes without looking again.
                        0 => drop(poll(&mut waiter)),
                        1 => {
                            let _ = poll(&mut waiter).map(drop);
                            thread::yield_now();
                        }
                        _ => drop(smol::block_on(waiter)),
                    }
                }
            });
        }
    });
    assert_all_home(&pool);
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn who_waits_is_served_in_order_and_nobody_overtakes() {
    let pool = pool(&[class(4096, 2)], WhenExhausted::Wait);
    let mut out: VecDeque<_> = (0..2).map(|_| pool.try_acquire(1).unwrap()).collect();
    let flags: Vec<_> = (0..5).map(|_| Arc::new(Flag::default())).collect();
    let mut waiters: Vec<_> = (0..5).map(|_| Some(pool.acquire(100))).collect();
    let look = |waiters: &mut Vec<Option<io_engine::Acquire>>, which: usize| {
        let waker = Waker::from(flags[which].clone());
        let waiter = waiters[which].as_mut().unwrap();
        match Pin::new(waiter).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(buf) => Some(buf),
            Poll::Pending => None,
        }
    };
    for which in 0..5 {
        assert!(look(&mut waiters, which).is_none());
    }
    assert_eq!(pool.stats().classes[0].waiting, 5);
    assert_eq!(pool.stats().classes[0].exhausted, 5);

    drop(out.pop_front());
    assert!(flags[0].0.load(Ordering::SeqCst) && !flags[1].0.load(Ordering::SeqCst));
    assert!(pool.try_acquire(1).is_none(), "overtakes who waits");
    assert!(look(&mut waiters, 1).is_none(), "served before its turn");
    let first = look(&mut waiters, 0).expect("its turn");
    waiters[0] = None;

    // One that goes before its turn, one that goes after it was served without having looked.
    waiters[1] = None;
    drop(first);
    assert!(flags[2].0.load(Ordering::SeqCst) && !flags[3].0.load(Ordering::SeqCst));
    waiters[2] = None;
    assert!(flags[3].0.load(Ordering::SeqCst), "the turn was not handed on");
    let third = look(&mut waiters, 3).expect("its turn");
    waiters[3] = None;

    drop((third, out.pop_front()));
    let last = look(&mut waiters, 4).expect("its turn");
    waiters[4] = None;
    assert!(pool.try_acquire(1).is_some(), "nobody waits any more");
    drop(last);
    assert_all_home(&pool);
}

#[test]
fn a_thread_that_waits_gets_the_buffer_that_comes_back() {
    let pool = pool(&[class(4096, 1)], WhenExhausted::Wait);
    let mut buf = pool.acquire_blocking(10);
    buf.extend_from_slice(b"mine");
    let waiter = thread::spawn({
        let pool = pool.clone();
        move || pool.acquire_blocking(10).len()
    });
    while pool.stats().classes[0].waiting == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(&*buf, b"mine");
    drop(buf);
    assert_eq!(waiter.join().unwrap(), 0, "a buffer starts empty");
    assert_all_home(&pool);
}

#[test]
fn a_buffer_outlives_its_pool() {
    for when_exhausted in [WhenExhausted::Wait, WhenExhausted::Heap] {
        let pool = pool(&[class(4096, 2)], when_exhausted);
        let mut bufs: Vec<_> = (0..2).map(|_| pool.try_acquire(1).unwrap()).collect();
        bufs.extend(pool.try_acquire(1));
        drop(pool);
        bufs.iter_mut().zip(1..).for_each(|(buf, mark)| sign(buf, mark));
        thread::spawn(move || bufs.iter().zip(1..).for_each(|(buf, mark)| assert_signed(buf, mark))).join().unwrap();
    }
}

#[test]
fn a_waiter_outlives_its_pools_handles() {
    let pool = pool(&[class(4096, 1)], WhenExhausted::Wait);
    let buf = pool.try_acquire(1).unwrap();
    let mut waiter = pool.acquire(1);
    assert!(poll(&mut waiter).is_pending());
    drop(pool);
    drop(buf);
    assert!(poll(&mut waiter).is_ready());
}

#[cfg(feature = "bytes")]
#[test]
fn frozen_buffers_are_not_copied_and_come_home_with_their_last_clone() {
    let pool = pool(&[class(4096, 1)], WhenExhausted::Wait);
    let mut buf = pool.try_acquire(1).unwrap();
    buf.extend_from_slice(b"0123456789");
    let at = buf.as_ptr();
    let bytes = buf.freeze();
    assert_eq!((&bytes[..], bytes.as_ptr()), (&b"0123456789"[..], at));
    let part = bytes::Bytes::slice(&bytes, 3..5);
    drop(bytes);
    assert_eq!(pool.stats().classes[0].out, 1);
    thread::spawn(move || assert_eq!(&part[..], b"34")).join().unwrap();
    assert_all_home(&pool);
}

fn engine(name: DriverName) -> Option<Shards> {
    let mut wanted = DriverOptions::default();
    wanted.driver = Some(name);
    wanted.one_thread = false;
    wanted.depth = 16;
    let drivers: Result<Vec<_>, _> = (0..2).map(|_| select(&wanted).map(|s| s.driver)).collect();
    match drivers {
        Ok(drivers) => Some(Shards::new(drivers, ShardOptions::default()).unwrap()),
        Err(unavailable) => {
            skip("pools", name.as_str(), &unavailable.to_string());
            None
        }
    }
}

fn read<B: IoBufMut>(shards: &Shards, file: &io_engine::core::FileHandle, buf: B, at: u64) -> B {
    let op =
        shards.operation(Op::read(file, buf, at), |answer| (answer.result, answer.op.unwrap().into_buf().unwrap()));
    let (result, buf) = shards.block_on(op);
    result.unwrap();
    buf
}

/// Reads and writes everything through pooled buffers, direct where that is possible.
fn transfer(shards: &Shards, pool: &BufferPool, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let content = pattern(seed, 64 * 4096);
    std::fs::write(&path, &content).unwrap();
    let direct = io_engine::open(&path, OpenOptions::READ_WRITE.direct());
    let file = direct.or_else(|_| io_engine::open(&path, OpenOptions::READ_WRITE)).unwrap();
    for block in 0..64usize {
        let buf = read(shards, &file, pool.try_acquire(4096).unwrap(), block as u64 * 4096);
        assert!(buf[..] == content[block * 4096..][..4096], "block {block}");
    }
    let mut buf = pool.try_acquire(65536).unwrap();
    buf.extend_from_slice(&pattern(seed + 1, 65536));
    let op = shards.operation(Op::write(&file, buf, 4096), |answer| answer.result);
    assert_eq!(shards.block_on(op).unwrap(), 65536);
    let buf = read(shards, &file, pool.try_acquire(65536).unwrap().slice(..8192), 4096).into_inner();
    assert!(buf[..] == pattern(seed + 1, 65536)[..8192]);
}

#[test]
fn arenas_are_registered_with_what_takes_them_and_work_with_all() {
    for name in DriverName::REAL {
        let Some(shards) = engine(name) else { continue };
        let pool = BufferPool::new(PoolOptions::bounded(8 << 20));
        // One arena there is already, the other comes later.
        drop(pool.try_acquire(4096));
        pool.attach(&shards);
        transfer(&shards, &pool, 1);
        let stats = pool.stats();
        if name == DriverName::Uring {
            // Both rings took both arenas, or the system refused (memory that may be locked, an old kernel): then once a ring.
            assert!(stats.registered + stats.refused >= 2 && stats.registered <= 4, "{stats:?}");
        } else {
            assert_eq!((stats.registered, stats.refused), (0, 2), "{stats:?}");
        }
        assert_all_home(&pool);
    }
}

/// A ring has 16 places for registered memory: what is not given back is missed soon.
#[test]
fn registrations_are_given_back_with_the_last_buffer() {
    let Some(shards) = engine(DriverName::Uring) else { return };
    let mut kept: VecDeque<PoolBuf> = VecDeque::new();
    for round in 0..60 {
        let pool = BufferPool::new(PoolOptions::default().classes([class(4096, 16), class(65536, 4)]));
        pool.attach(&shards);
        transfer(&shards, &pool, round);
        let stats = pool.stats();
        if stats.refused > 0 && round == 0 {
            return skip("pools", "registrations come back", "the system refuses registered memory");
        }
        assert_eq!((stats.registered, stats.refused), (4, 0), "round {round}");
        // The pool goes, its last buffer a few rounds later.
        kept.push_back(pool.try_acquire(1).unwrap());
        if kept.len() > 3 {
            kept.pop_front();
        }
    }
}

#[test]
fn an_engine_may_end_before_its_pool() {
    for name in DriverName::REAL {
        let pool = BufferPool::default();
        for seed in 0..3 {
            let Some(shards) = engine(name) else { break };
            pool.attach(&shards);
            transfer(&shards, &pool, seed);
        }
        assert_all_home(&pool);
    }
}

/// Operations whose futures are gone bring their buffers home, too, and hold memory and registration until then.
#[test]
fn orphans_bring_their_buffers_home() {
    for name in DriverName::REAL {
        let Some(shards) = engine(name) else { continue };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, pattern(3, 1 << 20)).unwrap();
        let file = io_engine::open(&path, OpenOptions::READ).unwrap();
        let pool = pool(&[class(65536, 8)], WhenExhausted::Wait);
        pool.attach(&shards);
        for round in 0..500u64 {
            let buf = pool.acquire_blocking(65536);
            let mut op = shards.operation(Op::read(&file, buf, round % 16 * 65536), drop);
            let _ = poll(&mut op);
        }
        let all: Vec<_> = (0..8).map(|_| pool.acquire_blocking(1)).collect();
        drop(all);
        assert_all_home(&pool);
        // And the last of them after the pool.
        let buf = pool.acquire_blocking(65536);
        drop(pool);
        let mut op = shards.operation(Op::read(&file, buf, 0), drop);
        let _ = poll(&mut op);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_that_may_not_be_locked_is_counted_and_missed_by_nobody() {
    use io_testkit::{confine, confine::Confinement, in_child};
    let mut confined = Confinement::none().memlock(64 << 10);
    if confine::is_root() {
        confined = confined.as_user(65534);
    }
    in_child!("memlock", confined, || {
        let Some(shards) = engine(DriverName::Uring) else { return };
        let pool = BufferPool::default();
        pool.attach(&shards);
        transfer(&shards, &pool, 9);
        let stats = pool.stats();
        // A ring that has refused is not asked again.
        assert_eq!((stats.registered, stats.refused), (0, 2), "{stats:?}");
        assert_all_home(&pool);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_steady_state_allocates_nothing() {
    use io_testkit::{confine::Confinement, in_child};
    in_child!("alone", Confinement::none(), || {
        let pool = BufferPool::default();
        let turn = || {
            let bufs = [4096, 65536, 1 << 20].map(|len| pool.try_acquire(len).unwrap());
            let waited = smol::future::block_on(pool.acquire(4096));
            drop((bufs, waited));
        };
        turn();
        let before = crate::alloc::count();
        (0..10_000).for_each(|_| turn());
        let allocations = crate::alloc::count() - before;
        assert!(allocations < 10, "{allocations} allocations");
    });
}
