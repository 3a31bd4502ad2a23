//! One selection of tests, run by cargo-nextest where it is installed and by `cargo test` elsewhere.

use crate::exec::Cmd;
use crate::runner::Ctx;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, Default)]
pub(crate) struct Tests<'a> {
    /// None: the whole workspace.
    pub(crate) packages: &'a [&'a str],
    /// What else cargo is told about their features and targets.
    pub(crate) cargo_args: &'a [&'a str],
    /// As users build it: with every optimization.
    pub(crate) release: bool,
    /// A part of the tests' names.
    pub(crate) filter: Option<&'a str>,
    /// One test at a time.
    pub(crate) serial: bool,
    /// A profile of .config/nextest.toml.
    pub(crate) profile: Option<&'a str>,
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// Where conformance runs, if not in the usual places.
    pub(crate) dirs: Option<&'a [PathBuf]>,
}

impl Tests<'_> {
    pub(crate) fn run(&self, ctx: &Ctx) -> Result<()> {
        self.require(ctx)?;
        let cmd = if ctx.nextest { self.nextest(ctx, "run") } else { self.plain(ctx) };
        self.finish(ctx, cmd)?.run()
    }

    /// A filter that matches nothing, or nothing in one of the packages, must not look like a success.
    fn require(&self, ctx: &Ctx) -> Result<()> {
        let Some(filter) = self.filter else { return Ok(()) };
        if !ctx.nextest {
            let list = self.finish(ctx, self.plain(ctx).arg("--list"))?.output()?;
            ensure!(list.lines().any(|line| line.ends_with(": test")), "no test is called `{filter}`");
            return Ok(());
        }
        let list = self.finish(ctx, self.nextest(ctx, "list").arg("--message-format=json"))?.output()?;
        let counts = count_matches(&list)?;
        ensure!(counts.values().sum::<usize>() > 0, "no test is called `{filter}`");
        for package in self.packages {
            let count = counts.get(*package).copied().unwrap_or_default();
            ensure!(count > 0, "no test of {package} is called `{filter}`");
        }
        Ok(())
    }

    fn nextest(&self, ctx: &Ctx, verb: &str) -> Cmd {
        let mut cmd = ctx.cargo().args(["nextest", verb]);
        if let Some(profile) = self.profile {
            cmd = cmd.args(["--profile", profile]);
        }
        if self.release {
            cmd = cmd.args(["--cargo-profile", "release"]);
        }
        cmd = self.select(cmd);
        if let Some(filter) = self.filter {
            cmd = cmd.arg("-E").arg(format!("test({filter})"));
        }
        if self.serial && verb == "run" { cmd.arg("--test-threads=1") } else { cmd }
    }

    fn plain(&self, ctx: &Ctx) -> Cmd {
        let cmd = self.select(ctx.cargo().args(["test", "--lib", "--bins", "--tests", "--examples"]));
        let mut cmd = if self.release { cmd.arg("--release") } else { cmd }.arg("--");
        if self.serial {
            cmd = cmd.arg("--test-threads=1");
        }
        match self.filter {
            Some(filter) => cmd.arg(filter),
            None => cmd,
        }
    }

    fn select(&self, cmd: Cmd) -> Cmd {
        let cmd = match self.packages {
            [] => cmd.arg("--workspace"),
            packages => packages.iter().fold(cmd, |cmd, package| cmd.args(["-p", package])),
        };
        cmd.args(self.cargo_args)
    }

    fn finish(&self, ctx: &Ctx, cmd: Cmd) -> Result<Cmd> {
        let cmd = ctx.for_tests(cmd, self.dirs)?;
        Ok(self.env.iter().fold(cmd, |cmd, (key, value)| cmd.env(key, value)))
    }
}

/// Matching tests per package in what `cargo nextest list --message-format=json` prints.
fn count_matches(list: &str) -> Result<BTreeMap<String, usize>> {
    let list: Value = serde_json::from_str(list).context("cannot read the list of tests")?;
    let suites = list["rust-suites"].as_object().context("the list of tests has no suites")?;
    let mut counts = BTreeMap::new();
    for suite in suites.values() {
        let package = suite["package-name"].as_str().context("a suite without a package")?.to_owned();
        let cases = suite["testcases"].as_object();
        let hits = cases
            .into_iter()
            .flat_map(|cases| cases.values())
            .filter(|case| case["filter-match"]["status"] == "matches")
            .count();
        *counts.entry(package).or_default() += hits;
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_counted_per_package_over_its_binaries() {
        let list = r#"{"rust-suites": {
            "a": {"package-name": "a", "testcases": {"x": {"filter-match": {"status": "matches"}}}},
            "a::it": {"package-name": "a", "testcases": {
                "y": {"filter-match": {"status": "matches"}},
                "z": {"filter-match": {"status": "mismatch", "reason": "expression"}}}},
            "b": {"package-name": "b", "testcases": {}}}}"#;
        let counts = count_matches(list).unwrap();
        assert_eq!(counts["a"], 2);
        assert_eq!(counts["b"], 0);
        assert!(count_matches("{}").is_err());
    }
}
