//! Sealed segments, read.

mod damage;
mod indexes;
pub(crate) mod kit;
mod life;
mod reading;
mod sealing;
