//! Files of ours that must not stay behind: not on success, not on errors and panics, not on Ctrl-C.
//!
//! Each is on one list from before it exists until after it is gone. A guard takes it away when it is dropped; the handler of
//! SIGINT, SIGTERM and SIGHUP takes all of them away and ends the process. It keeps the list locked while it does, so that a
//! file can neither appear behind its back nor be half published.

use crate::exit::{self, Failure};
use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

static LIST: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What the next interrupt does, instead of ending the process.
static GENTLY: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

/// Lets the first interrupt do this. The next one ends the process as ever.
pub(crate) fn stop_gently(stop: impl FnOnce() + Send + 'static) {
    *GENTLY.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
}

fn list() -> MutexGuard<'static, Vec<PathBuf>> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs the handler of interrupting signals.
pub(crate) fn remove_on_interrupt() -> Result<(), Failure> {
    let end = || {
        let gently = GENTLY.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stop) = gently {
            return stop();
        }
        let list = list();
        for path in &*list {
            remove(path);
        }
        // A progress bar may stand in the line.
        let fresh_line = if io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
        crate::output::say(&format!("{fresh_line}iofs: interrupted"));
        // The list stays locked: who waits for it waits for the end of the process.
        std::process::exit(i32::from(exit::WORK))
    };
    ctrlc::set_handler(end).map_err(|error| Failure::work(format!("cannot handle signals: {error}")))
}

/// In a directory somebody may still be making files.
fn remove(path: &Path) {
    let mut left = 100;
    while left > 0 && fs::remove_file(path).is_err() && path.is_dir() && fs::remove_dir_all(path).is_err() {
        left -= 1;
    }
}

/// A file, or a directory with all that is in it, that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty file of a name that nothing else has, readable for the user alone.
    pub(crate) fn create(dir: &Path, prefix: &str) -> io::Result<(Scratch, File)> {
        let mut list = list();
        let made = tempfile::Builder::new().prefix(prefix).rand_bytes(10).tempfile_in(dir)?;
        let (file, path) = made.keep().map_err(|kept| kept.error)?;
        list.push(path.clone());
        Ok((Scratch { path }, file))
    }

    /// Makes an empty directory of a name that nothing else has, open to the user alone.
    pub(crate) fn create_dir(dir: &Path, prefix: &str) -> io::Result<Scratch> {
        let mut list = list();
        let path = tempfile::Builder::new().prefix(prefix).rand_bytes(10).tempdir_in(dir)?.keep();
        list.push(path.clone());
        Ok(Scratch { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name with `rename`. If that fails, the file goes as any scratch file does.
    pub(crate) fn publish<E>(self, rename: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
        let mut list = list();
        let renamed = rename(&self.path);
        if renamed.is_ok() {
            // Off the list, it is not the guard's any more.
            list.retain(|path| *path != self.path);
        }
        drop(list);
        renamed
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut list = list();
        if let Some(at) = list.iter().position(|path| *path == self.path) {
            remove(&self.path);
            list.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_file_goes_with_its_guard() {
        let dir = tempfile::tempdir().unwrap();
        let (scratch, file) = Scratch::create(dir.path(), "x-").unwrap();
        let path = scratch.path().to_owned();
        assert!(path.exists() && list().contains(&path));
        drop((scratch, file));
        assert!(!path.exists() && !list().contains(&path));
    }

    #[test]
    fn a_scratch_directory_goes_with_all_that_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create_dir(dir.path(), "x-").unwrap();
        fs::write(scratch.path().join("f"), "content").unwrap();
        drop(scratch);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_published_file_stays_a_failed_one_goes() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("final");
        let (scratch, _file) = Scratch::create(dir.path(), "x-").unwrap();
        scratch.publish(|path| fs::rename(path, &to)).unwrap();
        assert!(to.exists());
        let (scratch, _file) = Scratch::create(dir.path(), "x-").unwrap();
        let path = scratch.path().to_owned();
        scratch.publish(|_| Err("no")).unwrap_err();
        assert!(!path.exists() && !list().contains(&path));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
