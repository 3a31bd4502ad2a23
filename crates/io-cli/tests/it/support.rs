//! Running the binary, and looking at what it did.

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

pub(crate) const IOFS: &str = env!("CARGO_BIN_EXE_iofs");

/// A directory of the test's own, on the file system of the build.
pub(crate) fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Says that `case` cannot run here, on stderr and in the file that `IOFS_SKIP_LOG` names.
pub(crate) fn skip(case: &str, reason: &str) {
    let reason = reason.replace(['\t', '\n', '\r'], " ");
    let _ = writeln!(std::io::stderr(), "SKIP io-cli {case}: {reason}");
    if let Some(log) = std::env::var_os("IOFS_SKIP_LOG") {
        let mut log = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        log.write_all(format!("io-cli\t{case}\t{reason}\n").as_bytes()).unwrap();
    }
}

/// The command, as yet without arguments; no variable of the caller chooses its driver.
pub(crate) fn command(cwd: &Path) -> Command {
    let mut command = Command::new(IOFS);
    command.current_dir(cwd).env_remove("IOFS_DRIVER").stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn iofs<A: AsRef<OsStr>>(cwd: &Path, args: impl IntoIterator<Item = A>) -> Ran {
    Ran::of(command(cwd).args(args).output().unwrap())
}

/// Starts it, its output kept for later.
pub(crate) fn start(cwd: &Path, args: &[&str]) -> Child {
    command(cwd).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[derive(Debug)]
pub(crate) struct Ran {
    /// `None`: it died of a signal.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It said no in one line and a usage error.
    #[track_caller]
    pub(crate) fn refused(&self, because: &str) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("iofs: "), "{self:?}");
        assert!(self.stderr.contains(because), "`{because}` is not in {self:?}");
    }

    /// The work failed, and the last line says why.
    #[track_caller]
    pub(crate) fn failed(&self, because: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("iofs: ") && last.contains(because), "`{because}` is not in {self:?}");
        assert!(!self.stderr.contains("internal error"), "{self:?}");
    }

    pub(crate) fn json<'a, T: Deserialize<'a>>(&'a self) -> T {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The drivers that run here. What cannot is logged as skipped, once per case.
pub(crate) fn drivers(case: &str) -> Vec<&'static str> {
    let dir = dir();
    fs::write(dir.path().join("a"), "a").unwrap();
    let runs = |driver: &&'static str| {
        let ran = iofs(dir.path(), ["copy", "a", "b", "--force", "--driver", driver]);
        if ran.code == Some(0) {
            return true;
        }
        ran.refused(&format!("driver {driver} is not available: "));
        skip(case, ran.stderr.trim_start_matches("iofs: ").trim());
        false
    };
    let all: Vec<_> = ["uring", "aio", "threadpool"].into_iter().filter(runs).collect();
    assert!(!all.is_empty(), "no driver runs here");
    all
}

/// Everything in a directory by name, with content; what must not be harmed.
pub(crate) fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let content = |path: &PathBuf| {
        let is_file = fs::symlink_metadata(path).unwrap().is_file();
        is_file.then(|| fs::read(path).unwrap_or_default())
    };
    entries.map(|path| (path.clone(), content(&path))).collect()
}

/// Names in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that do not repeat.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    let mut state = len as u64 + 1;
    let word = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut all: Vec<u8> = (0..len.div_ceil(8)).flat_map(word).collect();
    all.truncate(len);
    all
}

/// Waits for something to become true.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal by name (kill(1)).
#[cfg(unix)]
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A small file system in memory; unmounted when dropped.
#[cfg(target_os = "linux")]
pub(crate) struct Tmpfs(pub(crate) tempfile::TempDir);

#[cfg(target_os = "linux")]
impl Tmpfs {
    /// `None`, and a line in the log of skips, where mounting is not allowed.
    pub(crate) fn mount(case: &str, size: &str) -> Option<Tmpfs> {
        let dir = dir();
        let options = format!("size={size},mode=755");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Tmpfs(dir)),
            Ok(output) => {
                skip(case, &format!("no tmpfs can be mounted: {}", String::from_utf8_lossy(&output.stderr).trim()));
                None
            }
            Err(error) => {
                skip(case, &format!("no tmpfs can be mounted: {error}"));
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(target_os = "linux")]
impl Drop for Tmpfs {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg(self.0.path()).status();
        if !gone.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
        }
    }
}
