//! What a user writes by hand: `qd` threads with blocking pread/pwrite.
//! wal-append: pwrite + fdatasync (default) | --variant dsync (pwritev2 RWF_DSYNC); --group 1: leader/follower commit.
use harness::*;
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
struct G {
    pending: usize,
    leader: bool,
    gen_open: u64,
    gen_done: u64,
}

fn pw(fd: i32, p: *const u8, l: usize, off: u64, dsync: bool) {
    let r = if dsync {
        let iov = libc::iovec { iov_base: p as *mut _, iov_len: l };
        unsafe { libc::pwritev2(fd, &iov, 1, off as i64, libc::RWF_DSYNC) as i64 }
    } else {
        unsafe { libc::pwrite64(fd, p.cast(), l, off as i64) as i64 }
    };
    check(if r < 0 { -(std::io::Error::last_os_error().raw_os_error().unwrap() as i64) } else { r }, l);
}

fn main() {
    let a = Args::parse();
    let fd = a.open();
    let a = Arc::new(a);
    let run = Arc::new(Run::start(&a));
    let g = Arc::new((Mutex::new(G::default()), Condvar::new()));
    let big = Arc::new(ABuf::new(a.bs * a.qd));
    let ts: Vec<_> = (0..a.qd)
        .map(|i| {
            let (a, run, g, big) = (a.clone(), run.clone(), g.clone(), big.clone());
            std::thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(move || {
                    let mut s = a.stream(i);
                    let b = ABuf::new(a.bs);
                    let wal = a.op == Op::WalAppend;
                    let dsync = wal && a.variant == "dsync";
                    let mut t = tsc();
                    while !run.over(t) {
                        if wal && a.group {
                            let (m, c) = &*g;
                            let mut l = m.lock().unwrap();
                            l.pending += 1;
                            let my = l.gen_open + 1;
                            loop {
                                if l.gen_done >= my {
                                    break;
                                }
                                if !l.leader {
                                    l.leader = true;
                                    let n = l.pending;
                                    l.pending = 0;
                                    l.gen_open += 1;
                                    let this = l.gen_open;
                                    drop(l);
                                    let mut off = s.next();
                                    for _ in 1..n {
                                        s.next();
                                    }
                                    if off + (n * a.bs) as u64 > a.size {
                                        off = 0
                                    }
                                    pw(fd, big.as_ptr(), n * a.bs, off, dsync);
                                    if !dsync {
                                        check(unsafe { libc::fdatasync(fd) } as i64, 0);
                                    }
                                    l = m.lock().unwrap();
                                    l.gen_done = this;
                                    l.leader = false;
                                    c.notify_all();
                                } else {
                                    l = c.wait(l).unwrap();
                                }
                            }
                            drop(l);
                            t = record(t, a.bs);
                            continue;
                        }
                        let off = s.next();
                        if a.is_write() {
                            pw(fd, b.as_ptr(), a.bs, off, dsync);
                            if wal && !dsync {
                                check(unsafe { libc::fdatasync(fd) } as i64, 0);
                            }
                        } else {
                            let r = unsafe { libc::pread64(fd, b.raw().cast(), a.bs, off as i64) };
                            check(r as i64, a.bs);
                        }
                        t = record(t, a.bs);
                    }
                })
                .unwrap()
        })
        .collect();
    for t in ts {
        t.join().unwrap();
    }
    Arc::into_inner(run).unwrap().finish(&me(), &a);
}
