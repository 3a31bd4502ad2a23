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

/// The portable minimum of features, for the consumers that offer it.
const MINIMUM: &[&str] = &["--no-default-features", "--features", "threadpool"];

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    for dir in dirs(&ctx.ws)? {
        fs::copy(ctx.ws.root.join("Cargo.lock"), dir.join("Cargo.lock")).context("cannot copy Cargo.lock")?;
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).context("cannot read a consumer's manifest")?;
        let minimum = offers_minimum(&manifest).then_some(MINIMUM);
        for features in [Some(&[][..]), minimum].into_iter().flatten() {
            let cmd = ctx.cargo().args(["run", "--quiet", "--manifest-path"]).arg(dir.join("Cargo.toml"));
            let cmd = cmd.args(features).arg("--target-dir").arg(ctx.ws.target.join("consumers"));
            ctx.for_tests(cmd, None)?.run()?;
        }
    }
    Ok(Outcome::Done)
}

fn offers_minimum(manifest: &str) -> bool {
    manifest.lines().any(|line| line.starts_with("threadpool = ["))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facade_is_consumed_with_the_minimum_too() {
        let ws = Workspace::load().unwrap();
        let with: Vec<_> = dirs(&ws)
            .unwrap()
            .into_iter()
            .filter(|dir| offers_minimum(&fs::read_to_string(dir.join("Cargo.toml")).unwrap()))
            .collect();
        assert_eq!(with, [ws.root.join("tests/consumers/fs-only")]);
    }
}
