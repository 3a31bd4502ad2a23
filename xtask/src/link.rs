//! libaio-sys with its feature `link`: the same tests against libaio.so and against the raw system calls.

use crate::exec::Cmd;
use crate::runner::{Ctx, Outcome};
use anyhow::Result;

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    if !libaio_links(ctx) {
        return Ok(Outcome::Skipped("libaio.so is not installed (Debian: libaio-dev)".to_owned()));
    }
    // --lib and --tests: the examples in the documentation are the same with and without the feature.
    let cmd = ctx.cargo().args(["test", "-p", "libaio-sys", "--features", "link", "--lib", "--tests"]);
    ctx.for_tests(cmd, None)?.run()?;
    Ok(Outcome::Done)
}

/// Asks the linker itself, because where libraries live differs from one distribution to the next.
fn libaio_links(ctx: &Ctx) -> bool {
    let out = ctx.ws.target.join("tmp/libaio-probe");
    let cc = Cmd::new("cc").args(["-shared", "-Wl,--no-as-needed", "-laio", "-o"]).arg(&out);
    let found = cc.output().is_ok();
    // Nothing depends on the probe being gone; the next one overwrites it.
    let _ = std::fs::remove_file(&out);
    found
}
