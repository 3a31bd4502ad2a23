//! The facade, on every driver that this machine has and on the simulator.
#![allow(missing_docs, unreachable_pub, dead_code)]

mod fs_kit;

mod adapters;
mod composites;
mod crashcheck;
mod facade_conformance;
mod failover;
mod files;
mod fs_config;
mod fs_copy;
mod fs_local;
mod fs_names;
mod fs_open;
mod fs_replace;
mod fs_traits;
mod fs_worker;
mod metrics;
mod storm;
