//! Registered files and memory.

use super::{bench, driver, fdinfo, memfd, memory_file, ring_fds, setups};
use io_core::{Driver, FileFacts, FileHandle, Op};
use io_testkit::{confine::Confinement, skip};
use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
};

/// A table keyed by descriptor number wrote to the wrong file once the number had been closed and opened anew (fsys 1.1.0). Here
/// the number is taken by force, so that the very same one is certain.
#[test]
fn a_descriptor_number_used_again_is_another_file() {
    for options in setups() {
        let mut bench = bench(driver!(options));
        let old = memfd(b"old");
        let number = old.as_raw_fd();
        let old = FileHandle::from_std(old, FileFacts::default());
        let witness = {
            // SAFETY: a duplicate, nobody else's.
            let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
            // SAFETY: as above.
            std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        bench.driver().register_file(&old).unwrap();
        bench.driver().register_file(&old).unwrap();
        assert_eq!(bench.run(Op::write(&old, b"OLD".to_vec(), 0)).0, 3);
        let id = old.id();
        bench.driver().unregister_file(id);
        drop(old);
        let new = memfd(b"new");
        // SAFETY: the number is free, or nobody's but this test's own process can say; it becomes the new file's.
        let again = unsafe {
            let same = if new.as_raw_fd() == number {
                new
            } else {
                assert_eq!(libc::dup3(new.as_raw_fd(), number, libc::O_CLOEXEC), number);
                std::fs::File::from(OwnedFd::from_raw_fd(number))
            };
            FileHandle::from_std(same, FileFacts::default())
        };
        assert_eq!(again.at().raw.fd(), number);
        for register in [false, true] {
            if register {
                bench.driver().register_file(&again).unwrap();
            }
            assert_eq!(bench.run(Op::write(&again, b"NEW".to_vec(), 0)).0, 3);
            let read = bench.run(Op::read(&again, vec![0u8; 8], 0)).1.into_buf::<Vec<u8>>().unwrap();
            assert_eq!(read, b"NEW");
        }
        let mut kept = [0; 3];
        std::os::unix::fs::FileExt::read_exact_at(&witness, &mut kept, 0).unwrap();
        assert_eq!(&kept, b"OLD", "the old file was written to");
    }
}

/// While it is registered its descriptor stays open, whoever drops his handle: the number cannot come to mean something else.
#[test]
fn a_registered_file_stays_open() {
    let mut driver = driver!(setups()[0].clone());
    let file = memory_file(b"x");
    let (number, id) = (file.at().raw.fd(), file.id());
    driver.register_file(&file).unwrap();
    drop(file);
    let open = || {
        std::fs::read_link(format!("/proc/self/fd/{number}"))
            .is_ok_and(|to| to.to_string_lossy().contains("memfd:test"))
    };
    assert!(open());
    driver.unregister_file(id);
    driver.unregister_file(id);
}

const NO_MEMORY: &str = "memory is registered from Linux 5.19 on";

fn is_unsupported(registered: std::io::Result<()>) -> bool {
    match registered {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
            true
        }
    }
}

/// A full table refuses, and the operations work all the same; a place that was given back is used again.
#[test]
fn places_run_out_and_come_back() {
    let mut driver = driver!(setups()[0].clone().registered_files(2).registered_memory(1));
    let files: Vec<_> = (0..3u8).map(|i| memory_file(&[i; 4])).collect();
    driver.register_file(&files[0]).unwrap();
    driver.register_file(&files[1]).unwrap();
    assert!(driver.register_file(&files[2]).unwrap_err().to_string().contains("all 2 places"));
    driver.unregister_file(files[0].id());
    driver.register_file(&files[2]).unwrap();
    let (one, two) = (vec![0u8; 4096].leak(), vec![0u8; 4096].leak());
    let base = |bytes: &mut [u8]| NonNull::new(bytes.as_mut_ptr()).unwrap();
    // SAFETY: leaked memory stays valid.
    unsafe {
        if is_unsupported(driver.register_memory(base(one), 4096)) {
            return skip("uring", "places_run_out_and_come_back", NO_MEMORY);
        }
        assert!(driver.register_memory(base(two), 4096).unwrap_err().to_string().contains("all 1 places"));
        assert!(driver.register_memory(base(one), 10).is_err(), "registered twice");
        driver.unregister_memory(base(one));
        driver.register_memory(base(two), 4096).unwrap();
        assert!(driver.register_memory(base(two), 0).is_err(), "nothing to register");
    }
    let mut bench = bench(driver);
    for (i, file) in files.iter().enumerate() {
        let read = bench.run(Op::read(file, vec![9u8; 4], 0)).1.into_buf::<Vec<u8>>().unwrap();
        assert_eq!(read, [i as u8; 4]);
    }
}

/// Transfers within registered memory are told apart by address and use it: shown by taking the memory's pages away afterwards,
/// which a transfer that pinned them anew would notice (`EFAULT`), while one into the pinned pages does not.
#[test]
fn transfers_within_registered_memory_use_the_registration() {
    for options in setups() {
        let mut driver = driver!(options);
        let file = memory_file(&[7; 8192]);
        // SAFETY: a mapping of our own, private to this test.
        let base = unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                8192,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(at, libc::MAP_FAILED);
            NonNull::new(at.cast::<u8>()).unwrap()
        };
        // SAFETY: unregistered below, before it is unmapped.
        if is_unsupported(unsafe { driver.register_memory(base, 8192) }) {
            return skip("uring", "transfers_within_registered_memory_use_the_registration", NO_MEMORY);
        }
        let protect = |how| {
            // SAFETY: our own mapping; nobody holds a reference into it.
            assert_eq!(unsafe { libc::mprotect(base.as_ptr().cast(), 8192, how) }, 0);
        };
        protect(libc::PROT_NONE);
        let mut batch = io_core::Completions::with_limit(4);
        let mut generation = 0;
        let mut read = |driver: &mut io_uring_driver::UringDriver, at: usize, len: u32| {
            let (flags, buf) = (io_core::RwFlags::NONE, base.as_ptr().wrapping_add(at));
            let op = io_core::RawOp::Read { file: file.at(), buf, len, offset: 0, flags, ioprio: 0 };
            generation += 1;
            // SAFETY: mapping and file outlive the operation, which is waited for; nobody looks at the mapping meanwhile.
            unsafe { driver.prepare(io_core::Token::new(0, generation), &op).unwrap() };
            driver.submit(io_core::Wait::Forever, &mut batch).unwrap();
            batch.drain().next().unwrap().result
        };
        assert_eq!(read(&mut driver, 0, 4096), 4096);
        assert_eq!(read(&mut driver, 100, 8092), 8092);
        assert_eq!(read(&mut driver, 100, 8093), -libc::EFAULT, "one byte behind the region: not within it");
        driver.unregister_memory(base);
        driver.unregister_memory(base);
        assert_eq!(read(&mut driver, 0, 4096), -libc::EFAULT);
        protect(libc::PROT_READ);
        // SAFETY: initialized by the kernel, and nothing is in flight.
        let got = unsafe { std::slice::from_raw_parts(base.as_ptr(), 8192) };
        assert!(got.iter().all(|&byte| byte == 7));
        // SAFETY: our own mapping, used no more.
        unsafe { libc::munmap(base.as_ptr().cast(), 8192) };
    }
}

/// What a driver registered is given back with the driver, or at once: a lock on such a file would outlive it.
#[test]
fn nothing_stays_registered_after_the_drop() {
    io_testkit::in_child!("alone", Confinement::none(), || {
        let Ok(mut driver) = io_uring_driver::uring(setups()[0].clone()) else { return };
        let file = memfd(b"x");
        // SAFETY: the descriptor is open.
        let lock = |how| unsafe { libc::flock(file.as_raw_fd(), how) };
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let locked = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::flock(locked.as_raw_fd(), libc::LOCK_EX) }, 0);
        let locked = FileHandle::from_std(locked, FileFacts::default());
        driver.register_file(&locked).unwrap();
        let ring = ring_fds().pop().unwrap();
        assert!(fdinfo(&ring).contains("UserFiles:\t64"), "{}", fdinfo(&ring));
        drop(locked);
        assert_eq!(lock(libc::LOCK_EX | libc::LOCK_NB), -1, "the registration holds it");
        drop(driver);
        assert_eq!(lock(libc::LOCK_EX | libc::LOCK_NB), 0, "held on after the drop");
        assert!(ring_fds().is_empty());
    });
}
