//! What an exploration has to say.

use super::id::CrashId;
use std::{error, fmt};

/// How much was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Runs of the workload.
    pub runs: u64,
    /// Crash points of these runs.
    pub points: u64,
    /// Disks that were checked.
    pub states: u64,
    /// Those among them that were left by a cut during recovery.
    pub recoveries_cut: u64,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explored { runs, points, states, recoveries_cut } = self;
        write!(
            f,
            "{runs} runs, {points} crash points, {states} states, {recoveries_cut} of them after a cut in recovery"
        )
    }
}

/// A crash that the check found fault with, or a run that could not be explored.
#[non_exhaustive]
pub struct CrashFailure {
    /// What to give to [`Explorer::reproduce`](super::Explorer::reproduce).
    pub id: CrashId,
    /// What the check said, or the workload, or the explorer.
    pub what: String,
    /// The last that happened before the cut, and what was left, for people to read.
    pub story: Vec<String>,
    /// How much was explored until then.
    pub explored: Explored,
    /// Doing it once more gave the same. If not, the workload or the check depends on something else than the disk and the seed.
    pub repeats: bool,
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id.steps.first() {
            Some(_) => write!(f, "crash {}: {}", self.id, self.what)?,
            None => write!(f, "run {}: {}", self.id, self.what)?,
        }
        self.story.iter().try_for_each(|line| write!(f, "\n    {line}"))?;
        if self.repeats {
            write!(f, "\n  Explorer::reproduce does it again with \"{}\".", self.id)?;
        } else {
            write!(f, "\n  It did not happen again: something else than the disk and the seed decides here.")?;
        }
        write!(f, " Explored until then: {}.", self.explored)
    }
}

/// As it is displayed, so that `unwrap` in a test can be read.
impl fmt::Debug for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl error::Error for CrashFailure {}
