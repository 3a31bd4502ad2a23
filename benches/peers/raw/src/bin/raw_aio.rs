//! THE LIMIT for Linux AIO: io_submit in batches, completions reaped from the ring in user space,
//! (--param as in raw_uring) io_getevents only when it is empty. wal-append: --variant dsync (RWF_DSYNC) | default write, then IOCB_CMD_FDSYNC.
use harness::*;
use std::sync::atomic::{AtomicU32, Ordering};

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
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}
#[repr(C)]
struct AioRing {
    id: u32,
    nr: u32,
    head: AtomicU32,
    tail: AtomicU32,
    magic: u32,
    compat: u32,
    incompat: u32,
    header_len: u32,
}

fn main() {
    let a = Args::parse();
    let fd = a.open();
    let mut ctx: u64 = 0;
    let r = unsafe { libc::syscall(libc::SYS_io_setup, a.qd.max(2), &mut ctx) };
    assert_eq!(r, 0, "io_setup");
    let ring = ctx as *const AioRing;
    let ring = unsafe { &*ring };
    assert_eq!(ring.magic, 0xa10a10a1);
    let evs = unsafe { (ctx as *const u8).add(ring.header_len as usize) } as *const Event;
    let user = a.variant != "syscall";
    let bufs: Vec<ABuf> = (0..a.qd).map(|_| ABuf::new(a.bs)).collect();
    let mut st: Vec<Stream> = (0..a.qd).map(|i| a.stream(i)).collect();
    let mut cbs = vec![Iocb::default(); a.qd];
    let mut t0 = vec![0u64; a.qd];
    let wal = a.op == Op::WalAppend;
    let dsync = wal && a.variant == "dsync";
    let mut q: Vec<*mut Iocb> = Vec::with_capacity(a.qd);
    let base = cbs.as_mut_ptr();
    let cb = |i: usize| unsafe { &mut *base.add(i) };
    let run = Run::start(&a);
    let now = tsc();
    for i in 0..a.qd {
        *cb(i) = Iocb {
            data: i as u64,
            opcode: a.is_write() as u16,
            fd: fd as u32,
            buf: bufs[i].raw() as u64,
            nbytes: a.bs as u64,
            offset: st[i].next() as i64,
            rw_flags: if dsync { libc::RWF_DSYNC as u32 } else { 0 },
            ..Default::default()
        };
        t0[i] = now;
        q.push(cb(i));
    }
    let cap = match a.param {
        0 if a.direct && a.qd >= 8 && a.op == Op::RandRead => 4,
        0 => usize::MAX,
        n => n as usize,
    };
    let mut live = a.qd;
    let mut out = vec![Event::default(); a.qd];
    while live > 0 {
        let mut done = 0;
        while done < q.len() {
            let n = unsafe { libc::syscall(libc::SYS_io_submit, ctx, q.len() - done, q.as_ptr().add(done)) };
            assert!(n > 0, "io_submit {}", std::io::Error::last_os_error());
            done += n as usize;
        }
        q.clear();
        let mut n = 0;
        if user {
            let mut h = ring.head.load(Ordering::Relaxed);
            let t = ring.tail.load(Ordering::Acquire);
            while h != t && n < out.len() {
                out[n] = unsafe { std::ptr::read_volatile(evs.add(h as usize)) };
                n += 1;
                h += 1;
                if h == ring.nr {
                    h = 0
                }
            }
            if n > 0 {
                ring.head.store(h, Ordering::Release);
            }
        }
        if n == 0 {
            let r = unsafe { libc::syscall(libc::SYS_io_getevents, ctx, 1, out.len(), out.as_mut_ptr(), 0) };
            if r < 0 {
                continue;
            }
            n = r as usize;
        }
        for e in &out[..n] {
            let i = e.data as usize;
            let c = cb(i);
            let sync = c.opcode == 3;
            check(e.res, if sync { 0 } else { a.bs });
            if wal && !dsync && !sync {
                c.opcode = 3; // IOCB_CMD_FDSYNC
                let (o, b, l) = (c.offset, c.buf, c.nbytes);
                let _ = (o, b, l);
                c.buf = 0;
                c.nbytes = 0;
                c.offset = 0;
                q.push(c);
                continue;
            }
            let now = record(t0[i], a.bs);
            if run.over(now) {
                live -= 1;
                continue;
            }
            t0[i] = now;
            c.opcode = a.is_write() as u16;
            c.buf = bufs[i].raw() as u64;
            c.nbytes = a.bs as u64;
            c.offset = st[i].next() as i64;
            q.push(c);
            if q.len() >= cap {
                let n = unsafe { libc::syscall(libc::SYS_io_submit, ctx, q.len(), q.as_ptr()) };
                assert!(n > 0, "io_submit");
                q.drain(..n as usize);
            }
        }
    }
    run.finish(&me(), &a);
}
