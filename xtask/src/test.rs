//! `cargo xtask test`: what a newcomer runs.
//!
//! Everything stays inside the clone: temp files go to the target directory, and the one directory on /dev/shm is removed
//! at the end. Tests that would change settings of the machine skip here and say so; `ci` runs them.

use crate::jobs::{self, Tier};
use crate::runner::{self, Ctx, Outcome, Plan};
use crate::tests_of::Tests;
use anyhow::Result;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: cargo xtask test\n\nWhat was skipped, and why, is printed at the end and kept in target/skips.log."
)]
pub(crate) struct Args {
    /// Runs the remaining jobs after one has failed
    #[arg(long)]
    keep_going: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    runner::run(&Plan { jobs: jobs::of(&[Tier::Test]), keep_going: args.keep_going, strict_skips: false })
}

pub(crate) fn tests(ctx: &Ctx) -> Result<Outcome> {
    if !ctx.nextest {
        println!("cargo-nextest is not installed: cargo test runs the same tests");
    }
    Tests::default().run(ctx)?;
    Ok(Outcome::Done)
}

/// A run over the workspace has the features that its packages ask of each other, and so tokio's reactor. Here the reaper threads do
/// without it; and then the adapters are there for every runtime at once.
pub(crate) fn runtimes(ctx: &Ctx) -> Result<Outcome> {
    let packages = &["io-engine", "io-fs"];
    Tests { packages, ..Tests::default() }.run(ctx)?;
    Tests { packages, cargo_args: &["--all-features"], ..Tests::default() }.run(ctx)?;
    Ok(Outcome::Done)
}

pub(crate) fn doctests(ctx: &Ctx) -> Result<Outcome> {
    ctx.for_tests(ctx.cargo().args(["test", "--doc", "--workspace"]), None)?.run()?;
    Ok(Outcome::Done)
}
