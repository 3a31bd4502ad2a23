//! The engine under attack: every theme a file, every case on every driver that this machine has.
#![allow(missing_docs, unreachable_pub)]

mod puppet;
mod random;
#[macro_use]
mod world;

mod cancel;
mod death;
mod errnos;
mod inodes;
mod listener;
mod looping;
mod order;
mod transfers;
