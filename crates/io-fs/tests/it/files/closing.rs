use super::world::{World, worlds};
use io_fs::{CloseFailed, OpenOptions, errno};
use io_sim::{SimOptions, Which};
use std::io;

#[test]
fn a_file_in_use_comes_back_and_closes_later() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            let clone = file.clone();
            let Err(CloseFailed::InUse(file)) = file.close().await else { panic!("{}: closed", world.name) };
            file.write_at(b"still open".to_vec(), 0).await.0.unwrap();
            drop(clone);
            let handle = file.handle().clone();
            let Err(CloseFailed::InUse(file)) = file.close().await else { panic!("{}: closed", world.name) };
            drop(handle);
            file.close().await.unwrap();
        });
    }
}

/// Direct files that are used a lot are registered with the rings, which hold them, too.
#[test]
fn a_registered_file_closes() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE.direct()).await.unwrap();
            for _ in 0..300 {
                file.read_at(io_fs::AlignedBuf::with_capacity(4096), 0).await.0.unwrap();
            }
            file.close().await.unwrap_or_else(|error| panic!("{}: {error}", world.name));
        });
        if let Some(disk) = &world.sim {
            assert_eq!(disk.times_open(world.path("f")).unwrap(), 0);
        }
    }
}

#[test]
fn what_close_says_is_reported_and_the_file_is_closed() {
    let world = World::sim(SimOptions::seeded(21));
    let disk = world.sim.as_ref().unwrap();
    world.fs.block_on(async {
        let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
        disk.fail(Which::kind(io_fs::OpKind::Close), errno::EIO);
        let Err(CloseFailed::Failed(error)) = file.close().await else { panic!("the error is lost") };
        assert_eq!(io::Error::from(CloseFailed::Failed(error)).raw_os_error(), Some(errno::EIO));
    });
    assert_eq!(disk.times_open(world.path("f")).unwrap(), 0);
}
