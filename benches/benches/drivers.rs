//! Every driver of this machine on a real file: reads at QD 1 and 32, buffered and direct, and the latency of a durable write.
#![allow(missing_docs)]

use benches::content_at;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use io_core::{AlignedBuf, DriverName, FileHandle, IoBuf, Op, OpenOptions, Wait};
use io_engine::{DriverOptions, Inflight, InflightOptions, select};
use std::{io::Write, path::Path};

const SIZE: u64 = 16 << 20;
const BLOCK: usize = 4096;

fn make_file(path: &Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for offset in (0..SIZE).step_by(8) {
        file.write_all(&content_at(offset)).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}

fn core(driver: DriverName) -> Option<Inflight<Op>> {
    let mut options = DriverOptions::default();
    options.driver = Some(driver);
    options.depth = 64;
    match select(&options) {
        Ok(selected) => Some(Inflight::new(selected.driver, InflightOptions::default()).unwrap()),
        Err(unavailable) => {
            eprintln!("left out: {unavailable}");
            None
        }
    }
}

/// Runs `ops` to their end and gives the buffers back.
fn run(core: &mut Inflight<Op>, ops: impl Iterator<Item = Op>, bufs: &mut Vec<AlignedBuf>) {
    for op in ops {
        core.accept(op).unwrap();
    }
    while core.in_flight() > 0 {
        core.submit(Wait::Forever);
        while let Some(finished) = core.next_finished() {
            finished.result.unwrap();
            if let Ok(buf) = finished.carrier.into_buf() {
                bufs.push(buf);
            }
        }
    }
}

fn reads(c: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = dir.path().join("data");
    make_file(&path);
    for (mode, options) in [("buffered", OpenOptions::READ), ("direct", OpenOptions::READ.direct())] {
        let Ok(file) = io_engine::open(&path, options) else { continue };
        let mut group = c.benchmark_group(format!("read 4 KiB {mode}"));
        for driver in DriverName::REAL {
            let Some(mut core) = core(driver) else { continue };
            for depth in [1, 32] {
                group.throughput(Throughput::Elements(depth));
                group.bench_function(format!("{driver}/{depth}"), |b| read_bench(b, &mut core, &file, depth));
            }
        }
    }
}

fn read_bench(b: &mut criterion::Bencher<'_>, core: &mut Inflight<Op>, file: &FileHandle, depth: u64) {
    let mut bufs: Vec<_> = (0..depth).map(|_| AlignedBuf::with_capacity(BLOCK)).collect();
    let mut at = 0x1234_5678_u64;
    let mut next = || {
        at = at.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (at >> 33) % (SIZE / BLOCK as u64) * BLOCK as u64
    };
    // What is timed afterwards is first seen to be right.
    let offset = next();
    run(core, std::iter::once(Op::read(file, bufs.pop().unwrap(), offset)), &mut bufs);
    assert_eq!(&bufs.last().unwrap().as_bytes()[..8], &content_at(offset));
    b.iter(|| {
        let ops: Vec<_> = bufs.drain(..).map(|buf| Op::read(file, buf, next())).collect();
        run(core, ops.into_iter(), &mut bufs);
    });
}

fn durable(c: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = dir.path().join("log");
    make_file(&path);
    let file = io_engine::open(&path, OpenOptions::READ_WRITE).unwrap();
    let mut group = c.benchmark_group("write 4 KiB and fdatasync");
    group.sample_size(20);
    for driver in DriverName::REAL {
        let Some(mut core) = core(driver) else { continue };
        group.bench_function(driver.as_str(), |b| {
            let mut bufs = vec![AlignedBuf::zeroed(BLOCK)];
            b.iter(|| {
                let buf = bufs.pop().unwrap();
                run(&mut core, [Op::write(&file, buf, 0), Op::sync_data(&file)].into_iter(), &mut bufs);
            });
        });
    }
}

criterion_group!(benches, reads, durable);
criterion_main!(benches);
