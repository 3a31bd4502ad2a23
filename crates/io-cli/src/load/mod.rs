//! One workload on one file: what is done, by whom, and what came of it.
//!
//! A *load* keeps a number of *lanes* going. Each lane has one buffer and one operation in flight; when it ends the lane takes
//! the next offset, until the time or the operations are used up. [`facade`] runs the lanes as futures on a file system, with or
//! without a runtime; [`listener`] runs them below an event loop, all on one thread; [`threads`] runs each on a thread of its own
//! with the blocking calls of `std`. All choose offsets, stamp what they write, and count, with the same code.

mod appends;
mod content;
mod facade;
mod lane;
mod listener;
mod meter;
mod pages;
mod record;
mod threads;
mod together;

pub(crate) use appends::Appends;
pub(crate) use content::{Check, Compare};
pub(crate) use facade::{Engine, Runtime};
pub(crate) use listener::run as run_on_loop;
pub(crate) use pages::Pages;
pub(crate) use record::Outcome;
pub(crate) use threads::run as run_on_threads;
pub(crate) use together::Together;

use crate::files;
use io_fs::{Arena, FileHandle, OpenOptions};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

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
    /// Reads or, three times out of ten, writes a block at a random place.
    Mixed,
    /// Writes the next block and makes it durable: one operation. The facade does that its own way, all others write, then fdatasync.
    WalAppend,
}

impl Work {
    /// True if some of its operations write.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Work::RandWrite | Work::SeqWrite | Work::Mixed | Work::WalAppend)
    }

    pub(crate) fn is_random(self) -> bool {
        matches!(self, Work::RandRead | Work::RandWrite | Work::Mixed)
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
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) work: Work,
    /// The file, open.
    pub(crate) file: FileHandle,
    /// The same file, for those who open it themselves.
    pub(crate) path: PathBuf,
    pub(crate) direct: bool,
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

impl Load {
    /// How the file is opened.
    fn options(&self) -> OpenOptions {
        let mut options = if self.work.is_write() { OpenOptions::READ_WRITE } else { OpenOptions::READ };
        options.direct = self.direct;
        options
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use io_fs::{DriverName, OpenOptions};

    const LEN: u64 = 1 << 20;

    /// A file of a megabyte as `pages` has it, and a load of this kind on it.
    fn load(
        dir: &std::path::Path,
        work: Work,
        lanes: u32,
        content: impl Fn(Arc<Pages>) -> Content,
    ) -> (Load, Arc<Pages>) {
        let pages = Arc::new(Pages::filled(LEN));
        let file = io_fs::open(dir.join("f"), OpenOptions::CREATE).unwrap();
        pages.write_all(&file, |_| {}).unwrap();
        let bs = if work.is_random() { 4096 } else { 64 << 10 };
        let until = Until { time: Duration::MAX, ops: 400 };
        let content = content(pages.clone());
        let arena = Arena::new(lanes, bs);
        let path = dir.join("f");
        let blocks = LEN / bs as u64;
        (Load { work, file, path, direct: false, bs, blocks, lanes, seed: 7, until, content, arena }, pages)
    }

    /// On threads, and on every driver that runs here.
    fn everywhere(load: &Load) -> Vec<Outcome> {
        let mut outcomes = vec![run_on_threads(load).unwrap()];
        for name in DriverName::REAL {
            if let Ok(driver) = crate::pick::make(Some(name), load.lanes) {
                outcomes.push(run_on_loop(driver, load).unwrap());
            }
        }
        assert!(outcomes.len() > 1 && outcomes.iter().all(|outcome| outcome.error.is_none()));
        outcomes
    }

    fn spoil(load: &Load, at: u64) {
        files::write_full_at(files::std_file(&load.file), b"?", at).unwrap();
    }

    #[test]
    fn every_block_that_is_read_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        for lanes in [1, 32] {
            let (load, _) = load(dir.path(), Work::SeqRead, lanes, |pages| Content::Checked(pages));
            for outcome in everywhere(&load) {
                assert_eq!((outcome.ops, outcome.checked, outcome.wrong), (400, 400 * load.bs as u64, None));
            }
            spoil(&load, 300_000);
            for outcome in everywhere(&load) {
                assert_eq!(outcome.wrong, Some(300_000 / load.bs as u64 * load.bs as u64), "{lanes} lanes");
            }
        }
    }

    #[test]
    fn the_last_block_of_each_lane_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        for lanes in [1, 8] {
            let (load, _) = load(dir.path(), Work::RandRead, lanes, |pages| Content::LastChecked(pages));
            for (i, outcome) in everywhere(&load).into_iter().enumerate() {
                let most = u64::from(lanes) * 4096;
                // A thread may come too late to do anything.
                let all = if i == 0 { (4096..=most).contains(&outcome.checked) } else { outcome.checked == most };
                assert!(all && outcome.wrong.is_none(), "{outcome:?}");
            }
            (0..LEN).step_by(4096).for_each(|at| spoil(&load, at + 100));
            assert!(everywhere(&load).iter().all(|outcome| outcome.wrong.is_some()));
        }
    }

    #[test]
    fn what_is_written_is_found_again_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for work in [Work::RandWrite, Work::SeqWrite, Work::WalAppend] {
            for lanes in [1, 8] {
                let (load, pages) = load(dir.path(), work, lanes, Content::Stamped);
                let path = dir.path().join("f");
                pages.begin_row();
                for outcome in everywhere(&load) {
                    assert_eq!(outcome.ops, 400);
                }
                let found = pages.read_back(&path, u64::MAX).unwrap();
                assert_eq!((found.bytes, found.wrong), (LEN, None), "{work:?}, {lanes} lanes");
                spoil(&load, 70_000);
                assert_eq!(pages.read_back(&path, u64::MAX).unwrap().wrong, Some(69_632), "{work:?}, {lanes} lanes");
            }
        }
    }

    #[test]
    fn what_a_lane_may_not_do_is_an_error_and_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut load, pages) = load(dir.path(), Work::RandWrite, 4, Content::Stamped);
        load.file = io_fs::open(dir.path().join("f"), OpenOptions::READ).unwrap();
        let mut outcomes = vec![run_on_threads(&load).unwrap()];
        outcomes.push(run_on_loop(crate::pick::make(None, 4).unwrap(), &load).unwrap());
        for outcome in outcomes {
            assert_eq!((outcome.ops, outcome.errors), (0, 4));
            assert_eq!(outcome.error.unwrap().raw_os_error(), Some(io_fs::errno::EBADF));
        }
        let found = pages.read_back(&dir.path().join("f"), u64::MAX).unwrap();
        assert!(found.bytes < LEN && found.wrong.is_none(), "what was to be written is unknown: {found:?}");
    }
}
