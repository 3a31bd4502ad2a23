//! What the core itself costs: tokens, slots, retry, order; the driver does nothing.
#![allow(missing_docs)]

use benches::NullDriver;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use io_core::{AlignedBuf, FileFacts, FileHandle, Op, Token, Wait};
use io_engine::{Inflight, InflightOptions};
use std::hint::black_box;

fn tokens(c: &mut Criterion) {
    c.bench_function("token/round trip", |b| {
        let mut generation = 0;
        b.iter(|| {
            generation += 1;
            let token = Token::from_u64(black_box(Token::new(black_box(17), generation).as_u64()));
            (token.slot(), token.generation())
        });
    });
}

fn slots(c: &mut Criterion) {
    let file = FileHandle::from_std(std::fs::File::open("/dev/null").unwrap(), FileFacts::default());
    let mut group = c.benchmark_group("core");
    for depth in [1u32, 32] {
        group.throughput(Throughput::Elements(depth as u64));
        group.bench_function(format!("accept to finish/{depth}"), |b| {
            let driver = Box::new(NullDriver::new(depth));
            let mut core = Inflight::<Op>::new(driver, InflightOptions::default()).unwrap();
            let mut bufs: Vec<_> = (0..depth).map(|_| AlignedBuf::with_capacity(4096)).collect();
            b.iter(|| {
                while let Some(buf) = bufs.pop() {
                    core.accept(Op::read(&file, buf, 0)).unwrap();
                }
                core.submit(Wait::No);
                while let Some(finished) = core.next_finished() {
                    assert_eq!(finished.result.unwrap(), 4096);
                    bufs.push(finished.carrier.into_buf().unwrap());
                }
            });
        });
    }
}

criterion_group!(benches, tokens, slots);
criterion_main!(benches);
