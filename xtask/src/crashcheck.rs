//! `cargo xtask crashcheck`: power cuts at every moment of what our crates promise, on the simulator.
//!
//! The workloads are ordinary tests in modules called `crashcheck`, which run with a few thousand points each. Here the same
//! tests, on the release profile, are asked for more; each says in a line how much it explored, and the sum has to be enough.

use crate::exec::{Cmd, Usage};
use crate::runner::{Ctx, Outcome};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// The packages that have such tests.
const PACKAGES: &[&str] = &["io-fs", "io-log"];

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: cargo xtask crashcheck --points 1000000 --seed 7\n          cargo xtask crashcheck --workload replace --only 7/41.3"
)]
pub(crate) struct Args {
    /// Cuts the power at so many points, shared out among the workloads
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    points: u64,
    /// Draws everything from this seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Runs this workload alone
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Does this crash once more, as a failure names it, and nothing else
    #[arg(long, value_name = "CRASH", requires = "workload")]
    only: Option<String>,
    /// Lists the workloads and ends
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let ctx = Ctx::new()?;
    let workloads = workloads(&ctx)?;
    if args.list {
        workloads.iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    match (&args.workload, &args.only) {
        (Some(name), _) if !workloads.contains(name) => {
            Err(Usage(format!("no workload is called `{name}`: there are {}", join(&workloads))).into())
        }
        (Some(name), Some(crash)) => {
            tests(&ctx)?.arg(format!("crashcheck::{name}::")).args(SHOW).env("IOFS_CRASH_ONLY", crash).run()
        }
        (Some(name), None) => explore(&ctx, &BTreeSet::from([name.clone()]), args.points, args.seed),
        (None, _) => explore(&ctx, &workloads, args.points, args.seed),
    }
}

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    explore(ctx, &workloads(ctx)?, 200_000, 1)?;
    Ok(Outcome::Done)
}

pub(crate) fn long(ctx: &Ctx) -> Result<Outcome> {
    explore(ctx, &workloads(ctx)?, 1_000_000, 2)?;
    Ok(Outcome::Done)
}

/// One test at a time, because each uses all processors; its lines as they come.
const SHOW: [&str; 3] = ["--", "--nocapture", "--test-threads=1"];

fn tests(ctx: &Ctx) -> Result<Cmd> {
    let cmd = PACKAGES.iter().fold(ctx.cargo().args(["test", "--release"]), |cmd, package| cmd.args(["-p", package]));
    ctx.for_tests(cmd.args(["--test", "it"]), None)
}

/// The names of the modules with the tests.
fn workloads(ctx: &Ctx) -> Result<BTreeSet<String>> {
    let list = tests(ctx)?.args(["crashcheck::", "--", "--list"]).output()?;
    let names: BTreeSet<String> = list.lines().filter_map(workload_of).map(str::to_owned).collect();
    ensure!(!names.is_empty(), "there is no test in a module called crashcheck");
    Ok(names)
}

fn workload_of(line: &str) -> Option<&str> {
    let (name, _) = line.strip_suffix(": test")?.split_once("crashcheck::")?.1.split_once("::")?;
    Some(name)
}

fn explore(ctx: &Ctx, workloads: &BTreeSet<String>, points: u64, seed: u64) -> Result<()> {
    let each = points.div_ceil(workloads.len() as u64);
    let filter = match workloads.first() {
        Some(name) if workloads.len() == 1 => format!("crashcheck::{name}::"),
        _ => "crashcheck::".to_owned(),
    };
    println!("{points} points and more, of {}, from seed {seed}", join(workloads));
    let env = [("IOFS_CRASH_POINTS", each), ("IOFS_CRASH_SEED", seed)];
    let cmd = env.iter().fold(tests(ctx)?, |cmd, (key, value)| cmd.env(key, value.to_string()));
    let text = cmd.arg(filter).args(SHOW).output()?;
    let lines: Vec<&str> = text.lines().filter_map(|line| Some(&line[line.find("crashes of ")?..])).collect();
    lines.iter().for_each(|line| println!("{line}"));
    for name in workloads {
        let said = format!("crashes of {name}: ");
        ensure!(lines.iter().any(|line| line.starts_with(&said)), "`{name}` does not say what it explored");
    }
    let explored = lines.iter().map(|line| points_of(line)).sum::<Result<u64>>()?;
    ensure!(explored >= points, "only {explored} of {points} points were explored");
    println!("{explored} crash points explored, no failure");
    Ok(())
}

/// The number before `crash points` in a line such as `crashes of replace: seed 1: 3 runs, 204 crash points, …`.
fn points_of(line: &str) -> Result<u64> {
    let before = line.split_once(" crash points").map(|(before, _)| before);
    let number = before.and_then(|before| before.rsplit(' ').next()?.parse().ok());
    number.with_context(|| format!("no number of crash points in `{line}`"))
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_the_modules_of_the_tests() {
        assert_eq!(workload_of("crashcheck::replace::what_was_replaced: test"), Some("replace"));
        assert_eq!(workload_of("x::crashcheck::wal::scripted::a: test"), Some("wal"));
        assert_eq!(workload_of("crashcheck::helper: test"), None);
        assert_eq!(workload_of("6 tests, 0 benchmarks"), None);
    }

    #[test]
    fn points_are_read_from_the_lines_of_the_tests() {
        let line = "crashes of replace: seed 1: 297 runs, 20061 crash points, 127194 states, 5 of them after a cut in recovery";
        assert_eq!(points_of(line).unwrap(), 20061);
        assert!(points_of("crashes of replace: none").is_err());
    }
}
