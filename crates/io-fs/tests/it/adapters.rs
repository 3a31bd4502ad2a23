//! Cursors and chunks: against the standard library's cursor, and where writing fails.
#![cfg(all(feature = "tokio", feature = "futures-io"))]

use io_fs::{Cursor, CursorOptions, DriverName, File, FileSystem, IoConfig, OpenOptions, WriteFailed, errno};
use io_sim::{SimDisk, SimOptions, Which};
use io_testkit::{pattern, skip};
use proptest::prelude::*;
use std::{
    io::{self, SeekFrom},
    path::Path,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

fn options(chunk: usize, read_ahead: usize, write_behind: usize) -> CursorOptions {
    let mut options = CursorOptions::default();
    (options.chunk, options.read_ahead, options.write_behind) = (chunk, read_ahead, write_behind);
    options
}

fn file_system(driver: DriverName) -> Option<FileSystem> {
    let mut config = IoConfig::default();
    config.driver = Some(driver);
    match FileSystem::with_config(config) {
        Ok(fs) => Some(fs),
        Err(unavailable) => {
            skip("adapters", driver.as_str(), &unavailable.to_string());
            None
        }
    }
}

fn on_every_driver(test: impl Fn(&FileSystem, &Path)) {
    for driver in DriverName::REAL {
        if let Some(fs) = file_system(driver) {
            test(&fs, tempfile::tempdir().unwrap().path());
            assert_eq!(fs.shards().orphans(), (0, 0), "{driver}");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn made(fs: &FileSystem, path: &Path, content: &[u8]) -> File {
    std::fs::write(path, content).unwrap();
    fs.open_with(path, OpenOptions::READ_WRITE).await.unwrap()
}

/// Waits for what is still done although nobody waits for it, and for every buffer to be home.
fn settle(fs: &FileSystem) {
    let until = Instant::now() + Duration::from_secs(20);
    let out = || fs.buffer_pool().stats().classes.iter().map(|class| class.out).sum::<u32>();
    while fs.shards().load() != (0, 0, 0) || fs.shards().orphans() != (0, 0) || out() > 0 {
        assert!(Instant::now() < until, "{:?} are never over, {} buffers out", fs.shards().load(), out());
        std::thread::sleep(Duration::from_millis(1));
    }
}

const SIZES: [usize; 10] = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 300_001, 1 << 20];

#[test]
fn copies_of_odd_sizes_with_tokio() {
    on_every_driver(|fs, dir| {
        runtime().block_on(async {
            for (seed, size) in SIZES.into_iter().enumerate() {
                for options in [CursorOptions::default(), options(4096, 0, 1), options(8192, 5, 3)] {
                    let content = pattern(seed as u64, size);
                    let mut from = Cursor::with_options(made(fs, &dir.join("from"), &content).await, options);
                    let mut to = Cursor::with_options(made(fs, &dir.join("to"), b"").await, options);
                    let copied = tokio::io::copy(&mut from, &mut to).await.unwrap();
                    assert_eq!(copied, size as u64);
                    assert!(std::fs::read(dir.join("to")).unwrap() == content, "{size} bytes with {options:?}");
                    to.shutdown().await.unwrap();
                }
            }
        });
        settle(fs);
    });
}

#[test]
fn copies_of_odd_sizes_with_smol() {
    use smol::io::AsyncWriteExt as _;
    on_every_driver(|fs, dir| {
        smol::block_on(async {
            for (seed, size) in SIZES.into_iter().enumerate() {
                let content = pattern(seed as u64, size);
                let from = made(fs, &dir.join("from"), &content).await.cursor();
                let mut options = CursorOptions::default();
                options.sync_on_shutdown = true;
                let mut to = Cursor::with_options(made(fs, &dir.join("to"), b"").await, options);
                assert_eq!(smol::io::copy(from, &mut to).await.unwrap(), size as u64);
                to.close().await.unwrap();
                assert!(std::fs::read(dir.join("to")).unwrap() == content, "{size} bytes");
            }
        });
        settle(fs);
    });
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    ReadLine,
    Write(usize),
    Seek(SeekFrom),
    Flush,
    Position,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![4 => 0..300usize, 1 => 3000..20_000usize];
    let seek = prop_oneof![
        (0..40_000u64).prop_map(SeekFrom::Start),
        (-20_000..20_000i64).prop_map(SeekFrom::Current),
        (-50_000..2000i64).prop_map(SeekFrom::End),
        Just(SeekFrom::Start(u64::MAX)),
        Just(SeekFrom::Current(0)),
    ];
    let step = prop_oneof![
        4 => len.clone().prop_map(Step::Read),
        1 => Just(Step::ReadLine),
        4 => len.prop_map(Step::Write),
        3 => seek.prop_map(Step::Seek),
        1 => Just(Step::Flush),
        1 => Just(Step::Position),
    ];
    prop::collection::vec(step, 1..60)
}

/// What the standard library does with a `Vec`. (Its cursor takes every offset, files end at `i64::MAX`.)
mod model {
    use std::io::{BufRead as _, Cursor, Read as _, Seek as _, SeekFrom, Write as _};

    pub struct Model(pub Cursor<Vec<u8>>);

    impl Model {
        pub fn seek(&mut self, to: SeekFrom) -> Option<u64> {
            match to {
                SeekFrom::Start(u64::MAX) => None,
                to => self.0.seek(to).ok(),
            }
        }

        pub fn read(&mut self, len: usize) -> Vec<u8> {
            let mut buf = Vec::new();
            (&mut self.0).take(len as u64).read_to_end(&mut buf).unwrap();
            buf
        }

        pub fn line(&mut self) -> Vec<u8> {
            let mut line = Vec::new();
            self.0.read_until(b'\n', &mut line).unwrap();
            line
        }

        pub fn write(&mut self, bytes: &[u8]) {
            // Nothing written changes no file; a Vec grows up to the position.
            if !bytes.is_empty() {
                self.0.write_all(bytes).unwrap();
            }
        }
    }
}

macro_rules! run_steps {
    ($steps:expr, $cursor:expr, $model:expr) => {
        for (i, step) in $steps.into_iter().enumerate() {
            match step {
                Step::Read(len) => {
                    let mut buf = vec![0; len];
                    let mut read = 0;
                    while read < len {
                        match $cursor.read(&mut buf[read..]).await.unwrap() {
                            0 => break,
                            n => read += n,
                        }
                    }
                    assert!(buf[..read] == $model.read(len), "step {i}: read of {len}");
                }
                Step::ReadLine => {
                    let mut line = Vec::new();
                    $cursor.read_until(b'\n', &mut line).await.unwrap();
                    assert!(line == $model.line(), "step {i}: line");
                }
                Step::Write(len) => {
                    let bytes = pattern(i as u64, len);
                    $cursor.write_all(&bytes).await.unwrap();
                    $model.write(&bytes);
                }
                Step::Seek(to) => {
                    let moved = $cursor.seek(to).await;
                    assert_eq!(moved.as_ref().ok().copied(), $model.seek(to), "step {i}: {to:?}");
                    if let Err(error) = moved {
                        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                    }
                }
                Step::Flush => $cursor.flush().await.unwrap(),
                Step::Position => {
                    assert_eq!($cursor.seek(SeekFrom::Current(0)).await.unwrap(), $model.0.position());
                    assert_eq!($cursor.position(), $model.0.position());
                }
            }
        }
        $cursor.flush().await.unwrap();
    };
}

mod with_tokio {
    use super::{model::Model, *};
    pub async fn run(steps: Vec<Step>, cursor: &mut Cursor, model: &mut Model) {
        run_steps!(steps, cursor, model);
    }
}

mod with_futures_io {
    use super::{Cursor, SeekFrom, Step, io, model::Model, pattern};
    use smol::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
    pub async fn run(steps: Vec<Step>, cursor: &mut Cursor, model: &mut Model) {
        run_steps!(steps, cursor, model);
    }
}

fn histories(
    fs: &FileSystem,
    path: &Path,
    direct: impl Fn(&[u8]) -> File,
    content_of: impl Fn() -> Vec<u8>,
    cases: u32,
) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    let _ = path;
    let size = prop_oneof![Just(0), Just(4096), 0..50_000usize];
    let inputs = (steps(), size, 1..3usize, 0..3usize, 1..4usize, any::<bool>());
    let outcome = runner.run(&inputs, |(steps, size, pages, ahead, behind, tokio)| {
        let content = pattern(size as u64, size);
        let mut cursor = Cursor::with_options(direct(&content), options(pages * 4096, ahead, behind));
        let mut model = model::Model(io::Cursor::new(content));
        fs.block_on(async {
            match tokio {
                true => with_tokio::run(steps, &mut cursor, &mut model).await,
                false => with_futures_io::run(steps, &mut cursor, &mut model).await,
            }
        });
        assert!(content_of() == *model.0.get_ref(), "the file is not what the model is");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn histories_agree_with_the_standard_librarys_cursor() {
    on_every_driver(|fs, dir| {
        let path = dir.join("f");
        let file = |content: &[u8]| fs.block_on(made(fs, &path, content));
        histories(fs, &path, file, || std::fs::read(&path).unwrap(), 48);
        settle(fs);
    });
}

#[test]
fn histories_on_a_hostile_disk() {
    let disk = SimDisk::new(SimOptions { cancels: 0.0, ..SimOptions::hostile(11) });
    let fs = FileSystem::with_driver(disk.driver(8)).unwrap();
    let file = |content: &[u8]| {
        disk.write_file("/f", content).unwrap();
        fs.block_on(fs.open_with("/f", OpenOptions::READ_WRITE)).unwrap()
    };
    histories(&fs, Path::new("/f"), file, || disk.read_file("/f").unwrap(), 64);
}

#[test]
fn lines() {
    use smol::stream::StreamExt as _;
    let text: String = (0..20_000).map(|n| format!("{n}{}\n", "x".repeat(n % 50))).collect();
    let expected: Vec<_> = text.lines().map(String::from).collect();
    on_every_driver(|fs, dir| {
        let file = fs.block_on(made(fs, &dir.join("f"), text.as_bytes()));
        let cursor = Cursor::with_options(file.clone(), options(4096, 3, 1));
        let lines: Vec<_> = smol::block_on(smol::io::AsyncBufReadExt::lines(cursor).map(Result::unwrap).collect());
        assert_eq!(lines, expected);
        let mut lines = tokio::io::AsyncBufReadExt::lines(file.cursor());
        runtime().block_on(async {
            for expected in &expected {
                assert_eq!(lines.next_line().await.unwrap().as_ref(), Some(expected));
            }
            assert_eq!(lines.next_line().await.unwrap(), None);
        });
        settle(fs);
    });
}

#[test]
fn the_end_of_a_file_is_asked_for_anew() {
    on_every_driver(|fs, dir| {
        fs.block_on(async {
            let file = made(fs, &dir.join("f"), b"first").await;
            let mut cursor = file.cursor();
            let mut text = String::new();
            cursor.read_to_string(&mut text).await.unwrap();
            file.write_at(b" and second".to_vec(), 5).await.0.unwrap();
            cursor.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "first and second");
        });
        settle(fs);
    });
}

#[test]
fn a_direct_file_is_read_from_any_position() {
    on_every_driver(|fs, dir| {
        let content = pattern(5, 200_001);
        std::fs::write(dir.join("f"), &content).unwrap();
        fs.block_on(async {
            let Ok(file) = fs.open_with(dir.join("f"), OpenOptions::READ.direct()).await else {
                return skip("adapters", "direct", "no direct I/O in the temporary directory");
            };
            let mut cursor = Cursor::with_options(file.clone(), options(8192, 2, 1));
            for at in [0usize, 1, 511, 4095, 4097, 100_000, 196_608, 200_000, 200_001, 300_000] {
                cursor.seek(SeekFrom::Start(at as u64)).await.unwrap();
                let mut rest = Vec::new();
                cursor.read_to_end(&mut rest).await.unwrap();
                assert!(rest == content.get(at..).unwrap_or_default(), "from {at}");
            }
            let mut chunks = file.chunks(4096..150_001, 65_536, 2);
            let mut all = Vec::new();
            while let Some(chunk) = chunks.next().await {
                all.extend_from_slice(&chunk.unwrap());
            }
            assert!(all == content[4096..150_001]);
        });
        settle(fs);
    });
}

#[test]
fn chunks_come_in_order_and_end_with_the_range_or_the_file() {
    use smol::stream::StreamExt;
    on_every_driver(|fs, dir| {
        let content = pattern(6, 100_000);
        let file = fs.block_on(made(fs, &dir.join("f"), &content));
        let collect = |chunks: io_fs::Chunks| -> Vec<Vec<u8>> {
            smol::block_on(StreamExt::map(chunks, |chunk| chunk.unwrap().to_vec()).collect())
        };
        for (size, ahead) in [(1000, 0), (1000, 7), (4096, 1), (99_999, 3), (100_000, 3), (1 << 20, 2)] {
            let chunks = collect(file.chunks(.., size, ahead));
            assert!(chunks.concat() == content, "{size} bytes, {ahead} ahead");
            assert_eq!(chunks.len(), content.len().div_ceil(size));
            assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.len() == size));
        }
        assert!(collect(file.chunks(10..=20, 4, 9)).concat() == content[10..=20]);
        assert!(collect(file.chunks(99_990.., 7, 1)).concat() == content[99_990..]);
        assert!(collect(file.chunks(90_000..500_000, 9000, 4)).concat() == content[90_000..]);
        for nothing in [collect(file.chunks(5..5, 1, 1)), collect(file.chunks(100_000.., 1, 1))] {
            assert!(nothing.is_empty());
        }
        assert!(collect(file.chunks(u64::MAX.., 1, 1)).is_empty());
        // Looked at by a future that goes, it loses nothing.
        let mut chunks = file.chunks(.., 1000, 2);
        let mut seen = 0;
        smol::block_on(async {
            loop {
                let polled = smol::future::poll_once(chunks.next()).await;
                match polled {
                    None => smol::future::yield_now().await,
                    Some(None) => break,
                    Some(Some(chunk)) => {
                        let chunk = chunk.unwrap();
                        assert!(chunk[..] == content[seen..][..chunk.len()]);
                        seen += chunk.len();
                    }
                }
            }
        });
        assert_eq!(seen, content.len());
        // Dropped in the middle, it leaves nothing behind.
        let mut chunks = file.chunks(.., 1000, 30);
        smol::block_on(chunks.next()).unwrap().unwrap();
        drop(chunks);
        settle(fs);
    });
}

struct Sim {
    disk: SimDisk,
    fs: FileSystem,
    file: File,
}

fn sim(content: &[u8]) -> Sim {
    let disk = SimDisk::new(SimOptions::seeded(3));
    disk.write_file("/f", content).unwrap();
    let fs = FileSystem::with_driver(disk.driver(32)).unwrap();
    let file = fs.block_on(fs.open_with("/f", OpenOptions::READ_WRITE)).unwrap();
    Sim { disk, fs, file }
}

#[test]
fn an_error_ends_the_chunks_after_those_before_it() {
    let Sim { disk, fs, file } = sim(&pattern(1, 50_000));
    disk.fail(Which::reads().nth(3), errno::EIO);
    fs.block_on(async {
        let mut chunks = file.chunks(.., 10_000, 0);
        assert!(chunks.next().await.unwrap().is_ok());
        assert!(chunks.next().await.unwrap().is_ok());
        assert_eq!(chunks.next().await.unwrap().unwrap_err().raw_os_error(), Some(errno::EIO));
        assert!(chunks.next().await.is_none());
    });
}

#[test]
fn a_read_that_failed_is_tried_again_by_the_next() {
    let Sim { disk, fs, file } = sim(&pattern(1, 50_000));
    disk.fail(Which::reads().nth(2), errno::EIO);
    fs.block_on(async {
        let mut cursor = Cursor::with_options(file, options(4096, 2, 1));
        let mut all = Vec::new();
        assert_eq!(cursor.read_to_end(&mut all).await.unwrap_err().raw_os_error(), Some(errno::EIO));
        cursor.read_to_end(&mut all).await.unwrap();
        assert!(all == pattern(1, 50_000));
    });
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn reads_ahead_are_as_many_as_asked_for_and_only_in_sequence() {
    let Sim { disk, fs, file } = sim(&pattern(1, 1 << 20));
    let in_flight = || fs.shards().load().0;
    fs.block_on(async {
        let mut cursor = Cursor::with_options(file.clone(), options(4096, 3, 1));
        let mut buf = [0; 4096];
        // The first read is alone: nobody knows yet what comes.
        cursor.read_exact(&mut buf).await.unwrap();
        assert_eq!(in_flight(), 0);
        cursor.read_exact(&mut buf[..1]).await.unwrap();
        assert_eq!(in_flight(), 3);
        cursor.seek(SeekFrom::Start(500_000)).await.unwrap();
        cursor.read_exact(&mut buf[..10]).await.unwrap();
    });
    disk.inject(Which::reads().always(), io_sim::Fault::Wedge);
    let mut chunks = file.chunks(.., 4096, 5);
    let mut next = Box::pin(chunks.next());
    let before = disk.counters().reads;
    assert!(next.as_mut().poll(&mut noop()).is_pending());
    assert_eq!(disk.counters().reads - before, 6);
}

#[test]
fn writes_behind_are_bounded() {
    use tokio::io::AsyncWrite as _;
    let Sim { disk, fs, file } = sim(b"");
    disk.inject(Which::writes().always(), io_sim::Fault::Wedge);
    let mut cursor = Cursor::with_options(file, options(4096, 0, 3));
    let mut accepted = 0;
    while let Poll::Ready(written) = Pin::new(&mut cursor).poll_write(&mut noop(), &[1; 1000]) {
        accepted += written.unwrap();
    }
    // Three in flight and one chunk waiting, no more.
    assert_eq!((accepted, fs.shards().load().0), (4 * 4096, 3));
    // Dropped, it waits for nobody, and all of it is written once the disk goes on.
    drop(cursor);
    disk.clear_faults();
    disk.release_wedged();
    while fs.shards().load().0 > 0 {
        fs.block_on(fs.open("/f")).unwrap();
    }
    assert!(disk.read_file("/f").unwrap() == [1; 4 * 4096]);
}

#[track_caller]
fn assert_failed(error: &io::Error, offset: u64, kind: io::ErrorKind) {
    assert_eq!(error.kind(), kind, "{error}");
    let failed = error.get_ref().and_then(|error| error.downcast_ref::<WriteFailed>()).expect("it says what failed");
    assert_eq!(failed.offset(), offset, "{failed}");
}

#[test]
fn a_write_that_fails_is_reported_by_all_that_depends_on_it() {
    let Sim { disk, fs, file } = sim(&[7; 20_000]);
    disk.fail(Which::writes().nth(2), errno::ENOSPC);
    let full = io::ErrorKind::StorageFull;
    fs.block_on(async {
        let mut cursor = Cursor::with_options(file, options(4096, 1, 1));
        cursor.write_all(&pattern(1, 6000)).await.unwrap();
        assert_failed(&cursor.flush().await.unwrap_err(), 4096, full);
        // It sticks, also after it was told.
        assert_failed(&cursor.shutdown().await.unwrap_err(), 4096, full);
        assert_failed(&cursor.write(b"more").await.unwrap_err(), 4096, full);
        assert_failed(&cursor.read(&mut [0; 10]).await.unwrap_err(), 4096, full);
        assert_failed(&cursor.seek(SeekFrom::Start(0)).await.unwrap_err(), 4096, full);
        assert_eq!(cursor.position(), 6000);

        let failed = cursor.take_failure().unwrap();
        assert_eq!((failed.offset(), failed.bytes(), failed.error().raw_os_error()), (4096, 1904, Some(errno::ENOSPC)));
        assert!(cursor.take_failure().is_none());
        cursor.seek(SeekFrom::Start(4096)).await.unwrap();
        cursor.write_all(b"again").await.unwrap();
        cursor.shutdown().await.unwrap();
    });
    let content = disk.read_file("/f").unwrap();
    assert!(content[..4096] == pattern(1, 6000)[..4096] && content[4096..4101] == *b"again");
}

#[test]
fn a_limit_of_the_file_size_shows_when_flushing() {
    use io_testkit::{confine::Confinement, in_child};
    in_child!("fsize", Confinement::none().file_size(100_000), || {
        on_every_driver(|fs, dir| {
            fs.block_on(async {
                let mut cursor = made(fs, &dir.join("f"), b"").await.cursor();
                // Within what is held in buffers, nobody knows yet.
                cursor.write_all(&pattern(2, 120_000)).await.unwrap();
                assert_failed(&cursor.flush().await.unwrap_err(), 65_536, io::ErrorKind::FileTooLarge);
                assert!(cursor.shutdown().await.is_err());
            });
            assert!(std::fs::read(dir.join("f")).unwrap() == pattern(2, 120_000)[..100_000]);
            settle(fs);
        });
    });
}

#[test]
fn shutting_down_syncs_if_told_to_and_reports_it() {
    let Sim { disk, fs, file } = sim(b"");
    let mut with_sync = options(4096, 0, 2);
    with_sync.sync_on_shutdown = true;
    fs.block_on(async {
        let mut cursor = Cursor::with_options(file.clone(), options(4096, 0, 2));
        cursor.write_all(&[1; 5000]).await.unwrap();
        cursor.shutdown().await.unwrap();
        assert_eq!(disk.counters().syncs, 0);
        let mut cursor = Cursor::with_options(file, with_sync);
        cursor.write_all(&[1; 5000]).await.unwrap();
        cursor.shutdown().await.unwrap();
        assert_eq!(disk.counters().syncs, 1);
        disk.fail(Which::syncs(), errno::EIO);
        assert_eq!(cursor.shutdown().await.unwrap_err().raw_os_error(), Some(errno::EIO));
        assert!(cursor.shutdown().await.is_err(), "a failed sync is not repaired by another one");
    });
}

/// Also where operations wait for their turn, which are not done when their futures are dropped.
#[test]
fn what_was_accepted_is_written_although_the_cursor_is_dropped() {
    for driver in DriverName::REAL {
        for queue_depth in [1, 1024] {
            let mut config = IoConfig::default();
            (config.driver, config.queue_depth) = (Some(driver), queue_depth);
            let Ok(fs) = FileSystem::with_config(config) else { continue };
            let dir = tempfile::tempdir().unwrap();
            for round in 0..20 {
                let content = pattern(round, 100_000 + round as usize);
                let path = dir.path().join("f");
                let file = fs.block_on(made(&fs, &path, b""));
                runtime().block_on(async {
                    let mut cursor = Cursor::with_options(file, options(8192, 0, 8));
                    cursor.write_all(&content).await.unwrap();
                });
                settle(&fs);
                assert!(std::fs::read(&path).unwrap() == content, "{driver}, depth {queue_depth}");
            }
        }
    }
}

#[test]
fn writes_that_fail_after_their_cursor_are_counted() {
    let Sim { disk, fs, file } = sim(b"");
    let lost = Cursor::writes_lost();
    disk.fail(Which::writes().times(2), errno::EIO);
    fs.block_on(async {
        let mut cursor = Cursor::with_options(file.clone(), options(4096, 0, 4));
        cursor.write_all(&pattern(4, 10_000)).await.unwrap();
    });
    fs.block_on(file.sync_data()).unwrap_err();
    assert_eq!(Cursor::writes_lost() - lost, 2);
    assert!(disk.read_file("/f").unwrap()[8192..] == pattern(4, 10_000)[8192..]);
}

/// The sync of a shutdown that was given up covers nothing that was written after it.
#[test]
fn a_shutdown_that_was_given_up_does_not_stand_for_the_next_one() {
    let Sim { disk, fs, file } = sim(b"");
    let mut with_sync = options(4096, 0, 2);
    with_sync.sync_on_shutdown = true;
    fs.block_on(async {
        let mut cursor = Cursor::with_options(file, with_sync);
        cursor.write_all(&[1; 5000]).await.unwrap();
        cursor.flush().await.unwrap();
        let given_up = Pin::new(&mut cursor);
        let polled = tokio::io::AsyncWrite::poll_shutdown(given_up, &mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        cursor.write_all(&[2; 5000]).await.unwrap();
        cursor.shutdown().await.unwrap();
    });
    assert_eq!(disk.counters().syncs, 2, "one that began before the last write does not cover it");
}

#[test]
fn a_local_file_system_has_cursors_too() {
    use io_fs::LocalFs;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let content = pattern(8, 250_000);
    std::fs::write(&from, &content).unwrap();
    let fs = LocalFs::new().unwrap();
    let unflushed = fs.block_on(async {
        let from = fs.open_with(&from, OpenOptions::READ).await.unwrap();
        let to = fs.open_with(&to, OpenOptions::CREATE).await.unwrap();
        let mut cursor = to.cursor();
        tokio::io::copy(&mut from.cursor(), &mut cursor).await.unwrap();
        cursor.write_all(b"dropped inside").await.unwrap();
        drop(cursor);
        let mut cursor = to.cursor();
        cursor.seek(SeekFrom::Start(300_000)).await.unwrap();
        cursor.write_all(b"dropped outside").await.unwrap();
        cursor
    });
    drop(unflushed);
    drop(fs);
    let written = std::fs::read(&to).unwrap();
    assert!(written[..250_000] == content);
    assert_eq!(&written[250_000..][..14], b"dropped inside");
    assert_eq!(&written[300_000..], b"dropped outside");
}

/// The halves may wait for the same write: both tasks are woken, not the last one only.
#[test]
fn a_split_cursor_on_two_tasks() {
    on_every_driver(|fs, dir| {
        let file = fs.block_on(made(fs, &dir.join("f"), b""));
        runtime().block_on(async {
            let (mut reader, mut writer) = tokio::io::split(Cursor::with_options(file, options(4096, 1, 1)));
            let writing = tokio::spawn(async move {
                for round in 0..300u64 {
                    writer.write_all(&pattern(round, 1000)).await.unwrap();
                    writer.flush().await.unwrap();
                }
            });
            let reading = tokio::spawn(async move {
                for _ in 0..3000 {
                    // The position is shared, and at the end: there is nothing, but it has to be told so.
                    assert_eq!(reader.read(&mut [0; 100]).await.unwrap(), 0);
                    tokio::task::yield_now().await;
                }
            });
            let both = async {
                writing.await.unwrap();
                reading.await.unwrap();
            };
            tokio::time::timeout(Duration::from_secs(60), both).await.expect("a half was never woken");
        });
        assert_eq!(std::fs::metadata(dir.join("f")).unwrap().len(), 300_000);
        settle(fs);
    });
}
