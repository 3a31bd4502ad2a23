//! Bytes there and back.

use super::Scene;
use crate::fs_kit::content;
use futures_util::future::join_all;
use io_fs::{AlignedBuf, File, FileOptions, IoBuf as _, OpenOptions, TransferOptions};
use std::io::ErrorKind;

async fn new(scene: &Scene, bytes: &[u8]) -> File {
    let file = scene.fs.create(scene.at("f")).await.unwrap();
    file.write_all_at(bytes.to_vec(), 0).await.0.unwrap();
    file
}

async fn whole(file: &File) -> Vec<u8> {
    let size = file.size().await.unwrap() as usize;
    let (read, bytes) = file.read_exact_at(Vec::with_capacity(size).slice(..size), 0).await;
    read.unwrap();
    bytes.into_inner()
}

pub(super) async fn reads_fill_the_capacity(scene: Scene) {
    let file = new(&scene, b"0123456789").await;
    let (read, bytes) = file.read_at(Vec::with_capacity(4).slice(..4), 3).await;
    assert_eq!((read.unwrap(), &bytes.into_inner()[..]), (4, &b"3456"[..]));
    let (read, bytes) = file.read_at([0u8; 3], 0).await;
    assert_eq!((read.unwrap(), &bytes), (3, b"012"));
}

pub(super) async fn writes_are_whole(scene: Scene) {
    let file = new(&scene, b"0123456789").await;
    let (written, back) = file.write_at(b"abc".to_vec(), 4).await;
    assert_eq!((written.unwrap(), &back[..]), (3, &b"abc"[..]));
    assert_eq!(whole(&file).await, b"0123abc789");
}

pub(super) async fn exact_or_an_error(scene: Scene) {
    let file = new(&scene, b"0123456789").await;
    file.read_exact_at([0u8; 10], 0).await.0.unwrap();
    let (read, _) = file.read_exact_at([0u8; 11], 0).await;
    assert_eq!(read.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

pub(super) async fn vectored(scene: Scene) {
    let file = new(&scene, b"").await;
    let (written, back) = file.write_vectored_at(vec![b"01".to_vec(), Vec::new(), b"23456".to_vec()], 0).await;
    assert_eq!((written.unwrap(), back.len()), (7, 3));
    let (read, pieces) = file.read_vectored_at(vec![[0u8; 3], [0u8; 3], [0u8; 3]], 0).await;
    assert_eq!((read.unwrap(), pieces.concat()), (7, b"0123456\0\0".to_vec()));
}

pub(super) async fn ranges_as_one_batch(scene: Scene) {
    let bytes = content(1, 50_000);
    let file = new(&scene, &bytes).await;
    let wanted = [(40_000, 1000), (0, 10), (5, 10), (49_990, 100), (60_000, 5)];
    for (answer, (at, len)) in file.read_ranges(&wanted).await.into_iter().zip(wanted) {
        let begin = (at as usize).min(bytes.len());
        assert!(answer.unwrap()[..] == bytes[begin..(begin + len).min(bytes.len())], "{len} at {at}");
    }
}

pub(super) async fn append_has_one_cursor(scene: Scene) {
    let file = scene.fs.open_append(scene.at("f")).await.unwrap();
    let other = file.clone();
    let appends = (0..20u8).map(|i| if i % 2 == 0 { file.append(vec![i; 100]) } else { other.append(vec![i; 100]) });
    for (i, (at, _)) in join_all(appends).await.into_iter().enumerate() {
        assert_eq!(at.unwrap(), i as u64 * 100);
    }
    let bytes = whole(&file).await;
    assert!(bytes.chunks(100).enumerate().all(|(i, piece)| piece == [i as u8; 100]));
}

pub(super) async fn append_shared(scene: Scene) {
    let file = new(&scene, b"begin ").await;
    match file.append_shared(b"end".to_vec()).await.0 {
        Ok(()) => assert_eq!(whole(&file).await, b"begin end"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
    }
}

pub(super) async fn durable(scene: Scene) {
    let file = new(&scene, b"0123456789").await;
    let (written, back) = file.write_durable_at(b"abc".to_vec(), 2).await;
    assert_eq!((written.unwrap(), &back[..]), (3, &b"abc"[..]));
    assert_eq!(whole(&file).await, b"01abc56789");
}

pub(super) async fn atomic_or_unsupported(scene: Scene) {
    let file = new(&scene, b"0123456789").await;
    let (written, back) = file.write_atomic_at(b"abcd".to_vec(), 0).await;
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Unsupported, "the file is buffered");
    assert_eq!((&back[..], &whole(&file).await[..]), (&b"abcd"[..], &b"0123456789"[..]));
}

pub(super) async fn with_options(scene: Scene) {
    let file = new(&scene, b"").await;
    let urgent = TransferOptions::new().ioprio((2 << 13) | 7);
    file.write_at_with(b"0123456789".to_vec(), 0, urgent).await.0.unwrap();
    let (read, bytes) = file.read_at_with([0u8; 10], 0, urgent).await;
    assert_eq!((read.unwrap(), &bytes), (10, b"0123456789"));
}

/// Longer than any transfer that the core makes in one piece.
pub(super) async fn large(scene: Scene) {
    let bytes = content(2, (9 << 20) + 77);
    let file = new(&scene, &bytes).await;
    assert!(whole(&file).await == bytes);
}

pub(super) async fn odd_offsets(scene: Scene) {
    let mut bytes = content(3, 20_000);
    let file = new(&scene, &bytes).await;
    for (at, len) in [(1, 1), (511, 2), (4095, 4098), (12_289, 7000)] {
        file.write_at(vec![at as u8; len], at as u64).await.0.unwrap();
        bytes[at..at + len].fill(at as u8);
        let (read, there) = file.read_at(Vec::with_capacity(len).slice(..len), at as u64).await;
        assert!(read.unwrap() == len && there.into_inner() == vec![at as u8; len], "{len} at {at}");
    }
    assert!(whole(&file).await == bytes);
}

pub(super) async fn nothing_behind_the_end(scene: Scene) {
    let file = new(&scene, b"0123456789").await;
    for (at, there) in [(7, 3), (10, 0), (1 << 40, 0)] {
        let (read, bytes) = file.read_at(Vec::with_capacity(100), at).await;
        assert_eq!((read.unwrap(), bytes.len()), (there, there), "at {at}");
    }
}

pub(super) async fn direct_or_named(scene: Scene) {
    let options = FileOptions::new().read(true).write(true).create(true).direct_or_buffered(true);
    let file = scene.fs.open_with(scene.at("f"), options).await.unwrap();
    let mut block = AlignedBuf::zeroed(8192);
    block.fill(9);
    file.write_at(block, 4096).await.0.unwrap();
    let (read, block) = file.read_at(AlignedBuf::with_capacity(8192), 4096).await;
    assert!(read.unwrap() == 8192 && block.iter().all(|&byte| byte == 9));
    assert_eq!(file.is_direct(), file.dio_geometry().is_some());
    let odd = file.read_at(AlignedBuf::with_capacity(4096), 513).await.0;
    match file.dio_geometry() {
        Some(geometry) if geometry.read_offset > 1 => {
            let error = odd.unwrap_err();
            let named = format!("offset 513 is not a multiple of {}", geometry.read_offset);
            assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(&named), "{error}");
        }
        _ => assert_eq!(odd.unwrap(), 4096),
    }
    let plain = scene.fs.open_with(scene.at("f"), OpenOptions::READ).await.unwrap();
    assert!(!plain.is_direct() && plain.dio_geometry().is_none());
}

pub(super) async fn pool_buffers(scene: Scene) {
    let pool = scene.fs.buffer_pool();
    let file = new(&scene, b"").await;
    let mut buf = pool.acquire(1000).await;
    buf.extend_from_slice(b"of the pool");
    file.write_at(buf, 0).await.0.unwrap();
    let (read, buf) = file.read_at(pool.acquire(1000).await, 0).await;
    assert_eq!((read.unwrap(), &buf[..]), (11, &b"of the pool"[..]));
    drop(buf);
    assert!(pool.stats().classes.iter().all(|class| class.out == 0));
}
