//! Runs one row, and verifies it outside the timed part.

use super::{
    DEPTH,
    ground::{Ground, SEQUENTIAL},
    plan::{Contender, Row},
};
use crate::{
    args::Front,
    exit::Failure,
    files::{self, SECTOR},
    load::{self, Check, Compare, Content, Engine, Load, Outcome, Pages, Runtime, Until, Work},
    pick,
    scratch::Scratch,
};
use io_fs::{Arena, FileHandle, OpenOptions, Unavailable};
use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Most bytes that are compared after one row.
const COMPARED: u64 = 256 << 20;
/// Reads are run again for as long as this, every block compared.
const COMPARING: Duration = Duration::from_millis(100);
const COMPARED_BY_READING: u64 = 32 << 20;

/// What a row brought.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) outcome: Outcome,
    pub(crate) errors: u64,
    pub(crate) verified: bool,
    /// What went wrong, if something did.
    pub(crate) note: Option<String>,
}

/// The files, filled, and what they hold. They are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Track {
    ground: Ground,
    /// What the scratch file holds.
    pages: Option<Arc<Pages>>,
    /// The scratch file past the page cache.
    direct: Option<FileHandle>,
    /// What the file that is read holds.
    check: Arc<dyn Check>,
    /// Buffers live as long as the process once a driver has registered them: all rows share these.
    small: Arena,
    large: Arena,
    time: Duration,
    front: Front,
    compared: AtomicU64,
}

impl Track {
    /// Writes the scratch file, and syncs it.
    pub(crate) fn lay(ground: Ground, seconds: f64, front: Front) -> Result<Track, Failure> {
        let (mut pages, mut direct) = (None, None);
        if let Some(place) = &ground.scratch {
            let content = Pages::filled(place.len);
            let written = content.write_all(&place.buffered, |_| {});
            let written = written.and_then(|()| files::std_file(&place.buffered).sync_all());
            written.map_err(|error| Failure::work(format!("{}: {error}", place.scratch.path().display())))?;
            if place.direct {
                // Opened after it was filled: a driver asks the handle how much of the file is allocated.
                let opened = io_fs::open(place.scratch.path(), OpenOptions::READ_WRITE.direct());
                direct = Some(opened.map_err(|error| Failure::opening(place.scratch.path(), &error))?);
            }
            pages = Some(Arc::new(content));
        }
        let check: Arc<dyn Check> = match (&ground.file, &pages) {
            (Some(file), _) => Arc::new(Compare::new(file.buffered.clone())),
            (None, Some(pages)) => pages.clone(),
            (None, None) => return Err(Failure::usage("there is nothing to read")),
        };
        Ok(Track {
            ground,
            pages,
            direct,
            check,
            small: Arena::new(DEPTH, SECTOR as usize),
            large: Arena::new(DEPTH, SEQUENTIAL as usize),
            time: Duration::from_secs_f64(seconds),
            front,
            compared: AtomicU64::new(0),
        })
    }

    /// Name and size of the file that is read.
    pub(crate) fn file(&self) -> (String, u64) {
        let scratch = self.ground.scratch.as_ref().map(|place| place.scratch.path());
        let path = self.ground.file.as_ref().map(|file| file.path.as_path()).or(scratch).unwrap_or(Path::new(""));
        (path.display().to_string(), self.ground.size)
    }

    /// Bytes that were compared so far.
    pub(crate) fn verified_bytes(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }

    /// Runs a row. The outer error ends the comparison, the inner one says why the driver cannot run.
    pub(crate) fn run(&self, row: &Row) -> Result<Result<Measured, Unavailable>, Failure> {
        let failed = |error: io::Error| Failure::work(format!("{row}: {error}"));
        match row.work {
            Work::RandRead | Work::SeqRead => self.read(row).map_err(failed),
            Work::RandWrite | Work::SeqWrite | Work::Mixed => self.write(row).map_err(failed),
            Work::WalAppend => self.append(row).map_err(failed),
        }
    }

    fn read(&self, row: &Row) -> io::Result<Result<Measured, Unavailable>> {
        let found = self.file_to_read(row.direct);
        let (path, file) = found.expect("the plan has no rows that the ground does not allow");
        let size = self.ground.size;
        if !row.direct {
            load::warm(file, size)?;
        }
        let bs = block_size(row.work, size);
        let mut load = self.load(row, path, file, bs, size / bs, Content::LastChecked(self.check.clone()));
        let timed = match self.run_load(row.contender, &load)? {
            Ok(outcome) => outcome,
            Err(unavailable) => return Ok(Err(unavailable)),
        };
        load.content = Content::Checked(self.check.clone());
        load.seed += 1;
        load.until = Until { time: COMPARING.min(self.time), ops: (COMPARED_BY_READING / bs).max(u64::from(row.qd)) };
        let again = match self.run_load(row.contender, &load)? {
            Ok(outcome) => outcome,
            Err(unavailable) => return Ok(Err(unavailable)),
        };
        let compared = timed.checked + again.checked;
        let wrong = timed.wrong.or(again.wrong);
        let errors = timed.errors + again.errors;
        let error = timed.error.as_ref().or(again.error.as_ref()).map(ToString::to_string);
        Ok(Ok(self.measured(timed, errors, error, compared, wrong)))
    }

    fn write(&self, row: &Row) -> io::Result<Result<Measured, Unavailable>> {
        let (Some(place), Some(pages)) = (&self.ground.scratch, &self.pages) else {
            unreachable!("the plan has no rows that the ground does not allow")
        };
        let file = if row.direct { self.direct.as_ref().expect("planned") } else { &place.buffered };
        let bs = block_size(row.work, place.len);
        let load = self.load(row, place.scratch.path(), file, bs, place.len / bs, Content::Stamped(pages.clone()));
        let measured = self.write_and_read_back(row, &load, pages)?;
        // What is dirty now, in the page cache or in the device's own, would be written back during the next row.
        files::std_file(file).sync_all()?;
        Ok(measured)
    }

    fn append(&self, row: &Row) -> io::Result<Result<Measured, Unavailable>> {
        let place = self.ground.scratch.as_ref().expect("the plan has no rows that the ground does not allow");
        let (log, _) = Scratch::create(&place.dir, "iofs-log-")?;
        let options = if row.direct { OpenOptions::READ_WRITE.direct() } else { OpenOptions::READ_WRITE };
        let file = io_fs::open(log.path(), options)?;
        let pages = Arc::new(Pages::empty(place.log_len));
        let content = Content::Stamped(pages.clone());
        let load = self.load(row, log.path(), &file, SECTOR, place.log_len / SECTOR, content);
        self.write_and_read_back(row, &load, &pages)
    }

    fn write_and_read_back(&self, row: &Row, load: &Load, pages: &Pages) -> io::Result<Result<Measured, Unavailable>> {
        pages.begin_row();
        let outcome = match self.run_load(row.contender, load)? {
            Ok(outcome) => outcome,
            Err(unavailable) => return Ok(Err(unavailable)),
        };
        let found = pages.read_back(&load.path, COMPARED)?;
        let errors = outcome.errors;
        let error = outcome.error.as_ref().map(ToString::to_string);
        Ok(Ok(self.measured(outcome, errors, error, found.bytes, found.wrong)))
    }

    fn measured(
        &self,
        outcome: Outcome,
        errors: u64,
        error: Option<String>,
        compared: u64,
        wrong: Option<u64>,
    ) -> Measured {
        self.compared.fetch_add(compared, Ordering::Relaxed);
        let wrong_note = wrong.map(|at| format!("wrong content at byte {at}"));
        let error_note = error.map(|error| format!("{errors} failed, the first: {error}"));
        Measured { outcome, errors, verified: compared > 0 && wrong.is_none(), note: wrong_note.or(error_note) }
    }

    fn file_to_read(&self, direct: bool) -> Option<(&Path, &FileHandle)> {
        let (path, buffered, past) = match (&self.ground.file, &self.ground.scratch) {
            (Some(file), _) => (file.path.as_path(), &file.buffered, &file.direct),
            (None, Some(place)) => (place.scratch.path(), &place.buffered, &self.direct),
            (None, None) => return None,
        };
        Some((path, if direct { past.as_ref()? } else { buffered }))
    }

    fn load(&self, row: &Row, path: &Path, file: &FileHandle, bs: u64, blocks: u64, content: Content) -> Load {
        let arena = if bs <= SECTOR { &self.small } else { &self.large };
        Load {
            work: row.work,
            file: file.clone(),
            path: path.to_owned(),
            direct: row.direct,
            bs: bs as usize,
            blocks,
            lanes: row.qd,
            seed: 1,
            until: Until { time: self.time, ops: u64::MAX },
            content,
            arena: arena.clone(),
        }
    }

    fn run_load(&self, contender: Contender, load: &Load) -> io::Result<Result<Outcome, Unavailable>> {
        match contender {
            Contender::Std => load::run_on_threads(load).map(Ok),
            Contender::Driver(name) if self.front == Front::Loop => {
                Ok(pick::make(Some(name), DEPTH).and_then(|driver| load::run_on_loop(driver, load)))
            }
            Contender::Driver(name) => match Engine::new(Runtime::Local, Some(name), DEPTH) {
                Ok(engine) => engine.run(load).map(Ok),
                Err(unavailable) => Ok(Err(unavailable)),
            },
        }
    }
}

/// 4 KiB at random places, 128 KiB in order; of a smaller file as much as there is, in whole sectors if there is one.
fn block_size(work: Work, size: u64) -> u64 {
    let most = if work.is_random() { SECTOR } else { SEQUENTIAL };
    match size {
        _ if size >= most => most,
        _ if size >= SECTOR => size / SECTOR * SECTOR,
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_fit_into_small_files() {
        assert_eq!(block_size(Work::RandRead, 1 << 20), 4096);
        assert_eq!(block_size(Work::SeqRead, 1 << 20), 128 << 10);
        assert_eq!(block_size(Work::SeqRead, 10_000), 8192);
        assert_eq!(block_size(Work::SeqRead, 4096), 4096);
        assert_eq!(block_size(Work::RandRead, 17), 17);
    }
}
