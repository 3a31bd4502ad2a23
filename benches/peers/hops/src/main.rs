//! Hand-written cross-thread architectures: tokio multi-thread tasks, a `Send` handle, one io_uring behind it.
//! --variant:
//!   inline     pread in poll() on the caller's thread (not asynchronous: the floor for cached data)
//!   pool       minimal thread pool: mutex queue + condvar, wakers called directly (--param spin µs)
//!   flume      flume -> I/O thread (DEFER_TASKRUN ring), eventfd wake guarded by a `parked` flag, direct wakers
//!   chan       as flume with a lock-free SegQueue (--param: µs that the I/O thread spins before it parks)
//!   chanad     as chan; spins only while nothing is in flight, and only when recent gaps were shorter than the budget
//!   chanmsg    as chan, woken by IORING_REGISTER_SEND_MSG_RING instead of the eventfd
//!   mutex      caller submits (one enter) under a mutex; a reaper thread waits in enter and wakes
//!   mutexrx    as mutex, and the caller reaps what is complete when its enter returns; the reaper sleeps
//!              unless something is outstanding
//!   shard      as mutexrx with one ring per calling thread (`--workers` of them), reaper thread each
//!   shardtask  as shard; the reaper is a tokio task on an eventfd (EVENTFD_ASYNC) instead of a thread
//!   evt        as shardtask on a plain eventfd that is disabled (CQ flags) while nothing is outstanding
//!   nowait+X   preadv2(RWF_NOWAIT) on the caller first, X when it would block
//!   aio        Linux AIO: callers io_submit, a reaper thread in io_getevents (completed from the interrupt, no task work)
//!   sqpoll     caller fills SQEs under a mutex, SQPOLL kernel thread, reaper thread
use atomic_waker::AtomicWaker;
use crossbeam_queue::{ArrayQueue, SegQueue};
use harness::*;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering::*, fence};
use std::task::Poll;

const PENDING: i64 = i64::MIN;

#[repr(align(64))]
struct Slot {
    res: AtomicI64,
    waker: AtomicWaker,
}
struct Slots {
    v: Vec<Slot>,
    free: ArrayQueue<u32>,
}
impl Slots {
    fn new(n: usize) -> Arc<Slots> {
        let s = Slots {
            v: (0..n).map(|_| Slot { res: AtomicI64::new(PENDING), waker: AtomicWaker::new() }).collect(),
            free: ArrayQueue::new(n),
        };
        for i in 0..n {
            s.free.push(i as u32).unwrap();
        }
        Arc::new(s)
    }
    #[inline]
    fn get(&self) -> u32 {
        let i = self.free.pop().expect("slots");
        self.v[i as usize].res.store(PENDING, Relaxed);
        i
    }
    #[inline]
    fn complete(&self, i: u32, r: i64) {
        let s = &self.v[i as usize];
        s.res.store(r, Release);
        s.waker.wake();
    }
    async fn wait(&self, i: u32) -> i64 {
        let s = &self.v[i as usize];
        let r = poll_fn(|cx| {
            let r = s.res.load(Acquire);
            if r != PENDING {
                return Poll::Ready(r);
            }
            s.waker.register(cx.waker());
            let r = s.res.load(Acquire);
            if r != PENDING { Poll::Ready(r) } else { Poll::Pending }
        })
        .await;
        self.free.push(i).unwrap();
        r
    }
}

#[derive(Clone, Copy)]
struct Req {
    slot: u32,
    p: usize,
    off: u64,
}
#[derive(Clone, Copy)]
struct Kind {
    bs: u32,
    write: bool,
    wal: bool,
    fd: i32,
}
const SYNC: u64 = 1 << 40;
const WAKE: u64 = u64::MAX;
impl Kind {
    /// One SQE, or for a durable append two linked ones (the write posts no CQE when it succeeds).
    fn sqes(&self, r: Req) -> (squeue::Entry, Option<squeue::Entry>) {
        let p = r.p as *mut u8;
        let f = types::Fixed(0);
        let e = if self.write {
            opcode::Write::new(f, p, self.bs).offset(r.off).build()
        } else {
            opcode::Read::new(f, p, self.bs).offset(r.off).build()
        };
        let e = e.user_data(r.slot as u64);
        if !self.wal {
            return (e, None);
        }
        (
            e.flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS),
            Some(opcode::Fsync::new(f).flags(types::FsyncFlags::DATASYNC).build().user_data(r.slot as u64 | SYNC)),
        )
    }
    fn result(&self, c: &cqueue::Entry) -> (u32, i64) {
        let u = c.user_data();
        let r = c.result() as i64;
        ((u & 0xffff_ffff) as u32, if u & SYNC != 0 && r == 0 { self.bs as i64 } else { r })
    }
}

fn push(ring: &mut IoUring, e: &squeue::Entry) {
    unsafe {
        while ring.submission().push(e).is_err() {
            ring.submit().unwrap();
        }
    }
}

// ---------------- I/O thread behind a queue ----------------

enum Q {
    Seg(SegQueue<Req>),
    Flume(flume::Sender<Req>, flume::Receiver<Req>),
}
impl Q {
    #[inline]
    fn push(&self, r: Req) {
        match self {
            Q::Seg(q) => q.push(r),
            Q::Flume(t, _) => t.send(r).unwrap(),
        }
    }
    #[inline]
    fn pop(&self) -> Option<Req> {
        match self {
            Q::Seg(q) => q.pop(),
            Q::Flume(_, r) => r.try_recv().ok(),
        }
    }
    #[inline]
    fn is_empty(&self) -> bool {
        match self {
            Q::Seg(q) => q.is_empty(),
            Q::Flume(_, r) => r.is_empty(),
        }
    }
}
struct Chan {
    q: Q,
    parked: AtomicBool,
    efd: i32,
    ring_fd: AtomicU32,
    msg: bool,
    adapt: bool,
    slots: Arc<Slots>,
}
impl Chan {
    fn start(a: &Args, k: Kind, slots: Arc<Slots>, flume: bool, msg: bool, adapt: bool) -> Arc<Chan> {
        let c = Arc::new(Chan {
            q: if flume {
                let (t, r) = flume::unbounded();
                Q::Flume(t, r)
            } else {
                Q::Seg(SegQueue::new())
            },
            parked: AtomicBool::new(false),
            efd: unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) },
            ring_fd: AtomicU32::new(0),
            msg,
            adapt,
            slots,
        });
        let (c2, spin, group, bs) = (c.clone(), a.param, a.group && k.wal, a.bs);
        let size = a.size;
        std::thread::Builder::new()
            .name("io".into())
            .spawn(move || if group { c2.run_group(k, bs, size) } else { c2.run(k, spin) })
            .unwrap();
        while c.ring_fd.load(Acquire) == 0 {
            std::thread::yield_now();
        }
        c
    }
    fn send(&self, r: Req) {
        self.q.push(r);
        fence(SeqCst);
        if self.parked.load(Relaxed) && self.parked.swap(false, AcqRel) {
            unsafe {
                if self.msg {
                    let e =
                        opcode::MsgRingData::new(types::Fd(self.ring_fd.load(Relaxed) as i32), 0, WAKE, None).build();
                    let r = libc::syscall(libc::SYS_io_uring_register, -1, 31, &e, 1);
                    assert!(r >= 0, "msg_ring {}", std::io::Error::last_os_error());
                } else {
                    let one = 1u64;
                    libc::write(self.efd, (&raw const one).cast(), 8);
                }
            }
        }
    }
    fn ring(&self, k: Kind) -> IoUring {
        let ring: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(4096)
            .build(1024)
            .unwrap();
        ring.submitter().register_files(&[k.fd]).unwrap();
        use std::os::fd::AsRawFd;
        self.ring_fd.store(ring.as_raw_fd() as u32, Release);
        ring
    }
    fn run(&self, k: Kind, spin_us: u64) {
        let mut ring = self.ring(k);
        let mut ebuf = 0u64;
        let ep = (&raw mut ebuf).cast::<u8>();
        let mut armed = self.msg;
        let spin = ns_to_ticks(spin_us * 1000);
        let mut budget = spin;
        let mut inflight = 0usize;
        let mut idle_since = tsc();
        loop {
            let mut n = 0;
            while n < 512 {
                let Some(r) = self.q.pop() else { break };
                let (x, y) = k.sqes(r);
                push(&mut ring, &x);
                if let Some(y) = y {
                    push(&mut ring, &y);
                }
                n += 1;
            }
            inflight += n;
            let mut park = false;
            if n == 0 {
                if budget > 0 && (!self.adapt || inflight == 0) && tsc() - idle_since < budget {
                    if !ring.submission().taskrun() && ring.completion().is_empty() {
                        std::hint::spin_loop();
                        continue;
                    }
                } else {
                    if !armed {
                        push(&mut ring, &opcode::Read::new(types::Fd(self.efd), ep, 8).build().user_data(WAKE));
                        armed = true;
                    }
                    self.parked.store(true, SeqCst);
                    fence(SeqCst);
                    if self.q.is_empty() {
                        park = true;
                    } else {
                        self.parked.store(false, Relaxed);
                        continue;
                    }
                }
            }
            if park {
                let t = tsc();
                ring.submit_and_wait(1).unwrap();
                self.parked.store(false, Relaxed);
                if self.adapt {
                    // would the whole budget have caught it?
                    budget = if inflight == 0 && tsc() - t < spin { spin } else { budget / 2 };
                }
            } else {
                // submit, and run deferred completions without waiting
                let fl = 1u32; // IORING_ENTER_GETEVENTS
                let sub = ring.submission().len() as u32;
                unsafe { ring.submitter().enter::<libc::sigset_t>(sub, 0, fl, None).unwrap() };
            }
            let mut got = false;
            for c in ring.completion() {
                if c.user_data() == WAKE {
                    armed = self.msg;
                    continue;
                }
                got = true;
                inflight -= 1;
                let (s, r) = k.result(&c);
                self.slots.complete(s, r);
            }
            if (got || n > 0) && spin > 0 {
                idle_since = tsc();
            }
        }
    }
    /// Group commit: everything queued while a commit was in flight goes into the next writev + fdatasync.
    fn run_group(&self, k: Kind, bs: usize, size: u64) {
        let mut ring = self.ring(k);
        let mut ebuf = 0u64;
        let ep = (&raw mut ebuf).cast::<u8>();
        let (mut armed, mut cur) = (self.msg, 0u64);
        let mut batch: Vec<Req> = Vec::new();
        let mut iov: Vec<libc::iovec> = Vec::new();
        loop {
            if batch.is_empty() {
                while batch.len() < 512 {
                    let Some(r) = self.q.pop() else { break };
                    batch.push(r);
                }
                if !batch.is_empty() {
                    iov.clear();
                    iov.extend(batch.iter().map(|r| libc::iovec { iov_base: r.p as *mut _, iov_len: bs }));
                    let l = (bs * batch.len()) as u64;
                    if cur + l > size {
                        cur = 0;
                    }
                    let f = types::Fixed(0);
                    let w = opcode::Writev::new(f, iov.as_ptr(), iov.len() as u32).offset(cur).build();
                    push(&mut ring, &w.flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS).user_data(0));
                    push(&mut ring, &opcode::Fsync::new(f).flags(types::FsyncFlags::DATASYNC).build().user_data(SYNC));
                    cur += l;
                } else {
                    if !armed {
                        push(&mut ring, &opcode::Read::new(types::Fd(self.efd), ep, 8).build().user_data(WAKE));
                        armed = true;
                    }
                    self.parked.store(true, SeqCst);
                    fence(SeqCst);
                    if !self.q.is_empty() {
                        self.parked.store(false, Relaxed);
                        continue;
                    }
                }
            }
            ring.submit_and_wait(1).unwrap();
            self.parked.store(false, Relaxed);
            for c in ring.completion() {
                if c.user_data() == WAKE {
                    armed = self.msg;
                } else {
                    let r = if c.result() < 0 { c.result() as i64 } else { bs as i64 };
                    for b in batch.drain(..) {
                        self.slots.complete(b.slot, r);
                    }
                }
            }
        }
    }
}

// ---------------- submission from the caller ----------------

struct Shard {
    ring: IoUring,
    lock: Mutex<()>,
    outstanding: AtomicUsize,
    sleeping: AtomicBool,
    thread: std::sync::OnceLock<std::thread::Thread>,
    efd: i32,
    rx: bool,
    k: Kind,
    slots: Arc<Slots>,
    /// IORING_CQ_EVENTFD_DISABLED word of the CQ ring (variant evt)
    cqflags: Option<&'static AtomicU32>,
}
#[derive(Clone, Copy, PartialEq)]
enum Reaper {
    Thread,
    Task,
    Evt,
}
/// The CQ ring's flags word: the crate does not expose it, so the ring is mapped once more.
fn cq_flags(ring: &IoUring) -> &'static AtomicU32 {
    use std::os::fd::AsRawFd;
    unsafe {
        // struct io_uring_params: cq_off at byte 80, its `flags` is the 7th u32
        let p = (ring.params() as *const _ as *const u8).add(80 + 24) as *const u32;
        let m = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            ring.as_raw_fd(),
            0,
        );
        assert_ne!(m, libc::MAP_FAILED);
        &*(m.cast::<u8>().add(*p as usize) as *const AtomicU32)
    }
}
impl Shard {
    fn start(k: Kind, slots: Arc<Slots>, rx: bool, sqpoll: bool, reaper: Reaper, direct: bool) -> Arc<Shard> {
        let mut b = IoUring::<squeue::Entry, cqueue::Entry>::builder();
        b.setup_cqsize(4096);
        if sqpoll {
            b.setup_sqpoll(2);
        } else {
            b.setup_coop_taskrun();
        }
        let ring = b.build(1024).unwrap();
        ring.submitter().register_files(&[k.fd]).unwrap();
        let cqflags = (reaper == Reaper::Evt).then(|| cq_flags(&ring));
        let s = Arc::new(Shard {
            cqflags,
            ring,
            lock: Mutex::new(()),
            outstanding: AtomicUsize::new(0),
            sleeping: AtomicBool::new(false),
            thread: Default::default(),
            efd: unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) },
            rx,
            k,
            slots,
        });
        let s2 = s.clone();
        match reaper {
            Reaper::Thread => {
                let h = std::thread::Builder::new().name("reaper".into()).spawn(move || s2.reap_loop()).unwrap();
                let _ = s.thread.set(h.thread().clone());
            }
            Reaper::Task | Reaper::Evt => {
                // EVENTFD_ASYNC signals io-wq completions only, not those that task work posts: device reads need the plain one
                if direct || reaper == Reaper::Evt {
                    s.ring.submitter().register_eventfd(s.efd).unwrap();
                } else {
                    s.ring.submitter().register_eventfd_async(s.efd).unwrap();
                }
                tokio::spawn(async move {
                    #[allow(deprecated)]
                    let f = tokio::io::unix::AsyncFd::with_interest(s2.efd, tokio::io::Interest::READABLE).unwrap();
                    loop {
                        let mut g = f.readable().await.unwrap();
                        let mut x = 0u64;
                        unsafe { libc::read(s2.efd, (&raw mut x).cast(), 8) };
                        g.clear_ready();
                        s2.reap(u32::MAX);
                    }
                });
            }
        }
        s
    }
    fn reap(&self, mine: u32) -> Option<i64> {
        let mut out: [(u32, i64); 64] = [(0, 0); 64];
        let mut res = None;
        loop {
            let mut n = 0;
            {
                let _g = self.lock.lock();
                let mut cq = unsafe { self.ring.completion_shared() };
                while n < 64 {
                    let Some(c) = cq.next() else { break };
                    let x = self.k.result(&c);
                    if x.0 == mine {
                        res = Some(x.1);
                    } else {
                        out[n] = x;
                        n += 1;
                    }
                }
            }
            for &(s, r) in &out[..n] {
                self.slots.complete(s, r);
            }
            if self.rx {
                let d = n + (res.is_some() && n < 64) as usize;
                if d > 0 {
                    self.outstanding.fetch_sub(d, AcqRel);
                }
            }
            if n < 64 {
                return res;
            }
        }
    }
    fn reap_loop(&self) {
        loop {
            if self.rx && self.outstanding.load(SeqCst) == 0 {
                self.sleeping.store(true, SeqCst);
                if self.outstanding.load(SeqCst) == 0 {
                    std::thread::park();
                }
                self.sleeping.store(false, SeqCst);
                continue;
            }
            unsafe {
                let _ = self.ring.submitter().enter::<libc::sigset_t>(0, 1, 1, None);
            }
            self.reap(u32::MAX);
        }
    }
    /// Submits; Some(result) when it completed inline.
    fn submit(&self, r: Req, task: bool) -> Option<i64> {
        let (x, y) = self.k.sqes(r);
        let mut out: [(u32, i64); 16] = [(0, 0); 16];
        let (mut n, mut res) = (0, None);
        {
            let _g = self.lock.lock();
            let cnt = {
                let mut sq = unsafe { self.ring.submission_shared() };
                unsafe {
                    sq.push(&x).unwrap();
                    if let Some(y) = &y {
                        sq.push(y).unwrap();
                    }
                }
                sq.len()
            };
            let _ = cnt;
            if let Some(f) = self.cqflags {
                f.store(1, SeqCst);
            }
            self.ring.submitter().submit().unwrap();
            if self.rx {
                let mut cq = unsafe { self.ring.completion_shared() };
                while n < 16 {
                    let Some(c) = cq.next() else { break };
                    let x = self.k.result(&c);
                    if x.0 == r.slot {
                        res = Some(x.1);
                    } else {
                        out[n] = x;
                        n += 1;
                    }
                }
                // outstanding: +1 for mine unless it is done, -1 for each other one reaped here
                let mine = res.is_none() as usize;
                if mine > n {
                    let was = self.outstanding.fetch_add(1, SeqCst);
                    if !task && was == 0 && self.sleeping.load(SeqCst) {
                        self.thread.get().unwrap().unpark();
                    }
                } else if n > mine {
                    self.outstanding.fetch_sub(n - mine, SeqCst);
                }
                if let Some(f) = self.cqflags
                    && self.outstanding.load(SeqCst) > 0
                {
                    f.store(0, SeqCst);
                    // what completed meanwhile was not signalled
                    let mut cq = unsafe { self.ring.completion_shared() };
                    cq.sync();
                    if !cq.is_empty() {
                        let one = 1u64;
                        unsafe { libc::write(self.efd, (&raw const one).cast(), 8) };
                    }
                }
            }
        }
        for &(s, v) in &out[..n] {
            self.slots.complete(s, v);
        }
        res
    }
}

// ---------------- thread pool ----------------

struct Pool {
    q: Mutex<(VecDeque<Req>, usize)>,
    c: Condvar,
    a: Args,
    fd: i32,
    slots: Arc<Slots>,
    len: AtomicUsize,
}
impl Pool {
    fn start(a: &Args, fd: i32, slots: Arc<Slots>, n: usize) -> Arc<Pool> {
        let p = Arc::new(Pool {
            q: Default::default(),
            c: Condvar::new(),
            a: a.clone(),
            fd,
            slots,
            len: AtomicUsize::new(0),
        });
        for _ in 0..n {
            let p = p.clone();
            std::thread::spawn(move || p.run());
        }
        p
    }
    fn send(&self, r: Req) {
        let mut g = self.q.lock();
        g.0.push_back(r);
        self.len.store(g.0.len(), Relaxed);
        let idle = g.1 > 0;
        if idle {
            g.1 -= 1;
        }
        drop(g);
        if idle {
            self.c.notify_one();
        }
    }
    fn run(&self) {
        let spin = ns_to_ticks(self.a.param * 1000);
        loop {
            let r = 'got: {
                if spin > 0 {
                    let t = tsc();
                    while self.len.load(Relaxed) == 0 && tsc() - t < spin {
                        std::hint::spin_loop();
                    }
                }
                let mut g = self.q.lock();
                loop {
                    if let Some(r) = g.0.pop_front() {
                        self.len.store(g.0.len(), Relaxed);
                        break 'got r;
                    }
                    g.1 += 1;
                    self.c.wait(&mut g);
                }
            };
            let a = &self.a;
            let p = r.p as *mut u8;
            let v = unsafe {
                if !a.is_write() {
                    libc::pread64(self.fd, p.cast(), a.bs, r.off as i64) as i64
                } else {
                    let n = libc::pwrite64(self.fd, p.cast(), a.bs, r.off as i64) as i64;
                    if a.op == Op::WalAppend {
                        assert_eq!(libc::fdatasync(self.fd), 0);
                    }
                    n
                }
            };
            self.slots.complete(r.slot, v);
        }
    }
}

// ---------------- Linux AIO, submission from the caller ----------------

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    prio: i16,
    fd: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    _r: u64,
    flags: u32,
    resfd: u32,
}
struct Aio {
    ctx: u64,
    k: Kind,
    slots: Arc<Slots>,
}
impl Aio {
    fn start(a: &Args, k: Kind, slots: Arc<Slots>) -> Arc<Aio> {
        let mut ctx = 0u64;
        assert_eq!(unsafe { libc::syscall(libc::SYS_io_setup, a.qd.max(8) * 2, &mut ctx) }, 0);
        let s = Arc::new(Aio { ctx, k, slots });
        let s2 = s.clone();
        std::thread::spawn(move || {
            let mut ev = [[0i64; 4]; 64];
            loop {
                let n = unsafe { libc::syscall(libc::SYS_io_getevents, s2.ctx, 1, 64, ev.as_mut_ptr(), 0) };
                for e in &ev[..n.max(0) as usize] {
                    s2.slots.complete(e[0] as u32, e[2]);
                }
            }
        });
        s
    }
    fn send(&self, r: Req) {
        let mut cb = Iocb {
            data: r.slot as u64,
            opcode: self.k.write as u16,
            fd: self.k.fd as u32,
            buf: r.p as u64,
            nbytes: self.k.bs as u64,
            offset: r.off as i64,
            rw_flags: if self.k.wal { libc::RWF_DSYNC as u32 } else { 0 },
            ..Default::default()
        };
        // the kernel copies the iocb (it writes `key` back): a stack one will do
        let mut p = &raw mut cb;
        let n = unsafe { libc::syscall(libc::SYS_io_submit, self.ctx, 1, &mut p) };
        assert_eq!(n, 1, "io_submit");
    }
}

enum Base {
    Aio(Arc<Aio>),
    Inline(i32, Args),
    Pool(Arc<Pool>),
    Chan(Arc<Chan>),
    Shards(Vec<Arc<Shard>>, bool),
}
struct E {
    base: Base,
    slots: Arc<Slots>,
    nowait: Option<i32>,
    bs: usize,
}
thread_local! { static ME: std::cell::Cell<usize> = const { std::cell::Cell::new(usize::MAX) }; }
static NEXT: AtomicUsize = AtomicUsize::new(0);
fn thread_no() -> usize {
    ME.with(|m| {
        if m.get() == usize::MAX {
            m.set(NEXT.fetch_add(1, Relaxed));
        }
        m.get()
    })
}
impl on_tokio::Engine for E {
    async fn op(&self, mut b: ABuf, off: u64) -> (i64, ABuf) {
        if let Some(fd) = self.nowait {
            let r = {
                let iov = libc::iovec { iov_base: b.raw().cast(), iov_len: self.bs };
                unsafe { libc::preadv2(fd, &iov, 1, off as i64, libc::RWF_NOWAIT) }
            };
            if r as usize == self.bs {
                coop().await;
                return (r as i64, b);
            }
        }
        if let Base::Inline(fd, a) = &self.base {
            let r = blocking_op(*fd, a, &mut b, off);
            coop().await;
            return (r, b);
        }
        let slot = self.slots.get();
        let r = Req { slot, p: b.raw() as usize, off };
        match &self.base {
            Base::Aio(p) => p.send(r),
            Base::Pool(p) => p.send(r),
            Base::Chan(c) => c.send(r),
            Base::Shards(s, task) => {
                if let Some(v) = s[thread_no() % s.len()].submit(r, *task) {
                    self.slots.free.push(slot).unwrap();
                    coop().await;
                    return (v, b);
                }
            }
            Base::Inline(..) => unreachable!(),
        }
        (self.slots.wait(slot).await, b)
    }
}
/// Inline completions must still let other tasks run: tokio's cooperative budget.
async fn coop() {
    tokio::task::coop::consume_budget().await
}

fn main() {
    let a = Args::parse();
    on_tokio::run(a, |a| {
        let fd = a.open();
        let slots = Slots::new((a.qd * 2 + 64).max(64));
        let k = Kind { bs: a.bs as u32, write: a.is_write(), wal: a.op == Op::WalAppend, fd };
        let (nowait, v) = match a.variant.strip_prefix("nowait+") {
            Some(v) => (!a.direct && !a.is_write(), v),
            None => (false, a.variant.as_str()),
        };
        let sh = |n: usize, rx: bool, sq: bool, r: Reaper| {
            Base::Shards(
                (0..n).map(|_| Shard::start(k, slots.clone(), rx, sq, r, a.direct)).collect(),
                r != Reaper::Thread,
            )
        };
        let base = match v {
            "inline" => Base::Inline(fd, a.clone()),
            "pool" => Base::Pool(Pool::start(a, fd, slots.clone(), a.qd.clamp(1, 64))),
            "pool4" => Base::Pool(Pool::start(a, fd, slots.clone(), 4)),
            "flume" => Base::Chan(Chan::start(a, k, slots.clone(), true, false, false)),
            "" | "chan" => Base::Chan(Chan::start(a, k, slots.clone(), false, false, false)),
            "chanmsg" => Base::Chan(Chan::start(a, k, slots.clone(), false, true, false)),
            "chanad" => Base::Chan(Chan::start(a, k, slots.clone(), false, true, true)),
            "aio" => Base::Aio(Aio::start(a, k, slots.clone())),
            "mutex" => sh(1, false, false, Reaper::Thread),
            "mutexrx" => sh(1, true, false, Reaper::Thread),
            "shard" => sh(a.workers, true, false, Reaper::Thread),
            "shardtask" => sh(a.workers, true, false, Reaper::Task),
            "evt" => sh(a.workers, true, false, Reaper::Evt),
            "sqpoll" => sh(1, false, true, Reaper::Thread),
            x => die(&format!("variant {x}")),
        };
        E { base, slots, nowait: nowait.then_some(fd), bs: a.bs }
    });
}
