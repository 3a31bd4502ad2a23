//! The testkit's own tests: the suite passes on a correct driver and catches each broken one.
#![cfg(target_os = "linux")]

mod confined;
mod faulty;
mod mutants;
mod reference;

use io_core::DriverName;
use io_testkit::RealRig;

const REFERENCE: DriverName = DriverName::Other("reference");

io_testkit::conformance!(plain, RealRig::new(REFERENCE, reference::open));
io_testkit::properties!(model, RealRig::new(REFERENCE, reference::open));
