//! What a confinement refuses is refused, and nothing else.

use io_testkit::{confine, confine::Confinement, in_child, skip};
use std::{fs, io, os::fd::AsRawFd as _, os::unix::fs::FileExt as _};

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn refused_calls_answer_the_errno_and_others_work() {
    let refused =
        Confinement::none().refuse(libc::SYS_sync_file_range, libc::ENOSYS).refuse(libc::SYS_fdatasync, libc::EPERM);
    in_child!("two calls", refused, || {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(errno(file.sync_data()), Some(libc::EPERM));
        // SAFETY: the descriptor is open.
        let answer = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        assert_eq!((answer, errno(Err::<(), _>(io::Error::last_os_error()))), (-1, Some(libc::ENOSYS)));
        file.sync_all().unwrap();
    });
    tempfile::tempfile().unwrap().sync_data().expect("the parent is not confined");
}

#[test]
fn file_size_makes_writes_short() {
    in_child!("fsize", Confinement::none().file_size(10_000), || {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(file.write_at(&[1; 16384], 0).unwrap(), 10_000);
        assert_eq!(errno(file.write_at(&[1; 16384], 10_000)), Some(libc::EFBIG));
    });
}

#[test]
fn spare_files_are_exact() {
    for spare in [0, 1, 3] {
        in_child!(&format!("{spare} files"), Confinement::none().spare_files(spare), move || {
            let opened: Vec<_> = (0..=spare).map(|_| fs::File::open("/dev/null")).collect();
            assert!(opened[..spare as usize].iter().all(Result::is_ok));
            assert_eq!(errno(opened.into_iter().next_back().unwrap()), Some(libc::EMFILE));
        });
    }
}

#[test]
fn another_user_has_no_rights_and_little_locked_memory() {
    if !confine::is_root() {
        return skip(
            "testkit",
            "another_user_has_no_rights_and_little_locked_memory",
            "needs root to become another user",
        );
    }
    in_child!("nobody", Confinement::none().memlock(4096).as_user(65534), || {
        let page = vec![0u8; 1 << 20];
        // SAFETY: locks memory of ours, or is refused.
        assert_eq!(unsafe { libc::mlock(page.as_ptr().cast(), page.len()) }, -1);
        assert_eq!(errno(fs::write("/proc/sys/fs/aio-max-nr", "65536")), Some(libc::EACCES));
    });
    assert!(confine::is_root());
}

/// A child that fails must fail the parent, or every confined test would be green for ever.
#[test]
fn a_failing_child_is_noticed() {
    let outcome = std::panic::catch_unwind(|| {
        io_testkit::confine::in_child_of(io_testkit::test_path!(), "fails", &Confinement::none(), || {
            panic!("as it should")
        });
    });
    if confine::is_child() {
        // In the child the panic goes on to the harness.
        std::panic::resume_unwind(outcome.unwrap_err());
    }
    let said = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("as it should"), "{said}");
}

#[test]
fn a_child_that_runs_nothing_is_noticed() {
    let outcome = std::panic::catch_unwind(|| {
        confine::in_child_of("there::is::no::such::test", "x", &Confinement::none(), || {});
    });
    let said = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("never came to its body"), "{said}");
}
