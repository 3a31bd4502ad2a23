//! `cargo xtask bench`: the criterion benches.

use crate::exec::Cmd;
use crate::workspace::Workspace;
use anyhow::Result;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: cargo xtask bench\n          cargo xtask bench -- token --quick")]
pub(crate) struct Args {
    /// Passed on to criterion: a part of a bench's name, or options after `--`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let ws = Workspace::load()?;
    Cmd::cargo(&ws.root).args(["bench", "-p", "benches", "--"]).args(&args.args).run()
}
