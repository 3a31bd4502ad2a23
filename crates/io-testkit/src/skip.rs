//! Skips: printed, counted, never silent.

use std::{fs::OpenOptions, io::Write as _};

/// A reason not to go on with a case, thrown from any depth of it and caught by [`run_case`](crate::run_case).
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

/// Ends the running case as skipped.
///
/// It unwinds without calling the panic hook, so that a helper deep inside a case can find out that the case makes no sense
/// here without every line of every case having to pass that on.
pub(crate) fn skip_case(reason: impl Into<String>) -> ! {
    std::panic::resume_unwind(Box::new(Skipped(reason.into())))
}

/// Says that `case` of `suite` was skipped: prints `SKIP suite case: reason`, and appends `suite<TAB>case<TAB>reason` to the
/// file that the variable `IOFS_SKIP_LOG` names, if it is set.
///
/// # Panics
/// If that file cannot be written: a skip that nobody hears of looks like a success.
pub fn skip(suite: &str, case: &str, reason: &str) {
    let flat = |text: &str| text.replace(['\t', '\n', '\r'], " ");
    let (suite, case, reason) = (flat(suite), flat(case), flat(reason));
    // Not `eprintln!`, which the test harness captures and throws away when the test passes.
    let _ = writeln!(std::io::stderr(), "SKIP {suite} {case}: {reason}");
    let Some(log) = std::env::var_os("IOFS_SKIP_LOG") else { return };
    let line = format!("{suite}\t{case}\t{reason}\n");
    let written =
        OpenOptions::new().create(true).append(true).open(&log).and_then(|mut f| f.write_all(line.as_bytes()));
    if let Err(error) = written {
        panic!("cannot log a skip to {log:?}: {error}");
    }
}
