//! Reading a log from its files: group by group, with what is found about damage on the way.

mod parts;
mod segment;
mod survey;

pub(crate) use segment::{Found, SegmentScan, check};
pub(crate) use survey::{Outcome, Segment, Survey};
