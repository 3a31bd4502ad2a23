//! Names of crashes.

use std::{fmt, str::FromStr};

/// Which crash it was: the run's seed, the point, the number of the cut there, and the same for each cut during recovery.
///
/// As text `7/41.3/5.2`: in the run with seed 7, cut 3 at point 41, and during the recovery from that, cut 2 at point 5.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CrashId {
    /// Seed of the run.
    pub(super) seed: u64,
    /// None: the workload itself failed.
    pub(super) steps: Vec<Step>,
}

/// One cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) point: u32,
    pub(super) cut: u32,
}

impl fmt::Display for CrashId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seed)?;
        self.steps.iter().try_for_each(|step| write!(f, "/{}.{}", step.point, step.cut))
    }
}

impl FromStr for CrashId {
    type Err = String;

    fn from_str(text: &str) -> Result<CrashId, String> {
        let parse = || {
            let mut parts = text.split('/');
            let seed = parts.next()?.parse().ok()?;
            let step = |part: &str| {
                let (point, cut) = part.split_once('.')?;
                Some(Step { point: point.parse().ok()?, cut: cut.parse().ok()? })
            };
            Some(CrashId { seed, steps: parts.map(step).collect::<Option<_>>()? })
        };
        parse().ok_or_else(|| format!("`{text}` names no crash: it has to look like 7/41.3 or 7/41.3/5.2"))
    }
}

/// One number of many, for seeds that have nothing to do with one another.
pub(super) fn mix(words: &[u64]) -> u64 {
    let mix = |state: u64, word: &u64| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    words.iter().fold(0, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        for text in ["7", "7/41.3", "18446744073709551615/41.3/5.2/0.0"] {
            assert_eq!(text.parse::<CrashId>().unwrap().to_string(), text);
        }
        for text in ["", "x", "7/", "7/41", "7/41.", "7/41.3/", "-7/1.1", "7/41.3 "] {
            let error = text.parse::<CrashId>().unwrap_err();
            assert!(error.contains("7/41.3"), "{error}");
        }
    }

    #[test]
    fn mixtures_differ() {
        let mut all: Vec<u64> = (0..100).flat_map(|a| (0..100).map(move |b| mix(&[a, b]))).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }
}
