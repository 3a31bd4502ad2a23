//! The Linux AIO driver: `io_submit` in batches, completions read from the kernel's ring in user space.
//!
//! Runs on Linux from 4.19 (`IOCB_CMD_POLL`); on every other system the crate is empty. It needs no io_uring, so it is what
//! most containers allow, and it neither interrupts the threads around it nor depends on them: who submitted may sleep or
//! exit.
//!
//! What it takes without blocking is little, and it says so in `supports()`: direct reads, direct writes within what is
//! allocated already, and the two syncs. A buffered transfer, or a direct write that allocates, works as well, but inside
//! `io_submit` and for as long as it takes: the engine offloads those. So does a direct transfer on a file system that has
//! no asynchronous path (FUSE), which is for the engine to know per file.
//!
//! It knows nothing about retries, short transfers, ordering, pools of threads or futures, and it owns no buffer and no
//! file: what an operation names belongs to whoever prepared it, until its completion.
//!
//! Sources: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), eventfd(2); `fs/aio.c` of Linux.
//!
//! ```no_run
//! use io_core::Driver;
//!
//! let driver = io_aio::aio(io_aio::AioOptions { depth: 32, ..Default::default() })?;
//! println!("{} takes {:?}", driver.name(), driver.supports());
//! # Ok::<(), io_core::Unavailable>(())
//! ```
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

#[allow(unsafe_code)] // the driver contract is unsafe to implement
mod driver;
mod iocb;
#[allow(unsafe_code)] // iocbs that the kernel knows by address
mod slots;

#[allow(unsafe_code)] // system calls
mod context;
#[allow(unsafe_code)] // memory that the kernel maps
mod ring;

#[allow(unsafe_code)] // eventfds
mod bell;
mod wake;

#[allow(unsafe_code)] // prepares operations of its own
mod probe;

pub use driver::AioDriver;

use io_core::Unavailable;

/// How [`aio`] sets a driver up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AioOptions {
    /// Most operations in flight. The kernel charges it to the machine-wide `fs.aio-max-nr`; where that is nearly used up the
    /// driver settles for less, see [`io_core::Driver::depth`].
    pub depth: u32,
    /// Read completions from the ring in user space (if the kernel's ring has the layout that is known). Otherwise, each
    /// look at it is a system call.
    pub user_ring: bool,
    /// Operations ring the readiness's eventfd from the start. Without it they begin to at the first
    /// [`arm`](io_core::Driver::arm), which says `ReadyNow` until those that do not ring are done. For who never arms (the
    /// event loop): saves 4 % where completions come from memory, nothing that can be measured on a device.
    pub readiness_fd: bool,
}

impl Default for AioOptions {
    fn default() -> AioOptions {
        AioOptions { depth: 256, user_ring: true, readiness_fd: true }
    }
}

/// Sets a driver up and tries it: a wake-up goes round through the kernel, and each kind of operation is done once per process.
///
/// # Errors
/// The cause, and what would change it: no AIO in this kernel, a seccomp filter (also one that refuses only `io_submit`),
/// `fs.aio-max-nr` used up, no descriptors left.
pub fn aio(options: AioOptions) -> Result<AioDriver, Unavailable> {
    AioDriver::new(options)
}
