//! What a file system says when it starts: once, so that a log tells which driver ran, on which kernel, and why.

use crate::Backend;

pub(crate) fn announce(backend: &Backend) {
    if tracing::enabled!(tracing::Level::INFO) {
        tracing::info!(kernel = %kernel(), driver = %backend.driver(), why = %backend, "file system started");
    }
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim()).trim_end().to_owned()
}
