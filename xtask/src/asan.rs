//! The tests of the drivers, the engine and the facade under AddressSanitizer.
//!
//! `-Zsanitizer` needs a nightly compiler or RUSTC_BOOTSTRAP; the standard library stays uninstrumented, which costs some
//! findings and no false ones. The target has to be named, or build scripts and macros would be instrumented as well. What
//! the kernel writes is invisible to the sanitizer: the guard buffers of the conformance suite stand in for that.

use crate::exec::Cmd;
use crate::runner::{Ctx, Outcome};
use anyhow::{Context, Result};

const PACKAGES: &[&str] = &["io-core", "io-threadpool", "io-aio", "io-uring-driver", "io-sim", "io-engine", "io-fs"];

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    let host = host_triple()?;
    if !has_sanitizer(&host) {
        return Ok(Outcome::Skipped(format!("AddressSanitizer does not exist for {host}")));
    }
    // One process a test where nextest is there: a hang then has a name, and a limit of its own.
    let runner: &[&str] = if ctx.nextest { &["nextest", "run"] } else { &["test"] };
    let cmd = PACKAGES.iter().fold(ctx.cargo().args(runner), |cmd, package| cmd.args(["-p", package]));
    // Library and integration tests; documentation tests would need the same flags for rustdoc and prove nothing more.
    let cmd = cmd
        .args(["--lib", "--tests", "--target", &host, "--target-dir"])
        .arg(ctx.ws.target.join("asan"))
        .env("RUSTC_BOOTSTRAP", "1")
        // Leaks are by design where a driver died with operations in flight (I7), and the tests provoke that.
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .env("RUSTFLAGS", "-Zsanitizer=address");
    ctx.for_tests(cmd, None)?.run()?;
    Ok(Outcome::Done)
}

fn host_triple() -> Result<String> {
    let version = Cmd::new("rustc").arg("-vV").output()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

fn has_sanitizer(host: &str) -> bool {
    ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-apple-darwin", "aarch64-apple-darwin"]
        .contains(&host)
}
