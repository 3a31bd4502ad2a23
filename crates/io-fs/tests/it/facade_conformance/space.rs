//! Size, space and what the system knows of a file.

use super::Scene;
use io_fs::{Advice, File, Lifetime};
use std::io::ErrorKind;

async fn ones(scene: &Scene, len: usize) -> File {
    let file = scene.fs.create(scene.at("f")).await.unwrap();
    file.write_all_at(vec![1; len], 0).await.0.unwrap();
    file
}

pub(super) async fn truncated(scene: Scene) {
    let file = ones(&scene, 100).await;
    file.truncate(10).await.unwrap();
    file.truncate(20).await.unwrap();
    let (read, bytes) = file.read_at([9u8; 30], 0).await;
    assert_eq!((read.unwrap(), bytes[9], bytes[10], bytes[19]), (20, 1, 0, 0));
}

pub(super) async fn allocated(scene: Scene) {
    let file = ones(&scene, 10).await;
    file.allocate(0, 1 << 20).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 10, "space is not size");
}

pub(super) async fn punched(scene: Scene) {
    let file = ones(&scene, 16 << 10).await;
    file.punch_hole(4096, 8192).await.unwrap();
    let (read, bytes) = file.read_at(vec![9; 16 << 10], 0).await;
    assert_eq!(read.unwrap(), 16 << 10);
    assert!(bytes.iter().enumerate().all(|(at, &byte)| byte == u8::from(!(4096..12_288).contains(&at))));
}

pub(super) async fn advised(scene: Scene) {
    let file = ones(&scene, 10).await;
    file.advise(0, 0, Advice::Sequential).await.unwrap();
    if let Err(error) = file.write_hint(Lifetime::Short).await {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

pub(super) async fn synced(scene: Scene) {
    let file = ones(&scene, 10).await;
    let (one, two) = futures_util::future::join(file.sync_data(), file.sync_data()).await;
    one.and(two).unwrap();
    file.sync_all().await.unwrap();
    scene.fs.sync_dir(&scene.dir).await.unwrap();
    assert_eq!(file.in_doubt(), None);
}

pub(super) async fn described(scene: Scene) {
    let file = ones(&scene, 10).await;
    let (by_file, by_name) = (file.metadata().await.unwrap(), scene.fs.metadata(scene.at("f")).await.unwrap());
    assert_eq!((by_file.size, by_file.ino), (10, by_name.ino));
}
