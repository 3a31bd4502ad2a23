//! The storms of engine and facade on the release profile: random drops, cancels and time-outs over every driver and executor, against
//! a model. The ordinary tests run them, too, with a few thousand operations each; here `IOFS_STORM` asks for more.

use crate::runner::{Ctx, Outcome};
use crate::tests_of::Tests;
use anyhow::Result;

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    storms(ctx, "100000")
}

pub(crate) fn long(ctx: &Ctx) -> Result<Outcome> {
    storms(ctx, "1000000")
}

/// So many operations in all storms of the facade together, and in each of the engine's, which are cheaper.
fn storms(ctx: &Ctx, operations: &str) -> Result<Outcome> {
    let env = [("IOFS_STORM", operations)];
    // Their binaries alone: the examples would be linked with all optimizations, too, and take longer than the storms.
    let (packages, cargo_args) = (&["io-engine", "io-fs"], &["--test", "it"]);
    let tests = Tests { packages, cargo_args, release: true, filter: Some("storm::"), ..Tests::default() };
    // One after the other: they are made of threads, which would fight for the processors.
    Tests { serial: true, profile: Some("soak"), env: &env, ..tests }.run(ctx)?;
    Ok(Outcome::Done)
}
