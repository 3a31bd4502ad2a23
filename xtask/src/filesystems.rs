//! Conformance on file systems that the clone does not happen to lie on: ext4 and xfs on loop devices, a small tmpfs, and one
//! that a process serves over FUSE.

use crate::mounts::{self, Mount};
use crate::runner::{Ctx, Outcome};
use crate::sys;
use crate::tests_of::Tests;
use anyhow::{Context, Result};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

/// The drivers by their conformance suite; the engine by all its tests, which take the same directories.
const DRIVERS: &[&str] = &["io-uring-driver", "io-aio", "io-threadpool"];
const ENGINE: &[&str] = &["io-engine"];

/// Sparse: what counts is what the tests write. xfs takes no less than 300 MiB.
const IMAGE_BYTES: u64 = 2 << 30;
const TMPFS_BYTES: u64 = 256 << 20;
const FUSE_BYTES: u64 = 256 << 20;

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    if !sys::is_root() {
        return Ok(Outcome::Skipped("only root may mount".to_owned()));
    }
    // Where it is allowed, the kernel itself cleans up after us, whatever ends this process.
    if let Err(error) = sys::private_mounts() {
        println!("no private mount namespace ({error}): mounts are visible to the whole machine meanwhile");
    }
    let base = mounts::base(&ctx.ws)?;
    let fuse = fuse_server(ctx)?;
    let tries = [
        ("ext4", Mount::image(&base, "ext4", IMAGE_BYTES)),
        ("xfs", Mount::image(&base, "xfs", IMAGE_BYTES)),
        ("tmpfs", Mount::tmpfs(&base, TMPFS_BYTES)),
        ("fuse", fuse.and_then(|server| Mount::fuse(&base, &server, FUSE_BYTES))),
    ];
    let mut mounted = Vec::new();
    let mut refused = Vec::new();
    for (kind, done) in tries {
        match done {
            Ok(mount) => mounted.push(mount),
            Err(error) => refused.push(format!("{kind}: {error:#}")),
        }
    }
    for why in &refused {
        println!("not tested on {why}");
    }
    if mounted.is_empty() {
        return Ok(Outcome::Skipped(format!("nothing can be mounted ({})", refused.join("; "))));
    }
    let dirs: Vec<PathBuf> = mounted.iter().map(|mount| mount.dir().to_owned()).collect();
    for (packages, filter) in [(DRIVERS, Some("conformance")), (ENGINE, None)] {
        Tests { packages, filter, dirs: Some(&dirs), ..Tests::default() }.run(ctx)?;
    }
    Ok(Outcome::Done)
}

/// The server of tests/fuse-fs, built where it can be used. It is no member of the workspace: whoever builds ours needs nothing
/// of it.
///
/// The outer error is a server that does not build, which is our failure; the inner one is the machine's.
fn fuse_server(ctx: &Ctx) -> Result<Result<PathBuf>> {
    if let Err(error) = OpenOptions::new().read(true).write(true).open("/dev/fuse").context("/dev/fuse") {
        return Ok(Err(error));
    }
    let target = ctx.ws.target.join("fuse-fs");
    let cmd = ctx.cargo().args(["build", "--quiet", "--locked", "--manifest-path"]);
    cmd.arg(manifest(&ctx.ws.root)).arg("--target-dir").arg(&target).run()?;
    Ok(Ok(target.join("debug/fuse-fs")))
}

/// Where the server's package is.
pub(crate) fn manifest(root: &Path) -> PathBuf {
    root.join("tests/fuse-fs/Cargo.toml")
}
