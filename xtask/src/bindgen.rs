//! `cargo xtask bindgen`: regenerates the vendored bindings of `linux/aio_abi.h`, or checks that they are what comes out.
//!
//! bindgen is no build-dependency of anybody: it needs libclang. Its output is formatted by rustfmt with the workspace's
//! settings in both modes, and compared without its first line, which names bindgen's own patch version.

use crate::exec::{self, Cmd};
use crate::runner::{Ctx, Outcome};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// The version whose output is committed. Another minor version may write the same header differently.
const VERSION: &str = "^0.73";

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples: cargo xtask bindgen\n          cargo xtask bindgen --check")]
pub(crate) struct Args {
    /// Changes nothing; fails if the committed bindings differ from what is generated
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let ws = Workspace::load()?;
    let fresh = generate(&ws)?;
    let path = committed(&ws);
    if args.check {
        return compare(&path, &fresh);
    }
    fs::write(&path, fresh).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    if let Some(lack) = lacking() {
        return Ok(Outcome::Skipped(lack));
    }
    compare(&committed(&ctx.ws), &generate(&ctx.ws)?)?;
    Ok(Outcome::Done)
}

fn committed(ws: &Workspace) -> PathBuf {
    ws.root.join("crates/libaio-sys/src/bindings.rs")
}

/// What keeps bindgen from running here, if anything.
pub(crate) fn lacking() -> Option<String> {
    if !Path::new("/usr/include/linux/aio_abi.h").exists() {
        return Some("linux/aio_abi.h is not installed (Debian: linux-libc-dev)".to_owned());
    }
    (!has_libclang()).then(|| "libclang is not installed (Debian: libclang-dev)".to_owned())
}

/// Looks where clang-sys looks: its own variable, the linker's directories, and each version's directory of LLVM.
fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let here = |dir: &Path| {
        let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| {
            let name = name.to_string_lossy();
            name.starts_with("libclang.so") || (name.starts_with("libclang-") && name.contains(".so"))
        })
    };
    let versions = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let llvm = versions.filter(|path| path.to_string_lossy().contains("llvm")).map(|path| path.join("lib"));
    let fixed = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    fixed.iter().map(PathBuf::from).chain(llvm).any(|dir| here(&dir))
}

fn generate(ws: &Workspace) -> Result<String> {
    let bindgen = installed(ws)?;
    let dir = tempfile::tempdir_in(&ws.target).context("cannot make a temp directory")?;
    let out = dir.path().join("bindings.rs");
    Cmd::new(bindgen)
        .dir(&ws.root.join("crates/libaio-sys"))
        .arg("abi.h")
        .args(["--allowlist-type", "(iocb|io_event|__kernel_rwf_t|aio_context_t)"])
        .args(["--allowlist-var", "IOCB_.*"])
        .args(["--rust-target", "1.85", "--rust-edition", "2024", "--use-core", "-o"])
        .arg(&out)
        .run()?;
    Cmd::new("rustfmt").args(["--edition", "2024", "--config-path"]).arg(&ws.root).arg(&out).run()?;
    fs::read_to_string(&out).context("bindgen wrote nothing")
}

/// bindgen of our version: from PATH, from an earlier installation in the target directory, or installed there now.
fn installed(ws: &Workspace) -> Result<PathBuf> {
    let tools = ws.target.join("tools");
    let ours = tools.join("bin").join(format!("bindgen{}", std::env::consts::EXE_SUFFIX));
    for candidate in exec::find("bindgen").into_iter().chain([ours.clone()]) {
        let version = if candidate.exists() { Cmd::new(&candidate).arg("--version").output() } else { continue };
        if version.is_ok_and(|version| right_version(&version)) {
            return Ok(candidate);
        }
    }
    println!("installing bindgen-cli {VERSION} into {} (a minute or two, once)", tools.display());
    Cmd::new("cargo")
        // A debug build: it runs once, and compiles in half the time.
        .args(["install", "bindgen-cli", "--version", VERSION, "--locked", "--debug", "--root"])
        .arg(&tools)
        .arg("--target-dir")
        .arg(tools.join("build"))
        .run()?;
    Ok(ours)
}

/// `bindgen 0.73.2` is, `bindgen 0.60.1` is not.
fn right_version(said: &str) -> bool {
    let minor = format!("{}.", VERSION.trim_start_matches('^'));
    said.trim().trim_start_matches("bindgen ").starts_with(&minor)
}

fn compare(path: &Path, fresh: &str) -> Result<()> {
    let old = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    match first_difference(&old, fresh) {
        None => {
            println!("{} is what bindgen generates", path.display());
            Ok(())
        }
        Some((line, old, new)) => bail!(
            "{} differs from what bindgen generates, first in line {line}:\n  committed: {old}\n  generated: {new}\n\
             `cargo xtask bindgen` writes it anew",
            path.display()
        ),
    }
}

/// Number and text of the first line that differs; the line that names bindgen's version does not count.
fn first_difference<'a>(old: &'a str, new: &'a str) -> Option<(usize, &'a str, &'a str)> {
    let versionless = |line: &&str| !line.starts_with("/* automatically generated by rust-bindgen");
    let mut old = old.lines().filter(versionless);
    let mut new = new.lines().filter(versionless);
    // Lines count from 1, and the line left out is the first.
    for number in 2.. {
        match (old.next(), new.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => return Some((number, a.unwrap_or("(end of file)"), b.unwrap_or("(end of file)"))),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_minor_version_will_do() {
        assert!(right_version("bindgen 0.73.2\n"));
        assert!(!right_version("bindgen 0.60.1"));
        assert!(!right_version("bindgen 0.730.1"));
    }

    #[test]
    fn a_difference_is_shown_and_the_version_line_is_not_one() {
        let old = "/* automatically generated by rust-bindgen 0.73.1 */\n\npub type A = u32;\n";
        let new = "/* automatically generated by rust-bindgen 0.73.2 */\n\npub type A = u32;\n";
        assert_eq!(first_difference(old, new), None);
        let new = format!("{new}pub type B = u64;\n");
        assert_eq!(first_difference(old, &new), Some((4, "(end of file)", "pub type B = u64;")));
    }
}
