use super::world::worlds;
use io_fs::{AsyncFile, DynAsyncFile, OpenOptions};
use std::io;

/// What a storage layer does with a file of whatever make.
async fn generic<F: AsyncFile>(file: F) -> io::Result<()> {
    file.write_at(b"hello".to_vec(), 0).await.0?;
    assert_eq!(file.append(b" world".to_vec()).await.0?, 5);
    file.allocate(0, 8192).await?;
    file.sync_data().await?;
    let (read, buf) = file.read_at(Vec::with_capacity(11), 0).await;
    assert_eq!((read?, &buf[..]), (11, &b"hello world"[..]));
    file.punch_hole(0, 4096).await?;
    file.truncate(3).await?;
    file.sync_all().await?;
    assert_eq!((file.size().await?, file.metadata().await?.size), (3, 3));
    file.close().await
}

async fn boxed(file: Box<dyn DynAsyncFile>) -> io::Result<()> {
    file.write_at(b"hello".to_vec(), 0).await.0?;
    assert_eq!(file.append(b" world".to_vec()).await.0?, 5);
    let (read, buf) = file.read_at(Vec::with_capacity(11), 0).await;
    assert_eq!((read?, &buf[..]), (11, &b"hello world"[..]));
    assert_eq!(file.size().await?, 11);
    file.close().await
}

#[test]
fn storage_layers_are_generic_over_files() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("g"), OpenOptions::CREATE).await.unwrap();
            sent(generic(file)).await.unwrap();
            let file = world.fs.open_with(world.path("d"), OpenOptions::CREATE).await.unwrap();
            let clone = file.clone();
            let error = sent(boxed(Box::new(file))).await.expect_err("a clone is alive");
            assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{}", world.name);
            let last: Box<dyn DynAsyncFile> = Box::new(clone);
            last.close().await.unwrap();
        });
    }
}
