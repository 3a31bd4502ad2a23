//! `cargo xtask probe`: what this host allows. Found out by trying, because version strings lie (seccomp, sysctls, limits,
//! backports); what was made for a try is gone afterwards.

use crate::bindgen;
use crate::exec;
use crate::mounts::{self, Mount};
use crate::sys;
use crate::workspace::Workspace;
use anyhow::Result;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::Path;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: cargo xtask probe\n          cargo xtask probe --json")]
pub(crate) struct Args {
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    /// Whether the host allows or has it.
    ok: bool,
    /// A value, or why not.
    value: String,
}

impl Finding {
    fn new(name: &'static str, ok: bool, value: impl Into<String>) -> Self {
        Self { name, ok, value: value.into() }
    }

    fn tried(name: &'static str, done: io::Result<()>) -> Self {
        match done {
            Ok(()) => Self::new(name, true, "works"),
            Err(error) => Self::new(name, false, error.to_string()),
        }
    }

    fn file(name: &'static str, path: &str) -> Self {
        match fs::read_to_string(path) {
            Ok(text) => Self::new(name, true, text.trim()),
            Err(error) => Self::new(name, false, error.to_string()),
        }
    }

    fn program(name: &'static str) -> Self {
        match exec::find(name) {
            Some(path) => Self::new(name, true, path.display().to_string()),
            None => Self::new(name, false, "not installed"),
        }
    }

    fn limit(name: &'static str, limit: Option<(u64, u64)>) -> Self {
        let show = |value: u64| if value == u64::MAX { "unlimited".to_owned() } else { value.to_string() };
        match limit {
            Some((soft, hard)) => Self::new(name, true, format!("{} (hard: {})", show(soft), show(hard))),
            None => Self::new(name, false, "not known on this system"),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let findings = findings(&Workspace::load()?);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
        return Ok(());
    }
    for finding in findings {
        println!("{:<18} {:<4} {}", finding.name, if finding.ok { "yes" } else { "no" }, finding.value);
    }
    Ok(())
}

fn findings(ws: &Workspace) -> Vec<Finding> {
    let root = sys::is_root();
    let shm =
        fs::read_to_string("/proc/mounts").ok().and_then(|mounts| mounts::type_of(&mounts, Path::new("/dev/shm")));
    let shm = shm.unwrap_or_else(|| "not mounted".to_owned());
    let bindgen = match (exec::find("bindgen"), bindgen::lacking()) {
        (_, Some(lack)) => Finding::new("bindgen", false, lack),
        (Some(path), None) => Finding::new("bindgen", true, path.display().to_string()),
        (None, None) => {
            Finding::new("bindgen", true, "not installed, but libclang is: `cargo xtask bindgen` installs it")
        }
    };
    vec![
        Finding::file("kernel", "/proc/sys/kernel/osrelease"),
        Finding::new("root", root, if root { "effective user id 0" } else { "not root" }),
        Finding::tried("io_uring_setup", sys::try_io_uring_setup()),
        Finding::file("io_uring_disabled", "/proc/sys/kernel/io_uring_disabled"),
        Finding::tried("io_setup", sys::try_io_setup()),
        Finding::file("aio-nr", "/proc/sys/fs/aio-nr"),
        Finding::file("aio-max-nr", "/proc/sys/fs/aio-max-nr"),
        Finding::limit("memlock", sys::memlock()),
        Finding::limit("nofile", sys::nofile()),
        loop_mounts(ws, root),
        Finding::program("mkfs.ext4"),
        Finding::program("mkfs.xfs"),
        Finding::tried("/dev/fuse", fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").map(drop)),
        Finding::new("/dev/shm", shm == "tmpfs", shm),
        Finding::program("cargo-nextest"),
        bindgen,
    ]
}

/// Makes a small ext4 in an image, mounts it, and takes it all away again.
fn loop_mounts(ws: &Workspace, root: bool) -> Finding {
    let name = "loop mounts";
    if !root {
        return Finding::new(name, false, "only root may mount");
    }
    // In a namespace of our own, if we may; if not, the guard alone has to do.
    let private = sys::private_mounts().is_ok();
    let tried = mounts::base(ws).and_then(|base| {
        let dir = tempfile::tempdir_in(base)?;
        Mount::image(dir.path(), "ext4", 4 << 20)
    });
    match tried {
        Ok(_mounted) => Finding::new(name, true, if private { "works, in a private namespace" } else { "works" }),
        Err(error) => Finding::new(name, false, format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_finding_with_its_reason() {
        let finding = Finding::tried("x", Err(io::Error::from_raw_os_error(1)));
        assert!(!finding.ok && !finding.value.is_empty());
        assert!(!Finding::program("no-such-program-anywhere").ok);
        assert_eq!(Finding::limit("x", Some((8, u64::MAX))).value, "8 (hard: unlimited)");
    }
}
