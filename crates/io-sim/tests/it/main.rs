//! The simulator against the driver contract, its own fault model, and a small log that has to survive it.

mod conformance;
mod crash;
mod durability;
mod explore;
mod faults;
mod files;
mod kit;
mod log;
mod names;
mod store;
mod time;
mod trace;
