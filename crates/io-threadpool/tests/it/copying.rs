//! Copies and clones of ranges.

use crate::{file_with, result};
use io_core::{FileFacts, FileHandle, Op, OpenOptions, errno};
use io_testkit::{nobodys_file, pattern};
use std::fs;

/// Copies to the end as the engine would: again with the rest.
fn copy(from: &FileHandle, from_at: u64, to: &FileHandle, to_at: u64, len: u64) -> u64 {
    let mut done = 0;
    while done < len {
        let moved = result(Op::copy_range(from, from_at + done, to, to_at + done, len - done));
        assert!(moved >= 0, "{moved}");
        if moved == 0 {
            break;
        }
        done += moved as u64;
    }
    done
}

#[test]
fn ranges_are_copied() {
    let contents = pattern(1, 1_000_000);
    let (_from_dir, _, from) = file_with(&contents);
    let (_to_dir, path, to) = file_with(&[9; 100]);
    assert_eq!(copy(&from, 123, &to, 77, 600_000), 600_000);
    assert_eq!(fs::read(&path).unwrap(), [&[9; 77][..], &contents[123..600_123]].concat());
    assert_eq!(copy(&from, 999_990, &to, 0, 100), 10, "to the end of the source");
    assert_eq!(result(Op::copy_range(&from, 2_000_000, &to, 0, 100)), 0, "behind it");
    assert_eq!(result(Op::copy_range(&from, 0, &to, 0, 0)), 0);
    assert_eq!(&fs::read(&path).unwrap()[..10], &contents[999_990..]);
}

#[test]
fn one_file_may_be_both_unless_the_ranges_touch() {
    let contents = pattern(2, 100_000);
    let (_dir, path, file) = file_with(&contents);
    assert_eq!(copy(&file, 0, &file, 50_000, 50_000), 50_000);
    let mut expected = contents;
    expected.copy_within(..50_000, 50_000);
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(result(Op::copy_range(&file, 0, &file, 1000, 2000)), -errno::EINVAL);
    assert_eq!(result(Op::copy_range(&file, 1000, &file, 0, 2000)), -errno::EINVAL);
    assert_eq!(fs::read(&path).unwrap(), expected, "and nothing was garbled");
}

#[test]
fn bad_files_have_their_errors() {
    let (_dir, path, file) = file_with(b"0123456789");
    let nobodys = nobodys_file(FileFacts::default());
    assert_eq!(result(Op::copy_range(&nobodys, 0, &file, 0, 5)), -errno::EBADF);
    assert_eq!(result(Op::copy_range(&file, 0, &nobodys, 0, 5)), -errno::EBADF);
    assert_eq!(result(Op::copy_range(&file, 1 << 63, &file, 0, 5)), -errno::EINVAL);
    let (_other_dir, _, other) = file_with(b"0123456789");
    let read_only = io_threadpool::open(&path, OpenOptions::READ).unwrap();
    let refused = result(Op::copy_range(&other, 0, &read_only, 0, 5));
    assert_eq!(refused, if cfg!(windows) { -errno::EACCES } else { -errno::EBADF });
    let clone = result(Op::clone_range(&nobodys, 0, &file, 0, 0));
    assert!([-errno::EBADF, -errno::EOPNOTSUPP].contains(&clone), "{clone}");
}

/// A clone shares or is refused; it is never a copy that takes the space twice.
#[test]
fn clones_share_or_are_refused() {
    let contents = pattern(3, 1 << 20);
    let (_from_dir, _, from) = file_with(&contents);
    let (_to_dir, path, to) = file_with(b"");
    match result(Op::clone_range(&from, 0, &to, 0, 0)) {
        0 => assert_eq!(fs::read(&path).unwrap(), contents),
        refused => {
            assert_eq!(refused, -errno::EOPNOTSUPP);
            assert_eq!(fs::read(&path).unwrap(), b"");
        }
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use io_testkit::{confine::Confinement, in_child, skip};
    use std::{fs::File, path::Path};

    fn shm_file(contents: &[u8]) -> Option<(tempfile::TempDir, FileHandle)> {
        let dir = tempfile::tempdir_in("/dev/shm").ok()?;
        fs::write(dir.path().join("file"), contents).ok()?;
        let file = io_threadpool::open(dir.path().join("file"), OpenOptions::READ_WRITE).ok()?;
        Some((dir, file))
    }

    #[test]
    fn across_file_systems() {
        let contents = pattern(4, 1_234_567);
        let (_dir, path, here) = file_with(&contents);
        let Some((there_dir, there)) = shm_file(b"") else {
            return skip("threadpool", "across_file_systems", "no /dev/shm");
        };
        if here.facts().inode.map(|key| key.dev) == there.facts().inode.map(|key| key.dev) {
            return skip("threadpool", "across_file_systems", "/dev/shm is the same file system");
        }
        assert_eq!(copy(&here, 0, &there, 10, 1_234_567), 1_234_567);
        assert_eq!(&fs::read(there_dir.path().join("file")).unwrap()[10..], contents);
        assert_eq!(result(Op::truncate(&here, 0)), 0);
        assert_eq!(copy(&there, 10, &here, 0, u64::from(u32::MAX)), 1_234_567);
        assert_eq!(fs::read(&path).unwrap(), contents);
        assert_eq!(result(Op::clone_range(&here, 0, &there, 0, 0)), -errno::EXDEV);
    }

    /// The detour has to do wherever the kernel will not: each answer that means "not this way".
    #[test]
    fn the_detour_copies_what_the_kernel_does_not() {
        for (tag, code) in [
            ("exdev", libc::EXDEV),
            ("enosys", libc::ENOSYS),
            ("eopnotsupp", libc::EOPNOTSUPP),
            ("einval", libc::EINVAL),
        ] {
            in_child!(tag, Confinement::none().refuse(libc::SYS_copy_file_range, code), || {
                ranges_are_copied();
                one_file_may_be_both_unless_the_ranges_touch();
            });
        }
        in_child!("eio", Confinement::none().refuse(libc::SYS_copy_file_range, libc::EIO), || {
            let (_from_dir, _, from) = file_with(b"0123456789");
            let (_to_dir, path, to) = file_with(b"");
            assert_eq!(result(Op::copy_range(&from, 0, &to, 0, 10)), -errno::EIO, "any other answer stands");
            assert_eq!(fs::read(&path).unwrap(), b"");
        });
    }

    #[test]
    fn the_detour_takes_direct_files() {
        let contents = pattern(5, 1 << 20);
        in_child!("direct", Confinement::none().refuse(libc::SYS_copy_file_range, libc::EXDEV), || {
            let (_from_dir, from_path, _) = file_with(&contents);
            let (_to_dir, to_path, _) = file_with(b"");
            let open = |path: &Path| io_threadpool::open(path, OpenOptions::READ_WRITE.direct());
            let (Ok(from), Ok(to)) = (open(&from_path), open(&to_path)) else {
                return skip("threadpool", "the_detour_takes_direct_files", "no direct I/O here");
            };
            assert_eq!(copy(&from, 0, &to, 0, 1 << 20), 1 << 20);
            assert_eq!(fs::read(&to_path).unwrap(), contents);
        });
    }

    /// A target that fills up: what fitted is answered, and the error comes with the rest.
    #[test]
    fn the_detour_is_short_where_the_target_ends() {
        let confined = Confinement::none().refuse(libc::SYS_copy_file_range, libc::EXDEV).file_size(600_000);
        let contents = pattern(6, 1_000_000);
        let (_from_dir, _, from) = file_with(&contents);
        in_child!("fsize", confined, || {
            let (_to_dir, path, to) = file_with(b"");
            assert_eq!(result(Op::copy_range(&from, 0, &to, 0, 1_000_000)), 600_000);
            assert_eq!(result(Op::copy_range(&from, 600_000, &to, 600_000, 400_000)), -errno::EFBIG);
            assert_eq!(fs::read(&path).unwrap(), &contents[..600_000]);
        });
    }

    /// Files without a size (procfs) end before they begin for copy_file_range, on some kernels.
    #[test]
    fn files_without_a_size_are_copied() {
        let from = io_threadpool::adopt(File::open("/proc/self/limits").unwrap()).unwrap();
        let (_dir, path, to) = file_with(b"");
        let moved = copy(&from, 0, &to, 0, 1 << 20);
        assert!(moved > 0);
        assert_eq!(fs::read(&path).unwrap(), fs::read("/proc/self/limits").unwrap());
    }
}
