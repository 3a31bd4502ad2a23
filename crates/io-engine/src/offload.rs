//! The pool that does what the driver cannot do without blocking its submitter. It completes through the same slot table and
//! rings the same readiness as the driver it stands in for.

use io_core::{Completions, Driver, DriverName, Readiness, Unavailable, Wait};
use io_threadpool::{ThreadPoolDriver, ThreadPoolOptions, threadpool};
use std::sync::Arc;

pub(crate) struct Offload {
    pub(crate) pool: ThreadPoolDriver,
    /// Operations staged or in flight there.
    pub(crate) busy: u32,
}

impl Offload {
    /// The pool for `driver`; none for the simulator, whose files only it knows, and none for a pool.
    ///
    /// # Errors
    /// As [`threadpool`]. No thread is started before it is needed.
    pub(crate) fn beside(driver: &dyn Driver, readiness: &Arc<dyn Readiness>) -> Result<Option<Offload>, Unavailable> {
        if matches!(driver.name(), DriverName::Sim | DriverName::ThreadPool) {
            return Ok(None);
        }
        let options = ThreadPoolOptions {
            depth: driver.depth(),
            readiness: Some(readiness.clone()),
            ..ThreadPoolOptions::default()
        };
        Ok(Some(Offload { pool: threadpool(options)?, busy: 0 }))
    }

    /// Hands over what is staged and takes what is done.
    pub(crate) fn turn(&mut self, out: &mut Completions) {
        if self.busy == 0 {
            return;
        }
        let before = out.len();
        self.pool.submit(Wait::No, out).expect("the pool has no channel that could break");
        self.busy -= (out.len() - before) as u32;
    }
}
