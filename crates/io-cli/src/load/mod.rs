//! One workload on one file: what is done, by whom, and what came of it.
//!
//! A *load* keeps a number of *lanes* going. Each lane has one buffer and one operation in flight; when it ends the lane takes
//! the next offset, until the time or the operations are used up. [`listener`] runs the lanes below an event loop, all on one
//! thread; [`threads`] runs each on a thread of its own with the blocking calls of `std`. Both choose offsets, stamp what they
//! write, and count, with the same code.

mod content;
mod lane;
mod listener;
mod meter;
mod pages;
mod record;
mod threads;

pub(crate) use content::{Check, Compare};
pub(crate) use listener::run as run_on_loop;
pub(crate) use pages::Pages;
pub(crate) use record::Outcome;
pub(crate) use threads::run as run_on_threads;

use crate::files;
use io_fs::{Arena, FileHandle};
use std::{io, sync::Arc, time::Duration};

/// What each operation of a load does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reads a block at a random place.
    RandRead,
    /// Reads the next block; one cursor for all lanes.
    SeqRead,
    /// Writes a block at a random place.
    RandWrite,
    /// Writes the next block.
    SeqWrite,
    /// Writes the next block, then fdatasync: one operation.
    WalAppend,
}

impl Work {
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Work::RandWrite | Work::SeqWrite | Work::WalAppend)
    }

    pub(crate) fn is_random(self) -> bool {
        matches!(self, Work::RandRead | Work::RandWrite)
    }
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    pub(crate) time: Duration,
    pub(crate) ops: u64,
}

/// What is done with the bytes.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Nothing: writes write the same bytes again and again.
    Ignored,
    /// Each write is stamped, and noted when it is answered.
    Stamped(Arc<Pages>),
    /// Every block that is read is compared. Not for timed runs.
    Checked(Arc<dyn Check>),
    /// The last block that each lane reads is compared, after the last lane has ended.
    LastChecked(Arc<dyn Check>),
}

/// A workload, ready to be run.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) work: Work,
    pub(crate) file: FileHandle,
    /// Bytes per operation.
    pub(crate) bs: usize,
    /// The file is used from its start, so many blocks of it.
    pub(crate) blocks: u64,
    /// Operations kept going.
    pub(crate) lanes: u32,
    pub(crate) seed: u64,
    pub(crate) until: Until,
    pub(crate) content: Content,
    /// Where the buffers come from: at least as many as lanes, of at least `bs` bytes.
    pub(crate) arena: Arena,
}

/// Reads the first `len` bytes once, so that a buffered read finds them in memory.
pub(crate) fn warm(file: &FileHandle, len: u64) -> io::Result<()> {
    let mut buf = vec![0; 256 << 10];
    let mut at = 0;
    while at < len {
        match files::read_full_at(files::std_file(file), &mut buf, at)? {
            0 => break,
            n => at += n as u64,
        }
    }
    Ok(())
}
