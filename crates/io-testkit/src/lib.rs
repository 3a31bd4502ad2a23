//! The conformance suite of the drivers, and what tests of drivers and engines are made with.
//!
//! Who writes a [`Driver`](io_core::Driver) opts in with one line, [`conformance!`], and gets one `#[test]` per case of the one
//! list in [`cases`]. Who writes an engine takes [`Faulty`] to break any driver on purpose, the file model and its strategies to
//! compare a history of operations with a `Vec<u8>`, guard buffers that make a late touch by the kernel visible, and the
//! child processes that run under refusals.
//!
//! It runs on every platform of the drivers; guard buffers are for Unix, seccomp for Linux. It knows the driver contract of
//! `io-core` and nothing of any driver. It is a development dependency: nothing here belongs into a product.
#![deny(unsafe_code)]

mod bytes;
mod conformance;
mod cx;
mod mode;
mod rig;
mod skip;

pub mod cases;
pub mod model;

#[allow(unsafe_code)] // the bench is a core: the only caller of `prepare`
mod bench;

#[allow(unsafe_code)] // a driver that passes on
mod faulty;

#[cfg(unix)]
#[allow(unsafe_code)] // mappings
mod guard;

#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // the same pages mapped many times
mod alias;

#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // limits, users and filters of a child
pub mod confine;

#[allow(unsafe_code)] // fork(2)
mod fork;

#[allow(unsafe_code)] // poll(2)
mod sleeper;

#[allow(unsafe_code)] // memory that is registered with a driver
mod region;

#[allow(unsafe_code)] // handles of numbers that are no file's
mod handles;

#[allow(unsafe_code)] // statfs(2) and fstat(2), and descriptors that become handles
mod real_disk;

#[cfg(target_os = "linux")]
pub use alias::AliasBuf;
pub use bench::{Bench, Done};
pub use bytes::{BLOCK, pattern};
pub use cx::{Cx, run_case};
pub use faulty::{Fault, Faults, Faulty, Rule};
#[cfg(unix)]
pub use guard::GuardBuf;
pub use handles::nobodys_file;
pub use mode::Mode;
pub use real_disk::{RealDisk, real_disks};

/// Where there are no guard pages, an ordinary buffer for direct I/O stands in.
#[cfg(not(unix))]
pub use io_core::AlignedBuf as GuardBuf;

pub use rig::{Disk, RealRig, Rig};
pub use skip::skip;
