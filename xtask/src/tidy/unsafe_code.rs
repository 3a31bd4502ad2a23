//! Unsafe code stands in few places, and this is the list of them.

use super::files::{TextFile, has_word};

/// Folders and files in which `unsafe` may be written. Everything else goes without.
const ALLOWED: &[&str] = &[
    "crates/io-core/",
    "crates/libaio-sys/",
    "crates/io-uring/",
    "crates/io-aio/",
    "crates/io-threadpool/",
    "crates/io-sim/",
    "crates/io-testkit/",
    "crates/io-engine/",
    // getrusage(2), which std does not have.
    "crates/io-cli/src/rusage.rs",
    // Implements a driver.
    "crates/io-fs/examples/custom_driver.rs",
    // They drive the drivers directly, and stage operations themselves.
    "benches/",
    "tests/consumers/core-aio/",
    "tests/consumers/own-driver/",
    "tests/consumers/threadpool-only/",
    // Signals, and the system calls of the probe.
    "xtask/src/sys.rs",
];

pub(super) fn check(files: &[TextFile]) -> Vec<String> {
    let strict =
        files.iter().filter(|file| file.is_rust() && !ALLOWED.iter().any(|allowed| file.path.starts_with(allowed)));
    let mut found: Vec<String> = strict.flat_map(unsafe_lines).collect();
    found.extend(files.iter().filter(|file| file.path == "crates/io-fs/src/lib.rs").filter_map(forbids));
    found
}

fn unsafe_lines(file: &TextFile) -> impl Iterator<Item = String> {
    let lines = file.code.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe"));
    lines.map(|(at, _)| format!("{}:{}: unsafe code does not belong here", file.path, at + 1))
}

/// The facade says so itself, where a reader sees it.
fn forbids(file: &TextFile) -> Option<String> {
    let said = file.code.contains("#![forbid(unsafe_code)]");
    (!said).then(|| format!("{}: the facade does not say #![forbid(unsafe_code)]", file.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_is_found_where_it_does_not_belong() {
        let files = [
            TextFile::new("crates/io-fs/src/lib.rs", "#![forbid(unsafe_code)]\n// unsafe in a comment\n"),
            TextFile::new("crates/io-fs/src/file.rs", "fn f() {\n    unsafe { g() }\n}\n"),
            TextFile::new("crates/io-aio/src/driver.rs", "unsafe impl Driver for A {}\n"),
            TextFile::new("crates/io-cli/src/rusage.rs", "unsafe { getrusage() }"),
            TextFile::new("crates/io-cli/src/main.rs", "const HELP: &str = \"unsafe\";"),
        ];
        assert_eq!(check(&files), ["crates/io-fs/src/file.rs:2: unsafe code does not belong here"]);
    }

    #[test]
    fn the_facade_forbids_it_in_its_own_words() {
        let files = [TextFile::new("crates/io-fs/src/lib.rs", "//! #![forbid(unsafe_code)]\n")];
        assert_eq!(check(&files).len(), 1);
    }
}
