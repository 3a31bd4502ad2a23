//! Where rings are forbidden, in part or as a whole.

use super::{bench, memory_file, pipe};
use io_core::{Armed, Completions, Driver, FileHandle, Op, OpKind, RawOp, RwFlags, Token, Unavailable, Wait, errno};
use io_testkit::{confine::Confinement, in_child, skip, test_path};
use io_uring_driver::{UringOptions, probe, uring};
use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

fn refused(options: UringOptions, code: i32, cause: &str, remedy: &str) {
    let unavailable: Unavailable = uring(options).expect_err("there should be no ring");
    assert_eq!(unavailable.code, Some(code), "{unavailable}");
    assert!(unavailable.reason.starts_with(cause), "{unavailable}");
    assert!(unavailable.remedy.contains(remedy), "{unavailable}");
    assert_eq!(probe().expect_err("no ring, no probe").code, Some(code));
}

const SETUP: i64 = libc::SYS_io_uring_setup;
const ENTER: i64 = libc::SYS_io_uring_enter;
const REGISTER: i64 = libc::SYS_io_uring_register;

#[test]
fn setup_is_refused() {
    for (tag, code, remedy) in [("eperm", errno::EPERM, "seccomp"), ("enosys", errno::ENOSYS, "CONFIG_IO_URING")] {
        in_child!(tag, Confinement::none().refuse(SETUP, code), || {
            refused(UringOptions::default(), code, "io_uring_setup: ", remedy);
            refused(UringOptions::default().owner_thread(true), code, "io_uring_setup: ", remedy);
        });
    }
}

/// Filters that let a ring be made and then refuse to enter it: found out before the first operation is lost in it.
#[test]
fn only_enter_is_refused() {
    for (tag, code, remedy) in [("eperm", errno::EPERM, "io_uring_enter"), ("enosys", errno::ENOSYS, "seccomp")] {
        in_child!(tag, Confinement::none().refuse(ENTER, code), || {
            for _ in 0..50 {
                // Many times: a refusal must not leave a descriptor behind.
                refused(UringOptions::default(), code, "io_uring_enter: ", remedy);
                refused(UringOptions::default().owner_thread(true), code, "io_uring_enter: ", remedy);
            }
            assert!(super::ring_fds().is_empty());
        });
    }
}

/// Registering is optional: without it there is no owner's ring (enabling one is a registration), no registered file, no eventfd of the
/// kernel's; and everything works.
#[test]
fn only_register_is_refused() {
    in_child!("eperm", Confinement::none().refuse(REGISTER, errno::EPERM), || {
        assert!(!probe().unwrap().registration);
        for owner_thread in [false, true] {
            let mut driver = uring(UringOptions::default().depth(8).owner_thread(owner_thread)).unwrap();
            assert!(!driver.setup().owner_thread && !driver.setup().eventfd);
            let file = memory_file(b"abc");
            assert_eq!(driver.register_file(&file).unwrap_err().raw_os_error(), Some(errno::EPERM));
            let mut bench = bench(driver);
            assert_eq!(bench.run(Op::read(&file, vec![0u8; 3], 0)).0, 3);
            readiness_works(&mut bench);
        }
    });
}

/// Arms, sleeps on the descriptor and in `wait`, with completions and with wakes.
fn readiness_works(bench: &mut io_testkit::Bench) {
    let readiness = bench.driver().readiness();
    for round in 0..20 {
        let (file, mut write) = pipe();
        let token = bench.start(Op::read(&file, vec![0u8; 1], 0));
        bench.reap(Wait::No);
        assert_eq!(bench.driver().arm(true), Armed::Waiting);
        let begun = Instant::now();
        readiness.wait(Some(Duration::from_millis(5)));
        assert!(begun.elapsed() >= Duration::from_millis(5), "woken for nothing");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(1));
                if round % 2 == 0 { write.write_all(b"x").unwrap() } else { readiness.wake() }
            });
            let begun = Instant::now();
            readiness.wait(Some(Duration::from_secs(20)));
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody rang");
        });
        bench.reap(Wait::No);
        if round % 2 == 1 {
            assert_eq!(bench.ready(), 0);
            drop(write);
        }
        let result = bench.finish(token).result;
        assert_eq!(result, if round % 2 == 0 { 1 } else { 0 });
    }
}

/// Descriptors run out at every point of the set-up: a refusal with its remedy, or a working driver, and never a cached lie.
#[test]
fn descriptors_run_out() {
    for (tag, spare) in [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 5), ("6", 6)] {
        in_child!(tag, Confinement::none().spare_files(spare), || {
            match uring(UringOptions::default()) {
                Ok(driver) => assert!(driver.depth() > 0),
                Err(unavailable) => {
                    assert_eq!(unavailable.code, Some(errno::EMFILE), "{unavailable}");
                    assert!(unavailable.remedy.contains("RLIMIT_NOFILE"), "{unavailable}");
                }
            }
            // SAFETY: sets a number.
            unsafe {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
                limit.rlim_cur = limit.rlim_max.min(1024);
                libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            }
            let driver = uring(UringOptions::default()).expect("now there are descriptors");
            for op in probe().unwrap().ops {
                assert_eq!(
                    driver.supports().contains_kind(op.kind),
                    op.refused.is_none(),
                    "kept from the bad time: {op:?}"
                );
            }
        });
    }
}

/// Where locked memory is short the ring becomes smaller (libevpl#160), and where there is none at all the limit is named.
#[test]
fn locked_memory_is_short() {
    if !io_testkit::confine::is_root() {
        return skip("uring", test_path!(), "needs root, to become somebody who is bound by the limit");
    }
    in_child!("some", Confinement::none().as_user(65534).memlock(96 << 10), || {
        let driver = uring(UringOptions::default().depth(4096)).expect("a smaller ring");
        let depth = driver.depth();
        if depth == 4096 {
            return skip("uring", "locked_memory_is_short", "this kernel does not charge rings to RLIMIT_MEMLOCK");
        }
        assert!((8..4096).contains(&depth), "{depth}");
        let mut bench = bench(driver);
        let file = memory_file(b"abc");
        for _ in 0..depth {
            bench.start(Op::read(&file, vec![0u8; 3], 0));
        }
        bench.wait_all();
        assert!(bench.take_done().iter().all(|done| done.result == 3));
    });
    in_child!("none", Confinement::none().as_user(65534).memlock(0), || {
        if uring(UringOptions::default()).is_err() {
            refused(UringOptions::default(), errno::ENOMEM, "io_uring_setup: ", "RLIMIT_MEMLOCK");
        }
    });
}

/// A process that may not write a byte to a file gets a ring, and is not ended by SIGXFSZ for asking.
#[test]
fn no_file_may_be_written() {
    in_child!("fsize", Confinement::none(), || {
        let file = memory_file(b"abc");
        // SAFETY: numbers only; the default action of SIGXFSZ stays, which ends the process.
        let limit = |bytes| unsafe {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
        };
        limit(0);
        let driver = uring(UringOptions::default());
        // The test's own output goes to a file.
        limit(libc::RLIM_INFINITY);
        let mut driver = bench(driver.unwrap());
        assert_eq!(driver.run(Op::read(&file, vec![0u8; 3], 0)).0, 3);
        let again = uring(UringOptions::default()).unwrap();
        assert!(again.supports().contains_kind(OpKind::Write), "kept from the bad time");
    });
}

/// The calls are forbidden after the driver was made: the channel is broken and says so, what had completed is still reaped, and a
/// look with nothing staged needs no call at all.
#[test]
fn enter_is_refused_later() {
    in_child!("later", Confinement::none(), || {
        let mut driver = uring(UringOptions::default().depth(8)).unwrap();
        let mut batch = Completions::with_limit(8);
        let file = memory_file(b"abc");
        let mut bytes = [0u8; 3];
        let read = |file: &FileHandle, bytes: &mut [u8; 3]| RawOp::Read {
            file: file.at(),
            buf: bytes.as_mut_ptr(),
            len: 3,
            offset: 0,
            flags: RwFlags::NONE,
            ioprio: 0,
        };
        let mut none = Completions::with_limit(1);
        none.push(io_core::Completion::new(Token::new(9, 9), 0));
        // SAFETY: file and bytes outlive the operations, and nobody touches the bytes while they are in flight.
        unsafe { driver.prepare(Token::new(0, 1), &read(&file, &mut bytes)).unwrap() };
        // Submitted, completed, and no room to reap it.
        driver.submit(Wait::No, &mut none).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        forbid_enter();
        assert_eq!(driver.submit(Wait::No, &mut batch).unwrap().accepted, 0);
        assert_eq!(batch.drain().next().unwrap().result, 3);
        for _ in 0..3 {
            driver.submit(Wait::No, &mut batch).expect("nothing to ask the kernel for");
            assert_eq!(driver.arm(true), Armed::Waiting);
        }
        let mut other = [0u8; 3];
        // SAFETY: as above; the operation never starts, and its memory is given up with the process.
        unsafe { driver.prepare(Token::new(1, 1), &read(&file, &mut other)).unwrap() };
        for wait in [Wait::No, Wait::Forever, Wait::AtMost(Duration::from_secs(1))] {
            let error = driver.submit(wait, &mut batch).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno::EPERM));
        }
        assert!(batch.is_empty());
    });
}

fn forbid_enter() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let rules = std::collections::BTreeMap::from([(ENTER, Vec::new())]);
    let action = SeccompAction::Errno(errno::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

/// The system-wide switch (Linux 6.6). It is told from a sandbox, because another remedy helps.
#[test]
fn machine_wide_the_sysctl_switches_rings_off() {
    const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";
    if std::env::var_os("IOFS_TEST_MACHINE").is_none() {
        return skip("uring", test_path!(), "changes a sysctl: only where IOFS_TEST_MACHINE is set");
    }
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            fs::write(SYSCTL, &self.0).unwrap();
        }
    }
    let Ok(old) = fs::read_to_string(SYSCTL) else {
        return skip("uring", test_path!(), "no sysctl kernel.io_uring_disabled before Linux 6.6");
    };
    let _restore = Restore(old);
    fs::write(SYSCTL, "2").unwrap();
    in_child!("all", Confinement::none(), || {
        refused(UringOptions::default(), errno::EPERM, "io_uring_setup: ", "it is 2");
    });
    fs::write(SYSCTL, "1").unwrap();
    in_child!("unprivileged", Confinement::none().as_user(65534), || {
        refused(UringOptions::default(), errno::EPERM, "io_uring_setup: ", "it is 1");
    });
    in_child!("root", Confinement::none(), || assert!(uring(UringOptions::default()).is_ok()));
}
