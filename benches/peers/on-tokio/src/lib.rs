//! Cross-thread harness: `qd` tasks on a multi-thread tokio runtime (`--workers`, default 2). The executor is the
//! same for every peer, so that what differs is the I/O engine behind the `Send` handle.
use harness::*;
use std::future::Future;
use std::sync::Arc;

pub trait Engine: Send + Sync + 'static {
    /// One operation at `off`: a read, a write, or (wal-append) a durable append; gives the buffer back.
    fn op(&self, buf: ABuf, off: u64) -> impl Future<Output = (i64, ABuf)> + Send;
}

pub fn rt(a: &Args) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(a.workers).enable_all().build().unwrap()
}

pub fn run<E: Engine>(a: Args, make: impl FnOnce(&Args) -> E) {
    let rt = rt(&a);
    let _g = rt.enter();
    let e = Arc::new(make(&a));
    let a = Arc::new(a);
    let (run, e) = rt.block_on(async {
        // one warm-up operation, so that lazy initialisation is not measured
        let (r, _) = e.op(ABuf::new(a.bs), 0).await;
        check(r, a.bs);
        let run = Arc::new(Run::start(&a));
        let hs: Vec<_> = (0..a.qd)
            .map(|i| {
                let (a, e, run) = (a.clone(), e.clone(), run.clone());
                tokio::spawn(async move {
                    let mut s = a.stream(i);
                    let mut b = ABuf::new(a.bs);
                    let mut t = tsc();
                    while !run.over(t) {
                        let (r, nb) = e.op(b, s.next()).await;
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
        (Arc::into_inner(run).unwrap(), e)
    });
    run.finish(&me(), &a);
    use std::io::Write;
    let _ = std::io::stdout().flush();
    drop(e);
    std::process::exit(0)
}
