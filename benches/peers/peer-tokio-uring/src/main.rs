//! --variant local (default): tasks on the tokio-uring runtime itself (thread per core)
//! --variant cross: tokio multi-thread tasks -> mpsc -> worker thread that spawns one tokio-uring task per request -> oneshot
//! --variant one: as cross, with a worker that awaits each operation before it takes the next
use harness::*;
use std::os::fd::FromRawFd;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_uring::fs::File;

struct B(ABuf);
unsafe impl tokio_uring::buf::IoBuf for B {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.len()
    }
    fn bytes_total(&self) -> usize {
        self.0.len()
    }
}
unsafe impl tokio_uring::buf::IoBufMut for B {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

async fn op(f: &File, a: &Args, b: B, off: u64) -> (i64, B) {
    let (r, b) = if a.is_write() { f.write_at(b, off).submit().await } else { f.read_at(b, off).await };
    if a.op == Op::WalAppend && r.is_ok() {
        f.sync_data().await.unwrap();
    }
    (r.map(|n| n as i64).unwrap_or_else(|e| -(e.raw_os_error().unwrap_or(5) as i64)), b)
}

struct Req {
    b: ABuf,
    off: u64,
    tx: oneshot::Sender<(i64, ABuf)>,
}
struct Cross {
    tx: mpsc::Sender<Req>,
}
impl on_tokio::Engine for Cross {
    async fn op(&self, b: ABuf, off: u64) -> (i64, ABuf) {
        let (tx, rx) = oneshot::channel();
        let _ = self.tx.send(Req { b, off, tx }).await;
        rx.await.unwrap()
    }
}

fn main() {
    let a = Args::parse();
    if a.variant == "cross" || a.variant == "one" {
        let serial = a.variant == "one";
        return on_tokio::run(a, |a| {
            let (tx, mut rx) = mpsc::channel::<Req>(1024);
            let a = Arc::new(a.clone());
            let fd = a.open();
            std::thread::spawn(move || {
                tokio_uring::start(async move {
                    let f = Rc::new(unsafe { File::from_raw_fd(fd) });
                    while let Some(r) = rx.recv().await {
                        if serial {
                            let (n, b) = op(&f, &a, B(r.b), r.off).await;
                            let _ = r.tx.send((n, b.0));
                            continue;
                        }
                        let (f, a) = (f.clone(), a.clone());
                        tokio_uring::spawn(async move {
                            let (n, b) = op(&f, &a, B(r.b), r.off).await;
                            let _ = r.tx.send((n, b.0));
                        });
                    }
                })
            });
            Cross { tx }
        });
    }
    tokio_uring::builder().entries((a.qd as u32).next_power_of_two().max(64)).start(async move {
        let f = Rc::new(unsafe { File::from_raw_fd(a.open()) });
        let a = Rc::new(a);
        let run = Rc::new(Run::start(&a));
        let hs: Vec<_> = (0..a.qd)
            .map(|i| {
                let (a, f, run) = (a.clone(), f.clone(), run.clone());
                tokio_uring::spawn(async move {
                    let mut s = a.stream(i);
                    let mut b = B(ABuf::new(a.bs));
                    let mut t = tsc();
                    while !run.over(t) {
                        let (r, nb) = op(&f, &a, b, s.next()).await;
                        check(r, a.bs);
                        b = nb;
                        t = record(t, a.bs);
                    }
                })
            })
            .collect();
        for h in hs {
            h.await.unwrap();
        }
        Rc::into_inner(run).unwrap().finish(&me(), &a);
        std::process::exit(0)
    });
}
