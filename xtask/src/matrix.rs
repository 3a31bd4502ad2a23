//! `cargo xtask matrix`: the jobs spread out over drivers, features and platforms, for a CI system that fans out.

use crate::features;
use crate::jobs::{FeatureSets, JOBS, Job, Tier};
use crate::workspace::Workspace;
use anyhow::Result;
use serde::Serialize;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask matrix --json")]
pub(crate) struct Args {
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One cell: what one job covers. Cells of the same job share its command.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Cell {
    job: &'static str,
    tier: Tier,
    /// Absent for jobs about the sources.
    driver: Option<&'static str>,
    features: String,
    platform: &'static str,
    command: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let combinations = features::all(&Workspace::load()?)?;
    let cells: Vec<Cell> = JOBS.iter().flat_map(|job| spread(job, &combinations)).collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&cells)?);
        return Ok(());
    }
    println!("{:<12} {:<5} {:<10} {:<8} features", "job", "tier", "driver", "platform");
    for cell in cells {
        let tier = format!("{:?}", cell.tier).to_lowercase();
        println!(
            "{:<12} {:<5} {:<10} {:<8} {}",
            cell.job,
            tier,
            cell.driver.unwrap_or("-"),
            cell.platform,
            cell.features
        );
    }
    Ok(())
}

fn spread(job: &Job, combinations: &[(&str, Vec<String>)]) -> Vec<Cell> {
    let features: Vec<String> = match job.features {
        FeatureSets::Default => vec!["default".to_owned()],
        FeatureSets::Named(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        FeatureSets::Combinations => combinations
            .iter()
            .flat_map(|(package, sets)| {
                sets.iter().map(move |set| format!("{package}: {}", if set.is_empty() { "none" } else { set }))
            })
            .collect(),
    };
    let drivers: Vec<Option<&'static str>> =
        if job.drivers.is_empty() { vec![None] } else { job.drivers.iter().copied().map(Some).collect() };
    let mut cells = Vec::new();
    for platform in job.platforms {
        for driver in &drivers {
            for features in &features {
                cells.push(Cell {
                    job: job.name,
                    tier: job.tier,
                    driver: *driver,
                    features: features.clone(),
                    platform,
                    command: format!("cargo xtask ci --only {}", job.name),
                });
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::{EVERY_DRIVER, by_name};

    #[test]
    fn every_job_is_in_the_matrix_with_each_of_its_drivers() {
        let combinations = [("io-fs", vec![String::new(), "a".to_owned()])];
        for job in JOBS {
            let cells = spread(job, &combinations);
            assert!(!cells.is_empty(), "{}", job.name);
            let mut drivers: Vec<_> = cells.iter().filter_map(|cell| cell.driver).collect();
            drivers.dedup();
            assert_eq!(drivers, job.drivers, "{}", job.name);
        }
        let tests = spread(by_name("tests").unwrap(), &combinations);
        assert_eq!(tests.len(), EVERY_DRIVER.len());
        let features = spread(by_name("features").unwrap(), &combinations);
        assert_eq!(features.iter().map(|cell| cell.features.as_str()).collect::<Vec<_>>(), ["io-fs: none", "io-fs: a"]);
    }

    #[test]
    fn cells_differ() {
        let combinations = [("io-fs", vec!["a".to_owned()]), ("io-cli", vec!["a".to_owned()])];
        let cells: Vec<Cell> = JOBS.iter().flat_map(|job| spread(job, &combinations)).collect();
        for (at, cell) in cells.iter().enumerate() {
            assert!(!cells[at + 1..].contains(cell), "{cell:?}");
        }
    }
}
