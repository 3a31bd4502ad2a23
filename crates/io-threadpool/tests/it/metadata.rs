//! stat and statfs.

use crate::{file_with, output, result, scratch};
use io_core::{FileFacts, FileKind, Metadata, Op, Output, StatFs, errno};
use io_testkit::nobodys_file;
use std::{fs, path::Path};

fn stat(op: Op) -> Metadata {
    match output(op) {
        Output::Metadata(metadata) => metadata,
        other => panic!("{other:?}"),
    }
}

fn stat_fs(path: &Path) -> StatFs {
    match output(Op::stat_fs(path).unwrap()) {
        Output::StatFs(stat) => stat,
        other => panic!("{other:?}"),
    }
}

#[test]
fn metadata_is_what_std_says() {
    let (dir, path, file) = file_with(&[7; 10_000]);
    let std = fs::metadata(&path).unwrap();
    let by_file = stat(Op::stat(&file));
    assert_eq!(by_file, stat(Op::stat_path(&path, true).unwrap()));
    assert_eq!((by_file.kind, by_file.size), (FileKind::File, 10_000));
    assert_eq!(by_file.modified, std.modified().ok());
    assert_eq!(by_file.accessed, std.accessed().ok());
    assert_eq!(by_file.created, std.created().ok());
    assert_eq!(Some((by_file.dev, by_file.ino)), file.facts().inode.map(|key| (key.dev, key.ino)));
    assert_eq!(stat(Op::stat_path(dir.path(), true).unwrap()).kind, FileKind::Dir);
    assert_eq!(result(Op::stat_path(dir.path().join("none"), true).unwrap()), -errno::ENOENT);
    assert_eq!(result(Op::stat(&nobodys_file(FileFacts::default()))), -errno::EBADF);
}

#[cfg(unix)]
#[test]
fn metadata_of_unix_is_what_std_says() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let (dir, path, file) = file_with(&[7; 10_000]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(&path, dir.path().join("second name")).unwrap();
    let (std, ours) = (fs::metadata(&path).unwrap(), stat(Op::stat(&file)));
    assert_eq!((ours.mode, ours.links), (0o4751, 2));
    assert_eq!((ours.dev, ours.ino), (std.dev(), std.ino()));
    assert_eq!((ours.uid, ours.gid), (std.uid(), std.gid()));
    assert_eq!((ours.blocks, u64::from(ours.block_size)), (std.blocks(), std.blksize()));
    let link = dir.path().join("link");
    symlink("file", &link).unwrap();
    assert_eq!(stat(Op::stat_path(&link, true).unwrap()).ino, std.ino());
    let itself = stat(Op::stat_path(&link, false).unwrap());
    assert_eq!((itself.kind, itself.size), (FileKind::Symlink, 4));
    fs::remove_file(&path).unwrap();
    assert_eq!(result(Op::stat_path(&link, true).unwrap()), -errno::ENOENT);
    assert_eq!(stat(Op::stat_path("/dev/null", true).unwrap()).kind, FileKind::Other);
    assert_eq!(stat(Op::stat(&file)).links, 1, "the file without its first name");
}

#[test]
fn file_systems_have_space() {
    let (dir, path, _file) = file_with(b"");
    let stat = stat_fs(&path);
    assert!(stat.block_size >= 512 && stat.blocks > 0);
    assert!(stat.free <= stat.blocks && stat.available <= stat.free);
    let whole = stat_fs(dir.path());
    assert_eq!((whole.block_size, whole.blocks), (stat.block_size, stat.blocks));
    let (_dir, none) = scratch("none");
    assert_eq!(result(Op::stat_fs(&none).unwrap()), -errno::ENOENT);
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use io_core::{AlignedBuf, IoBuf, OpenOptions};
    use io_testkit::{confine::Confinement, in_child, skip};

    /// The numbers of statx are held against what the kernel then really takes.
    #[test]
    fn direct_io_geometry_is_true() {
        let (_dir, path, file) = file_with(&[7; 16 << 10]);
        let metadata = stat(Op::stat(&file));
        let (mem, offset) = (metadata.dio_mem_align as usize, u64::from(metadata.dio_offset_align));
        if mem == 0 || offset == 0 {
            return skip("threadpool", "direct_io_geometry_is_true", "the file system does not tell its alignment");
        }
        assert!(u64::from(metadata.dio_read_offset_align) <= offset && metadata.dio_read_offset_align > 0);
        let direct = io_threadpool::open(&path, OpenOptions::READ_WRITE.direct()).unwrap();
        let len = offset as usize;
        let at = |skew: usize| AlignedBuf::with_align(len + skew, 4096);
        let shifted = |skew: usize| {
            let mut buf = at(skew);
            buf.resize(len + skew);
            buf.slice(skew..)
        };
        assert_eq!(result(Op::write(&direct, shifted(mem), offset)), len as i32, "memory at {mem}");
        assert_eq!(result(Op::read(&direct, shifted(mem), offset)), len as i32);
        if offset > 1 {
            assert_eq!(
                result(Op::write(&direct, shifted(0), offset / 2)),
                -errno::EINVAL,
                "offset at half of {offset}"
            );
        }
        // A mask with the bit set and nothing behind it counts as none.
        assert_eq!(metadata.atomic_write_max == 0, metadata.atomic_write_min == 0);
    }

    #[test]
    fn blocks_are_counted_in_their_own_size() {
        let (dir, path, _file) = file_with(b"");
        // SAFETY: all zeros is a value of this plain structure; the path is NUL-terminated.
        let libc = unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            assert_eq!(libc::statvfs(path.as_ptr(), &mut stat), 0);
            stat
        };
        let ours = stat_fs(dir.path());
        assert_eq!((ours.block_size, ours.blocks), (libc.f_frsize, libc.f_blocks));
        assert_ne!(ours.magic, 0);
        assert_eq!(stat_fs(Path::new("/proc")).magic, 0x9fa0);
    }

    /// Old filters and old kernels have no statx(2): what fstat tells has to do.
    #[test]
    fn without_statx_the_classic_calls_do() {
        for (tag, code) in [("enosys", libc::ENOSYS), ("eperm", libc::EPERM)] {
            in_child!(tag, Confinement::none().refuse(libc::SYS_statx, code), || {
                let (dir, path, file) = file_with(&[7; 10_000]);
                let by_file = stat(Op::stat(&file));
                assert_eq!((by_file.kind, by_file.size), (FileKind::File, 10_000));
                assert_eq!(by_file, stat(Op::stat_path(&path, true).unwrap()));
                let inode = file.facts().inode.unwrap();
                assert_eq!((by_file.dev, by_file.ino), (inode.dev, inode.ino));
                assert!(by_file.modified.is_some() && by_file.dio_mem_align == 0);
                std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
                let link = stat(Op::stat_path(dir.path().join("link"), false).unwrap());
                assert_eq!(link.kind, FileKind::Symlink);
                assert_eq!(result(Op::stat_path(dir.path().join("none"), true).unwrap()), -errno::ENOENT);
                assert_eq!(result(Op::stat(&nobodys_file(FileFacts::default()))), -errno::EBADF);
            });
        }
    }
}
