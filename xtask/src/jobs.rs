//! The one list of jobs. `test`, `ci`, `ci --full` and `matrix` all read it; nothing is run that is not on it.
//!
//! A new check is a new entry here and a file with its function. Its tier says who runs it: `Test` is for a newcomer
//! (15 minutes from a cold clone on two cores), `Ci` for every change (45 minutes), `Full` for the long versions. Cheap jobs
//! come first, so that a slip is told early.

use crate::runner::{Ctx, Outcome};
use crate::{
    asan, bindgen, checks, consumers, crashcheck, features, filesystems, link, loom, machine, powercut, soak, storm,
    test, tidy,
};
use anyhow::Result;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    Test,
    Ci,
    Full,
}

/// What `matrix` varies for a job in the dimension of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeatureSets {
    /// The packages' defaults.
    Default,
    /// Every combination to depth two.
    Combinations,
    /// These by name.
    Named(&'static [&'static str]),
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) tier: Tier,
    pub(crate) what: &'static str,
    /// The drivers that the job exercises; none for jobs about the sources.
    pub(crate) drivers: &'static [&'static str],
    pub(crate) features: FeatureSets,
    pub(crate) platforms: &'static [&'static str],
    /// After so many minutes its commands are killed: generous, there to end a hang.
    pub(crate) minutes_max: u64,
    pub(crate) run: fn(&Ctx) -> Result<Outcome>,
}

const LINUX: &[&str] = &["linux"];
const NONE: &[&str] = &[];
pub(crate) const EVERY_DRIVER: &[&str] = &["uring", "aio", "threadpool", "sim"];

pub(crate) static JOBS: &[Job] = &[
    Job {
        name: "doctests",
        tier: Tier::Test,
        what: "the examples in the documentation",
        drivers: NONE,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 15,
        run: test::doctests,
    },
    Job {
        name: "tests",
        tier: Tier::Test,
        what: "unit, conformance and integration tests of every package",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 20,
        run: test::tests,
    },
    Job {
        name: "fmt",
        tier: Tier::Ci,
        what: "rustfmt would change nothing",
        drivers: NONE,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 2,
        run: checks::fmt,
    },
    Job {
        name: "tidy",
        tier: Tier::Ci,
        what: "floors, unsafe code, file sizes, promised commands",
        drivers: NONE,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 2,
        run: tidy::job,
    },
    Job {
        name: "clippy",
        tier: Tier::Ci,
        what: "no lint in any target",
        drivers: NONE,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 15,
        run: checks::clippy,
    },
    Job {
        name: "rustdoc",
        tier: Tier::Ci,
        what: "the documentation builds without a warning",
        drivers: NONE,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 10,
        run: checks::rustdoc,
    },
    Job {
        name: "features",
        tier: Tier::Ci,
        what: "every combination of features to depth two compiles without a lint",
        drivers: NONE,
        features: FeatureSets::Combinations,
        platforms: LINUX,
        minutes_max: 15,
        run: features::job,
    },
    Job {
        name: "benches",
        tier: Tier::Ci,
        what: "the benches compile",
        drivers: NONE,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 15,
        run: checks::benches,
    },
    Job {
        name: "consumers",
        tier: Tier::Ci,
        what: "small crates outside the workspace build and run",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 10,
        run: consumers::job,
    },
    Job {
        name: "bindgen",
        tier: Tier::Ci,
        what: "the vendored bindings are what bindgen generates",
        drivers: &["aio"],
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 10,
        run: bindgen::job,
    },
    Job {
        name: "link",
        tier: Tier::Ci,
        what: "raw system calls and libaio.so answer alike",
        drivers: &["aio"],
        features: FeatureSets::Named(&["link"]),
        platforms: LINUX,
        minutes_max: 5,
        run: link::job,
    },
    Job {
        name: "loom",
        tier: Tier::Ci,
        what: "every interleaving of the modelled protocols",
        drivers: NONE,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 15,
        run: loom::job,
    },
    Job {
        name: "machine",
        tier: Tier::Ci,
        what: "tests that change machine-wide settings, one at a time",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 10,
        run: machine::job,
    },
    Job {
        name: "filesystems",
        tier: Tier::Ci,
        what: "conformance on loop-mounted ext4 and xfs, a small tmpfs and FUSE",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 20,
        run: filesystems::job,
    },
    Job {
        name: "runtimes",
        tier: Tier::Ci,
        what: "the tests of engine and facade without any runtime's feature, and with all features",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Named(&["default", "all"]),
        platforms: LINUX,
        minutes_max: 20,
        run: test::runtimes,
    },
    Job {
        name: "storm",
        tier: Tier::Ci,
        what: "a hundred thousand operations with drops, cancels and time-outs, on the release build",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 20,
        run: storm::job,
    },
    Job {
        name: "crashcheck",
        tier: Tier::Ci,
        what: "two hundred thousand power cuts on the simulator, each with several outcomes, on the release build",
        drivers: &["sim"],
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 20,
        run: crashcheck::job,
    },
    Job {
        name: "asan",
        tier: Tier::Ci,
        what: "the tests of drivers, engine and facade under AddressSanitizer",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 30,
        run: asan::job,
    },
    Job {
        name: "soak",
        tier: Tier::Full,
        what: "the tests' long versions",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 180,
        run: soak::job,
    },
    Job {
        name: "crashes-long",
        tier: Tier::Full,
        what: "a million power cuts on the simulator",
        drivers: &["sim"],
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 60,
        run: crashcheck::long,
    },
    Job {
        name: "powercut",
        tier: Tier::Full,
        what: "five thousand power cuts of a virtual machine, ext4 and the block layer included",
        drivers: &["uring"],
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 30,
        run: powercut::job,
    },
    Job {
        name: "storm-long",
        tier: Tier::Full,
        what: "the same storms with a million operations",
        drivers: EVERY_DRIVER,
        features: FeatureSets::Default,
        platforms: LINUX,
        minutes_max: 60,
        run: storm::long,
    },
];

/// The jobs of these tiers, in the list's order.
pub(crate) fn of(tiers: &[Tier]) -> Vec<&'static Job> {
    JOBS.iter().filter(|job| tiers.contains(&job.tier)).collect()
}

pub(crate) fn by_name(name: &str) -> Option<&'static Job> {
    JOBS.iter().find(|job| job.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_fit_the_command_line() {
        let names: BTreeSet<_> = JOBS.iter().map(|job| job.name).collect();
        assert_eq!(names.len(), JOBS.len());
        for name in names {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        }
    }

    #[test]
    fn each_job_is_in_exactly_one_tier() {
        let tiers = [Tier::Test, Tier::Ci, Tier::Full];
        for job in JOBS {
            let hits = tiers.iter().filter(|tier| of(&[**tier]).iter().any(|other| other.name == job.name)).count();
            assert_eq!(hits, 1, "{}", job.name);
        }
        let all: usize = tiers.iter().map(|tier| of(&[*tier]).len()).sum();
        assert_eq!(all, JOBS.len());
    }

    #[test]
    fn drivers_are_known_and_every_job_has_a_platform_and_an_end() {
        for job in JOBS {
            assert!(job.drivers.iter().all(|driver| EVERY_DRIVER.contains(driver)), "{}", job.name);
            assert!(!job.platforms.is_empty(), "{}", job.name);
            assert!(job.minutes_max > 0, "{}", job.name);
            assert!(by_name(job.name).is_some_and(|found| std::ptr::eq(found, job)), "{}", job.name);
        }
    }
}
