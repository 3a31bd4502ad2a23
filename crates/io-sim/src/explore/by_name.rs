//! Explorations as tests: sized and repeated from outside, without a change to the code.

use super::{Acks, CrashId, Explored, Explorer};
use crate::disk::SimDisk;
use std::{env, str::FromStr};

/// How many points a test explores, where more or fewer are wanted than it says.
const POINTS: &str = "IOFS_CRASH_POINTS";

/// The seed, in place of the test's.
const SEED: &str = "IOFS_CRASH_SEED";

/// One crash by its name; nothing else is explored.
const ONLY: &str = "IOFS_CRASH_ONLY";

impl Explorer {
    /// Explores as a test: at least so many points, unless the environment says something else, and panics at a failure.
    ///
    /// `IOFS_CRASH_POINTS` and `IOFS_CRASH_SEED` replace number and seed; `IOFS_CRASH_ONLY` names the one crash to do again
    /// ([`CrashId`]), as the message of a failure does. With a number in the environment, progress goes to standard error.
    /// What was explored goes to standard output, in a line that begins with `crashes of` and the name.
    ///
    /// # Panics
    /// If the exploration fails, or what the environment says makes no sense.
    pub fn test<A, W, C>(mut self, name: &str, points: u64, workload: W, check: C) -> Explored
    where
        A: Clone + Send + Sync,
        W: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
        C: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
    {
        let seed = asked(SEED).unwrap_or(self.seed);
        self.seed = seed;
        if let Some(id) = asked::<CrashId>(ONLY) {
            match self.reproduce(&id, workload, check) {
                Ok(()) => println!("crashes of {name}: {id} does no harm"),
                Err(failure) => panic!("crashes of {name}: {failure}"),
            }
            return Explored::default();
        }
        let wanted = asked(POINTS);
        if let Some(points) = wanted {
            let name = name.to_owned();
            self = self.progress(move |so_far| eprintln!("  {name}: {} of {points} points ({so_far})", so_far.points));
        }
        match self.until_points(wanted.unwrap_or(points)).explore(workload, check) {
            Ok(explored) => {
                println!("crashes of {name}: seed {seed}: {explored}");
                explored
            }
            Err(failure) => {
                panic!("crashes of {name}: seed {seed}: {failure}\n  Or run this test with {ONLY}={}.", failure.id)
            }
        }
    }
}

/// What the environment says, if it says anything.
fn asked<T: FromStr>(key: &str) -> Option<T> {
    let text = env::var(key).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{key}={text} makes no sense")))
}
