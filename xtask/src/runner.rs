//! Runs jobs: a header each, its time, its result, a table at the end; and watches over what the tests skip.

use crate::exec::{self, Cmd, Interrupted};
use crate::jobs::{Job, Tier};
use crate::skips::{self, Skip, SkipLog};
use crate::workspace::Workspace;
use anyhow::{Context, Result, anyhow, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a job that did not fail has to say.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// The machine does not allow it, and this is why.
    Skipped(String),
}

/// What jobs work with.
#[derive(Debug)]
pub(crate) struct Ctx {
    pub(crate) ws: Workspace,
    pub(crate) nextest: bool,
    log: SkipLog,
    /// Where the tests' temp files go, inside the target directory.
    tmp: PathBuf,
    /// Directories that conformance tests run in, when a job names no others.
    dirs: Vec<PathBuf>,
    /// The one directory outside the clone: a tmpfs. Removed on drop.
    _shm: Option<TempDir>,
}

impl Ctx {
    pub(crate) fn new() -> Result<Self> {
        let ws = Workspace::load()?;
        let tmp = ws.target.join("tmp");
        let conformance = tmp.join("conformance");
        fs::create_dir_all(&conformance).with_context(|| format!("cannot create {}", conformance.display()))?;
        share(&tmp)?;
        let log = SkipLog::create(ws.target.join("skips.log"))?;
        let shm = tmpfs_scratch();
        let mut dirs = vec![conformance];
        dirs.extend(shm.iter().map(|dir| dir.path().to_owned()));
        Ok(Self { nextest: exec::find("cargo-nextest").is_some(), ws, log, tmp, dirs, _shm: shm })
    }

    /// A cargo command in the root, for something other than tests.
    pub(crate) fn cargo(&self) -> Cmd {
        Cmd::cargo(&self.ws.root)
    }

    /// Gives a command the environment of tests: temp files inside the target directory, the skip log, nothing inherited
    /// that would switch a test's meaning.
    pub(crate) fn for_tests(&self, cmd: Cmd, dirs: Option<&[PathBuf]>) -> Result<Cmd> {
        let dirs =
            std::env::join_paths(dirs.unwrap_or(&self.dirs)).context("a test directory has a colon in its name")?;
        Ok(SWITCHES
            .iter()
            .fold(cmd, |cmd, key| cmd.unset(key))
            .env("TMPDIR", &self.tmp)
            .env("IOFS_SKIP_LOG", self.log.path())
            .env("IOFS_TEST_DIRS", dirs))
    }
}

/// Variables that switch the meaning of tests.
const SWITCHES: &[&str] = &[
    "IOFS_TEST_MACHINE",
    "IOFS_SOAK",
    "IOFS_STORM",
    "IOFS_DRIVER",
    "IOFS_CRASH_POINTS",
    "IOFS_CRASH_SEED",
    "IOFS_CRASH_ONLY",
];

/// What one run was asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) jobs: Vec<&'static Job>,
    pub(crate) keep_going: bool,
    /// Whether a skip that is not on the list is a failure. A newcomer's machine may lack anything; CI's may not.
    pub(crate) strict_skips: bool,
}

/// Runs the plan; an error means that at least one job failed.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let ctx = Ctx::new()?;
    let begun = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    let mut skipped: Vec<Skip> = Vec::new();
    let mut failed = 0_usize;
    for job in &plan.jobs {
        println!("\n==== {}: {}", job.name, job.what);
        let (row, skips) = run_one(&ctx, job, plan.strict_skips)?;
        println!("==== {}: {} in {}", job.name, row.result, seconds(row.took));
        skipped.extend(skips);
        let bad = row.failed;
        rows.push(row);
        if bad {
            failed += 1;
            if !plan.keep_going {
                break;
            }
        }
    }
    println!("\n{}", skips::summary(&skipped));
    println!("{}", table(&rows, plan.jobs.len(), begun.elapsed()));
    if failed > 0 {
        bail!("{failed} of {} jobs failed", plan.jobs.len());
    }
    Ok(())
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    result: String,
    failed: bool,
    took: Duration,
}

/// An error is an interrupt; everything else that goes wrong is the row's result.
fn run_one(ctx: &Ctx, job: &'static Job, strict: bool) -> Result<(Row, Vec<Skip>)> {
    let begun = Instant::now();
    exec::set_deadline(Some(begun + Duration::from_secs(job.minutes_max * 60)));
    let mut done = (job.run)(ctx);
    exec::set_deadline(None);
    let skips = ctx.log.take_new()?;
    if strict && done.is_ok() && job.tier != Tier::Test {
        let bad = skips::needless(&skips);
        if !bad.is_empty() {
            done = Err(anyhow!("skipped what this machine can run:\n{}", bad.join("\n")));
        }
    }
    let (result, failed) = match done {
        Ok(Outcome::Done) => ("ok".to_owned(), false),
        Ok(Outcome::Skipped(why)) => (format!("skipped: {why}"), false),
        Err(error) if error.is::<Interrupted>() => return Err(error),
        Err(error) => (format!("FAILED: {error:#}"), true),
    };
    Ok((Row { name: job.name, result, failed, took: begun.elapsed() }, skips))
}

fn table(rows: &[Row], planned: usize, took: Duration) -> String {
    let mut text = format!("{:<14} {:>8}  result\n", "job", "time");
    for row in rows {
        let first = row.result.lines().next().unwrap_or_default();
        text += &format!("{:<14} {:>8}  {first}\n", row.name, seconds(row.took));
    }
    let left = planned - rows.len();
    if left > 0 {
        text += &format!("{left} more not run after the failure (--keep-going runs them)\n");
    }
    text + &format!("{:<14} {:>8}", "all", seconds(took))
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// Lets everybody make files there, as in /tmp: some tests go on as another user, to meet that user's limits.
#[cfg(unix)]
fn share(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let shared = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(dir, shared).with_context(|| format!("cannot share {}", dir.display()))
}

#[cfg(not(unix))]
fn share(_dir: &Path) -> Result<()> {
    Ok(())
}

/// A directory on /dev/shm where that is a tmpfs which we may write to: a file system that most machines have beside the
/// clone's own.
fn tmpfs_scratch() -> Option<TempDir> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let shm = Path::new("/dev/shm");
    crate::mounts::type_of(&mounts, shm).filter(|kind| kind == "tmpfs")?;
    tempfile::Builder::new().prefix("iofs-test-").tempdir_in(shm).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_results_and_what_was_not_run() {
        let rows = [
            Row { name: "fmt", result: "ok".into(), failed: false, took: Duration::from_millis(1200) },
            Row { name: "tidy", result: "FAILED: two\nlines".into(), failed: true, took: Duration::from_secs(2) },
        ];
        let text = table(&rows, 5, Duration::from_secs(4));
        assert!(text.contains("fmt               1.2 s  ok"), "{text}");
        assert!(text.contains("FAILED: two\n"), "{text}");
        assert!(text.contains("3 more not run"), "{text}");
    }
}
