//! What storage layers do, through the facade on every driver of this machine: sequential write, random read, the latency of fsync,
//! appends to a log, reading a segment back. Short runs, to compare drivers with one another; `benches/peers` compares with others.
#![allow(missing_docs)]

use benches::content_at;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use futures_util::future::join_all;
use io_fs::{AlignedBuf, DriverName, File, FileSystem, IoBuf, IoConfig, OpenOptions};
use std::{cell::Cell, io::Write, path::Path, time::Duration};

const SIZE: u64 = 16 << 20;
const BLOCK: usize = 4096;
const CHUNK: usize = 128 << 10;

fn make_file(path: &Path) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for offset in (0..SIZE).step_by(8) {
        file.write_all(&content_at(offset)).unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
}

fn file_systems() -> Vec<(DriverName, FileSystem)> {
    let with = |name| {
        let mut config = IoConfig::default();
        config.driver = Some(name);
        config.io_workers = 1;
        FileSystem::with_config(config).map_err(|unavailable| eprintln!("left out: {unavailable}")).ok()
    };
    DriverName::REAL.into_iter().filter_map(|name| Some((name, with(name)?))).collect()
}

/// A group on a fresh file, which `bench` measures once for each driver, buffered and direct where that works.
fn on_every_driver(
    c: &mut Criterion,
    name: &str,
    throughput: Throughput,
    bench: impl Fn(&mut BenchmarkGroup<'_, WallTime>, String, &FileSystem, &File),
) {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = dir.path().join("data");
    make_file(&path);
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(500));
    group.throughput(throughput);
    for (route, options) in [("buffered", OpenOptions::READ_WRITE), ("direct", OpenOptions::READ_WRITE.direct())] {
        for (driver, fs) in file_systems() {
            let Ok(file) = fs.block_on(fs.open_with(&path, options)) else { continue };
            bench(&mut group, format!("{driver}/{route}"), &fs, &file);
        }
    }
}

/// A buffer that each of some tasks takes with it and brings back.
struct Bufs(Cell<Vec<AlignedBuf>>);

impl Bufs {
    fn of(size: usize) -> Bufs {
        Bufs(Cell::new((0..32).map(|_| AlignedBuf::zeroed(size)).collect()))
    }
    fn take(&self) -> AlignedBuf {
        let mut all = self.0.take();
        let buf = all.pop().expect("there are as many as tasks");
        self.0.set(all);
        buf
    }
    fn give(&self, buf: AlignedBuf) {
        let mut all = self.0.take();
        all.push(buf);
        self.0.set(all);
    }
}

async fn read(file: &File, bufs: &Bufs, offset: u64) {
    let (result, buf) = file.read_at(bufs.take(), offset).await;
    assert_eq!(result.unwrap(), buf.as_bytes().len());
    bufs.give(buf);
}

async fn write(file: &File, bufs: &Bufs, offset: u64) {
    let (result, buf) = file.write_at(bufs.take(), offset).await;
    result.unwrap();
    bufs.give(buf);
}

/// What is timed afterwards is first seen to be right.
fn verify(fs: &FileSystem, file: &File) {
    let (result, buf) = fs.block_on(file.read_at(AlignedBuf::with_capacity(BLOCK), SIZE / 2));
    assert_eq!((result.unwrap(), &buf.as_bytes()[..8]), (BLOCK, &content_at(SIZE / 2)[..]));
}

fn random_read(c: &mut Criterion) {
    on_every_driver(c, "random read 4 KiB, 32 at once", Throughput::Elements(32), |group, id, fs, file| {
        verify(fs, file);
        let (bufs, at) = (Bufs::of(BLOCK), Cell::new(0x1234_5678_u64));
        let next = || {
            at.set(at.get().wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
            (at.get() >> 33) % (SIZE / BLOCK as u64) * BLOCK as u64
        };
        group.bench_function(id, |b| b.iter(|| fs.block_on(join_all((0..32).map(|_| read(file, &bufs, next()))))));
    });
}

fn segment_read(c: &mut Criterion) {
    on_every_driver(c, "segment read, 16 MiB by 128 KiB", Throughput::Bytes(SIZE), |group, id, fs, file| {
        verify(fs, file);
        let bufs = Bufs::of(CHUNK);
        let lane = |first: u64| {
            let bufs = &bufs;
            async move {
                for offset in (first * CHUNK as u64..SIZE).step_by(8 * CHUNK) {
                    read(file, bufs, offset).await;
                }
            }
        };
        group.bench_function(id, |b| b.iter(|| fs.block_on(join_all((0..8).map(lane)))));
    });
}

fn sequential_write(c: &mut Criterion) {
    on_every_driver(c, "sequential write 128 KiB, 8 at once", Throughput::Bytes(1 << 20), |group, id, fs, file| {
        let (bufs, at) = (Bufs::of(CHUNK), Cell::new(0));
        let next = || at.replace((at.get() + CHUNK as u64) % SIZE);
        group.bench_function(id, |b| b.iter(|| fs.block_on(join_all((0..8).map(|_| write(file, &bufs, next()))))));
    });
}

fn fsync(c: &mut Criterion) {
    on_every_driver(c, "fsync after 4 KiB", Throughput::Elements(1), |group, id, fs, file| {
        let bufs = Bufs::of(BLOCK);
        let durable = || async {
            write(file, &bufs, 0).await;
            file.sync_all().await.unwrap();
        };
        group.bench_function(id, |b| b.iter(|| fs.block_on(durable())));
    });
}

fn wal_append(c: &mut Criterion) {
    on_every_driver(c, "log, 16 appenders of 4 KiB", Throughput::Elements(16), |group, id, fs, file| {
        let (bufs, at) = (Bufs::of(BLOCK), Cell::new(0));
        let append = |_| async {
            write(file, &bufs, at.replace((at.get() + BLOCK as u64) % SIZE)).await;
            file.sync_data().await.unwrap();
        };
        group.bench_function(id, |b| b.iter(|| fs.block_on(join_all((0..16).map(append)))));
    });
}

criterion_group!(benches, sequential_write, random_read, fsync, wal_append, segment_read);
criterion_main!(benches);
