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
    /// What was explored goes to standard output, in a line with `crashes of` and the name.
    ///
    /// # Panics
    /// If the exploration fails, or what the environment says makes no sense.
    pub fn test<A, W, C>(self, name: &str, points: u64, workload: W, check: C) -> Explored
    where
        A: Clone + Send + Sync,
        W: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
        C: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
    {
        let asked = Asked::new(|key| env::var(key).ok());
        let done = asked.and_then(|asked| self.answer(&asked, name, points, workload, check));
        done.unwrap_or_else(|error| panic!("crashes of {name}: {error}"))
    }

    fn answer<A, W, C>(
        mut self,
        asked: &Asked,
        name: &str,
        points: u64,
        workload: W,
        check: C,
    ) -> Result<Explored, String>
    where
        A: Clone + Send + Sync,
        W: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
        C: Fn(&SimDisk, &Acks<A>) -> Result<(), String> + Sync,
    {
        let seed = asked.seed.unwrap_or(self.seed);
        self.seed = seed;
        if let Some(id) = &asked.only {
            self.reproduce(id, workload, check).map_err(|failure| failure.to_string())?;
            println!("crashes of {name}: {id} does no harm");
            return Ok(Explored::default());
        }
        if let Some(points) = asked.points {
            let name = name.to_owned();
            self = self.progress(move |so_far| eprintln!("  {name}: {} of {points} points ({so_far})", so_far.points));
        }
        match self.until_points(asked.points.unwrap_or(points)).explore(workload, check) {
            Ok(explored) => {
                println!("crashes of {name}: seed {seed}: {explored}");
                Ok(explored)
            }
            Err(failure) => Err(format!("seed {seed}: {failure}\n  Or run this test with {ONLY}={}.", failure.id)),
        }
    }
}

/// What the environment says.
#[derive(Debug, Default)]
struct Asked {
    points: Option<u64>,
    seed: Option<u64>,
    only: Option<CrashId>,
}

impl Asked {
    fn new(get: impl Fn(&str) -> Option<String>) -> Result<Asked, String> {
        Ok(Asked { points: parse(&get, POINTS)?, seed: parse(&get, SEED)?, only: parse(&get, ONLY)? })
    }
}

fn parse<T: FromStr>(get: impl Fn(&str) -> Option<String>, key: &str) -> Result<Option<T>, String> {
    let parse = |text: String| text.parse().map_err(|_| format!("{key}={text} makes no sense"));
    get(key).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_core::OpenOptions;

    /// One file, which nobody makes durable.
    fn workload(disk: &SimDisk, _: &Acks<()>) -> Result<(), String> {
        let mut bench = io_testkit::Bench::new(Box::new(disk.driver(1)));
        match bench.run(io_core::Op::open("/f", OpenOptions::CREATE_NEW).unwrap()).0 {
            0.. => Ok(()),
            code => Err(format!("{code}")),
        }
    }

    fn answer(asked: Asked, check: impl Fn(&SimDisk) -> Result<(), String> + Sync) -> Result<Explored, String> {
        Explorer::new(3).answer(&asked, "nothing much", 10, workload, |disk, _| check(disk))
    }

    fn asked(key: &'static str, value: &'static str) -> Result<Asked, String> {
        Asked::new(|other| (other == key).then(|| value.to_owned()))
    }

    #[test]
    fn the_environment_decides_how_much() {
        assert!((10..20).contains(&answer(Asked::default(), |_| Ok(())).unwrap().points));
        let points = answer(asked(POINTS, "100").unwrap(), |_| Ok(())).unwrap().points;
        assert!((100..120).contains(&points), "{points}");
        for (key, value) in [(POINTS, "many"), (SEED, "-1"), (ONLY, "7/")] {
            assert!(asked(key, value).unwrap_err().contains(value), "{key}");
        }
    }

    #[test]
    fn the_environment_names_a_seed_or_a_crash() {
        let there = |disk: &SimDisk| disk.read_file("/f").map(drop).map_err(|_| "it is lost".to_owned());
        let error = answer(asked(SEED, "99").unwrap(), there).unwrap_err();
        assert!(
            error.contains("seed 99: crash 99/0.0: it is lost") && error.contains("IOFS_CRASH_ONLY=99/0.0"),
            "{error}"
        );
        let error = answer(asked(ONLY, "99/0.0").unwrap(), there).unwrap_err();
        assert!(error.contains("crash 99/0.0: it is lost"), "{error}");
        // At the second point the file is there, and on the second disk it stays.
        assert_eq!(answer(asked(ONLY, "99/1.1").unwrap(), there).unwrap(), Explored::default());
    }
}
