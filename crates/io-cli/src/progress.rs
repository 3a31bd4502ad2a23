//! A progress bar where somebody looks: on a terminal, and not beside JSON.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};

/// A bar of `len` steps; hidden unless stderr is a terminal and `quiet` is false. It draws when it is told something, on the thread
/// that tells it: nothing runs beside a timed part.
pub(crate) fn bar(len: u64, quiet: bool, template: &str) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
