//! The project's automation: `cargo xtask <command>`.
//!
//! One file per command, and one list of jobs (`jobs.rs`) behind `test`, `ci` and `matrix`. A CI system only has to call
//! it; everything that decides something is here, where it can be tried on a desk. It knows the workspace from the outside
//! alone (manifests, sources, cargo): it depends on none of the crates it checks.
//!
//! Exit codes: 0 good, 1 something failed, 2 usage, 130 interrupted.

#![deny(unsafe_code)]

mod allowed_skips;
mod asan;
mod bench;
mod bindgen;
mod checks;
mod ci;
mod consumers;
mod crashcheck;
mod exec;
mod features;
mod filesystems;
mod jobs;
mod link;
mod loom;
mod machine;
mod matrix;
mod mounts;
mod powercut;
mod probe;
mod runner;
mod skips;
mod soak;
mod storm;
mod sys;
mod test;
mod tests_of;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tests, checks and probes of this workspace")]
#[command(after_help = "Example: cargo xtask test")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything a newcomer should run: unit, conformance, integration and documentation tests
    Test(test::Args),
    /// Runs the checks that `test` does not: lints, features, sanitizers, models, consumers, file systems
    Ci(ci::Args),
    /// Checks floors, unsafe code, file sizes and the commands that the documents promise
    Tidy(tidy::Args),
    /// Shows what this host allows, by trying it
    Probe(probe::Args),
    /// Prints the jobs as driver × feature × platform, from the list that `ci` runs
    Matrix(matrix::Args),
    /// Regenerates the vendored bindings of linux/aio_abi.h
    Bindgen(bindgen::Args),
    /// Cuts the power at every moment of what our crates promise, on the simulator
    Crashcheck(crashcheck::Args),
    /// Cuts the power of a virtual machine at every write of its disk, and looks for what was durable
    Powercut(powercut::Args),
    /// Runs the criterion benches
    Bench(bench::Args),
}

fn main() -> ExitCode {
    sys::catch_interrupts();
    let done = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Probe(args) => probe::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Bindgen(args) => bindgen::run(&args),
        Command::Crashcheck(args) => crashcheck::run(&args),
        Command::Powercut(args) => powercut::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<exec::Interrupted>() => {
            eprintln!("xtask: interrupted");
            ExitCode::from(130)
        }
        Err(error) if error.is::<exec::Usage>() => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_in_its_help() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("cargo xtask "), "`{}` has no example in its help:\n{help}", command.get_name());
        }
    }
}
