//! --variant unblock (default): blocking::unblock + pread/pwrite; --variant fs: async_fs::File, seek + read_exact.
use futures_lite::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use harness::*;
use std::sync::Arc;

struct Ub {
    fd: i32,
    a: Arc<Args>,
}
impl on_tokio::Engine for Ub {
    async fn op(&self, mut b: ABuf, off: u64) -> (i64, ABuf) {
        let (fd, a) = (self.fd, self.a.clone());
        blocking::unblock(move || (blocking_op(fd, &a, &mut b, off), b)).await
    }
}

fn main() {
    let a = Args::parse();
    if a.variant != "fs" {
        return on_tokio::run(a, |a| Ub { fd: a.open(), a: Arc::new(a.clone()) });
    }
    if a.direct {
        unsupported("async_fs::File reads through its own unaligned pipe: no O_DIRECT");
    }
    a.prepare_wal();
    a.warm();
    let rt = on_tokio::rt(&a);
    let a = Arc::new(a);
    let run = rt.block_on(async {
        let run = Arc::new(Run::start(&a));
        let hs: Vec<_> = (0..a.qd)
            .map(|i| {
                let (a, run) = (a.clone(), run.clone());
                tokio::spawn(async move {
                    let mut s = a.stream(i);
                    let mut b = ABuf::new(a.bs);
                    let mut f =
                        async_fs::OpenOptions::new().read(true).write(a.is_write()).open(&a.file).await.unwrap();
                    let mut t = tsc();
                    let mut pos = u64::MAX;
                    while !run.over(t) {
                        let o = s.next();
                        if o != pos {
                            f.seek(std::io::SeekFrom::Start(o)).await.unwrap();
                        }
                        if a.is_write() {
                            f.write_all(&b).await.unwrap();
                            f.flush().await.unwrap();
                            if a.op == Op::WalAppend {
                                f.sync_data().await.unwrap();
                            }
                        } else {
                            f.read_exact(&mut b).await.unwrap();
                        }
                        pos = o + a.bs as u64;
                        t = record(t, a.bs);
                    }
                })
            })
            .collect();
        for h in hs {
            h.await.unwrap();
        }
        Arc::into_inner(run).unwrap()
    });
    run.finish(&me(), &a);
}
