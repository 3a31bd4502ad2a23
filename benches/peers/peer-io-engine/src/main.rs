//! io-engine: submit thread + completion thread, crossfire channel in, callback -> oneshot out; tokio tasks as callers.
//! --variant uring (default) | aio
use crossfire::{mpsc, oneshot};
use harness::*;
use io_buffer::Buffer;
use io_engine::{CbArgs, Driver, IOAction, IOEvent, InlineClosure, setup};
use std::future::Future;

struct Arg(oneshot::TxOneshot<Result<Option<Buffer>, i32>>);
impl CbArgs for Arg {}
type Ev = Box<IOEvent<Arg>>;

struct E {
    tx: crossfire::MTx<mpsc::Array<Ev>>,
    fd: i32,
    w: bool,
    wal: bool,
}
unsafe impl Sync for E {}
impl E {
    fn go(&self, mut ev: IOEvent<Arg>) -> impl Future<Output = Result<Option<Buffer>, i32>> + Send + use<> {
        let (t, r) = oneshot::oneshot();
        ev.set_args(Arg(t));
        let _ = self.tx.send(Box::new(ev));
        async move { r.await.unwrap() }
    }
    async fn rw(&self, b: Buffer, off: u64) -> (i64, Buffer) {
        let act = if self.w { IOAction::Write } else { IOAction::Read };
        let b = self.go(IOEvent::new(self.fd, b, act, off as i64)).await.unwrap().unwrap();
        if self.wal {
            self.go(IOEvent::new_fsync(self.fd)).await.unwrap();
        }
        (b.len() as i64, b)
    }
}

fn main() {
    let a = Args::parse();
    let rt = on_tokio::rt(&a);
    let (tx, rx) = mpsc::bounded_blocking::<Ev>(1024);
    let d = if a.variant == "aio" { Driver::Aio } else { Driver::Uring };
    let w: InlineClosure<Arg> = InlineClosure(Box::new(|c: Arg, _, r| c.0.send(r.map_err(|e| e.raw_os_error()))));
    setup::<Arg, _, _>(a.qd.max(2) * 2, rx, w, d).unwrap();
    let e = std::sync::Arc::new(E { tx, fd: a.open(), w: a.is_write(), wal: a.op == Op::WalAppend });
    let a = std::sync::Arc::new(a);
    let run = rt.block_on(async {
        e.rw(Buffer::aligned(a.bs as i32).unwrap(), 0).await;
        let run = std::sync::Arc::new(Run::start(&a));
        let hs: Vec<_> = (0..a.qd)
            .map(|i| {
                let (a, e, run) = (a.clone(), e.clone(), run.clone());
                tokio::spawn(async move {
                    let mut s = a.stream(i);
                    let mut b = Buffer::aligned(a.bs as i32).unwrap();
                    let mut t = tsc();
                    while !run.over(t) {
                        let (r, nb) = e.rw(b, s.next()).await;
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
        std::sync::Arc::into_inner(run).unwrap()
    });
    run.finish(&me(), &a);
    std::process::exit(0)
}
