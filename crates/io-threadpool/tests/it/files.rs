//! Open, close, and the facts of open files.

use crate::{file_with, result, run, scratch};
use io_core::{FileFacts, FileHandle, Op, OpenOptions, Output, errno};
use io_testkit::nobodys_file;
use std::{fs, path::Path};

fn open(path: &Path, options: OpenOptions) -> Result<FileHandle, i32> {
    let (result, mut op) = run(Op::open(path, options).unwrap());
    match op.take_output() {
        Output::File(file) if result == 0 => Ok(file),
        Output::None if result < 0 => Err(-result),
        other => panic!("{result} {other:?}"),
    }
}

#[test]
fn opens_are_what_std_opens() {
    let (dir, path) = scratch("file");
    assert_eq!(open(&path, OpenOptions::READ).unwrap_err(), errno::ENOENT);
    assert_eq!(open(&path, OpenOptions::READ_WRITE).unwrap_err(), errno::ENOENT);
    assert_eq!(open(&dir.path().join("none/file"), OpenOptions::CREATE).unwrap_err(), errno::ENOENT);
    let file = open(&path, OpenOptions::CREATE).unwrap();
    assert_eq!(result(Op::write(&file, "contents", 0)), 8);
    assert_eq!(open(&path, OpenOptions::CREATE_NEW).unwrap_err(), errno::EEXIST);
    drop(open(&path, OpenOptions::CREATE).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"contents", "creating what is there changes nothing");
    let reader = open(&path, OpenOptions::READ).unwrap();
    assert!(result(Op::write(&reader, "x", 0)) < 0);
    drop(open(&path, OpenOptions { truncate: true, ..OpenOptions::READ_WRITE }).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(open(&dir.path().join("new"), OpenOptions::CREATE_NEW).unwrap().facts().filled, 0);
}

#[test]
fn options_that_make_no_sense_are_einval() {
    let (_dir, path, file) = file_with(b"contents");
    let none = OpenOptions { read: false, ..OpenOptions::READ };
    assert_eq!(open(&path, none).unwrap_err(), errno::EINVAL);
    let cut = OpenOptions { truncate: true, ..OpenOptions::READ };
    assert_eq!(open(&path, cut).unwrap_err(), errno::EINVAL);
    assert_eq!(fs::read(&path).unwrap(), b"contents");
    drop(file);
}

#[test]
fn a_close_closes_and_says_so_once() {
    let (_dir, _, file) = file_with(b"contents");
    let raw = file.at().raw;
    let (closed, op) = run(Op::close(file).unwrap());
    assert_eq!(closed, 0);
    // Settled as closed: dropping the owner must not close the number again, whoever has it by now.
    drop(op);
    #[cfg(target_os = "linux")]
    assert!(
        fs::read_link(format!("/proc/self/fd/{}", raw.get())).map_or(true, |to| !to.ends_with("file")),
        "the descriptor is still open"
    );
    let _ = raw;
    let nobodys = nobodys_file(FileFacts::default());
    if cfg!(unix) {
        assert_eq!(result(Op::close(nobodys).unwrap()), -errno::EBADF);
    }
}

#[test]
fn facts_are_the_files() {
    let (_dir, path, file) = file_with(&[7; 10_000]);
    let facts = *file.facts();
    assert!(facts.seekable && !facts.direct);
    let again = io_threadpool::open(&path, OpenOptions::READ).unwrap();
    assert_eq!(again.facts().inode, facts.inode, "one inode");
    assert_ne!(again.id(), file.id(), "two open files");
    assert_eq!(io_threadpool::adopt(fs::File::open(&path).unwrap()).unwrap().facts().inode, facts.inode);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let std = fs::metadata(&path).unwrap();
        assert_eq!(facts.inode.map(|key| (key.dev, key.ino)), Some((std.dev(), std.ino())));
    }
    let nobodys = nobodys_file(FileFacts::default());
    assert_eq!(io_threadpool::facts(&nobodys).unwrap_err().raw_os_error(), Some(errno::EBADF));
    assert!(io_threadpool::open("a\0b", OpenOptions::READ).is_err());
}

#[cfg(unix)]
#[test]
fn facts_of_all_kinds_of_files() {
    let (dir, path, file) = file_with(&[7; 10_000]);
    assert_eq!(io_threadpool::facts(&file).unwrap().filled, 10_000, "all written");
    assert_eq!(result(Op::truncate(&file, 1 << 30)), 0);
    assert_eq!(io_threadpool::facts(&file).unwrap().filled, 0, "sparse");
    assert_eq!(io_threadpool::open(&path, OpenOptions::READ).unwrap().facts().filled, 0);
    assert!(!io_threadpool::open(dir.path(), OpenOptions::READ).unwrap().facts().seekable, "a directory");
    let null = io_threadpool::open("/dev/null", OpenOptions::READ_WRITE).unwrap();
    assert_eq!((null.facts().seekable, null.facts().filled), (false, 0));
    assert_eq!(open(dir.path(), OpenOptions::READ_WRITE).unwrap_err(), errno::EISDIR);
    assert_eq!(open(&path.join("x"), OpenOptions::READ).unwrap_err(), errno::ENOTDIR);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(open(&link, OpenOptions::READ).unwrap().facts().inode, file.facts().inode);
    let no_follow = OpenOptions { no_follow: true, ..OpenOptions::READ };
    let refused = open(&link, no_follow).unwrap_err();
    assert!([libc::ELOOP, libc::EMLINK].contains(&refused), "{refused}");
    open(&path, no_follow).unwrap();
}

#[cfg(unix)]
#[test]
fn new_files_have_their_mode_and_are_not_inherited() {
    use std::os::unix::fs::MetadataExt;
    let (_dir, path) = scratch("file");
    let file = open(&path, OpenOptions { mode: 0o600, ..OpenOptions::CREATE_NEW }).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    // SAFETY: a question about a descriptor that is open.
    let flags = unsafe { libc::fcntl(file.at().raw.fd(), libc::F_GETFD) };
    assert_ne!(flags & libc::FD_CLOEXEC, 0);
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use crate::output;
    use io_testkit::{confine::Confinement, in_child, skip};
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

    #[test]
    fn a_direct_file_knows_it() {
        let (_dir, path, file) = file_with(&[7; 4096]);
        assert!(!file.facts().direct);
        let std = fs::OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path);
        let Ok(std) = std else { return skip("threadpool", "a_direct_file_knows_it", "no direct I/O here") };
        assert!(io_threadpool::adopt(std).unwrap().facts().direct);
        assert!(open(&path, OpenOptions::READ.direct()).unwrap().facts().direct);
    }

    #[test]
    fn the_file_system_is_known() {
        let (_dir, path, file) = file_with(b"");
        // SAFETY: all zeros is a value of this plain structure; the path is NUL-terminated.
        let stat = unsafe {
            let mut stat: libc::statfs = std::mem::zeroed();
            let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
            assert_eq!(libc::statfs(path.as_ptr(), &mut stat), 0);
            stat
        };
        assert_ne!(file.facts().fs_magic, 0);
        assert_eq!(file.facts().fs_magic, stat.f_type);
    }

    /// A write into a block device never allocates, wherever it goes.
    #[test]
    fn block_devices_are_filled() {
        let device = fs::read_dir("/dev").unwrap().filter_map(Result::ok).find(|entry| {
            std::os::unix::fs::FileTypeExt::is_block_device(&entry.file_type().unwrap())
                && fs::File::open(entry.path()).is_ok()
        });
        let Some(device) = device else {
            return skip("threadpool", "block_devices_are_filled", "no block device that we may read");
        };
        let file = io_threadpool::open(device.path(), OpenOptions::READ).unwrap();
        assert_eq!((file.facts().seekable, file.facts().filled), (true, u64::MAX));
    }

    #[test]
    fn permissions_are_asked() {
        if !io_testkit::confine::is_root() {
            return skip("threadpool", "permissions_are_asked", "only root can become somebody else");
        }
        in_child!("nobody", Confinement::none().as_user(65534), || {
            let path = Path::new("/etc/shadow");
            if fs::metadata(path).is_ok_and(|std| std.mode() & 0o007 == 0) {
                assert_eq!(open(path, OpenOptions::READ).unwrap_err(), errno::EACCES);
            }
            let refused = open(Path::new("/iofs-must-not-be"), OpenOptions::CREATE).unwrap_err();
            assert!([errno::EACCES, errno::EROFS].contains(&refused), "{refused}");
        });
    }

    #[test]
    fn no_descriptors_left_is_emfile() {
        in_child!("emfile", Confinement::none().spare_files(1), || {
            let one = open(Path::new("/dev/null"), OpenOptions::READ).unwrap();
            assert_eq!(open(Path::new("/dev/null"), OpenOptions::READ).unwrap_err(), errno::EMFILE);
            drop(one);
            open(Path::new("/dev/null"), OpenOptions::READ).unwrap();
        });
    }

    /// What could not be completed is not left open: fstat fails after the open here.
    #[test]
    fn an_open_that_fails_late_leaves_nothing_open() {
        let refused = Confinement::none().refuse(libc::SYS_fstat, libc::EIO).refuse(libc::SYS_newfstatat, libc::EIO);
        in_child!("fstat", refused, || {
            // The lowest free number tells whether one was left open. (Counting descriptors would need fstat.)
            let free = || {
                // SAFETY: the path is NUL-terminated, and the number is ours to close.
                unsafe {
                    let fd = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
                    assert_eq!(libc::close(fd), 0);
                    fd
                }
            };
            let before = free();
            assert_eq!(open(Path::new("/dev/null"), OpenOptions::READ).unwrap_err(), errno::EIO);
            assert_eq!(free(), before);
        });
    }

    #[test]
    fn close_reports_what_the_kernel_says() {
        in_child!("eio", Confinement::none().refuse(libc::SYS_close, libc::EIO), || {
            let file = open(Path::new("/dev/null"), OpenOptions::READ).unwrap();
            let (closed, op) = run(Op::close(file).unwrap());
            assert_eq!(closed, -errno::EIO);
            drop(op);
        });
    }

    #[test]
    fn outputs_that_nobody_takes_are_closed_with_their_operation() {
        let (_dir, path, file) = file_with(b"");
        drop(file);
        let times_open = || {
            let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
            open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path)).count()
        };
        let (opened, op) = run(Op::open(&path, OpenOptions::READ).unwrap());
        assert_eq!((opened, times_open()), (0, 1));
        drop(op);
        assert_eq!(times_open(), 0);
        assert!(matches!(output(Op::open(&path, OpenOptions::READ).unwrap()), Output::File(_)));
    }
}
