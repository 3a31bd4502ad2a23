//! --variant fs: tokio::fs::File, one handle per task, seek + read_exact (its API has no positional read)
//! --variant sb (default): spawn_blocking + pread/pwrite(+fdatasync in the same call)
//! --variant sb2: wal-append with one spawn_blocking for the write and one for the sync
use harness::*;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

struct Sb {
    fd: i32,
    a: Arc<Args>,
    two: bool,
}
impl on_tokio::Engine for Sb {
    async fn op(&self, mut b: ABuf, off: u64) -> (i64, ABuf) {
        let (fd, a) = (self.fd, self.a.clone());
        if self.two {
            let (r, b) = tokio::task::spawn_blocking(move || {
                let r = unsafe { libc::pwrite64(fd, b.as_ptr().cast(), a.bs, off as i64) };
                (r as i64, b)
            })
            .await
            .unwrap();
            let s = tokio::task::spawn_blocking(move || unsafe { libc::fdatasync(fd) }).await.unwrap();
            check(s as i64, 0);
            return (r, b);
        }
        tokio::task::spawn_blocking(move || (blocking_op(fd, &a, &mut b, off), b)).await.unwrap()
    }
}

fn main() {
    let a = Args::parse();
    if a.variant != "fs" {
        return on_tokio::run(a, |a| Sb { fd: a.open(), a: Arc::new(a.clone()), two: a.variant == "sb2" });
    }
    if a.direct {
        unsupported("tokio::fs::File reads into its own unaligned buffer: no O_DIRECT");
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
                        tokio::fs::OpenOptions::new().read(true).write(a.is_write()).open(&a.file).await.unwrap();
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
