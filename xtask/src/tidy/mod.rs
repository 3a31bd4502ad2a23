//! `cargo xtask tidy`: the matters that a machine can judge, each in a file of its own.
//!
//! Floors come from `cargo metadata`; everything else is read from the sources as text, without a build.

mod commands;
mod files;
mod floors;
mod paths;
mod source;
mod unsafe_code;

use crate::runner::{Ctx, Outcome};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use files::TextFile;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask tidy")]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    check(&Workspace::load()?)
}

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    check(&ctx.ws)?;
    Ok(Outcome::Done)
}

fn check(ws: &Workspace) -> Result<()> {
    let files = TextFile::all(&ws.root).context("cannot read the sources")?;
    let mut found = floors::check(&ws.packages);
    found.extend(unsafe_code::check(&files));
    found.extend(source::check(&files));
    found.extend(paths::check(&files, &ws.root));
    found.extend(commands::check(&files));
    if found.is_empty() {
        println!("tidy: {} packages and {} files are in order", ws.packages.len(), files.len());
        return Ok(());
    }
    for violation in &found {
        println!("{violation}");
    }
    bail!("tidy found {} violations", found.len());
}
