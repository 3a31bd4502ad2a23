//! Running other programs: shown before they run, killed as a whole group on an interrupt or past the deadline.
//!
//! The story of the groups: a test runner that is killed leaves its test processes behind, and those keep mounts and temp
//! directories busy. So each child leads a process group of its own, xtask alone hears the terminal's Ctrl-C, passes it on
//! to the group, and then unwinds through its guards.

use crate::sys;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Somebody asked us to stop (SIGINT, SIGTERM, SIGHUP).
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The command line was understood, but names something that does not exist.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// When the running job has to be over; one job runs at a time.
static DEADLINE: Mutex<Option<Instant>> = Mutex::new(None);

/// Sets or clears the moment after which commands are killed.
pub(crate) fn set_deadline(at: Option<Instant>) {
    *DEADLINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = at;
}

fn past_deadline() -> bool {
    let at = *DEADLINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    at.is_some_and(|at| Instant::now() >= at)
}

/// A command to be: program, arguments, changes to the environment.
#[derive(Clone, Debug)]
pub(crate) struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, Option<OsString>)>,
    dir: Option<PathBuf>,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self { program: program.as_ref().to_owned(), args: Vec::new(), env: Vec::new(), dir: None }
    }

    /// A cargo command in the workspace's root.
    pub(crate) fn cargo(root: &Path) -> Self {
        Self::new("cargo").dir(root)
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    pub(crate) fn unset(mut self, key: &str) -> Self {
        self.env.push((key.to_owned(), None));
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// The line that a person would type for this command (without what is only taken out of the environment).
    pub(crate) fn line(&self) -> String {
        let mut words = Vec::new();
        for (key, value) in &self.env {
            if let Some(value) = value {
                words.push(format!("{key}={}", quote(value)));
            }
        }
        words.push(quote(&self.program));
        words.extend(self.args.iter().map(|arg| quote(arg)));
        words.join(" ")
    }

    /// Shows the command, runs it with our own output, and wants success.
    pub(crate) fn run(&self) -> Result<()> {
        println!("$ {}", self.line());
        let status = self.status(Stdio::inherit())?;
        if !status.success() {
            bail!("`{}` failed: {status}", self.short());
        }
        Ok(())
    }

    /// Runs it and returns what it wrote to standard output; what it says on standard error is shown.
    pub(crate) fn output(&self) -> Result<String> {
        // A file, not a pipe: nobody has to read while we watch for interrupts, and no child can block on us.
        let file = tempfile::tempfile().context("cannot make a temp file")?;
        let status = self.status(Stdio::from(file.try_clone()?))?;
        let mut text = String::new();
        {
            use std::io::{Read, Seek};
            let mut file = file;
            file.rewind()?;
            file.read_to_string(&mut text)?;
        }
        if !status.success() {
            print!("{text}");
            bail!("`{}` failed: {status}", self.short());
        }
        Ok(text)
    }

    fn short(&self) -> String {
        let mut words = vec![quote(&self.program)];
        words.extend(self.args.iter().map(|arg| quote(arg)));
        words.join(" ")
    }

    fn status(&self, stdout: Stdio) -> Result<ExitStatus> {
        if sys::interrupted() {
            return Err(Interrupted.into());
        }
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).stdout(stdout);
        // A runner in a background group must not try to take the terminal over.
        command.env("NEXTEST_NO_INPUT_HANDLER", "1");
        for (key, value) in &self.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        sys::own_group(&mut command);
        let mut child = command.spawn().with_context(|| format!("cannot start `{}`", self.short()))?;
        self.watch(&mut child)
    }

    fn watch(&self, child: &mut Child) -> Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if sys::interrupted() {
                end(child)?;
                return Err(Interrupted.into());
            }
            if past_deadline() {
                end(child)?;
                bail!("`{}` was stopped: the job's time is up", self.short());
            }
            sleep(Duration::from_millis(20));
        }
    }
}

/// Asks the child's whole group to end, and after ten seconds no longer asks.
fn end(child: &mut Child) -> Result<()> {
    sys::terminate_group(child);
    let until = Instant::now() + Duration::from_secs(10);
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            sys::kill_group(child);
            child.kill()?;
            child.wait()?;
            break;
        }
        sleep(Duration::from_millis(20));
    }
    // The leader is gone; whoever it left behind in its group goes now.
    sys::kill_group(child);
    Ok(())
}

/// Where `program` is, looked for in PATH and in the directories of system programs, which PATH often lacks.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .flat_map(|dir| [dir.join(program), dir.join(format!("{program}.exe"))])
        .find(|candidate| candidate.is_file())
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let cmd = Cmd::new("cargo").args(["run", "-E", "test(a) & b"]).env("RUSTFLAGS", "--cfg loom").unset("X");
        assert_eq!(cmd.line(), "RUSTFLAGS='--cfg loom' cargo run -E 'test(a) & b'");
    }

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = Cmd::new("cargo").arg("no-such-subcommand-of-cargo").output().unwrap_err();
        assert!(error.to_string().contains("no-such-subcommand-of-cargo"), "{error}");
    }

    #[test]
    fn programs_are_found_by_name_or_not_at_all() {
        assert!(find("cargo").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }
}
