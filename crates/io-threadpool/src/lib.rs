//! The portable driver: a bounded pool of threads, and the reference meaning of every operation.
//!
//! - [`execute`] does one operation with the platform's own blocking calls. It *defines* what the operation means; the other
//!   drivers are held against it.
//! - [`threadpool`] makes a [`ThreadPoolDriver`]: staged operations go to at most `max_threads` workers, which are started when
//!   there is work for them and leave when there is none. It runs everywhere, and it stands in for the other drivers where they
//!   cannot do an operation ([`ThreadPoolOptions::readiness`]).
//! - [`adopt`], [`open`] and [`facts`] make file handles with what the system knows of them.
//!
//! Runs on Linux, macOS, FreeBSD and Windows; on other Unix systems what is not POSIX answers `EOPNOTSUPP`. It knows nothing
//! of io_uring, AIO, retries, ordering or futures: a short transfer is answered as short, an error as that error.
#![deny(unsafe_code)]

#[allow(unsafe_code)] // the platform's calls
mod execute;

mod facts;

#[cfg(unix)]
#[allow(unsafe_code)] // eventfd and pipe
mod signal;

#[allow(unsafe_code)] // runs operations that others vouched for
mod pool;
mod readiness;

#[allow(unsafe_code)] // runs operations that cannot succeed
mod probe;

#[allow(unsafe_code)] // implements the driver contract
mod driver;

pub use driver::{ThreadPoolDriver, ThreadPoolOptions, threadpool};
pub use execute::{execute, read_now};
pub use facts::{adopt, facts, open};
