//! `cargo xtask ci`: the checks that `test` does not make.

use crate::exec::Usage;
use crate::jobs::{self, JOBS, Job, Tier};
use crate::runner::{self, Plan};
use anyhow::Result;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples: cargo xtask ci\n          cargo xtask ci --full\n          cargo xtask ci --only clippy --only tidy"
)]
pub(crate) struct Args {
    /// Adds the long versions: hours instead of minutes
    #[arg(long)]
    full: bool,
    /// Runs this job alone, of whichever tier; may be given several times
    #[arg(long, value_name = "JOB")]
    only: Vec<String>,
    /// Runs the remaining jobs after one has failed
    #[arg(long)]
    keep_going: bool,
    /// Lists the jobs and ends
    #[arg(long)]
    list: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        for job in JOBS {
            println!("{:<14} {:<5} {}", job.name, format!("{:?}", job.tier).to_lowercase(), job.what);
        }
        return Ok(());
    }
    let jobs = choose(&args.only, args.full)?;
    runner::run(&Plan { jobs, keep_going: args.keep_going, strict_skips: true })
}

fn choose(only: &[String], full: bool) -> Result<Vec<&'static Job>> {
    if only.is_empty() {
        return Ok(jobs::of(if full { &[Tier::Ci, Tier::Full] } else { &[Tier::Ci] }));
    }
    let unknown = |name: &String| Usage(format!("no job is called `{name}`; `cargo xtask ci --list` shows them"));
    only.iter().map(|name| jobs::by_name(name).ok_or_else(|| unknown(name).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_does_not_run_the_newcomers_tests_again() {
        let ci = choose(&[], false).unwrap();
        assert!(ci.iter().all(|job| job.tier == Tier::Ci));
        let full = choose(&[], true).unwrap();
        assert!(full.len() > ci.len() && full.iter().all(|job| job.tier != Tier::Test));
    }

    #[test]
    fn jobs_are_chosen_by_name_or_refused() {
        let chosen = choose(&["tidy".into(), "tests".into()], false).unwrap();
        assert_eq!(chosen.iter().map(|job| job.name).collect::<Vec<_>>(), ["tidy", "tests"]);
        let error = choose(&["tidi".into()], false).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("tidi"), "{error}");
    }
}
