//! Size, space and hints.

use crate::{file_with, result};
use io_core::{Advice, FileFacts, Lifetime, Op, errno};
use io_testkit::{nobodys_file, pattern};
use std::fs;

#[test]
fn truncate_cuts_and_grows() {
    let contents = pattern(1, 10_000);
    let (_dir, path, file) = file_with(&contents);
    assert_eq!(result(Op::truncate(&file, 5000)), 0);
    assert_eq!(fs::read(&path).unwrap(), &contents[..5000]);
    assert_eq!(result(Op::truncate(&file, 6000)), 0);
    assert_eq!(fs::read(&path).unwrap(), [&contents[..5000], &[0; 1000]].concat());
    assert_eq!(result(Op::truncate(&file, 0)), 0);
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(result(Op::truncate(&file, u64::MAX)), -errno::EINVAL);
    assert_eq!(result(Op::truncate(&nobodys_file(FileFacts::default()), 0)), -errno::EBADF);
}

#[test]
fn syncs_succeed_on_files_and_fail_on_none() {
    let (dir, _, file) = file_with(b"some bytes");
    assert_eq!(result(Op::sync_data(&file)), 0);
    assert_eq!(result(Op::sync_all(&file)), 0);
    assert_eq!(result(Op::sync_dir(dir.path()).unwrap()), 0);
    let nobodys = nobodys_file(FileFacts::default());
    assert_eq!(result(Op::sync_data(&nobodys)), -errno::EBADF);
    assert_eq!(result(Op::sync_all(&nobodys)), -errno::EBADF);
    assert_eq!(result(Op::sync_dir(dir.path().join("none")).unwrap()), -errno::ENOENT);
    assert_eq!(result(Op::sync_dir(dir.path().join("file")).unwrap()), -errno::ENOTDIR);
}

/// A failed sync is the answer: nobody may try it again, not even after a signal.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_sync_is_not_repeated() {
    use io_testkit::{confine::Confinement, in_child};
    for (tag, code) in [("eio", libc::EIO), ("eintr", libc::EINTR), ("enospc", libc::ENOSPC)] {
        let refused = Confinement::none().refuse(libc::SYS_fdatasync, code).refuse(libc::SYS_fsync, code);
        in_child!(tag, refused, || {
            let (dir, _, file) = file_with(b"some bytes");
            assert_eq!(result(Op::sync_data(&file)), -code);
            assert_eq!(result(Op::sync_all(&file)), -code);
            assert_eq!(result(Op::sync_dir(dir.path()).unwrap()), -code);
        });
    }
}

#[cfg(any(target_os = "linux", windows))]
#[test]
fn allocation_grows_unless_told_not_to() {
    let (_dir, path, file) = file_with(b"abc");
    let allocated = result(Op::allocate(&file, 0, 1 << 20, true));
    if allocated == -errno::EOPNOTSUPP {
        return io_testkit::skip("threadpool", "allocation_grows_unless_told_not_to", "no allocation here");
    }
    assert_eq!(allocated, 0);
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    assert_eq!(result(Op::allocate(&file, 1 << 20, 1 << 20, false)), 0);
    assert_eq!(fs::metadata(&path).unwrap().len(), 2 << 20);
    assert_eq!(&fs::read(&path).unwrap()[..4], b"abc\0");
    #[cfg(unix)]
    assert!(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&path).unwrap()) * 512 >= 2 << 20);
    assert_eq!(result(Op::allocate(&file, 0, 0, false)), -errno::EINVAL);
    assert_eq!(result(Op::allocate(&file, 1 << 63, 1, false)), -errno::EINVAL);
    assert_eq!(result(Op::allocate(&nobodys_file(FileFacts::default()), 0, 1, false)), -errno::EBADF);
}

#[cfg(any(target_os = "linux", windows))]
#[test]
fn holes_and_zeroed_ranges_read_as_zeros() {
    let contents = pattern(2, 1 << 18);
    let (_dir, path, file) = file_with(&contents);
    let punched = result(Op::punch_hole(&file, 4096, 8192));
    if punched == -errno::EOPNOTSUPP {
        return io_testkit::skip("threadpool", "holes_and_zeroed_ranges_read_as_zeros", "no holes here");
    }
    assert_eq!(punched, 0);
    let mut expected = contents.clone();
    expected[4096..12_288].fill(0);
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(result(Op::punch_hole(&file, (1 << 18) - 100, 4096)), 0, "across the end: the size stays");
    expected[(1 << 18) - 100..].fill(0);
    assert_eq!(fs::read(&path).unwrap(), expected);
    let zeroed = result(Op::zero_range(&file, 100_000, 10_001, true));
    if zeroed == -errno::EOPNOTSUPP {
        return io_testkit::skip("threadpool", "holes_and_zeroed_ranges_read_as_zeros", "no zeroed ranges here");
    }
    assert_eq!(zeroed, 0);
    expected[100_000..110_001].fill(0);
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(result(Op::zero_range(&file, (1 << 18) - 4096, 8192, true)), 0, "the size stays");
    expected[(1 << 18) - 4096..].fill(0);
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(result(Op::zero_range(&file, (1 << 18) - 4096, 8192, false)), 0, "and grows");
    expected.extend([0; 4096]);
    assert_eq!(fs::read(&path).unwrap(), expected);
    let nobodys = nobodys_file(FileFacts::default());
    assert_eq!(result(Op::punch_hole(&nobodys, 0, 4096)), -errno::EBADF);
    assert_eq!(result(Op::zero_range(&nobodys, 0, 4096, false)), -errno::EBADF);
}

const ADVICE: [Advice; 6] =
    [Advice::Normal, Advice::Sequential, Advice::Random, Advice::WillNeed, Advice::DontNeed, Advice::NoReuse];
const LIFETIMES: [Lifetime; 6] =
    [Lifetime::NotSet, Lifetime::None, Lifetime::Short, Lifetime::Medium, Lifetime::Long, Lifetime::Extreme];

#[cfg(target_os = "linux")]
#[test]
fn hints_change_nothing_that_can_be_read() {
    let contents = pattern(3, 100_000);
    let (_dir, path, file) = file_with(&contents);
    for advice in ADVICE {
        assert_eq!(result(Op::advise(&file, 0, 0, advice)), 0);
        assert_eq!(result(Op::advise(&file, 4096, 8192, advice)), 0);
    }
    for lifetime in LIFETIMES {
        assert_eq!(result(Op::write_hint(&file, lifetime)), 0);
    }
    // F_GET_RW_HINT tells what the last one was.
    let mut hint = 0u64;
    // SAFETY: the command writes 64 bits.
    assert_eq!(unsafe { libc::fcntl(file.at().raw.fd(), 1024 + 11, &mut hint) }, 0);
    assert_eq!(hint, 5);
    assert_eq!(result(Op::sync_range(&file, 0, 0)), 0);
    assert_eq!(result(Op::sync_range(&file, 4096, 4096)), 0);
    let nobodys = nobodys_file(FileFacts::default());
    assert_eq!(result(Op::advise(&nobodys, 0, 0, Advice::Normal)), -errno::EBADF);
    assert_eq!(result(Op::write_hint(&nobodys, Lifetime::Short)), -errno::EBADF);
    assert_eq!(result(Op::sync_range(&nobodys, 0, 0)), -errno::EBADF);
    assert_eq!(fs::read(&path).unwrap(), contents);
}

#[cfg(not(target_os = "linux"))]
#[test]
fn what_is_not_there_is_eopnotsupp() {
    let (_dir, _, file) = file_with(b"abc");
    assert_eq!(result(Op::sync_range(&file, 0, 0)), -errno::EOPNOTSUPP);
    for lifetime in LIFETIMES {
        assert_eq!(result(Op::write_hint(&file, lifetime)), -errno::EOPNOTSUPP);
    }
    for advice in ADVICE {
        let expected = if cfg!(target_os = "freebsd") { 0 } else { -errno::EOPNOTSUPP };
        assert_eq!(result(Op::advise(&file, 0, 0, advice)), expected);
    }
}
