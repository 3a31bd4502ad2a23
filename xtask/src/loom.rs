//! The loom models: every package that depends on loom, its library tests called `loom`, under `--cfg loom`.

use crate::runner::{Ctx, Outcome};
use anyhow::{Result, ensure};

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    let has_models = |package: &&crate::workspace::Package| package.dependencies.iter().any(|d| d.name == "loom");
    let packages: Vec<&str> = ctx.ws.packages.iter().filter(has_models).map(|package| package.name.as_str()).collect();
    ensure!(!packages.is_empty(), "no package depends on loom");
    for package in packages {
        let models = |cmd: crate::exec::Cmd| {
            cmd.args(["test", "--release", "-p", package, "--lib", "--target-dir"])
                .arg(ctx.ws.target.join("loom"))
                .args(["--", "loom"])
                .env("RUSTFLAGS", "--cfg loom")
                // Optimised for speed of the search; linking the crates into one piece would only cost build time.
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
        };
        let list = models(ctx.cargo()).arg("--list").output()?;
        ensure!(list.lines().any(|line| line.ends_with(": test")), "{package} depends on loom and has no model");
        models(ctx.cargo()).run()?;
    }
    Ok(Outcome::Done)
}
