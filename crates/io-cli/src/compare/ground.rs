//! What the rows work on: a file of the user's that is only read, or a scratch file; and a place for what writes.

use crate::{
    args::CompareArgs,
    exit::Failure,
    files::{self, SECTOR, Source},
    load::Work,
    once,
    scratch::Scratch,
    size,
};
use io_fs::{FileHandle, OpenOptions};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Sequential transfers.
pub(crate) const SEQUENTIAL: u64 = 128 << 10;
/// A log starts over here.
const LOG: u64 = 64 << 20;
/// With a smaller file, 32 writers of 128 KiB would wait for one another.
const SMALLEST_WRITTEN: u64 = 64 * SEQUENTIAL;

/// Files and places, found and tried, before anything large is written.
#[derive(Debug)]
pub(crate) struct Ground {
    /// The user's file, if there is one.
    pub(crate) file: Option<UserFile>,
    /// Bytes that are read: of the user's file, or of the scratch file.
    pub(crate) size: u64,
    /// The scratch file, if one can be made.
    pub(crate) scratch: Option<Place>,
    notes: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct UserFile {
    pub(crate) path: PathBuf,
    /// Read only.
    pub(crate) buffered: FileHandle,
    /// Read only, past the page cache; where that works.
    pub(crate) direct: Option<FileHandle>,
}

/// A scratch file, still empty, and the directory for more of them.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) scratch: Scratch,
    pub(crate) len: u64,
    pub(crate) log_len: u64,
    pub(crate) buffered: FileHandle,
    pub(crate) direct: bool,
}

impl Ground {
    /// Looks at what the user named. Makes an empty scratch file.
    pub(crate) fn find(args: &CompareArgs) -> Result<Ground, Failure> {
        let mut notes = Vec::new();
        let Some(path) = &args.file else {
            let here = || std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
            let dir = args.dir.clone().unwrap_or_else(here);
            let scratch = Place::make(&dir, args.size)?;
            if !scratch.direct {
                notes.push(no_direct(&dir, None));
            }
            return Ok(Ground { file: None, size: args.size, scratch: Some(scratch), notes });
        };
        let source = files::source(path)?;
        if source.len == 0 {
            return Err(Failure::usage(format!("{}: is empty; there is nothing to read", path.display())));
        }
        let size = source.len.min(args.size);
        let scratch = place_beside(path, &source, size, &mut notes);
        let direct = if size < SECTOR {
            notes.push(format!("direct reads are left out: {} is smaller than a block", path.display()));
            None
        } else {
            let direct = files::takes_direct(path, OpenOptions::READ);
            direct.map_err(|error| notes.push(no_direct(path, Some(&error)))).ok()
        };
        let file = UserFile { path: path.clone(), buffered: source.handle, direct };
        Ok(Ground { file: Some(file), size, scratch, notes })
    }

    /// What the user should know of the rows that are not there.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    /// Whether such rows make sense here.
    pub(crate) fn allows(&self, work: Work, direct: bool) -> bool {
        let scratch = self.scratch.as_ref().is_some_and(|place| !direct || place.direct);
        match &self.file {
            Some(file) if !work.is_write() => !direct || file.direct.is_some(),
            Some(_) => scratch,
            None => scratch && (work.is_write() || !direct || self.size >= SECTOR),
        }
    }
}

/// A place for what writes, beside the user's file. A directory that takes none leaves the reads to be compared.
fn place_beside(path: &Path, source: &Source, size: u64, notes: &mut Vec<String>) -> Option<Place> {
    if source.is_device {
        notes.push("writes are left out: the file is a device, and nothing is written beside one".to_owned());
        return None;
    }
    // Beside the file itself, not beside a link to it: on its file system.
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let place = Place::make(&files::dir_of(&real), size);
    let place = place.map_err(|failure| notes.push(format!("writes are left out: {}", failure.line()))).ok()?;
    if !place.direct {
        notes.push(no_direct(&place.dir, None));
    }
    Some(place)
}

fn no_direct(path: &Path, error: Option<&io::Error>) -> String {
    let why = error.map(|error| format!(" ({error})")).unwrap_or_default();
    format!("direct rows are left out: the file system of {} refuses O_DIRECT{why}", path.display())
}

impl Place {
    /// An empty scratch file in `dir`, which has room for it.
    fn make(dir: &Path, size: u64) -> Result<Place, Failure> {
        let metadata = fs::metadata(dir).map_err(|error| Failure::opening(dir, &error))?;
        if !metadata.is_dir() {
            return Err(Failure::usage(format!("{}: is not a directory", dir.display())));
        }
        let len = size.max(SMALLEST_WRITTEN).checked_next_multiple_of(SEQUENTIAL);
        let len = len.ok_or_else(|| Failure::usage("--size is larger than any file can be"))?;
        let log_len = len.min(LOG);
        if let Ok(free) = once::free_space(dir) {
            if len.saturating_add(log_len) > free {
                let (want, free) = (size::show(len.saturating_add(log_len)), size::show(free));
                let line = format!("{}: {want} are wanted and {free} are free; choose a smaller --size", dir.display());
                return Err(Failure::usage(line));
            }
        }
        let made = Scratch::create(dir, "iofs-scratch-");
        let (scratch, file) = made.map_err(|error| Failure::opening(dir, &error))?;
        files::write_full_at(&file, &[0; SECTOR as usize], 0).map_err(|error| Failure::work(&error))?;
        let direct = files::takes_direct(scratch.path(), OpenOptions::READ_WRITE).is_ok();
        let buffered = io_fs::open(scratch.path(), OpenOptions::READ_WRITE);
        let buffered = buffered.map_err(|error| Failure::opening(scratch.path(), &error))?;
        Ok(Place { dir: dir.to_owned(), scratch, len, log_len, buffered, direct })
    }
}
