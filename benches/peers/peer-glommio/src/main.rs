//! Thread per core: tasks on one glommio executor. O_DIRECT: DmaFile::read_at_aligned / write_at; buffered: BufferedFile
//! (both allocate the result per call; that is its API).
use glommio::io::{BufferedFile, DmaFile, OpenOptions};
use glommio::{LocalExecutorBuilder, Placement};
use harness::*;
use std::rc::Rc;

enum F {
    D(DmaFile),
    B(BufferedFile),
}

fn main() {
    let a = Args::parse();
    a.prepare_wal();
    a.warm();
    LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(64 << 20)
        .ring_depth((a.qd * 2).max(128))
        .spawn(|| async move {
            let mut o = OpenOptions::new();
            o.read(true).write(a.is_write());
            let f = Rc::new(if a.direct {
                F::D(o.dma_open(&a.file).await.unwrap())
            } else {
                F::B(o.buffered_open(&a.file).await.unwrap())
            });
            let a = Rc::new(a);
            let run = Rc::new(Run::start(&a));
            let hs: Vec<_> = (0..a.qd)
                .map(|i| {
                    let (a, f, run) = (a.clone(), f.clone(), run.clone());
                    glommio::spawn_local(async move {
                        let mut s = a.stream(i);
                        let mut t = tsc();
                        while !run.over(t) {
                            let o = s.next();
                            let n = match (&*f, a.is_write()) {
                                (F::D(f), false) => f.read_at_aligned(o, a.bs).await.unwrap().len(),
                                (F::B(f), false) => f.read_at(o, a.bs).await.unwrap().len(),
                                (F::D(f), true) => {
                                    let mut b = f.alloc_dma_buffer(a.bs);
                                    b.as_bytes_mut().fill(7);
                                    f.write_at(b, o).await.unwrap()
                                }
                                (F::B(f), true) => f.write_at(vec![7u8; a.bs], o).await.unwrap(),
                            };
                            check(n as i64, a.bs);
                            if a.op == Op::WalAppend {
                                match &*f {
                                    F::D(f) => f.fdatasync().await.unwrap(),
                                    F::B(f) => f.fdatasync().await.unwrap(),
                                }
                            }
                            t = record(t, a.bs);
                        }
                    })
                    .detach()
                })
                .collect();
            for h in hs {
                h.await;
            }
            Rc::into_inner(run).unwrap().finish(&me(), &a);
            std::process::exit(0)
        })
        .unwrap()
        .join()
        .unwrap();
}
