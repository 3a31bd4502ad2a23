//! Children that run under refusals: system calls that are denied, limits that are tiny, a user who may do little.
//!
//! A limit or a filter holds for a whole process, or cannot be taken back. So the test starts its own binary anew, which runs
//! the same test, meets the same [`in_child!`](crate::in_child) and there runs the body under the [`Confinement`]. (A fork
//! would be shorter and wrong: the harness has threads.)

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::{
    collections::BTreeMap,
    env,
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Names the one confined body that a child is to run, as `test#tag`.
const CHILD: &str = "IOFS_TESTKIT_CHILD";
/// Where the child leaves word that it came as far as the body.
const RAN: &str = "IOFS_TESTKIT_RAN";
const PATIENCE: Duration = Duration::from_secs(120);

/// `RLIMIT_*`, whose type differs between C libraries.
type Resource = libc::c_int;
const MEMLOCK: Resource = libc::RLIMIT_MEMLOCK as Resource;
const FILE_SIZE: Resource = libc::RLIMIT_FSIZE as Resource;
const FILES: Resource = libc::RLIMIT_NOFILE as Resource;

/// What a child may not do.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    refused: Vec<(i64, i32)>,
    limits: Vec<(Resource, u64)>,
    spare_files: Option<u32>,
    user: Option<libc::uid_t>,
}

impl Confinement {
    /// Nothing is refused: just a process with no other tests in it.
    pub fn none() -> Confinement {
        Confinement::default()
    }

    /// The system call of this number (`libc::SYS_*`) answers this errno.
    #[must_use]
    pub fn refuse(mut self, call: i64, errno: i32) -> Confinement {
        self.refused.push((call, errno));
        self
    }

    /// `RLIMIT_MEMLOCK`. Root is not bound by it: see [`Confinement::as_user`].
    #[must_use]
    pub fn memlock(mut self, bytes: u64) -> Confinement {
        self.limits.push((MEMLOCK, bytes));
        self
    }

    /// `RLIMIT_FSIZE`, with `SIGXFSZ` ignored: the write that crosses it is short, the next one `EFBIG`.
    #[must_use]
    pub fn file_size(mut self, bytes: u64) -> Confinement {
        self.limits.push((FILE_SIZE, bytes));
        self
    }

    /// `RLIMIT_NOFILE`, so that exactly this many more descriptors can be opened, then `EMFILE`.
    #[must_use]
    pub fn spare_files(mut self, spare: u32) -> Confinement {
        self.spare_files = Some(spare);
        self
    }

    /// Runs the body as this user without groups and capabilities. Only root can.
    #[must_use]
    pub fn as_user(mut self, uid: u32) -> Confinement {
        self.user = Some(uid);
        self
    }
}

/// True for root, who may become somebody else and mount.
pub fn is_root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

/// True in a child that was started to run one confined body.
pub fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// The path of the running test as its harness names it, without the crate.
#[macro_export]
macro_rules! test_path {
    () => {{
        fn here() {}
        let name = std::any::type_name_of_val(&here).trim_end_matches("::here");
        let name = name.split("::{{closure}}").next().expect("the first part is always there");
        name.split_once("::").map_or(name, |(_crate, path)| path)
    }};
}

/// Runs a closure in a child process under a [`Confinement`](crate::confine::Confinement), and fails the test if it fails
/// there.
///
/// To be called from a `#[test]` itself, not from a function that it calls: the child finds its way by the test's name.
/// Everything before the call runs in the child, too.
///
/// ```
/// use io_testkit::{confine::Confinement, in_child};
///
/// // with #[test]
/// fn no_rings() {
///     let refused = Confinement::none().refuse(libc::SYS_io_uring_setup, libc::EPERM);
///     in_child!("eperm", refused, || assert!(std::fs::metadata("/").is_ok()));
/// }
/// ```
#[macro_export]
macro_rules! in_child {
    ($tag:expr, $confinement:expr, $body:expr) => {
        $crate::confine::in_child_of($crate::test_path!(), $tag, &$confinement, $body)
    };
}

/// What [`in_child!`](crate::in_child) calls: `test` is the test's path as its harness names it, `tag` tells several children
/// of one test apart.
///
/// # Panics
/// If the child fails, does not come to this call, or takes minutes.
pub fn in_child_of(test: &str, tag: &str, confinement: &Confinement, body: impl FnOnce() + Send) {
    let name = format!("{test}#{tag}");
    match env::var(CHILD) {
        Ok(wanted) if wanted == name => run_confined(confinement, body),
        // We are the child of another call of this test.
        Ok(_) => {}
        Err(_) => run_child(test, &name),
    }
}

fn run_child(test: &str, name: &str) {
    let dir = tempfile::tempdir().expect("a directory for the child's output");
    let (ran, log) = (dir.path().join("ran"), dir.path().join("log"));
    let output = fs::File::create(&log).expect("a file for the child's output");
    let child = Command::new(env::current_exe().expect("our own binary"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .env(RAN, &ran)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a second handle"))
        .stderr(output)
        .spawn();
    let mut child = child.expect("cannot start the test's binary anew");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait for the child") {
            break Some(status);
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill().and_then(|()| child.wait());
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    assert!(ran.exists(), "the child of {name} never came to its body; it said:\n{said}");
    let good = status.as_ref().is_some_and(ExitStatus::success);
    let ended = status.map_or("did not end".to_owned(), |status| status.to_string());
    assert!(good, "the child of {name} failed ({ended}); it said:\n{said}");
    for skip in said.lines().filter(|line| line.starts_with("SKIP ")) {
        eprintln!("{skip}");
    }
}

/// In a thread of its own: what comes after the body (temp directories that are removed) is not confined.
fn run_confined(confinement: &Confinement, body: impl FnOnce() + Send) {
    if let Some(ran) = env::var_os(RAN) {
        fs::write(ran, "").expect("leave word for the parent");
    }
    let run = || {
        let limits = confinement.enter().expect("cannot enter the confinement");
        let result = catch_unwind(AssertUnwindSafe(body));
        for (resource, limit) in limits {
            let _ = set_limit(resource, limit);
        }
        result
    };
    let result = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = result.and_then(|body| body) {
        resume_unwind(panic);
    }
}

impl Confinement {
    /// Enters it, for good except for the limits, whose old values it answers.
    fn enter(&self) -> io::Result<Vec<(Resource, u64)>> {
        let mut filters = Vec::new();
        for &(call, errno) in &self.refused {
            filters.push(filter(call, errno)?);
        }
        let mut old = Vec::new();
        for &(resource, limit) in &self.limits {
            if resource == FILE_SIZE {
                // SAFETY: the child's own business; nothing in it relies on the signal.
                unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            }
            old.push((resource, set_limit(resource, limit)?));
        }
        if let Some(uid) = self.user {
            become_user(uid)?;
        }
        if let Some(spare) = self.spare_files {
            old.push((FILES, set_limit(FILES, next_files(spare)?)?));
        }
        for filter in filters {
            seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
        }
        Ok(old)
    }
}

fn filter(call: i64, errno: i32) -> io::Result<BpfProgram> {
    let arch: TargetArch = env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let rules = BTreeMap::from([(call, Vec::new())]);
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), arch)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

/// Sets a soft limit and answers the old one; the hard limit stays, so that the way back is open.
fn set_limit(resource: Resource, limit: u64) -> io::Result<u64> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is what the call fills.
    if unsafe { libc::getrlimit(resource as _, &mut now) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let old = now.rlim_cur;
    now.rlim_cur = limit.min(now.rlim_max);
    // SAFETY: `now` is what the call reads.
    if unsafe { libc::setrlimit(resource as _, &now) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(old)
}

/// The limit that leaves `spare` descriptors: the kernel gives the lowest free numbers, so they are taken once to see them.
fn next_files(spare: u32) -> io::Result<u64> {
    let mut taken = Vec::new();
    for _ in 0..=spare {
        taken.push(fs::File::open("/dev/null")?);
    }
    let last = taken.last().expect("at least one was opened");
    Ok(std::os::fd::AsRawFd::as_raw_fd(last) as u64)
}

/// Takes all descriptors away: until the guard is dropped, whatever needs one more is `EMFILE`. For
/// [`in_child!`](crate::in_child) bodies, since the limit is the process's.
///
/// # Errors
/// The system's.
pub fn no_more_files() -> io::Result<NoMoreFiles> {
    Ok(NoMoreFiles(set_limit(FILES, next_files(0)?)?))
}

/// Gives the descriptors back on drop.
#[derive(Debug)]
pub struct NoMoreFiles(u64);

impl Drop for NoMoreFiles {
    fn drop(&mut self) {
        let _ = set_limit(FILES, self.0);
    }
}

/// Makes the mount at `dir` read-only, for who can mount (see [`private_tmpfs`]).
///
/// # Errors
/// The system's.
pub fn remount_read_only(dir: &Path) -> io::Result<()> {
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let how = libc::MS_REMOUNT | libc::MS_RDONLY;
    // SAFETY: C strings and numbers.
    let answer = unsafe { libc::mount(c"tmpfs".as_ptr(), dir.as_ptr(), c"tmpfs".as_ptr(), how, std::ptr::null()) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Mounts a tmpfs of so many bytes on `dir`, in a mount namespace of the calling thread's own: the kernel takes it away with
/// the thread and the files that are open on it. For [`in_child!`](crate::in_child) bodies; only root can.
///
/// # Errors
/// The system's: `EPERM` without the right to mount.
pub fn private_tmpfs(dir: &Path, bytes: u64) -> io::Result<()> {
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let options = CString::new(format!("size={bytes},mode=755"))?;
    let (private, tmpfs) = (libc::MS_REC | libc::MS_PRIVATE, c"tmpfs".as_ptr());
    // SAFETY: C strings and numbers; the namespace is this thread's and its children's only.
    let answers = unsafe {
        if libc::unshare(libc::CLONE_NEWNS) < 0 {
            return Err(io::Error::last_os_error());
        }
        let apart = libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null());
        [apart, libc::mount(tmpfs, dir.as_ptr(), tmpfs, 0, options.as_ptr().cast())]
    };
    if answers.contains(&-1) { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Only for the calling thread: the raw calls, where libc's would change all threads of the process.
fn become_user(uid: libc::uid_t) -> io::Result<()> {
    // SAFETY: numbers and a null list of length 0; from root to another user, all capabilities go with it.
    let answers = unsafe {
        [
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()),
            libc::syscall(libc::SYS_setresgid, uid, uid, uid),
            libc::syscall(libc::SYS_setresuid, uid, uid, uid),
        ]
    };
    if answers.contains(&-1) { Err(io::Error::last_os_error()) } else { Ok(()) }
}
