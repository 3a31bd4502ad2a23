//! The traits: one program over any file system, with types and without.

use crate::fs_kit::*;
use io_fs::{AsyncFileSystem, DynAsyncFileSystem, FileOptions, FileSystem};
use std::{io::ErrorKind, path::Path};

async fn with_types<F: AsyncFileSystem>(fs: &F, dir: &Path) {
    use io_fs::AsyncFile;
    let (one, two) = (dir.join("a/b/one"), dir.join("a/b/two"));
    fs.create_dir_all(one.parent().unwrap()).await.unwrap();
    let file = fs.create(&one).await.unwrap();
    file.write_at(b"content".to_vec(), 0).await.0.unwrap();
    file.sync_all().await.unwrap();
    drop(file);
    fs.open_rw(&one).await.unwrap().close().await.unwrap();
    fs.rename(&one, &two).await.unwrap();
    fs.sync_dir(two.parent().unwrap()).await.unwrap();
    assert_eq!(fs.open(&one).await.err().unwrap().kind(), ErrorKind::NotFound);
    let (read, bytes) = fs.open_rw(&two).await.unwrap().read_at(Vec::with_capacity(7), 0).await;
    assert_eq!((read.unwrap(), &bytes[..]), (7, &b"content"[..]));
    let (at, _) = fs.open_append(&two).await.unwrap().append(b" more".to_vec()).await;
    assert_eq!(at.unwrap(), 7);
    assert_eq!(fs.metadata(&two).await.unwrap().size, 12);
    let again = fs.open_with(&two, FileOptions::new().write(true).create_new(true)).await;
    assert_eq!(again.err().unwrap().kind(), ErrorKind::AlreadyExists);
}

async fn without_types(fs: &dyn DynAsyncFileSystem, dir: &Path) {
    let (below, file) = (dir.join("a/b"), dir.join("a/b/two"));
    let (read, bytes) = fs.open(&file).await.unwrap().read_at(Vec::with_capacity(20), 0).await;
    assert_eq!((read.unwrap(), &bytes[..]), (12, &b"content more"[..]));
    let (at, _) = fs.open_append(&file).await.unwrap().append(b"!".to_vec()).await;
    assert_eq!(at.unwrap(), 12);
    fs.open_rw(&file).await.unwrap().truncate(3).await.unwrap();
    assert_eq!(fs.metadata(&file).await.unwrap().size, 3);
    let other = fs.create(&below.join("other")).await.unwrap();
    other.close().await.unwrap();
    fs.rename(&below.join("other"), &file).await.unwrap();
    assert_eq!(fs.read_dir(&below).await.unwrap().len(), 1);
    fs.open_with(&file, FileOptions::new().read(true)).await.unwrap();
    fs.remove_file(&file).await.unwrap();
    fs.sync_dir(&below).await.unwrap();
    fs.remove_dir(&below).await.unwrap();
    fs.create_dir_all(&below).await.unwrap();
}

#[test]
fn one_program_runs_over_any_file_system() {
    everywhere(|site| {
        site.run(with_types(&site.fs, &site.dir));
        site.run(without_types(&site.fs, &site.dir));
    });
}

#[test]
fn the_futures_can_be_sent() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    on_real_drivers(|site| {
        let (fs, dir): (FileSystem, _) = (site.fs.clone(), site.dir.clone());
        smol::block_on(smol::spawn(is_send(async move {
            with_types(&fs, &dir).await;
            without_types(&fs, &dir).await;
            fs.replace(dir.join("f"), vec![1, 2, 3]).await.0.unwrap();
            fs.copy(dir.join("f"), dir.join("g")).await.unwrap();
        })));
    });
}
