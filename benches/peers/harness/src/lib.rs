//! What all peers share: arguments, offsets, aligned buffers, latency recording, resource usage, one JSON line out.
//!
//! Every peer binary runs the same closed-loop workload: `qd` logical streams, each with one operation in
//! flight, until the deadline. Latency is taken per operation with the TSC (calibrated), recorded into
//! thread-local hdrhistograms that are merged at the end, so that recording costs a peer no shared cache line.

use hdrhistogram::Histogram;
use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    RandRead,
    SeqRead,
    RandWrite,
    /// append + fdatasync, one durable record per op (see `wal` for how)
    WalAppend,
}

#[derive(Clone, Debug)]
pub struct Args {
    pub file: String,
    pub size: u64,
    pub bs: usize,
    pub qd: usize,
    pub op: Op,
    pub direct: bool,
    pub seconds: f64,
    pub seed: u64,
    /// peer specific switch (`--variant`)
    pub variant: String,
    /// WAL: `prealloc` | `grow`
    pub wal: String,
    /// WAL: group commit
    pub group: bool,
    /// batch size / spin budget etc., peer specific
    pub param: u64,
    pub workers: usize,
    pub ops_limit: u64,
}

impl Args {
    pub fn parse() -> Args {
        let mut a = Args {
            file: "data".into(),
            size: 1 << 30,
            bs: 4096,
            qd: 1,
            op: Op::RandRead,
            direct: false,
            seconds: 1.0,
            seed: 1,
            variant: String::new(),
            wal: "prealloc".into(),
            group: false,
            param: 0,
            workers: 2,
            ops_limit: u64::MAX,
        };
        let mut it = std::env::args().skip(1);
        while let Some(k) = it.next() {
            let v = it.next().unwrap_or_else(|| die(&format!("{k} needs a value")));
            match k.as_str() {
                "--file" => a.file = v,
                "--size" => a.size = size(&v),
                "--bs" => a.bs = size(&v) as usize,
                "--qd" => a.qd = v.parse().unwrap(),
                "--op" => {
                    a.op = match v.as_str() {
                        "randread" => Op::RandRead,
                        "seqread" => Op::SeqRead,
                        "randwrite" => Op::RandWrite,
                        "wal-append" => Op::WalAppend,
                        _ => die("op: randread|seqread|randwrite|wal-append"),
                    }
                }
                "--direct" => a.direct = v != "0",
                "--seconds" => a.seconds = v.parse().unwrap(),
                "--seed" => a.seed = v.parse().unwrap(),
                "--variant" => a.variant = v,
                "--wal" => a.wal = v,
                "--group" => a.group = v != "0",
                "--param" => a.param = v.parse().unwrap(),
                "--workers" => a.workers = v.parse().unwrap(),
                "--ops" => a.ops_limit = v.parse().unwrap(),
                _ => die(&format!("unknown argument {k}")),
            }
        }
        a
    }
    pub fn is_write(&self) -> bool {
        matches!(self.op, Op::RandWrite | Op::WalAppend)
    }
    pub fn flags(&self) -> i32 {
        let mut f = if self.is_write() { libc::O_RDWR } else { libc::O_RDONLY };
        f |= libc::O_CLOEXEC;
        if self.direct {
            f |= libc::O_DIRECT;
        }
        f
    }
    /// Opens the target (already prepared by the runner). WAL files are created here.
    pub fn open(&self) -> RawFd {
        self.prepare_wal();
        let c = std::ffi::CString::new(self.file.as_str()).unwrap();
        let fd = unsafe { libc::open(c.as_ptr(), self.flags()) };
        if fd < 0 {
            die(&format!("open {}: {}", self.file, std::io::Error::last_os_error()));
        }
        self.warm();
        fd
    }
    /// Buffered reads: bring the whole range into the page cache first (the kernel may reclaim cold pages between runs).
    pub fn warm(&self) {
        if self.direct || self.is_write() {
            return;
        }
        use std::io::Read;
        let mut f = std::fs::File::open(&self.file).unwrap().take(self.size);
        let mut b = vec![0u8; 256 << 10];
        while f.read(&mut b).unwrap() > 0 {}
    }
    /// For `wal-append`: a fresh file. `grow` starts empty; `prealloc` is written full of zeros and synced
    /// (allocated, initialised extents, final size), so that fdatasync has no metadata to commit.
    pub fn prepare_wal(&self) {
        if self.op != Op::WalAppend {
            return;
        }
        use std::io::Write;
        match self.wal.as_str() {
            "grow" => {
                let _ = std::fs::remove_file(&self.file);
                let f = std::fs::File::create(&self.file).unwrap();
                f.sync_all().unwrap();
            }
            "fallocate" => {
                let _ = std::fs::remove_file(&self.file);
                let f = std::fs::File::create(&self.file).unwrap();
                use std::os::fd::AsRawFd;
                let r = unsafe { libc::fallocate(f.as_raw_fd(), 0, 0, self.size as i64) };
                assert_eq!(r, 0);
                f.sync_all().unwrap();
            }
            _ => {
                let ok = std::fs::metadata(&self.file).map(|m| m.len() == self.size).unwrap_or(false)
                    && std::path::Path::new(&format!("{}.ready", self.file)).exists();
                if !ok {
                    let mut f = std::fs::File::create(&self.file).unwrap();
                    let z = vec![0u8; 1 << 20];
                    let mut n = 0;
                    while n < self.size {
                        f.write_all(&z).unwrap();
                        n += z.len() as u64;
                    }
                    f.sync_all().unwrap();
                    std::fs::write(format!("{}.ready", self.file), b"").unwrap();
                }
            }
        }
    }
    pub fn stream(&self, id: usize) -> Stream {
        Stream::new(self, id)
    }
}

fn size(s: &str) -> u64 {
    let (n, m) = match s.as_bytes().last() {
        Some(b'k' | b'K') => (&s[..s.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&s[..s.len() - 1], 1 << 20),
        Some(b'g' | b'G') => (&s[..s.len() - 1], 1 << 30),
        _ => (s, 1),
    };
    n.parse::<u64>().unwrap() * m
}

pub fn die(m: &str) -> ! {
    eprintln!("{m}");
    std::process::exit(2)
}

/// Says that this peer cannot run this workload; the runner prints `n/a` with the reason.
pub fn unsupported(why: &str) -> ! {
    println!("{{\"unsupported\":\"{}\"}}", why.replace('"', "'"));
    std::process::exit(0)
}

static SEQ: AtomicU64 = AtomicU64::new(0);

/// Offsets of one logical stream. Random: uniform blocks. Sequential and WAL: one cursor shared by all streams.
pub struct Stream {
    s: u64,
    blocks: u64,
    bs: u64,
    op: Op,
}
impl Stream {
    fn new(a: &Args, id: usize) -> Stream {
        let mut s = a.seed.wrapping_mul(0x9E3779B97F4A7C15) ^ ((id as u64 + 1).wrapping_mul(0xD1B54A32D192ED03));
        if s == 0 {
            s = 1
        }
        let mut st = Stream { s, blocks: a.size / a.bs as u64, bs: a.bs as u64, op: a.op };
        for _ in 0..4 {
            st.rnd();
        }
        st
    }
    #[inline]
    pub fn rnd(&mut self) -> u64 {
        // xorshift64*
        self.s ^= self.s >> 12;
        self.s ^= self.s << 25;
        self.s ^= self.s >> 27;
        self.s.wrapping_mul(0x2545F4914F6CDD1D)
    }
    #[inline]
    pub fn next(&mut self) -> u64 {
        match self.op {
            Op::RandRead | Op::RandWrite => {
                let r = self.rnd() >> 32;
                ((r * self.blocks) >> 32) * self.bs
            }
            Op::SeqRead | Op::WalAppend => (SEQ.fetch_add(1, Ordering::Relaxed) % self.blocks) * self.bs,
        }
    }
}

/// A 4096-aligned heap buffer of fixed length.
pub struct ABuf {
    p: *mut u8,
    len: usize,
}
unsafe impl Send for ABuf {}
unsafe impl Sync for ABuf {}
impl ABuf {
    pub fn new(len: usize) -> ABuf {
        let p = unsafe { std::alloc::alloc_zeroed(std::alloc::Layout::from_size_align(len, 4096).unwrap()) };
        let mut b = ABuf { p, len };
        for (i, x) in b.iter_mut().enumerate() {
            *x = (i as u8) | 1;
        }
        b
    }
    pub fn as_ptr(&self) -> *const u8 {
        self.p
    }
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.p
    }
    /// stable address, for handing to the kernel
    pub fn raw(&self) -> *mut u8 {
        self.p
    }
}
impl Drop for ABuf {
    fn drop(&mut self) {
        unsafe { std::alloc::dealloc(self.p, std::alloc::Layout::from_size_align(self.len, 4096).unwrap()) }
    }
}
impl std::ops::Deref for ABuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.p, self.len) }
    }
}
impl std::ops::DerefMut for ABuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.p, self.len) }
    }
}

// ---- time ----

#[inline(always)]
pub fn tsc() -> u64 {
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static T0: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        T0.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

static NS_NUM: AtomicU64 = AtomicU64::new(0); // ns per tick << 32

fn calibrate() {
    let (i0, t0) = (Instant::now(), tsc());
    while i0.elapsed() < Duration::from_millis(20) {
        std::hint::spin_loop();
    }
    let (d, t) = (i0.elapsed().as_nanos(), tsc() - t0);
    NS_NUM.store(((d << 32) / t as u128) as u64, Ordering::Relaxed);
}
#[inline]
pub fn ticks_to_ns(t: u64) -> u64 {
    ((t as u128 * NS_NUM.load(Ordering::Relaxed) as u128) >> 32) as u64
}
pub fn ns_to_ticks(ns: u64) -> u64 {
    (((ns as u128) << 32) / NS_NUM.load(Ordering::Relaxed).max(1) as u128) as u64
}

// ---- recording ----

struct Local {
    h: Histogram<u64>,
    ops: u64,
    bytes: u64,
}
struct P(*mut Local);
unsafe impl Send for P {}
static ALL: Mutex<Vec<P>> = Mutex::new(Vec::new());
thread_local! { static L: Cell<*mut Local> = const { Cell::new(std::ptr::null_mut()) }; }

#[cold]
fn new_local() -> *mut Local {
    let l = Box::into_raw(Box::new(Local {
        h: Histogram::new_with_bounds(1, 60_000_000_000, 2).unwrap(),
        ops: 0,
        bytes: 0,
    }));
    ALL.lock().unwrap().push(P(l));
    L.with(|c| c.set(l));
    l
}

/// Records one finished operation that started at tick `t0`; returns now (use it as the next start).
#[inline]
pub fn record(t0: u64, bytes: usize) -> u64 {
    let now = tsc();
    let mut l = L.with(|c| c.get());
    if l.is_null() {
        l = new_local();
    }
    let l = unsafe { &mut *l };
    let _ = l.h.record(ticks_to_ns(now.wrapping_sub(t0)).max(1));
    l.ops += 1;
    l.bytes += bytes as u64;
    now
}

#[inline]
pub fn check(res: i64, want: usize) {
    if res != want as i64 {
        bad(res, want)
    }
}
#[cold]
fn bad(res: i64, want: usize) -> ! {
    if res < 0 {
        die(&format!("I/O error: {}", std::io::Error::from_raw_os_error(-res as i32)));
    }
    die(&format!("short I/O: {res} of {want}"));
}

/// Busy time of the whole machine in seconds (kernel workers included, which getrusage does not see).
fn machine_busy() -> f64 {
    let s = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let v: Vec<f64> =
        s.lines().next().unwrap_or("").split_whitespace().skip(1).map(|x| x.parse().unwrap_or(0.0)).collect();
    if v.len() < 8 {
        return 0.0;
    }
    (v[0] + v[1] + v[2] + v[5] + v[6]) / 100.0
}

pub struct Run {
    busy: f64,
    i0: Instant,
    deadline: u64,
    ru: libc::rusage,
    left: AtomicU64,
    limited: bool,
}

impl Run {
    /// Starts the measured interval.
    pub fn start(a: &Args) -> Run {
        if NS_NUM.load(Ordering::Relaxed) == 0 {
            calibrate();
        }
        let ru = rusage();
        Run {
            busy: machine_busy(),
            i0: Instant::now(),
            deadline: tsc() + ns_to_ticks((a.seconds * 1e9) as u64),
            ru,
            left: AtomicU64::new(a.ops_limit),
            limited: a.ops_limit != u64::MAX,
        }
    }
    #[inline]
    pub fn over(&self, now: u64) -> bool {
        if self.limited {
            return self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| x.checked_sub(1)).is_err();
        }
        now >= self.deadline
    }
    pub fn finish(self, peer: &str, a: &Args) {
        let secs = self.i0.elapsed().as_secs_f64();
        let ru = rusage();
        let busy = machine_busy() - self.busy;
        let mut h: Histogram<u64> = Histogram::new_with_bounds(1, 60_000_000_000, 2).unwrap();
        let (mut ops, mut bytes) = (0, 0);
        for p in ALL.lock().unwrap().iter() {
            let l = unsafe { &*p.0 };
            h.add(&l.h).unwrap();
            ops += l.ops;
            bytes += l.bytes;
        }
        let tv = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        let (u, s) = (tv(ru.ru_utime) - tv(self.ru.ru_utime), tv(ru.ru_stime) - tv(self.ru.ru_stime));
        let csw = (ru.ru_nvcsw + ru.ru_nivcsw) - (self.ru.ru_nvcsw + self.ru.ru_nivcsw);
        println!(
            "{{\"peer\":\"{peer}\",\"ops\":{ops},\"seconds\":{secs:.4},\"iops\":{:.0},\"mibs\":{:.1},\"p50\":{:.2},\"p99\":{:.2},\"p999\":{:.2},\"user\":{u:.3},\"sys\":{s:.3},\"csw\":{csw},\"rss_kib\":{},\"cpu_us_op\":{:.3},\"csw_op\":{:.3},\"busy\":{busy:.2},\"bs\":{},\"qd\":{},\"direct\":{}}}",
            ops as f64 / secs,
            bytes as f64 / secs / 1048576.0,
            h.value_at_quantile(0.5) as f64 / 1e3,
            h.value_at_quantile(0.99) as f64 / 1e3,
            h.value_at_quantile(0.999) as f64 / 1e3,
            peak_rss_kib(),
            (u + s) * 1e6 / ops.max(1) as f64,
            csw as f64 / ops.max(1) as f64,
            a.bs,
            a.qd,
            a.direct as u8,
        );
    }
}

/// VmHWM: ru_maxrss would include what the parent had before exec.
fn peak_rss_kib() -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    s.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}

fn rusage() -> libc::rusage {
    unsafe {
        let mut r = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut r);
        r
    }
}

/// The file name of this binary.
pub fn me() -> String {
    std::env::args().next().unwrap().rsplit('/').next().unwrap().to_string()
}

impl AsRef<[u8]> for ABuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
impl AsMut<[u8]> for ABuf {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

/// Blocking pread/pwrite/(pwrite+fdatasync) as one call, result as -errno.
pub fn blocking_op(fd: RawFd, a: &Args, buf: &mut ABuf, off: u64) -> i64 {
    unsafe {
        let e =
            |r: isize| if r < 0 { -(std::io::Error::last_os_error().raw_os_error().unwrap() as i64) } else { r as i64 };
        if !a.is_write() {
            return e(libc::pread64(fd, buf.as_mut_ptr().cast(), a.bs, off as i64));
        }
        let r = e(libc::pwrite64(fd, buf.as_ptr().cast(), a.bs, off as i64));
        if r == a.bs as i64 && a.op == Op::WalAppend && libc::fdatasync(fd) != 0 {
            return e(-1);
        }
        r
    }
}
