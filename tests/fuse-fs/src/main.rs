//! A FUSE file system in memory: ground for the conformance suite where every request goes to a process.
//!
//! `fuse-fs DIR BYTES` mounts an empty one of so many bytes at `DIR` and serves it until it is unmounted, or until its
//! standard input ends: whoever started it and is gone, by whatever way, leaves no server behind.
//!
//! It runs on Linux, as root. It has no fallocate, no reflinks and no locks of its own; the kernel keeps the locks.

#![forbid(unsafe_code)]

mod content;
mod serve;
mod tree;

use fuser::{Config, MountOption, SessionACL};
use std::io::Read as _;
use std::process::ExitCode;

/// Requests that wait for one another (none does) would still find a free thread.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [dir, bytes] = &args[..] else {
        eprintln!("usage: fuse-fs DIR BYTES");
        return ExitCode::from(2);
    };
    let Some(bytes) = bytes.to_str().and_then(|bytes| bytes.parse().ok()) else {
        eprintln!("fuse-fs: BYTES is not a number");
        return ExitCode::from(2);
    };
    // Read by a thread of its own: the end of the process ends the connection, and every request that still waits with it.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let mut config = Config::default();
    // The kernel judges permissions, by the modes that we keep; and others than root may come in, as tests do.
    config.mount_options = vec![MountOption::FSName("fuse-fs".to_owned()), MountOption::DefaultPermissions];
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    match fuser::mount(serve::Served::new(bytes), dir, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fuse-fs: {error}");
            ExitCode::FAILURE
        }
    }
}
