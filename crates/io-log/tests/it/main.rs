//! The log as its users have it: on the simulator and on real disks.

mod store;
