//! What a storage layer imports: the facade alone, without a line of unsafe code. Run over every driver that works here.
#![forbid(unsafe_code)]

mod listener;
mod store;

use io_fs::{DriverName, DriverOptions};
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("consumer-fs-only-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let done = run_with_each(&dir);
    std::fs::remove_dir_all(&dir)?;
    done
}

fn run_with_each(dir: &Path) -> Result<(), Box<dyn Error>> {
    let mut ran = Vec::new();
    for (driver, unavailable) in io_fs::survey(&DriverOptions::default()) {
        match unavailable {
            None => {
                listener::run(driver, dir)?;
                store::run(driver, dir)?;
                ran.push(driver);
            }
            // What was not built was not skipped.
            Some(_) if cfg!(not(feature = "all-drivers")) => {}
            Some(unavailable) => skip(&unavailable.to_string())?,
        }
    }
    assert!(ran.contains(&DriverName::ThreadPool), "the thread pool runs everywhere");
    assert!(cfg!(feature = "all-drivers") || ran.len() == 1, "only the thread pool was built in, and {ran:?} ran");
    Ok(())
}

/// Tells the test run which driver was not tried.
fn skip(reason: &str) -> io::Result<()> {
    println!("skipped: {reason}");
    match std::env::var_os("IOFS_SKIP_LOG") {
        Some(log) => writeln!(std::fs::File::options().append(true).open(log)?, "consumer fs-only\tmain\t{reason}"),
        None => Ok(()),
    }
}
