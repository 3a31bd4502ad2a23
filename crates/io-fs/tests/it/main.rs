//! The facade, on every driver that this machine has and on the simulator.
#![allow(missing_docs, unreachable_pub, dead_code)]

mod files;
