//! One operation, waited for: what the commands do beside their main work goes through a driver as well.

use crate::pick;
use io_fs::{DriverName, Inflight, InflightOptions, Op, Output, Wait};
use std::{io, path::Path};

/// Runs one operation on this driver, or on the best one that works here, and gives its typed answer.
pub(crate) fn run(driver: Option<DriverName>, op: Op) -> io::Result<Output> {
    let mut core = Inflight::<Op>::new(pick::make(driver, 4)?, InflightOptions::default())?;
    core.accept(op).map_err(|_| io::Error::other("a fresh core has room"))?;
    loop {
        core.submit(Wait::Forever);
        if let Some(mut finished) = core.next_finished() {
            finished.result?;
            return Ok(finished.carrier.take_output());
        }
    }
}

/// Bytes that are free for the user on the file system of `path`.
pub(crate) fn free_space(path: &Path) -> io::Result<u64> {
    match run(None, Op::stat_fs(path)?)? {
        Output::StatFs(fs) => Ok(fs.available.saturating_mul(fs.block_size)),
        other => Err(io::Error::other(format!("statfs answered {other:?}"))),
    }
}

/// Takes "this file system cannot do that" (`EINVAL`, `ENOSYS`, `EOPNOTSUPP`) for done.
pub(crate) fn if_supported(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_unsupported(&error) => Ok(()),
        other => other,
    }
}

/// True if the error says that the system, or the file system, does not know how.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    use io_fs::errno::{EINVAL, ENOSYS, EOPNOTSUPP};
    error.raw_os_error().is_some_and(|code| [EINVAL, ENOSYS, EOPNOTSUPP].contains(&code))
}
