//! The jobs that are one cargo command each.

use crate::consumers;
use crate::filesystems;
use crate::runner::{Ctx, Outcome};
use anyhow::Result;

pub(crate) fn fmt(ctx: &Ctx) -> Result<Outcome> {
    ctx.cargo().args(["fmt", "--all", "--check"]).run()?;
    for dir in consumers::dirs(&ctx.ws)? {
        ctx.cargo().args(["fmt", "--check", "--manifest-path"]).arg(dir.join("Cargo.toml")).run()?;
    }
    ctx.cargo().args(["fmt", "--check", "--manifest-path"]).arg(filesystems::manifest(&ctx.ws.root)).run()?;
    Ok(Outcome::Done)
}

pub(crate) fn clippy(ctx: &Ctx) -> Result<Outcome> {
    ctx.cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()?;
    Ok(Outcome::Done)
}

pub(crate) fn rustdoc(ctx: &Ctx) -> Result<Outcome> {
    ctx.cargo().args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings").run()?;
    Ok(Outcome::Done)
}

/// Compiles the benches without the release profile's link-time optimisation: what is asked here is whether they compile.
pub(crate) fn benches(ctx: &Ctx) -> Result<Outcome> {
    ctx.cargo()
        .args(["bench", "-p", "benches", "--no-run"])
        .env("CARGO_PROFILE_BENCH_LTO", "off")
        .env("CARGO_PROFILE_BENCH_CODEGEN_UNITS", "16")
        .run()?;
    Ok(Outcome::Done)
}
