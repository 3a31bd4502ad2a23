//! THE LIMIT: a closed loop written directly on the `io-uring` crate, one thread.
//! --variant reg (default: SINGLE_ISSUER|DEFER_TASKRUN, registered file and buffers) | noreg (no registration)
//!           | plain (no setup flags, no registration) | coop (COOP_TASKRUN) | sqpoll
//! --param N: submit every N SQEs instead of all that one wakeup produced: the device starts earlier
//!            (default 4 for O_DIRECT random reads at QD >= 8, where it is worth +20% here; 9999 = all at once)
//! wal-append: --variant link (default; linked write -> fdatasync) | dsync (one write with RWF_DSYNC)
//!           | serial (write, wait, fdatasync, wait);  --group 1: one commit carries all `qd` records.
use harness::*;
use io_uring::{IoUring, cqueue, opcode, squeue, types};

fn main() {
    let a = Args::parse();
    let fd = a.open();
    let cap = match a.param {
        0 if a.direct && a.qd >= 8 && a.op == Op::RandRead => 4,
        0 => u64::MAX,
        n => n,
    };
    let v = a.variant.as_str();
    let entries = (a.qd as u32 * 2).next_power_of_two().max(8);
    let mut b = IoUring::<squeue::Entry, cqueue::Entry>::builder();
    let mut reg = true;
    match v {
        "plain" => reg = false,
        "coop" => {
            b.setup_coop_taskrun().setup_single_issuer();
            reg = false
        }
        "sqpoll" => {
            b.setup_sqpoll(1000).setup_single_issuer();
        }
        "iopoll" => {
            b.setup_iopoll();
        }
        _ => {
            b.setup_single_issuer().setup_defer_taskrun();
            reg = v != "noreg";
        }
    }
    let mut ring = b.build(entries).expect("ring");
    let group = a.op == Op::WalAppend && a.group;
    let (streams, len) = if group { (1, a.bs * a.qd) } else { (a.qd, a.bs) };
    let bufs: Vec<ABuf> = (0..streams).map(|_| ABuf::new(len)).collect();
    if reg {
        ring.submitter().register_files(&[fd]).expect("files");
        let iov: Vec<libc::iovec> =
            bufs.iter().map(|b| libc::iovec { iov_base: b.raw().cast(), iov_len: len }).collect();
        unsafe { ring.submitter().register_buffers(&iov).expect("bufs") };
    }
    let mut st: Vec<Stream> = (0..streams).map(|i| a.stream(i)).collect();
    let mut t0 = vec![0u64; streams];
    let mk = |i: usize, off: u64| -> squeue::Entry {
        let p = bufs[i].raw();
        let (l, w, rw) =
            (len as u32, a.is_write(), if a.op == Op::WalAppend && v == "dsync" { libc::RWF_DSYNC } else { 0 });
        let e = match (w, reg) {
            (false, true) => opcode::ReadFixed::new(types::Fixed(0), p, l, i as u16).offset(off).build(),
            (false, false) => opcode::Read::new(types::Fd(fd), p, l).offset(off).build(),
            (true, true) => opcode::WriteFixed::new(types::Fixed(0), p, l, i as u16).offset(off).rw_flags(rw).build(),
            (true, false) => opcode::Write::new(types::Fd(fd), p, l).offset(off).rw_flags(rw).build(),
        };
        e.user_data(i as u64)
    };
    let fsync = |i: usize| -> squeue::Entry {
        let f = types::FsyncFlags::DATASYNC;
        let e = if reg {
            opcode::Fsync::new(types::Fixed(0)).flags(f).build()
        } else {
            opcode::Fsync::new(types::Fd(fd)).flags(f).build()
        };
        e.user_data(i as u64 | 1 << 32)
    };
    let run = Run::start(&a);
    let wal = a.op == Op::WalAppend;
    let two = wal && v != "dsync";
    let link = two && v != "serial";
    let off = |s: &mut Stream| {
        if group {
            let mut o = s.next();
            for _ in 1..a.qd {
                s.next();
            }
            if o + len as u64 > a.size {
                o = 0
            }
            o
        } else {
            s.next()
        }
    };
    let put = |ring: &mut IoUring, i: usize, o: u64| {
        let mut sq = ring.submission();
        unsafe {
            if link {
                sq.push(&mk(i, o).flags(squeue::Flags::IO_LINK)).unwrap();
                sq.push(&fsync(i)).unwrap();
            } else {
                sq.push(&mk(i, o)).unwrap();
            }
        }
    };
    let now = tsc();
    for i in 0..streams {
        t0[i] = now;
        let o = off(&mut st[i]);
        put(&mut ring, i, o);
    }
    let mut live = streams;
    let mut cqes: Vec<cqueue::Entry> = Vec::with_capacity(entries as usize * 2);
    while live > 0 {
        ring.submit_and_wait(1).expect("enter");
        cqes.clear();
        cqes.extend(ring.completion());
        let mut unsent = 0;
        for c in &cqes {
            let i = (c.user_data() & 0xffff_ffff) as usize;
            let is_sync = c.user_data() >> 32 != 0;
            check(c.result() as i64, if is_sync { 0 } else { len });
            if two && !is_sync {
                if !link {
                    unsafe { ring.submission().push(&fsync(i)).unwrap() };
                }
                continue;
            }
            let mut now = record(t0[i], len);
            if group {
                for _ in 1..a.qd {
                    now = record(t0[i], 0);
                }
            }
            if run.over(now) {
                live -= 1;
                continue;
            }
            t0[i] = now;
            let o = off(&mut st[i]);
            put(&mut ring, i, o);
            unsent += 1;
            if unsent >= cap {
                ring.submit().expect("submit");
                unsent = 0;
            }
        }
    }
    run.finish(&me(), &a);
}
