//! The io_uring driver on this machine's kernel: the conformance suite in each of its set-ups, and what only rings have.
#![cfg(target_os = "linux")]

use io_core::{Driver, DriverName, Unavailable};
use io_testkit::RealRig;
use io_uring_driver::{UringOptions, uring};

fn shared(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    Ok(Box::new(uring(UringOptions::default().depth(depth))?))
}

fn owned(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    Ok(Box::new(uring(UringOptions::default().depth(depth).owner_thread(true))?))
}

fn sqpoll(depth: u32) -> Result<Box<dyn Driver>, Unavailable> {
    let idle = Some(std::time::Duration::from_millis(2));
    Ok(Box::new(uring(UringOptions::default().depth(depth).sqpoll(idle))?))
}

io_testkit::conformance!(shared_ring, RealRig::new(DriverName::Uring, shared));
io_testkit::conformance!(owned_ring, RealRig::new(DriverName::Uring, owned).owned_by_its_thread());
io_testkit::conformance!(sqpoll_ring, RealRig::new(DriverName::Uring, sqpoll));
