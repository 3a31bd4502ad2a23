//! --variant local (default): tasks on the compio runtime itself (thread per core)
//! --variant cross: tokio multi-thread tasks -> flume -> one compio thread, a task per request -> oneshot
//! --variant dispatch: tokio multi-thread tasks -> compio::dispatcher (1 worker)
use compio::BufResult;
use compio::buf::{IoBuf, IoBufMut, SetLen};
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncReadAt, AsyncWriteAt};
use harness::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

struct B(ABuf);
impl IoBuf for B {
    fn as_init(&self) -> &[u8] {
        &self.0
    }
}
impl SetLen for B {
    unsafe fn set_len(&mut self, _: usize) {}
}
impl IoBufMut for B {
    fn as_uninit(&mut self) -> &mut [std::mem::MaybeUninit<u8>] {
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len()) }
    }
}

async fn open(a: &Args) -> File {
    a.prepare_wal();
    a.warm();
    OpenOptions::new()
        .read(true)
        .write(a.is_write())
        .custom_flags(if a.direct { libc::O_DIRECT } else { 0 })
        .open(&a.file)
        .await
        .unwrap()
}
async fn op(f: &File, a: &Args, b: B, off: u64) -> (i64, B) {
    let BufResult(r, b) = if a.is_write() {
        let mut f = f;
        f.write_at(b, off).await
    } else {
        f.read_at(b, off).await
    };
    if a.op == Op::WalAppend && r.is_ok() {
        f.sync_data().await.unwrap();
    }
    (r.map(|n| n as i64).unwrap_or_else(|e| -(e.raw_os_error().unwrap_or(5) as i64)), b)
}

struct Req {
    b: ABuf,
    off: u64,
    tx: tokio::sync::oneshot::Sender<(i64, ABuf)>,
}
struct Cross {
    tx: flume::Sender<Req>,
}
impl on_tokio::Engine for Cross {
    async fn op(&self, b: ABuf, off: u64) -> (i64, ABuf) {
        let (tx, rx) = tokio::sync::oneshot::channel();
        let _ = self.tx.send(Req { b, off, tx });
        rx.await.unwrap()
    }
}
thread_local! { static F: RefCell<Option<File>> = const { RefCell::new(None) }; }
struct Disp {
    d: compio::dispatcher::Dispatcher,
    a: Arc<Args>,
}
impl on_tokio::Engine for Disp {
    async fn op(&self, b: ABuf, off: u64) -> (i64, ABuf) {
        let a = self.a.clone();
        let rx = self
            .d
            .dispatch(move || async move {
                let f = F.with(|f| f.borrow().clone());
                let f = match f {
                    Some(f) => f,
                    None => {
                        let n = open(&a).await;
                        F.with(|f| *f.borrow_mut() = Some(n.clone()));
                        n
                    }
                };
                let (r, b) = op(&f, &a, B(b), off).await;
                (r, b.0)
            })
            .ok()
            .unwrap();
        rx.await.unwrap()
    }
}

fn main() {
    let a = Args::parse();
    match a.variant.as_str() {
        "cross" => {
            return on_tokio::run(a, |a| {
                let (tx, rx) = flume::unbounded::<Req>();
                let a = Arc::new(a.clone());
                std::thread::spawn(move || {
                    compio::runtime::Runtime::new().unwrap().block_on(async move {
                        let f = Rc::new(open(&a).await);
                        while let Ok(r) = rx.recv_async().await {
                            let (f, a) = (f.clone(), a.clone());
                            compio::runtime::spawn(async move {
                                let (n, b) = op(&f, &a, B(r.b), r.off).await;
                                let _ = r.tx.send((n, b.0));
                            })
                            .detach();
                        }
                    })
                });
                Cross { tx }
            });
        }
        "dispatch" => {
            return on_tokio::run(a, |a| Disp {
                d: compio::dispatcher::Dispatcher::builder()
                    .worker_threads(std::num::NonZeroUsize::new(1).unwrap())
                    .build()
                    .unwrap(),
                a: Arc::new(a.clone()),
            });
        }
        _ => {}
    }
    let mut p = compio::driver::ProactorBuilder::new();
    p.capacity((a.qd as u32).next_power_of_two().max(64));
    if a.variant == "defer" {
        p.single_issuer(true).defer_taskrun(true);
    }
    let rt = compio::runtime::RuntimeBuilder::new().with_proactor(p).build().unwrap();
    rt.block_on(async move {
        let f = Rc::new(open(&a).await);
        let a = Rc::new(a);
        let run = Rc::new(Run::start(&a));
        let hs: Vec<_> = (0..a.qd)
            .map(|i| {
                let (a, f, run) = (a.clone(), f.clone(), run.clone());
                compio::runtime::spawn(async move {
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
            let _ = h.await;
        }
        Rc::into_inner(run).unwrap().finish(&me(), &a);
        std::process::exit(0)
    });
}
