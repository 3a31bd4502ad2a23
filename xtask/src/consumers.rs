//! The crates under tests/consumers: outside the workspace, they depend on ours as users would. Built and run.
//!
//! Each is a workspace of its own, so that neither our lints nor our unified features reach it: a feature or a dependency
//! that one of our crates forgot to declare shows here. They start from our Cargo.lock, so that a new release of somebody
//! else's crate is not our failure.

use crate::runner::{Ctx, Outcome};
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    for dir in dirs(&ctx.ws)? {
        fs::copy(ctx.ws.root.join("Cargo.lock"), dir.join("Cargo.lock")).context("cannot copy Cargo.lock")?;
        let cmd = ctx.cargo().args(["run", "--quiet", "--manifest-path"]).arg(dir.join("Cargo.toml"));
        ctx.for_tests(cmd.arg("--target-dir").arg(ctx.ws.target.join("consumers")), None)?.run()?;
    }
    Ok(Outcome::Done)
}

/// Where the consumers are.
pub(crate) fn dirs(ws: &Workspace) -> Result<Vec<PathBuf>> {
    let home = ws.root.join("tests/consumers");
    let entries = fs::read_dir(&home).with_context(|| format!("cannot read {}", home.display()))?;
    let mut dirs: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|p| p.join("Cargo.toml").exists()).collect();
    dirs.sort();
    ensure!(!dirs.is_empty(), "{} holds no consumer", home.display());
    Ok(dirs)
}
