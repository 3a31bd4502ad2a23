//! The engine under attack: every theme a file, every case on every driver that this machine has.
#![cfg(unix)] // descriptors, pipes and forks are all over them
#![allow(missing_docs, unreachable_pub, dead_code)]

mod puppet;
mod random;
#[macro_use]
mod world;

mod alloc;
mod cancel;
mod death;
mod errnos;
mod fork;
mod guard;
mod inodes;
mod listener;
mod looping;
mod model;
mod order;
mod pages;
mod pools;
mod refusals;
mod shards;
mod shutdown;
mod transfers;
mod virtual_time;
mod wakes;

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;
