//! The binary as a user runs it: what it prints, how it ends, and what it leaves behind.

mod bad_input;
mod bench;
mod compare;
mod copy;
mod full_disk;
mod interrupt;
mod log;
mod support;
