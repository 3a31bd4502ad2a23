//! The conformance suite on Linux AIO, and what only this driver has: refusals in the middle of a batch, a ring read in user
//! space, eventfds, a context that a forked child inherits.
#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "tests")]

mod fixture;

mod batch;
mod fork;
mod refusals;
mod ring;
mod steady;
mod time;
mod wake;

use fixture::{driver, every_way, insisting, options};
use io_core::{Driver, DriverName};
use io_testkit::RealRig;

io_testkit::conformance!(aio, RealRig::new(DriverName::Aio, |depth| Ok(Box::new(io_aio::aio(options(depth))?))));

// Buffered transfers and writes that allocate work as well; they only block inside io_submit.
io_testkit::conformance!(insisting_on_all, RealRig::new(DriverName::Aio, |depth| insisting(options(depth))));

// The same where the ring has an unknown layout, so that each look is a system call, and operations begin to ring only when
// somebody arms.
io_testkit::conformance!(by_system_calls, RealRig::new(DriverName::Aio, |depth| insisting(every_way(depth)[3])));
io_testkit::properties!(histories, RealRig::new(DriverName::Aio, |depth| insisting(options(depth))));

#[test]
fn it_says_what_it_is() {
    let driver = driver(options(64));
    assert_eq!((driver.name(), driver.depth()), (DriverName::Aio, 64));
    assert!(format!("{driver:?}").starts_with("AioDriver { depth: 64"), "{driver:?}");
}
