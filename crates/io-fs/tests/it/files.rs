//! Open files, on every real driver and on the simulator.

mod append;
mod closing;
mod direct;
mod doubt;
mod durable;
mod failures;
mod ranges;
mod traits;
mod transfers;
mod world;
