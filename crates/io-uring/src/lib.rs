//! The io_uring driver: everything staged plus the wait in one `io_uring_enter`, completions read in user space.
//!
//! It runs on Linux, from 5.6 on, wherever a sysctl, seccomp or a limit does not forbid it; [`uring`] says what does, and what
//! would change it. What a kernel lacks costs that one operation or that one speed-up, never the driver. On other systems the
//! crate is empty.
//!
//! It knows the driver contract of `io-core` and nothing of engines, retries, pools or the other drivers. It does not link
//! requests (`IO_LINK`): a short write in front of a sync would break the chain and leave the sync undone (turso#4291).
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod bell;
mod options;
mod refusal;

#[allow(unsafe_code)] // descriptors, eventfds, ppoll
mod wake;

#[allow(unsafe_code)] // the rings' memory and the raw system calls
mod ring;

#[allow(unsafe_code)] // paths are followed
mod sqe;

mod files;

#[allow(unsafe_code)] // promises about memory are passed on
mod memory;

#[allow(unsafe_code)] // the kernel's answers become files and metadata
mod answers;

#[allow(unsafe_code)] // operations on scratch files of its own
mod probe;

#[allow(unsafe_code)] // the contract is unsafe to implement
mod driver;

#[allow(unsafe_code)] // what the kernel hands over
mod submit;

pub use driver::{Setup, UringDriver, uring};
pub use options::UringOptions;
pub use probe::{OpReport, ProbeReport, probe};
