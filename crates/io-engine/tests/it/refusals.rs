//! Machines that refuse: seccomp filters, limits, settings. An automatic choice falls through, keeps the reasons and does real
//! work; an explicit one fails with cause and remedy.
//!
//! Each case runs in a child process of its own; nothing outlives it. The cases that change settings of the whole machine are
//! called so, run where IOFS_TEST_MACHINE says that they may, and restore what they change.
#![cfg(all(target_os = "linux", feature = "io-uring", feature = "libaio"))]

use crate::world::{answers, assert_same, core, data, room, run};
use io_engine::{
    DriverOptions, Inflight,
    core::{AlignedBuf, DriverName, Op, OpenOptions, Unavailable},
    select,
};
use io_testkit::{
    BLOCK,
    confine::{Confinement, is_root},
    in_child, pattern, skip,
};
use libc::{EINVAL, ENOSYS, EPERM};

const SETUP: i64 = libc::SYS_io_uring_setup;
const ENTER: i64 = libc::SYS_io_uring_enter;
const REGISTER: i64 = libc::SYS_io_uring_register;
const IO_SETUP: i64 = libc::SYS_io_setup;
const IO_SUBMIT: i64 = libc::SYS_io_submit;

fn options(driver: Option<DriverName>) -> DriverOptions {
    let mut options = DriverOptions::default();
    options.driver = driver;
    options.depth = 16;
    options
}

/// Makes the driver of an automatic choice and has it do real work; answers its name and what was passed over.
fn automatic() -> (DriverName, Vec<Unavailable>) {
    let selected = select(&options(None)).expect("the pool, at least");
    let (name, passed_over) = (selected.driver.name(), selected.passed_over);
    works(core(selected.driver));
    for unavailable in &passed_over {
        explains(unavailable);
    }
    (name, passed_over)
}

/// Buffered and direct, through the driver or the pool beside it; written, synced and read.
fn works(mut core: Inflight<Op>) {
    // Somebody without privileges may write to shared memory at least.
    let dir = tempfile::tempdir().or_else(|_| tempfile::tempdir_in("/dev/shm")).unwrap();
    let contents = pattern(1, 4 * BLOCK);
    std::fs::write(dir.path().join("f"), &contents).unwrap();
    for options in [OpenOptions::READ_WRITE, OpenOptions::READ_WRITE.direct()] {
        let Ok(file) = io_engine::open(dir.path().join("f"), options) else { continue };
        let (result, op) = run(&mut core, Op::read(&file, room(4 * BLOCK), 0));
        assert_eq!(result.unwrap(), 4 * BLOCK);
        assert_same("read", &op.into_buf::<AlignedBuf>().unwrap(), &contents);
        for i in 0..4 {
            let op = Op::write(&file, data(&contents[i * BLOCK..(i + 1) * BLOCK]), (i * BLOCK) as u64);
            assert!(core.accept(op).is_ok());
        }
        assert!(core.accept(Op::sync_data(&file)).is_ok());
        for finished in answers(&mut core, 5) {
            finished.result.unwrap();
        }
        run(&mut core, Op::stat(&file)).0.unwrap();
    }
}

/// One line, with a cause and something that one can do.
fn explains(unavailable: &Unavailable) {
    let line = unavailable.to_string();
    assert!(!line.contains('\n'), "{line}");
    assert!(unavailable.reason.len() > 5 && unavailable.remedy.len() > 5, "{line}");
}

/// The driver cannot be had, and the error says why.
fn refused(driver: DriverName, code: i32) {
    let unavailable = select(&options(Some(driver))).expect_err("it was refused");
    assert_eq!(unavailable.driver, driver);
    explains(&unavailable);
    assert_eq!(unavailable.code, Some(code), "{unavailable}");
}

fn names(passed_over: &[Unavailable]) -> Vec<DriverName> {
    passed_over.iter().map(|unavailable| unavailable.driver).collect()
}

#[test]
fn no_io_uring() {
    for code in [EPERM, ENOSYS] {
        in_child!(&format!("setup {code}"), Confinement::none().refuse(SETUP, code), || {
            let (name, passed_over) = automatic();
            assert_eq!((name, names(&passed_over)), (DriverName::Aio, vec![DriverName::Uring]));
            assert_eq!(passed_over[0].code, Some(code));
            refused(DriverName::Uring, code);
        });
    }
}

#[test]
fn no_aio() {
    for code in [EPERM, ENOSYS] {
        let neither = Confinement::none().refuse(IO_SETUP, code).refuse(SETUP, EPERM);
        in_child!(&format!("neither {code}"), neither, || {
            let (name, passed_over) = automatic();
            assert_eq!(name, DriverName::ThreadPool);
            assert_eq!(names(&passed_over), [DriverName::Uring, DriverName::Aio]);
            assert_eq!(passed_over[1].code, Some(code));
            refused(DriverName::Aio, code);
        });
        // A ring does not care.
        in_child!(&format!("aio {code}"), Confinement::none().refuse(IO_SETUP, code), || {
            let (name, passed_over) = automatic();
            assert_eq!((name, passed_over.len()), (DriverName::Uring, 0));
            refused(DriverName::Aio, code);
        });
    }
}

/// Filters that let the first call pass and refuse the one that matters.
#[test]
fn setup_passes_and_the_rest_does_not() {
    for code in [EPERM, ENOSYS] {
        in_child!(&format!("enter {code}"), Confinement::none().refuse(ENTER, code), || {
            let (name, passed_over) = automatic();
            assert_eq!((name, names(&passed_over)), (DriverName::Aio, vec![DriverName::Uring]));
            refused(DriverName::Uring, code);
        });
        let submit = Confinement::none().refuse(IO_SUBMIT, code).refuse(SETUP, ENOSYS);
        in_child!(&format!("submit {code}"), submit, || {
            let (name, passed_over) = automatic();
            assert_eq!((name, names(&passed_over)), (DriverName::ThreadPool, vec![DriverName::Uring, DriverName::Aio]));
            refused(DriverName::Aio, code);
        });
    }
    // Registration is an extra: whoever may not register gets a ring without.
    for code in [EPERM, ENOSYS, EINVAL] {
        in_child!(&format!("register {code}"), Confinement::none().refuse(REGISTER, code), || {
            let (name, passed_over) = automatic();
            let by_ring = name == DriverName::Uring && passed_over.is_empty();
            let announced = name == DriverName::Aio && names(&passed_over) == [DriverName::Uring];
            assert!(by_ring || announced, "{name} {passed_over:?}");
            if by_ring {
                let mut shared = options(Some(DriverName::Uring));
                shared.one_thread = false;
                works(core(select(&shared).unwrap().driver));
            }
        });
    }
}

#[test]
fn no_memory_to_lock() {
    if !is_root() {
        return skip("engine", "no_memory_to_lock", "needs root, to become somebody without privileges");
    }
    in_child!("memlock", Confinement::none().memlock(0).as_user(65534), || {
        let (name, passed_over) = automatic();
        // Kernels since 5.12 charge rings to the memory group instead; either way there is work done and nothing hidden.
        match name {
            DriverName::Uring => assert!(passed_over.is_empty()),
            _ => assert_eq!(names(&passed_over)[0], DriverName::Uring),
        }
    });
}

#[test]
fn no_descriptors() {
    in_child!("none", Confinement::none().spare_files(0), || {
        // Nobody can open a file then, but choosing a driver must say what it finds, not panic.
        match select(&options(None)) {
            Ok(selected) => {
                assert_eq!(selected.driver.name(), DriverName::ThreadPool);
                assert_eq!(names(&selected.passed_over), [DriverName::Uring, DriverName::Aio]);
                assert!(selected.passed_over.iter().all(|u| u.code == Some(libc::EMFILE)), "{selected:?}");
            }
            Err(unavailable) => explains(&unavailable),
        }
        refused(DriverName::Uring, libc::EMFILE);
        refused(DriverName::Aio, libc::EMFILE);
    });
    for spare in 1..8 {
        in_child!(&format!("{spare}"), Confinement::none().spare_files(spare), || {
            let selected = select(&options(None)).expect("the pool, at least");
            selected.passed_over.iter().for_each(explains);
            let mut core: Inflight<Op> = core(selected.driver);
            // What needs no descriptor works with whatever there is.
            run(&mut core, Op::stat_path("/", true).unwrap()).0.unwrap();
        });
    }
}

/// The user's word: by option or by IOFS_DRIVER it is not fallen through.
#[test]
fn an_explicit_choice_is_not_replaced() {
    in_child!("env", Confinement::none().refuse(SETUP, EPERM), || {
        let with_env = |value: &str| {
            // SAFETY: the child runs this one test, and no other thread of it looks at the environment.
            unsafe { std::env::set_var("IOFS_DRIVER", value) };
            options(None).with_env()
        };
        let uring = with_env("uring").expect("a driver's name");
        assert_eq!(uring.driver, Some(DriverName::Uring));
        let unavailable = select(&uring).expect_err("it was refused");
        assert_eq!((unavailable.driver, unavailable.code), (DriverName::Uring, Some(EPERM)));
        explains(&unavailable);

        for (value, driver) in [("aio", DriverName::Aio), ("threadpool", DriverName::ThreadPool)] {
            let selected = select(&with_env(value).unwrap()).unwrap();
            assert_eq!((selected.driver.name(), selected.passed_over.len()), (driver, 0));
            works(core(selected.driver));
        }
        for value in ["", "auto"] {
            assert_eq!(with_env(value).unwrap().driver, None);
        }
        for value in ["URING", "io_uring", "libaio", "pool", " uring", "uring,aio", "\u{1F980}"] {
            let unknown = with_env(value).expect_err("no driver has this name");
            explains(&unknown);
            assert!(unknown.to_string().contains(value), "{unknown}");
            assert!(unknown.remedy.contains("threadpool"), "{unknown}");
        }
        // SAFETY: as above.
        unsafe {
            use std::os::unix::ffi::OsStrExt as _;
            std::env::set_var("IOFS_DRIVER", std::ffi::OsStr::from_bytes(b"\xff\xfe"));
        }
        explains(&options(None).with_env().expect_err("no name at all"));
        // An option comes before the variable.
        assert_eq!(options(Some(DriverName::Aio)).with_env().unwrap().driver, Some(DriverName::Aio));
        // The simulator cannot be had from outside: it has no files.
        explains(&select(&with_env("sim").unwrap()).expect_err("no real files"));
    });
}

#[test]
fn absurd_depths() {
    for driver in [None, Some(DriverName::ThreadPool), Some(DriverName::Uring), Some(DriverName::Aio)] {
        for depth in [0, 32769, u32::MAX] {
            let mut absurd = options(driver);
            absurd.depth = depth;
            let unavailable = select(&absurd).expect_err("out of range");
            explains(&unavailable);
            assert!(unavailable.to_string().contains(&depth.to_string()), "{unavailable}");
        }
    }
    // The largest there is, and the smallest.
    for depth in [1, 32768] {
        let mut wanted = options(None);
        wanted.depth = depth;
        let selected = select(&wanted).expect("within range");
        assert!(selected.driver.depth() >= 1 && selected.driver.depth() <= depth, "{selected:?}");
        works_one_by_one(core(selected.driver));
    }
    let mut few = options(Some(DriverName::ThreadPool));
    few.threads = Some(0);
    works(core(select(&few).expect("no threads means one").driver));
}

fn works_one_by_one(mut core: Inflight<Op>) {
    run(&mut core, Op::stat_path("/", true).unwrap()).0.unwrap();
}

#[test]
fn the_survey_names_every_driver() {
    let survey = io_engine::select::survey(&options(None));
    let drivers: Vec<_> = survey.iter().map(|(name, _)| *name).collect();
    assert_eq!(drivers, DriverName::REAL);
    survey.iter().filter_map(|(_, unavailable)| unavailable.as_ref()).for_each(explains);
}

/// A setting of the machine, restored when the test ends, however it ends.
struct Setting {
    path: &'static str,
    old: String,
}

impl Setting {
    fn set(path: &'static str, value: &str) -> Setting {
        let old = std::fs::read_to_string(path).expect("read a setting");
        let setting = Setting { path, old };
        std::fs::write(path, value).expect("change a setting");
        setting
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        std::fs::write(self.path, self.old.trim()).expect("restore a setting");
    }
}

/// True if this test may change settings of the machine; says so if not.
fn may_change(case: &str, path: &str) -> bool {
    if std::env::var_os("IOFS_TEST_MACHINE").is_none() {
        skip("engine", case, "changes settings of the whole machine: IOFS_TEST_MACHINE is not set");
        return false;
    }
    if !std::path::Path::new(path).exists() {
        skip("engine", case, &format!("this kernel has no {path}"));
        return false;
    }
    true
}

/// Tests of one process run side by side; these must not.
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn machine_wide_io_uring_disabled() {
    let path = "/proc/sys/kernel/io_uring_disabled";
    if !may_change("machine_wide_io_uring_disabled", path) {
        return;
    }
    let _alone = ONE_AT_A_TIME.lock();
    let _setting = Setting::set(path, "2");
    let (name, passed_over) = automatic();
    assert_eq!((name, names(&passed_over)), (DriverName::Aio, vec![DriverName::Uring]));
    assert!(passed_over[0].remedy.contains("io_uring_disabled"), "{}", passed_over[0]);
    refused(DriverName::Uring, EPERM);
}

#[test]
fn machine_wide_no_aio_requests() {
    let path = "/proc/sys/fs/aio-max-nr";
    if !may_change("machine_wide_no_aio_requests", path) {
        return;
    }
    let _alone = ONE_AT_A_TIME.lock();
    for most in ["0", "1"] {
        let _setting = Setting::set(path, most);
        let unavailable = select(&options(Some(DriverName::Aio))).expect_err("there are none left");
        assert!(unavailable.remedy.contains("aio-max-nr"), "{unavailable}");
        explains(&unavailable);
        // Rings do not need them; without rings the pool takes over.
        assert_eq!(automatic().0, DriverName::Uring);
        let setting = Setting::set("/proc/sys/kernel/io_uring_disabled", "2");
        let (name, passed_over) = automatic();
        assert_eq!(name, DriverName::ThreadPool);
        assert_eq!(names(&passed_over), [DriverName::Uring, DriverName::Aio]);
        drop(setting);
    }
}
