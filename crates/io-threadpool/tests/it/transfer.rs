//! Reads and writes against what `std` reads and writes.

use crate::{file_with, result, run, scratch};
use io_core::{AlignedBuf, FileFacts, IoBuf, Op, OpenOptions, RwFlags, errno};
use io_testkit::{nobodys_file, pattern};
use std::fs;

fn read(op: Op) -> (i32, Vec<u8>) {
    let (result, op) = run(op);
    (result, op.into_buf::<Vec<u8>>().unwrap())
}

#[test]
fn reads_are_what_std_reads() {
    let contents = pattern(1, 10_000);
    let (_dir, _, file) = file_with(&contents);
    for (offset, len) in [(0, 10_000), (0, 1), (4095, 2), (9_999, 1), (1234, 777)] {
        let (moved, buf) = read(Op::read(&file, Vec::with_capacity(len), offset));
        assert_eq!(moved, len as i32);
        assert_eq!(buf, &contents[offset as usize..][..len]);
    }
    let (moved, buf) = read(Op::read(&file, Vec::with_capacity(100), 9_950));
    assert_eq!((moved, buf.as_slice()), (50, &contents[9_950..]), "across the end: short");
    assert_eq!(result(Op::read(&file, vec![0; 10], 10_000)), 0, "at the end");
    assert_eq!(result(Op::read(&file, vec![0; 10], 1 << 40)), 0, "behind the end");
    assert_eq!(result(Op::read(&file, Vec::new(), 0)), 0, "nothing asked");
}

#[test]
fn writes_are_what_std_finds() {
    let (_dir, path, file) = file_with(b"0123456789");
    assert_eq!(result(Op::write(&file, b"abc".to_vec(), 2)), 3);
    assert_eq!(result(Op::write(&file, "xy", 12)), 2);
    assert_eq!(result(Op::write(&file, Vec::new(), 100)), 0);
    assert_eq!(fs::read(&path).unwrap(), b"01abc56789\0\0xy");
}

#[test]
fn vectored_transfers_go_piece_by_piece() {
    let (_dir, path, file) = file_with(b"");
    let pieces = vec![b"ab".to_vec(), vec![], b"cdef".to_vec(), b"g".to_vec()];
    assert_eq!(result(Op::write_vectored(&file, pieces, 3)), 7);
    assert_eq!(fs::read(&path).unwrap(), b"\0\0\0abcdefg");
    let (moved, op) = run(Op::read_vectored(&file, vec![vec![0; 4], vec![0; 4], vec![0; 4]], 3));
    assert_eq!(moved, 7);
    assert_eq!(op.into_bufs::<Vec<u8>>().unwrap(), [b"abcd".to_vec(), b"efg".to_vec(), vec![]]);
    assert_eq!(result(Op::read_vectored(&file, Vec::<Vec<u8>>::new(), 0)), 0);
}

#[test]
fn bad_files_and_offsets_have_their_errors() {
    let (_dir, path, file) = file_with(b"some bytes");
    let nobodys = nobodys_file(FileFacts::default());
    assert_eq!(result(Op::read(&nobodys, vec![0; 10], 0)), -errno::EBADF);
    assert_eq!(result(Op::write(&nobodys, vec![0; 10], 0)), -errno::EBADF);
    assert_eq!(result(Op::read_vectored(&nobodys, vec![vec![0; 10]], 0)), -errno::EBADF);
    assert_eq!(result(Op::write_vectored(&nobodys, vec![vec![0; 10]], 0)), -errno::EBADF);
    assert_eq!(result(Op::read(&file, vec![0; 10], u64::MAX)), -errno::EINVAL);
    assert_eq!(result(Op::write(&file, vec![0; 10], 1 << 63)), -errno::EINVAL);
    let read_only = io_threadpool::open(&path, OpenOptions::READ).unwrap();
    let refused = result(Op::write(&read_only, vec![0; 10], 0));
    assert_eq!(refused, if cfg!(windows) { -errno::EACCES } else { -errno::EBADF });
    assert_eq!(fs::read(&path).unwrap(), b"some bytes");
}

#[test]
fn durable_writes_are_writes() {
    let (_dir, path, file) = file_with(b"");
    assert_eq!(result(Op::write(&file, "durable", 0).with_flags(RwFlags::DSYNC)), 7);
    assert_eq!(result(Op::write_vectored(&file, vec!["ve", "ry"], 7).with_flags(RwFlags::DSYNC)), 4);
    assert_eq!(fs::read(&path).unwrap(), b"durablevery");
    assert_eq!(read(Op::read(&file, Vec::with_capacity(7), 0).with_flags(RwFlags::DSYNC)).1, b"durable");
}

#[cfg(not(target_os = "linux"))]
#[test]
fn flags_of_linux_are_refused_elsewhere() {
    let (_dir, path, file) = file_with(b"12345");
    for flags in [RwFlags::NOWAIT, RwFlags::ATOMIC, RwFlags::DONTCACHE, RwFlags::DSYNC | RwFlags::NOWAIT] {
        assert_eq!(result(Op::write(&file, "abc", 0).with_flags(flags)), -errno::EOPNOTSUPP);
        assert_eq!(result(Op::read(&file, vec![0; 4], 0).with_flags(flags)), -errno::EOPNOTSUPP);
    }
    assert_eq!(fs::read(&path).unwrap(), b"12345");
}

#[test]
fn direct_transfers_move_whole_blocks() {
    let (_dir, path) = scratch("direct");
    let Ok(file) = io_threadpool::open(&path, OpenOptions::CREATE.direct()) else {
        return io_testkit::skip("threadpool", "direct_transfers_move_whole_blocks", "no direct I/O here");
    };
    assert!(file.facts().direct);
    let contents = pattern(2, 3 * 4096);
    assert_eq!(result(Op::write(&file, AlignedBuf::copy_of(&contents), 4096)), 3 * 4096);
    let (moved, op) = run(Op::read(&file, AlignedBuf::with_capacity(4 * 4096), 0));
    assert_eq!(moved, 4 * 4096);
    assert_eq!(&op.into_buf::<AlignedBuf>().unwrap()[4096..], contents);
    if cfg!(target_os = "linux") {
        let odd = AlignedBuf::copy_of(&contents).slice(..4095);
        assert_eq!(result(Op::write(&file, odd, 0)), -errno::EINVAL, "no whole block");
    }
    assert_eq!(&fs::read(&path).unwrap()[4096..], contents);
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use io_testkit::{AliasBuf, confine::Confinement, in_child};
    use std::fs::File;

    #[test]
    fn append_goes_to_the_end() {
        let (_dir, path, file) = file_with(b"12345");
        assert_eq!(result(Op::write(&file, "678", 0).with_flags(RwFlags::APPEND)), 3);
        assert_eq!(result(Op::write(&file, "9", 0).with_flags(RwFlags::APPEND | RwFlags::DSYNC)), 1);
        assert_eq!(fs::read(&path).unwrap(), b"123456789");
    }

    #[test]
    fn nowait_reads_what_is_cached() {
        let contents = pattern(3, 8192);
        let (_dir, _, file) = file_with(&contents);
        assert_eq!(result(Op::read(&file, vec![0; 8192], 0)), 8192);
        let (moved, buf) = read(Op::read(&file, Vec::with_capacity(8192), 0).with_flags(RwFlags::NOWAIT));
        // Memory pressure may have taken the pages; some file systems refuse.
        assert!([8192, 4096, -errno::EAGAIN, -errno::EOPNOTSUPP].contains(&moved), "{moved}");
        assert_eq!(buf, &contents[..moved.max(0) as usize]);
    }

    /// Flags that the kernel or the file system does not know are refused as a whole: nothing is written.
    #[test]
    fn unknown_flags_are_refused() {
        let (_dir, path, file) = file_with(b"12345");
        for flags in [RwFlags::ATOMIC, RwFlags::ATOMIC | RwFlags::DSYNC] {
            // Three bytes are no atomic unit of any device.
            let refused = result(Op::write(&file, "abc", 0).with_flags(flags));
            assert!([-errno::EOPNOTSUPP, -errno::EINVAL].contains(&refused), "{refused}");
        }
        assert_eq!(fs::read(&path).unwrap(), b"12345");
    }

    /// Sandboxed kernels have no pwritev2, or none with flags; a durable write is a write and a sync there, and nothing else is
    /// quietly less than what was asked for.
    #[test]
    fn durable_writes_without_the_kernels_help() {
        for (tag, code) in [("enosys", libc::ENOSYS), ("eopnotsupp", libc::EOPNOTSUPP)] {
            let refused = Confinement::none().refuse(libc::SYS_pwritev2, code).refuse(libc::SYS_preadv2, code);
            in_child!(tag, refused, || {
                let (_dir, path, file) = file_with(b"");
                assert_eq!(result(Op::write(&file, "durable", 0).with_flags(RwFlags::DSYNC)), 7);
                let append = Op::write(&file, "!", 0).with_flags(RwFlags::APPEND | RwFlags::DSYNC);
                assert_eq!(result(append), -errno::EOPNOTSUPP);
                let nowait = Op::read(&file, vec![0; 7], 0).with_flags(RwFlags::NOWAIT);
                assert_eq!(result(nowait), -errno::EOPNOTSUPP);
                assert_eq!(fs::read(&path).unwrap(), b"durable");
            });
        }
        // And if the sync fails, so does the write: what was moved is not what was asked for.
        let refused =
            Confinement::none().refuse(libc::SYS_pwritev2, libc::ENOSYS).refuse(libc::SYS_fdatasync, libc::EIO);
        in_child!("eio", refused, || {
            let (_dir, _, file) = file_with(b"");
            assert_eq!(result(Op::write(&file, "durable", 0).with_flags(RwFlags::DSYNC)), -errno::EIO);
        });
    }

    #[test]
    fn the_file_size_limit_makes_writes_short() {
        in_child!("fsize", Confinement::none().file_size(8192), || {
            let (_dir, path, file) = file_with(b"");
            let contents = pattern(4, 12_000);
            assert_eq!(result(Op::write(&file, contents.clone(), 0)), 8192, "short");
            assert_eq!(result(Op::write(&file, contents[8192..].to_vec(), 8192)), -errno::EFBIG);
            let pieces = vec![contents[..6000].to_vec(), contents[6000..].to_vec()];
            assert_eq!(result(Op::write_vectored(&file, pieces, 0)), 8192, "short within a piece");
            assert_eq!(fs::read(&path).unwrap(), &contents[..8192]);
        });
    }

    #[test]
    fn more_than_two_gigabytes_are_capped() {
        let (_dir, _, file) = file_with(b"");
        assert_eq!(result(Op::truncate(&file, 5 << 30)), 0);
        let zero = io_threadpool::adopt(File::open("/dev/zero").unwrap()).unwrap();
        for source in [&file, &zero] {
            // Three gigabytes that are one megabyte of memory over and over.
            let (moved, op) = run(Op::read(source, AliasBuf::new(3 << 30).unwrap(), 0));
            assert_eq!(moved, 0x7fff_f000);
            drop(op);
            let (moved, op) = run(Op::read_vectored(
                source,
                vec![AliasBuf::new(3 << 30).unwrap(), AliasBuf::new(3 << 30).unwrap()],
                0,
            ));
            assert_eq!(moved, 0x7fff_f000);
            drop(op);
        }
    }

    #[test]
    fn more_pieces_than_one_call_takes_are_short() {
        let contents = pattern(5, 2000);
        let (_dir, _, file) = file_with(&contents);
        let (moved, op) = run(Op::read_vectored(&file, vec![vec![0; 1]; 2000], 0));
        assert_eq!(moved, 1024);
        assert_eq!(op.into_bufs::<Vec<u8>>().unwrap()[..1024].concat(), &contents[..1024]);
    }

    /// The priority holds for the one operation; the thread has its own again afterwards.
    #[test]
    fn priorities_come_and_go() {
        // SAFETY: a question about this thread.
        let mine = || unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) };
        let (_dir, path, file) = file_with(b"");
        let before = mine();
        const BEST_EFFORT_7: u16 = 2 << 13 | 7;
        assert_eq!(result(Op::write(&file, "abc", 0).with_ioprio(BEST_EFFORT_7)), 3);
        assert_eq!(result(Op::read(&file, vec![0; 3], 0).with_ioprio(BEST_EFFORT_7)), 3);
        assert_eq!(mine(), before);
        const NO_SUCH_CLASS: u16 = 7 << 13;
        assert_eq!(result(Op::write(&file, "xyz", 0).with_ioprio(NO_SUCH_CLASS)), -errno::EINVAL);
        assert_eq!(fs::read(&path).unwrap(), b"abc");
    }

    #[test]
    fn pipes_have_no_offsets() {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors, which become ours.
        let [read_end, _write_end] = unsafe {
            assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
            ends.map(|fd| <File as std::os::fd::FromRawFd>::from_raw_fd(fd))
        };
        let pipe = io_threadpool::adopt(read_end).unwrap();
        assert!(!pipe.facts().seekable);
        assert_eq!(result(Op::read(&pipe, vec![0; 4], 0)), -libc::ESPIPE);
    }
}
