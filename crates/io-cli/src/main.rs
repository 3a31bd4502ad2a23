//! `iofs`: compares the drivers of this machine on a real file, copies files, runs one workload, keeps
//! records in a log.
//!
//! Runs on every platform; Linux has all drivers. It knows io-fs and io-log and nothing below them. Errors end here: each becomes one line on
//! stderr and an exit code (0 good, 1 the work failed, 2 usage or bad input).
#![deny(unsafe_code)]

mod args;
mod bench;
mod clock;
mod compare;
mod copy;
mod exit;
mod files;
mod load;
mod log;
mod once;
mod output;
mod pick;
mod progress;
mod scratch;
mod size;

#[allow(unsafe_code)] // getrusage(2), which std does not have
mod rusage;

use args::{Cli, Command};
use clap::Parser;
use exit::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    exit::name_panics();
    let done = std::panic::catch_unwind(|| match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(answer) => args::answer(&answer),
    });
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        // The panic hook has said what happened.
        Err(_) => ExitCode::from(exit::WORK),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    scratch::remove_on_interrupt()?;
    match cli.command {
        Command::Compare(args) => compare::run(&args),
        Command::Copy(args) => copy::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Log(args) => log::run(&args),
    }
}
