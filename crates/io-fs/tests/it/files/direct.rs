use super::world::{World, pattern, worlds};
use io_fs::{AlignedBuf, DioSource, FileOptions, IoBuf as _, OpenOptions};
use io_sim::{DirectRules, SimOptions};
use std::io;

#[test]
fn violations_are_named_before_they_harm_anything() {
    for world in worlds() {
        let bytes = pattern(32 << 10, 9);
        world.fs.block_on(async {
            let buffered = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            buffered.write_at(bytes.clone(), 0).await.0.unwrap();
            assert_eq!((buffered.is_direct(), buffered.dio_geometry()), (false, None));
            let file = world.fs.open_with(world.path("f"), OpenOptions::READ_WRITE.direct()).await.unwrap();
            assert!(file.is_direct(), "{}", world.name);
            let geometry = file.dio_geometry().unwrap();
            assert_ne!(geometry.source, DioSource::Default, "{}", world.name);
            let (reads, writes) = (u64::from(geometry.read_offset), u64::from(geometry.write_offset));
            let said = |result: io::Result<usize>| {
                let error = result.expect_err("it violates the rules");
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}: {error}", world.name);
                error.to_string()
            };

            let (result, buf) = file.read_at(AlignedBuf::with_capacity(4096), 513).await;
            assert_eq!(said(result), format!("direct I/O: offset 513 is not a multiple of {reads}"));
            assert_eq!(buf.capacity(), 4096, "the buffer comes back");
            let (result, buf) = file.write_at(AlignedBuf::zeroed(4096).slice(..1000), 0).await;
            assert_eq!(said(result), format!("direct I/O: length 1000 is not a multiple of {writes}"));
            assert_eq!(buf.len(), 1000);
            if geometry.memory > 1 {
                let (result, buf) = file.write_at(AlignedBuf::zeroed(8192).slice(1..4097), 0).await;
                let address = buf.as_ptr() as usize;
                let text = format!("direct I/O: buffer address {address:#x} is not a multiple of {}", geometry.memory);
                assert_eq!(said(result), text);
            }
            said(file.write_vectored_at(vec![AlignedBuf::zeroed(4096), AlignedBuf::zeroed(100)], 0).await.0);
            said(file.write_durable_at(AlignedBuf::zeroed(100), 0).await.0);
            said(file.append(AlignedBuf::zeroed(100)).await.0.map(|at| at as usize));
            file.read_exact_at(AlignedBuf::with_capacity(4096), 100).await.0.unwrap_err();

            let (result, buf) = file.read_at(AlignedBuf::with_capacity(8192), 4096).await;
            assert_eq!((result.unwrap(), &buf[..]), (8192, &bytes[4096..4096 + 8192]), "{}", world.name);
            let (result, _) = file.write_at(AlignedBuf::copy_of(&bytes[..4096]), 0).await;
            assert_eq!(result.unwrap(), 4096);
            assert_eq!(file.append(AlignedBuf::zeroed(4096)).await.0.unwrap(), 32 << 10, "a refused one has no place");
        });
        assert!(world.content("f")[..32 << 10] == bytes, "{}", world.name);
    }
}

#[test]
fn the_geometry_is_the_systems() {
    for (memory, offset) in [(4, 512), (512, 4096), (4096, 4096)] {
        let direct = DirectRules { mem_align: memory, offset_align: offset };
        let world = World::sim(SimOptions { direct, ..SimOptions::seeded(31) });
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE.direct()).await.unwrap();
            let geometry = file.dio_geometry().unwrap();
            assert_eq!((geometry.memory, geometry.read_offset, geometry.write_offset), (memory, offset, offset));
            assert_eq!(geometry.source, DioSource::Statx);
        });
    }
}

/// tmpfs tells nothing, and takes anything where it takes O_DIRECT at all.
#[cfg(target_os = "linux")]
#[test]
fn a_geometry_that_nobody_tells_is_tried_out() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return io_testkit::skip("io-fs files", "a_geometry_that_nobody_tells_is_tried_out", "no /dev/shm");
    };
    let path = dir.path().join("f");
    std::fs::write(&path, pattern(8192, 1)).unwrap();
    let world = World::sim(SimOptions::seeded(1));
    drop(world);
    let fs = io_fs::FileSystem::new().unwrap();
    fs.block_on(async {
        let options = FileOptions::new().read(true).write(true).direct_or_buffered(true);
        let file = fs.open_with(&path, options).await.unwrap();
        let Some(geometry) = file.dio_geometry() else {
            assert!(!file.is_direct());
            return io_testkit::skip(
                "io-fs files",
                "a_geometry_that_nobody_tells_is_tried_out",
                "no O_DIRECT on tmpfs",
            );
        };
        assert_ne!(geometry.source, DioSource::Default, "{geometry:?}");
        let buf = AlignedBuf::zeroed(geometry.write_offset as usize);
        file.write_at(buf, u64::from(geometry.write_offset)).await.0.unwrap();
    });
}

/// An empty file on a file system that tells nothing: the numbers are a guess, and what the system refuses is explained.
#[test]
fn the_file_may_be_direct_without_known_rules() {
    let rules = DirectRules { mem_align: 512, offset_align: 512 };
    let world = World::sim(SimOptions { direct: rules, ..SimOptions::seeded(33) });
    let disk = world.sim.as_ref().unwrap();
    world.fs.block_on(async {
        disk.fail(io_sim::Which::kind(io_fs::OpKind::Stat), io_fs::errno::EIO);
        let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE.direct()).await.unwrap();
        assert_eq!(file.dio_geometry().unwrap().source, DioSource::Default);
        file.write_at(AlignedBuf::zeroed(512), 512).await.0.unwrap();
        let error = file.write_at(AlignedBuf::zeroed(512), 100).await.0.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("refuses 512 bytes at offset 100 (EINVAL)"), "{error}");
    });
}

#[test]
fn untorn_writes_are_done_or_refused_by_name() {
    let world = World::sim(SimOptions { atomic_write_max: 4096, ..SimOptions::seeded(34) });
    world.fs.block_on(async {
        let buffered = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
        let said = |result: io::Result<usize>| {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            error.to_string()
        };
        assert!(said(buffered.write_atomic_at(vec![1; 512], 0).await.0).contains("the file is buffered"));
        let file = world.fs.open_with(world.path("f"), OpenOptions::READ_WRITE.direct()).await.unwrap();
        assert_eq!(file.write_atomic_at(AlignedBuf::copy_of(&[7; 4096]), 4096).await.0.unwrap(), 4096);
        assert!(said(file.write_atomic_at(AlignedBuf::zeroed(1536), 0).await.0).contains("not a power of two"));
        assert!(said(file.write_atomic_at(AlignedBuf::zeroed(8192), 0).await.0).contains("within 512 and 4096"));
        assert!(said(file.write_atomic_at(AlignedBuf::zeroed(1024), 512).await.0).contains("multiple of the length"));
    });
    assert_eq!(world.content("f")[4096..], [7; 4096]);
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE.direct()).await.unwrap();
            let most = file.metadata().await.unwrap().atomic_write_max;
            match file.write_atomic_at(AlignedBuf::zeroed(4096), 0).await.0 {
                Ok(n) => assert!(n == 4096 && most > 0, "{}", world.name),
                Err(error) => assert!(
                    error.kind() == io::ErrorKind::Unsupported && (most == 0 || most < 4096),
                    "{}: {error}",
                    world.name
                ),
            }
        });
    }
}
