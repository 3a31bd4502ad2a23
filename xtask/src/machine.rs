//! Tests that change settings of the whole machine: one at a time, with nothing of ours beside them.
//!
//! Each of them restores what it changed. We do not trust that blindly: the settings are read before, compared after, put
//! back where they differ, and a difference is a failure.

use crate::runner::{Ctx, Outcome};
use crate::sys;
use crate::tests_of::Tests;
use anyhow::{Result, ensure};
use std::fs;

const SETTINGS: &[&str] = &["/proc/sys/kernel/io_uring_disabled", "/proc/sys/fs/aio-max-nr"];

pub(crate) fn job(ctx: &Ctx) -> Result<Outcome> {
    if !sys::is_root() {
        return Ok(Outcome::Skipped("only root may change settings of the machine".to_owned()));
    }
    let saved = Saved::read();
    if !saved.writable() {
        return Ok(Outcome::Skipped("the settings under /proc/sys are read-only here".to_owned()));
    }
    let env = [("IOFS_TEST_MACHINE", "1")];
    let done = Tests { filter: Some("machine_wide"), serial: true, env: &env, ..Tests::default() }.run(ctx);
    let changed = saved.restore();
    done?;
    ensure!(changed.is_empty(), "a test left these settings changed (they are restored now): {}", changed.join(", "));
    Ok(Outcome::Done)
}

/// The settings as they were; restored on drop, and so also on an interrupt.
#[derive(Debug)]
struct Saved(Vec<(&'static str, String)>);

impl Saved {
    fn read() -> Self {
        Self(SETTINGS.iter().filter_map(|path| Some((*path, fs::read_to_string(path).ok()?))).collect())
    }

    /// Writes back what is there already: harmless, and the only honest way to know.
    fn writable(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(path, value)| fs::write(path, value).is_ok())
    }

    /// Puts back what differs, and names it.
    fn restore(&self) -> Vec<&'static str> {
        let differs = |(path, value): &&(&'static str, String)| fs::read_to_string(path).is_ok_and(|now| now != *value);
        self.0
            .iter()
            .filter(differs)
            .map(|(path, value)| {
                if let Err(error) = fs::write(path, value) {
                    eprintln!("cannot restore {path} to {}: {error}", value.trim());
                }
                *path
            })
            .collect()
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        self.restore();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_restored_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let path: &'static str = dir.path().join("setting").to_str().unwrap().to_owned().leak();
        fs::write(path, "65536\n").unwrap();
        let saved = Saved(vec![(path, "65536\n".to_owned())]);
        assert!(saved.restore().is_empty());
        fs::write(path, "0\n").unwrap();
        assert_eq!(saved.restore(), [path]);
        assert_eq!(fs::read_to_string(path).unwrap(), "65536\n");
        fs::write(path, "1\n").unwrap();
        drop(saved);
        assert_eq!(fs::read_to_string(path).unwrap(), "65536\n", "drop restores as well");
    }
}
