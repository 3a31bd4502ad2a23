//! The io_uring driver on this machine's kernel: the conformance suite in each of its set-ups, and what only rings have.
#![cfg(target_os = "linux")]

mod alloc;
mod arming;
mod bench_free_loop;
mod cancel;
mod lifetime;
mod refusals;
mod registered;
mod setups;
mod timing;
mod wakes;

use io_core::{Driver, DriverName, FileFacts, FileHandle, Unavailable};
use io_testkit::{Bench, RealRig};
use io_uring_driver::{UringDriver, UringOptions, uring};
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{FromRawFd, OwnedFd},
};

fn shared(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    Ok(Box::new(uring(UringOptions::default().depth(depth))?))
}

fn owned(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    Ok(Box::new(uring(UringOptions::default().depth(depth).owner_thread(true))?))
}

fn sqpoll(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    let idle = Some(std::time::Duration::from_millis(2));
    Ok(Box::new(uring(UringOptions::default().depth(depth).sqpoll(idle))?))
}

io_testkit::conformance!(shared_ring, RealRig::new(DriverName::Uring, shared));
io_testkit::conformance!(owned_ring, RealRig::new(DriverName::Uring, owned).owned_by_its_thread());
io_testkit::conformance!(sqpoll_ring, RealRig::new(DriverName::Uring, sqpoll));

io_testkit::properties!(shared_histories, RealRig::new(DriverName::Uring, shared));
io_testkit::properties!(owned_histories, RealRig::new(DriverName::Uring, owned).owned_by_its_thread());

/// A driver of these options; ends the test as skipped, with the reason printed, where there can be none.
macro_rules! driver {
    ($options:expr) => {
        match io_uring_driver::uring($options) {
            Ok(driver) => driver,
            Err(unavailable) => {
                return io_testkit::skip("uring", io_testkit::test_path!(), &unavailable.to_string());
            }
        }
    };
}
pub(crate) use driver;

/// The set-ups that a test goes through: any thread's ring, and one thread's.
fn setups() -> [UringOptions; 2] {
    [UringOptions::default().depth(8), UringOptions::default().depth(8).owner_thread(true)]
}

fn bench(driver: UringDriver) -> Bench {
    Bench::new(Box::new(driver))
}

/// A pipe: its reading end as operations know it, its writing end for the test. A read of it is in flight until the test writes.
fn pipe() -> (FileHandle, File) {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors, which are nobody else's afterwards.
    let [read, write] = unsafe {
        assert_eq!(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC), 0);
        fds.map(|fd| File::from(OwnedFd::from_raw_fd(fd)))
    };
    (FileHandle::from_std(read, FileFacts::default()), write)
}

/// A file in memory with these contents.
fn memfd(contents: &[u8]) -> File {
    // SAFETY: the name is NUL-terminated, and the descriptor nobody else's.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0);
        File::from(OwnedFd::from_raw_fd(fd))
    };
    file.write_all(contents).unwrap();
    file
}

fn memory_file(contents: &[u8]) -> FileHandle {
    FileHandle::from_std(memfd(contents), FileFacts { seekable: true, ..FileFacts::default() })
}

/// What the system says about the rings of this process: a line each of their `fdinfo` (Linux 5.5).
fn ring_fds() -> Vec<String> {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let rings =
        fds.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[io_uring]"));
    rings.map(|fd| fd.file_name().into_string().unwrap()).collect()
}

fn fdinfo(fd: &str) -> String {
    let mut info = String::new();
    File::open(format!("/proc/self/fdinfo/{fd}")).unwrap().read_to_string(&mut info).unwrap();
    info
}
