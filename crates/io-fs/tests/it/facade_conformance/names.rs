//! Files by their names.

use super::Scene;
use crate::fs_kit::content;
use io_fs::{AccessMode, CopyOptions, FileKind, FileOptions, RenameMode};
use std::io::ErrorKind;

async fn put(scene: &Scene, name: &str, bytes: &[u8]) {
    scene.fs.create(scene.at(name)).await.unwrap().write_all_at(bytes.to_vec(), 0).await.0.unwrap();
}

async fn get(scene: &Scene, name: &str) -> Vec<u8> {
    let file = scene.fs.open(scene.at(name)).await.unwrap();
    let size = file.size().await.unwrap() as usize;
    let (read, bytes) = file.read_exact_at(vec![0; size], 0).await;
    read.unwrap();
    bytes
}

async fn names(scene: &Scene, dir: &str) -> Vec<String> {
    let entries = scene.fs.read_dir(scene.at(dir)).await.unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name.into_string().unwrap()).collect();
    names.sort();
    names
}

pub(super) async fn opened_as_asked(scene: Scene) {
    let fs = &scene.fs;
    assert_eq!(fs.open(scene.at("f")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs.open_rw(scene.at("f")).await.unwrap_err().kind(), ErrorKind::NotFound);
    put(&scene, "f", b"content").await;
    let file = fs.open(scene.at("f")).await.unwrap();
    let (refused, back) = file.write_at(b"x".to_vec(), 0).await;
    assert!(refused.is_err() && back == b"x", "opened for reading");
    fs.open_rw(scene.at("f")).await.unwrap().write_at(b"C".to_vec(), 0).await.0.unwrap();
    assert_eq!(get(&scene, "f").await, b"Content");
    let new = FileOptions::new().write(true).create_new(true);
    assert_eq!(fs.open_with(scene.at("f"), new).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    fs.create(scene.at("f")).await.unwrap();
    assert_eq!(get(&scene, "f").await, b"");
}

pub(super) async fn renamed(scene: Scene) {
    put(&scene, "a", b"one").await;
    put(&scene, "b", b"two").await;
    let refused = scene.fs.rename_with(scene.at("a"), scene.at("b"), RenameMode::NoReplace).await.unwrap_err();
    assert!([ErrorKind::AlreadyExists, ErrorKind::Unsupported].contains(&refused.kind()), "{refused}");
    scene.fs.rename(scene.at("a"), scene.at("b")).await.unwrap();
    assert_eq!(get(&scene, "b").await, b"one");
    assert_eq!(scene.fs.open(scene.at("a")).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub(super) async fn removed(scene: Scene) {
    put(&scene, "f", b"content").await;
    let open = scene.fs.open(scene.at("f")).await.unwrap();
    scene.fs.remove_file(scene.at("f")).await.unwrap();
    assert_eq!(scene.fs.remove_file(scene.at("f")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(open.read_at([0u8; 7], 0).await.0.unwrap(), 7, "who has it open has it");
}

pub(super) async fn directories(scene: Scene) {
    let fs = &scene.fs;
    fs.create_dir_all(scene.at("d/e/g")).await.unwrap();
    fs.create_dir_all(scene.at("d/e/g")).await.unwrap();
    put(&scene, "d/f", b"").await;
    assert_eq!(names(&scene, "d").await, ["e", "f"]);
    assert_eq!(fs.metadata(scene.at("d")).await.unwrap().kind, FileKind::Dir);
    fs.sync_dir(scene.at("d")).await.unwrap();
    assert_eq!(fs.remove_dir(scene.at("d/e")).await.unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    fs.remove_dir(scene.at("d/e/g")).await.unwrap();
    fs.remove_dir(scene.at("d/e")).await.unwrap();
    assert_eq!(names(&scene, "d").await, ["f"]);
    assert!(fs.read_dir(scene.at("d/f")).await.is_err(), "a file is no directory");
}

pub(super) async fn replaced(scene: Scene) {
    for bytes in [content(1, 10_000), content(2, 10)] {
        let (result, back) = scene.fs.replace(scene.at("r"), bytes.clone()).await;
        result.unwrap();
        assert!(back == bytes && get(&scene, "r").await == bytes);
    }
    let temporary = names(&scene, "").await.into_iter().filter(|name| name.ends_with(".tmp")).count();
    assert_eq!(temporary, 0);
}

pub(super) async fn copied(scene: Scene) {
    let bytes = content(4, 70_000);
    put(&scene, "from", &bytes).await;
    let copied = scene.fs.copy(scene.at("from"), scene.at("to")).await.unwrap();
    assert_eq!(copied.bytes, 70_000);
    assert!(get(&scene, "to").await == bytes);
    let again = scene.fs.copy(scene.at("from"), scene.at("to")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let options = CopyOptions::new().overwrite(true);
    scene.fs.copy_with(scene.at("from"), scene.at("to"), options).await.unwrap();
}

pub(super) async fn what_names_say(scene: Scene) {
    let fs = &scene.fs;
    put(&scene, "f", b"content").await;
    let metadata = fs.metadata(scene.at("f")).await.unwrap();
    assert_eq!((metadata.size, metadata.kind), (7, FileKind::File));
    assert_eq!(fs.symlink_metadata(scene.at("f")).await.unwrap().ino, metadata.ino);
    fs.access(scene.at("f"), AccessMode::Read).await.unwrap();
    fs.set_permissions(scene.at("f"), 0o600).await.unwrap();
    assert_eq!(fs.metadata(scene.at("f")).await.unwrap().mode & 0o777, 0o600);
    let real = fs.canonicalize(scene.at("f")).await.unwrap();
    assert_eq!(fs.metadata(real).await.unwrap().ino, metadata.ino);
    assert!(fs.stat_fs(&scene.dir).await.unwrap().block_size > 0);
}
