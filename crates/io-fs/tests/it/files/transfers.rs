use super::world::{pattern, real_worlds, worlds};
use io_fs::{Advice, IoBuf as _, Lifetime, OpenOptions, TransferOptions};
use std::io;

#[test]
fn what_is_written_is_read_by_every_way() {
    for world in worlds() {
        let bytes = pattern(100_000, 3);
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            file.write_all_at(bytes[..50_000].to_vec(), 0).await.0.unwrap();
            let pieces = vec![bytes[50_000..50_001].to_vec(), Vec::new(), bytes[50_001..].to_vec()];
            let (written, pieces) = file.write_vectored_at(pieces, 50_000).await;
            assert_eq!((written.unwrap(), pieces.len()), (50_000, 3), "{}", world.name);
            assert_eq!(file.size().await.unwrap(), 100_000);

            let (read, buf) = file.read_exact_at(Vec::with_capacity(100_000), 0).await;
            read.unwrap();
            assert!(buf == bytes, "{}", world.name);
            let bufs = vec![Vec::with_capacity(10), Vec::with_capacity(99_000), Vec::with_capacity(5000)];
            let (read, bufs) = file.read_vectored_at(bufs, 0).await;
            assert_eq!(read.unwrap(), 100_000);
            assert_eq!(bufs.iter().map(Vec::len).collect::<Vec<_>>(), [10, 99_000, 990], "{}", world.name);
            assert!(bufs.concat() == bytes, "{}", world.name);
        });
        assert!(world.content("f") == bytes, "{}", world.name);
    }
}

#[test]
fn an_exact_read_wants_all_of_it() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            file.write_at(b"0123456789".to_vec(), 0).await.0.unwrap();
            let (read, buf) = file.read_exact_at(Vec::with_capacity(64).slice(..20), 4).await;
            let error = read.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{}", world.name);
            assert_eq!(error.to_string(), "the file ends 6 bytes into a read of 20");
            assert_eq!(buf.into_inner(), b"456789", "what there is comes back");
            file.read_exact_at([0u8; 10], 0).await.0.unwrap();
        });
    }
}

#[test]
fn options_reach_the_kernel_or_are_refused_by_name() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            let urgent = TransferOptions::new().ioprio((2 << 13) | 7);
            file.write_at_with(b"0123456789".to_vec(), 0, urgent).await.0.unwrap();
            let (read, buf) = file.read_at_with(Vec::with_capacity(10), 0, urgent).await;
            assert_eq!((read.unwrap(), &buf[..]), (10, &b"0123456789"[..]), "{}", world.name);
            let scan = TransferOptions::new().dont_cache();
            match file.read_at_with(Vec::with_capacity(10), 0, scan).await {
                (Ok(10), buf) => assert_eq!(buf, b"0123456789", "{}", world.name),
                (Err(error), _) => assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{}: {error}", world.name),
                (Ok(n), _) => panic!("{}: {n} bytes", world.name),
            }
        });
    }
}

#[test]
fn space_and_size() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            file.allocate(0, 1 << 20).await.unwrap();
            assert_eq!(file.size().await.unwrap(), 0, "{}: space is not size", world.name);
            file.write_at(pattern(16 << 10, 1), 0).await.0.unwrap();
            file.punch_hole(4096, 8192).await.unwrap();
            file.truncate(20_000).await.unwrap();
            assert_eq!(file.metadata().await.unwrap().size, 20_000, "{}", world.name);
            file.advise(0, 0, Advice::Sequential).await.unwrap();
        });
        let mut model = pattern(16 << 10, 1);
        model[4096..4096 + 8192].fill(0);
        model.resize(20_000, 0);
        assert!(world.content("f") == model, "{}", world.name);
    }
}

#[test]
fn a_lifetime_can_be_hinted() {
    for world in real_worlds() {
        let hinted = world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            file.write_hint(Lifetime::Short).await
        });
        match hinted {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                io_testkit::skip("io-fs files", "a_lifetime_can_be_hinted", &error.to_string());
            }
            Err(error) => panic!("{}: {error}", world.name),
        }
    }
}

/// A plain transfer can be wished away and bounded in time; so it has to stay an `Operation`.
#[test]
fn a_transfer_that_was_not_begun_is_cancelled() {
    for world in worlds() {
        world.fs.block_on(async {
            let file = world.fs.open_with(world.path("f"), OpenOptions::CREATE).await.unwrap();
            let mut write = file.write_at(b"never".to_vec(), 0);
            write.cancel();
            let (result, buf) = write.await;
            assert!(result.is_err() && buf == b"never", "{}", world.name);
            let second = std::time::Duration::from_secs(60);
            file.write_at(b"once".to_vec(), 0).with_timeout(second).await.unwrap().0.unwrap();
        });
        assert_eq!(world.content("f"), b"once", "{}", world.name);
    }
}
