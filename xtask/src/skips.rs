//! What tests skipped: they append `suite<TAB>case<TAB>reason` to the file named by IOFS_SKIP_LOG; here it is read, summed
//! up, and held against the list of skips that are all right.

use crate::allowed_skips::{ALLOWED, Allowed};
use anyhow::{Context, Result};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) suite: String,
    pub(crate) case: String,
    pub(crate) reason: String,
}

/// The log of one run: emptied at its begin, read job by job.
#[derive(Debug)]
pub(crate) struct SkipLog {
    path: PathBuf,
    read: Cell<usize>,
}

impl SkipLog {
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        fs::write(&path, "").with_context(|| format!("cannot empty {}", path.display()))?;
        Ok(Self { path, read: Cell::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The skips that were logged since the last call.
    pub(crate) fn take_new(&self) -> Result<Vec<Skip>> {
        let bytes = fs::read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))?;
        let new = bytes.get(self.read.get()..).unwrap_or_default();
        self.read.set(bytes.len());
        Ok(parse(&String::from_utf8_lossy(new)))
    }
}

/// Reads the log's lines. A line that is not of the form is kept, as a skip without a reason, so that nobody loses it.
pub(crate) fn parse(text: &str) -> Vec<Skip> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let mut fields = line.splitn(3, '\t').map(str::trim);
            let mut next = || fields.next().unwrap_or_default().to_owned();
            Skip { suite: next(), case: next(), reason: next() }
        })
        .collect()
}

/// Count per suite and reason, as shown at the end of a run. What a driver does not take is one line per driver, and the file
/// systems that a case was skipped on are left to the log.
pub(crate) fn summary(skips: &[Skip]) -> String {
    if skips.is_empty() {
        return "skipped: nothing\n".to_owned();
    }
    let mut counts: BTreeMap<(&str, &str), (usize, BTreeSet<&str>)> = BTreeMap::new();
    for skip in skips {
        let reason = without_label(&skip.reason);
        let (reason, kind) = match reason.strip_prefix(NOT_TAKEN) {
            Some(kind) => (NOT_TAKEN, Some(kind)),
            None if reason.is_empty() => ("no reason given", None),
            None => (reason, None),
        };
        let (count, kinds) = counts.entry((&skip.suite, reason)).or_default();
        *count += 1;
        kinds.extend(kind);
    }
    let mut text = format!("skipped: {} cases\n", skips.len());
    for ((suite, reason), (count, kinds)) in counts {
        let kinds: Vec<&str> = kinds.into_iter().collect();
        text += &format!("  {count:>5}  {suite}: {reason}{}\n", kinds.join(", "));
    }
    text
}

/// How the conformance suite begins to say which operation a driver's `supports()` leaves out.
const NOT_TAKEN: &str = "the driver does not take ";

/// The operation that a driver does not take, if that is the reason: `Read (Buffered)`.
pub(crate) fn not_taken(reason: &str) -> Option<&str> {
    without_label(reason).strip_prefix(NOT_TAKEN)
}

/// Reasons may end in the file system on which the case was skipped: ` [tmpfs]`.
fn without_label(reason: &str) -> &str {
    let label = reason.ends_with(']').then(|| reason.rfind(" [")).flatten();
    label.map_or(reason, |at| &reason[..at])
}

/// The skips that this machine need not make, one line each, counted.
pub(crate) fn needless(skips: &[Skip]) -> Vec<String> {
    needless_by(skips, ALLOWED, |allowed| allowed.when.holds())
}

fn needless_by(skips: &[Skip], list: &[Allowed], holds: impl Fn(&Allowed) -> bool) -> Vec<String> {
    let list: Vec<&Allowed> = list.iter().filter(|allowed| holds(allowed)).collect();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for skip in skips {
        if !list.iter().any(|allowed| allowed.covers(skip)) {
            *counts.entry(format!("{}: {} ({})", skip.suite, skip.case, skip.reason)).or_default() += 1;
        }
    }
    counts.into_iter().map(|(line, count)| format!("  {count:>5}  {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allowed_skips::{Reason, When};

    const LOG: &str =
        "aio\tread_short\tO_DIRECT is refused here\naio\tx\tO_DIRECT is refused here\n\nuring\ty\tno ring\n";

    #[test]
    fn lines_are_read_and_broken_ones_are_kept() {
        let skips = parse(LOG);
        assert_eq!(skips.len(), 3);
        assert_eq!(skips[2], Skip { suite: "uring".into(), case: "y".into(), reason: "no ring".into() });
        let broken = parse("just some words\n");
        assert_eq!((broken[0].suite.as_str(), broken[0].reason.as_str()), ("just some words", ""));
    }

    #[test]
    fn the_summary_counts_per_suite_and_reason() {
        let text = summary(&parse(LOG));
        assert!(text.starts_with("skipped: 3 cases"), "{text}");
        assert!(text.contains("    2  aio: O_DIRECT is refused here"), "{text}");
        assert!(text.contains("    1  uring: no ring"), "{text}");
        assert_eq!(summary(&[]), "skipped: nothing\n");
    }

    #[test]
    fn what_a_driver_does_not_take_is_one_line() {
        let take = |what: &str| format!("aio\tcase\tthe driver does not take {what}\n");
        let log =
            take("Stat [ext4]") + &take("Stat [tmpfs]") + &take("Read (Buffered) [ext4]") + &take("[Write], either");
        let text = summary(&parse(&log));
        assert!(
            text.contains("    4  aio: the driver does not take Read (Buffered), Stat, [Write], either\n"),
            "{text}"
        );
        assert_eq!(not_taken("the driver does not take Stat [ext4]"), Some("Stat"));
        assert_eq!(not_taken("no ring"), None);
    }

    #[test]
    fn only_listed_skips_pass_and_only_while_their_condition_holds() {
        let entry = |suite, reason, when| Allowed { suite, cases: &[], reason: Reason::Says(reason), when, why: "" };
        let list = [entry("aio", "O_DIRECT", When::Always), entry("", "no ring", When::NoUring)];
        let skips = parse(LOG);
        assert!(needless_by(&skips, &list, |_| true).is_empty());
        let bad = needless_by(&skips, &list, |allowed| allowed.when == When::Always);
        assert_eq!(bad, ["      1  uring: y (no ring)"]);
        assert_eq!(needless_by(&parse("words"), &list, |_| true).len(), 1, "a skip without a reason is never allowed");
    }

    #[test]
    fn the_log_is_read_once_per_job() {
        let dir = tempfile::tempdir().unwrap();
        let log = SkipLog::create(dir.path().join("skips.log")).unwrap();
        assert!(log.take_new().unwrap().is_empty());
        fs::write(log.path(), LOG).unwrap();
        assert_eq!(log.take_new().unwrap().len(), 3);
        fs::write(log.path(), format!("{LOG}sim\tz\tlate\n")).unwrap();
        assert_eq!(log.take_new().unwrap(), parse("sim\tz\tlate"));
    }
}
