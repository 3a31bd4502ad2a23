//! The log as its users have it: on the simulator, and on every real driver.

mod basics;
mod crash;
mod crashcheck;
mod damage;
mod faults;
mod kit;
mod store;
mod traps;
