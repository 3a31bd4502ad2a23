//! `iofs log`: records into a directory, and out of it again.
//!
//! [`append`] and [`cat`] are the two ways, [`input`] cuts what is appended into records, [`tail`] looks what is new; [`report`] says what is in a log and what is
//! wrong with it; [`mod@bench`] measures one. The log itself is `io_log`'s.

mod append;
pub(crate) mod args;
mod bench;
mod cat;
mod input;
mod report;
mod tail;

use crate::{exit::Failure, pick, progress};
use args::{Fsync, LogArgs, LogCommand};
use indicatif::ProgressBar;
use io_fs::{FileSystem, IoConfig, OpKind};
use io_log::{Sync, WalConfig, WalError};
use std::{future::Future, path::Path, time::Duration};

pub(crate) fn run(args: &LogArgs) -> Result<(), Failure> {
    match &args.command {
        LogCommand::Append(args) => append::run(args),
        LogCommand::Cat(args) => cat::run(args),
        LogCommand::Verify(args) => report::verify(args),
        LogCommand::Stat(args) => report::stat(args),
        LogCommand::Salvage(args) => report::salvage(args),
        LogCommand::Bench(args) => bench::run(args),
    }
}

/// A file system for one thread, on this driver or the best one.
fn file_system(driver: Option<&str>) -> Result<FileSystem, Failure> {
    let mut config = IoConfig::default();
    config.driver = pick::one(driver)?;
    config.io_workers = 1;
    Ok(FileSystem::with_config(config)?)
}

fn config(segment_size: u64, direct: bool, fsync: Fsync) -> Result<WalConfig, Failure> {
    let mut config = WalConfig::default();
    config.segment_size = segment_size;
    config.direct = direct;
    config.sync = match fsync {
        Fsync::Each => Sync::Each,
        Fsync::Group => Sync::Group,
        Fsync::None => Sync::None,
    };
    config.validate().map_err(|error| Failure::usage(format!("--{}", error.to_string().replace('_', "-"))))?;
    Ok(config)
}

/// What a log said to an attempt to open it. One that is not there, or not of a kind that is known here, is bad input.
fn opening(dir: &Path, error: &WalError) -> Failure {
    match error {
        WalError::Io { path, cause, .. } => Failure::opening(path, cause),
        WalError::UnknownVersion { .. } | WalError::Config(_) => Failure::usage(format!("{}: {error}", dir.display())),
        _ => reading(dir, error),
    }
}

/// What a log said in the middle of the work.
fn reading(dir: &Path, error: &WalError) -> Failure {
    Failure::work(format!("{}: {error}", dir.display()))
}

/// A directory in which there is no log at all is not one that is good and empty.
fn there_is_one(dir: &Path) -> Result<(), Failure> {
    std::fs::read_dir(dir).map_err(|error| Failure::opening(dir, &error))?;
    match lengths(dir).is_empty() {
        true => Err(Failure::usage(format!("{}: there is no log in it", dir.display()))),
        false => Ok(()),
    }
}

/// Lengths of all segments in a directory, in bytes.
fn lengths(dir: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let segments = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| io_log::format::segment_number(name).is_some()));
    segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect()
}

/// A bar over bytes; of what has no known size, a count.
fn bar(len: Option<u64>, quiet: bool) -> ProgressBar {
    match len {
        Some(len) => progress::bar(len, quiet, "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left"),
        None => progress::bar(0, quiet, "{msg} {bytes} {bytes_per_sec}"),
    }
}

/// Draws how much of a log was read while something reads it.
async fn watched<T>(fs: &FileSystem, bar: &ProgressBar, work: impl Future<Output = T>) -> T {
    if bar.is_hidden() {
        return work.await;
    }
    let watch = async {
        loop {
            smol::Timer::after(Duration::from_millis(100)).await;
            let operations = fs.snapshot().operations;
            let reads = operations.iter().filter(|row| matches!(row.kind, OpKind::Read | OpKind::ReadVectored));
            bar.set_position(reads.map(|row| row.bytes).sum::<u64>().min(bar.length().unwrap_or(u64::MAX)));
        }
    };
    let done = smol::future::or(work, watch).await;
    bar.finish_and_clear();
    done
}
