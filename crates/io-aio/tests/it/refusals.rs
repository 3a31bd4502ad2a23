//! Where there is no AIO to be had, or less than was asked for: the cause and the remedy are said, and nothing hangs.

use crate::fixture::{Blocks, bench, options};
use io_aio::{AioOptions, aio};
use io_core::{Driver, DriverName, Progress, Unavailable, Wait, errno};
use io_testkit::confine::{Confinement, is_root};
use io_testkit::{BLOCK, in_child, skip};
use std::fs;

fn refused() -> Unavailable {
    let unavailable = match aio(AioOptions::default()) {
        Ok(driver) => panic!("{driver:?} came up all the same"),
        Err(unavailable) => unavailable,
    };
    assert_eq!(unavailable.driver, DriverName::Aio);
    unavailable
}

#[track_caller]
fn assert_says(unavailable: &Unavailable, code: i32, reason: &str, remedy: &str) {
    assert_eq!(unavailable.code, Some(code), "{unavailable}");
    assert!(unavailable.reason.starts_with(reason), "{unavailable}");
    assert!(unavailable.remedy.contains(remedy), "{unavailable}");
}

#[test]
fn no_context_by_seccomp() {
    for code in [libc::EPERM, libc::ENOSYS] {
        let confined = Confinement::none().refuse(libc::SYS_io_setup, code);
        in_child!(&format!("setup {code}"), confined, || assert_says(&refused(), code, "io_setup(257): ", "seccomp"));
    }
}

/// Setup passes, and only the operations are refused: found out at once, and not by the first user.
#[test]
fn no_submission_by_seccomp() {
    for code in [libc::EPERM, libc::ENOSYS] {
        let confined = Confinement::none().refuse(libc::SYS_io_submit, code);
        in_child!(&format!("submit {code}"), confined, || assert_says(&refused(), code, "io_submit: ", "seccomp"));
    }
}

#[test]
fn no_waiting_by_seccomp() {
    let confined = Confinement::none().refuse(libc::SYS_io_getevents, libc::EPERM);
    in_child!("getevents", confined, || assert_says(&refused(), libc::EPERM, "io_getevents: ", "seccomp"));
}

/// What is refused later is each operation's own trouble.
#[test]
fn submission_refused_afterwards() {
    in_child!("later", Confinement::none(), || {
        let blocks = Blocks::new(4);
        let mut bench = bench(options(4));
        bench.start(blocks.read(0));
        bench.wait_all();
        refuse_from_now_on(libc::SYS_io_submit, libc::EPERM);
        bench.take_done();
        for block in 0..4 {
            bench.start(blocks.read(block));
        }
        assert_eq!(bench.reap(Wait::AtMost(std::time::Duration::from_secs(1))).accepted, 4);
        assert!(bench.take_done().iter().all(|done| done.result == -errno::EPERM));
        // Whoever waits beside no operation at all is woken by the poll that is in flight from before.
        bench.driver().readiness().wake();
        bench.reap(Wait::Forever);
    });
}

fn refuse_from_now_on(call: i64, errno: i32) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with seccomp");
    let rules = std::collections::BTreeMap::from([(call, Vec::new())]);
    let action = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).expect("a filter");
    seccompiler::apply_filter(&BpfProgram::try_from(filter).expect("a program")).expect("seccomp");
}

/// The kernel pushes back: what it does not take stays staged, nobody sleeps beside it, and it can still be cancelled.
/// Elsewhere EAGAIN failed the batch, or spun inside the driver for ever.
#[test]
fn pushed_back() {
    in_child!("eagain", Confinement::none(), || {
        let blocks = Blocks::new(4);
        let mut bench = bench(options(4));
        let first = bench.run(blocks.read(0));
        blocks.assert_read(0, first.0, first.1);
        refuse_from_now_on(libc::SYS_io_submit, libc::EAGAIN);
        let tokens: Vec<_> = (0..4).map(|block| bench.start(blocks.read(block))).collect();
        for wait in [Wait::No, Wait::AtMost(std::time::Duration::from_secs(100)), Wait::Forever] {
            assert_eq!(bench.reap(wait), Progress { accepted: 0, staged: 4 });
        }
        assert!(bench.try_start(blocks.read(0)).is_err(), "what is staged counts");
        for (cancelled, &token) in tokens.iter().enumerate() {
            bench.cancel(token);
            assert_eq!(bench.reap(Wait::Forever), Progress { accepted: 1, staged: 3 - cancelled as u32 });
            assert_eq!(bench.take(token).map(|done| done.result), Some(-errno::ECANCELED));
        }
    });
}

/// Cancelling is a wish: without the call for it the operation completes in full.
#[test]
fn no_cancelling_by_seccomp() {
    in_child!("cancel", Confinement::none().refuse(libc::SYS_io_cancel, libc::EPERM), || {
        let blocks = Blocks::new(4);
        let mut bench = bench(options(4));
        let token = bench.start(blocks.read(1));
        bench.reap(Wait::No);
        bench.cancel(token);
        let done = bench.finish(token);
        blocks.assert_read(1, done.result, done.op);
    });
}

/// The probe's own means may be refused without taking the driver away.
#[test]
fn no_memory_files_by_seccomp() {
    in_child!("memfd", Confinement::none().refuse(libc::SYS_memfd_create, libc::EPERM), || {
        let blocks = Blocks::new(4);
        let mut bench = bench(options(4));
        let (result, op) = bench.run(blocks.read(2));
        blocks.assert_read(2, result, op);
    });
}

#[test]
fn no_descriptors_left() {
    for spare in [0, 1] {
        in_child!(&format!("{spare} left"), Confinement::none().spare_files(spare), || {
            assert_says(&refused(), libc::EMFILE, "eventfd: ", "RLIMIT_NOFILE");
        });
    }
    // Its own two are enough for a driver; what it cannot try it does not claim.
    in_child!("2 left", Confinement::none().spare_files(2), || {
        let driver = aio(options(4)).expect("two descriptors are enough");
        assert_eq!(driver.supports(), io_core::OpSet::EMPTY);
    });
}

#[test]
fn an_absurd_depth_is_refused_in_words() {
    for depth in [0, u32::MAX, io_core::Token::MAX_SLOT + 1] {
        let unavailable = aio(options(depth)).map(|driver| driver.depth()).unwrap_err();
        assert!(unavailable.reason.contains(&depth.to_string()), "{unavailable}");
        assert!(unavailable.remedy.contains("between 1 and"), "{unavailable}");
    }
    // More than the kernel's ring can have.
    let unavailable = aio(options(io_core::Token::MAX_SLOT)).map(|driver| driver.depth()).unwrap_err();
    assert_says(&unavailable, libc::EINVAL, "io_setup(", "less depth");
}

#[test]
fn the_smallest_depth_works() {
    let blocks = Blocks::new(4);
    let mut bench = bench(options(1));
    for block in 0..4 {
        let (result, op) = bench.run(blocks.read(block));
        blocks.assert_read(block, result, op);
    }
}

const AIO_MAX_NR: &str = "/proc/sys/fs/aio-max-nr";

/// Writes the machine's limit, and what it was at the end.
struct MaxNr(String);

impl MaxNr {
    fn save() -> MaxNr {
        MaxNr(fs::read_to_string(AIO_MAX_NR).expect("a sysctl of every kernel with AIO"))
    }

    fn set(&self, most: u64) {
        fs::write(AIO_MAX_NR, most.to_string()).expect("root may write it");
    }
}

impl Drop for MaxNr {
    fn drop(&mut self) {
        fs::write(AIO_MAX_NR, &self.0).expect("it could be written before");
    }
}

fn aio_nr() -> u64 {
    fs::read_to_string("/proc/sys/fs/aio-nr").unwrap().trim().parse().unwrap()
}

/// scylladb#922 and many others: another program has used up fs.aio-max-nr.
#[test]
fn machine_wide_the_limit_of_requests() {
    const CASE: &str = "machine_wide_the_limit_of_requests";
    if std::env::var_os("IOFS_TEST_MACHINE").is_none() {
        return skip("aio", CASE, "changes fs.aio-max-nr: set IOFS_TEST_MACHINE=1");
    }
    if !is_root() {
        return skip("aio", CASE, "only root may change fs.aio-max-nr");
    }
    let limit = MaxNr::save();
    for most in [0, 1] {
        limit.set(most);
        let unavailable = refused();
        assert_says(&unavailable, libc::EAGAIN, "io_setup(9): ", "sysctl -w fs.aio-max-nr=1048576");
        assert!(unavailable.reason.ends_with(&format!("of fs.aio-max-nr {most}")), "{unavailable}");
    }
    // Nearly used up: less depth than asked for, and it works.
    limit.set(aio_nr() + 100);
    let blocks = Blocks::new(4);
    let mut small = bench(options(256));
    // 64, unless somebody else on the machine takes of it in the same moment.
    let depth = small.driver().depth();
    assert!((8..=64).contains(&depth), "{depth}");
    for block in 0..depth as usize {
        small.start(blocks.read(block % 4));
    }
    assert!(small.try_start(blocks.read(0)).is_err());
    small.wait_all();
    assert!(small.take_done().iter().all(|done| done.result == BLOCK as i32));
    // What a driver took it gives back.
    let used = aio_nr();
    drop(small);
    assert!(aio_nr() < used);
}
