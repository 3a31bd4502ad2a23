//! Thread per core: tasks on the monoio io_uring runtime. --variant defer: SINGLE_ISSUER|DEFER_TASKRUN ring.
use harness::*;
use monoio::fs::File;
use std::os::fd::FromRawFd;
use std::rc::Rc;

struct B(ABuf);
unsafe impl monoio::buf::IoBuf for B {
    fn read_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}
unsafe impl monoio::buf::IoBufMut for B {
    fn write_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
    fn bytes_total(&mut self) -> usize {
        self.0.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

fn main() {
    let a = Args::parse();
    let mut urb = io_uring::IoUring::builder();
    if a.variant == "defer" {
        urb.setup_single_issuer().setup_defer_taskrun();
    }
    let mut rt = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries((a.qd as u32).next_power_of_two().max(256))
        .uring_builder(urb)
        .build()
        .unwrap();
    rt.block_on(async move {
        let f = Rc::new(File::from_std(unsafe { std::fs::File::from_raw_fd(a.open()) }).unwrap());
        let a = Rc::new(a);
        let run = Rc::new(Run::start(&a));
        let hs: Vec<_> = (0..a.qd)
            .map(|i| {
                let (a, f, run) = (a.clone(), f.clone(), run.clone());
                monoio::spawn(async move {
                    let mut s = a.stream(i);
                    let mut b = B(ABuf::new(a.bs));
                    let mut t = tsc();
                    while !run.over(t) {
                        let o = s.next();
                        let (r, nb) = if a.is_write() { f.write_at(b, o).await } else { f.read_at(b, o).await };
                        check(r.unwrap() as i64, a.bs);
                        if a.op == Op::WalAppend {
                            f.sync_data().await.unwrap();
                        }
                        b = nb;
                        t = record(t, a.bs);
                    }
                })
            })
            .collect();
        for h in hs {
            h.await;
        }
        Rc::into_inner(run).unwrap().finish(&me(), &a);
        std::process::exit(0)
    });
}
