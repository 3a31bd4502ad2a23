//! Names: what is in the directories.

use super::{FileSystem, metadata_of, nothing_of, output_of, unexpected};
use crate::composite::step;
use io_engine::{
    Answer,
    core::{AccessMode, DirEntry, FileKind, Metadata, Op, Output, RenameMode, StatFs},
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// How often somebody else may remove a directory from under the making of one below it.
const PULLED_AWAY_MAX: u32 = 16;

impl FileSystem {
    /// Gives a file or a directory another name, as one step. What had the new name is gone; a directory only makes room if it is
    /// empty. Durable after [`FileSystem::sync_dir`] of the new name's directory.
    ///
    /// # Errors
    /// Those of rename(2); both names are as they were.
    pub async fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        self.rename_with(from, to, RenameMode::Replace).await
    }

    /// As [`FileSystem::rename`], or without replacing anything, or as an exchange of two names.
    ///
    /// # Errors
    /// Those of renameat2(2): `AlreadyExists` for [`RenameMode::NoReplace`]. `EOPNOTSUPP` or `EINVAL` where system or file system do
    /// not have the mode.
    pub async fn rename_with(&self, from: impl AsRef<Path>, to: impl AsRef<Path>, mode: RenameMode) -> io::Result<()> {
        self.run(Op::rename(from, to, mode)?, nothing_of).await
    }

    /// Removes a name of a file, or a link. Open handles go on working. Durable after [`FileSystem::sync_dir`].
    ///
    /// # Errors
    /// Those of unlink(2); `EISDIR` (or `EPERM`) for a directory.
    pub async fn remove_file(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.run(Op::unlink(path)?, nothing_of).await
    }

    /// Makes a directory and those above it that are missing, with permission bits 0o777 before the umask. One that is there is fine,
    /// and so is one that somebody else makes at the same time. None of it is durable before the directories above are synced.
    ///
    /// # Errors
    /// Those of mkdir(2), with the directory that could not be made; those above it may have been.
    pub async fn create_dir_all(&self, path: impl AsRef<Path>) -> io::Result<()> {
        // From the end upwards to what is there, then down again.
        let mut missing = vec![path.as_ref().to_path_buf()];
        let (mut goes_down, mut pulled_away) = (false, 0);
        while let Some(dir) = missing.last().filter(|dir| !dir.as_os_str().is_empty()) {
            match self.make_dir(dir).await {
                Ok(()) => {
                    goes_down = true;
                    missing.pop();
                }
                Err(error) => {
                    let above = dir.parent().filter(|above| !above.as_os_str().is_empty());
                    let is_missing = error.kind() == io::ErrorKind::NotFound;
                    let Some(above) = above.filter(|_| is_missing && pulled_away < PULLED_AWAY_MAX) else {
                        let shown = dir.display();
                        return Err(io::Error::new(error.kind(), format!("cannot make directory {shown}: {error}")));
                    };
                    pulled_away += u32::from(goes_down);
                    missing.push(above.to_path_buf());
                }
            }
        }
        Ok(())
    }

    /// Makes one directory; one that is there is fine.
    async fn make_dir(&self, dir: &Path) -> io::Result<()> {
        match self.run(Op::make_dir(dir, 0o777)?, nothing_of).await {
            // Not only "exists": read-only file systems and roots of drives have other words for it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => match self.metadata(dir).await {
                Ok(metadata) if metadata.kind == FileKind::Dir => Ok(()),
                _ => Err(error),
            },
            answer => answer,
        }
    }

    /// All entries of a directory but `.` and `..`, in no order.
    ///
    /// # Errors
    /// Those of opendir(3) and readdir(3).
    pub async fn read_dir(&self, path: impl AsRef<Path>) -> io::Result<Vec<DirEntry>> {
        self.run(Op::read_dir(path)?, entries_of).await
    }

    /// Removes an empty directory. Durable after [`FileSystem::sync_dir`] of the one above.
    ///
    /// # Errors
    /// Those of rmdir(2).
    pub async fn remove_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.run(Op::remove_dir(path)?, nothing_of).await
    }

    /// What the system knows of a path; a link is followed.
    ///
    /// # Errors
    /// Those of stat(2).
    pub async fn metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        step(self.run(Op::stat_path(path, true)?, metadata_of)).await
    }

    /// What the system knows of a path; of a link, if it is one.
    ///
    /// # Errors
    /// Those of lstat(2).
    pub async fn symlink_metadata(&self, path: impl AsRef<Path>) -> io::Result<Metadata> {
        step(self.run(Op::stat_path(path, false)?, metadata_of)).await
    }

    /// Makes the entries of a directory durable: what was made, renamed or removed in it. A new directory's own name is an entry of the
    /// one above.
    ///
    /// # Errors
    /// Those of open(2) and fsync(2). After a failed sync nobody knows which entries are durable.
    pub async fn sync_dir(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.run(Op::sync_dir(path)?, nothing_of).await
    }

    /// Asks whether the caller may do this to a path. The answer may be old by the time it arrives; an open that fails is the better
    /// question.
    ///
    /// # Errors
    /// Those of access(2): `NotFound`, `PermissionDenied`.
    pub async fn access(&self, path: impl AsRef<Path>, mode: AccessMode) -> io::Result<()> {
        self.run(Op::access(path, mode)?, nothing_of).await
    }

    /// The absolute path without links, `.` and `..`. On Windows in the `\\?\` form.
    ///
    /// # Errors
    /// Those of realpath(3); all of the path has to exist.
    pub async fn canonicalize(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        step(self.run(Op::real_path(path)?, path_of)).await
    }

    /// Sets the permission bits of a path; a link is followed. On Windows a mode without any right to write makes the file read-only,
    /// and nothing else of it counts.
    ///
    /// # Errors
    /// Those of chmod(2).
    pub async fn set_permissions(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<()> {
        step(self.run(Op::set_permissions(path, mode)?, nothing_of)).await
    }

    /// The file system that a path is on: its kind and its space.
    ///
    /// # Errors
    /// Those of statfs(2).
    pub async fn stat_fs(&self, path: impl AsRef<Path>) -> io::Result<StatFs> {
        self.run(Op::stat_fs(path)?, stat_fs_of).await
    }
}

fn entries_of(answer: Answer) -> io::Result<Vec<DirEntry>> {
    match output_of(answer)? {
        Output::Entries(entries) => Ok(entries),
        other => Err(unexpected("a directory listing", &other)),
    }
}

fn path_of(answer: Answer) -> io::Result<PathBuf> {
    match output_of(answer)? {
        Output::Path(path) => Ok(path),
        other => Err(unexpected("a question for the real path", &other)),
    }
}

fn stat_fs_of(answer: Answer) -> io::Result<StatFs> {
    match output_of(answer)? {
        Output::StatFs(stat) => Ok(stat),
        other => Err(unexpected("a statfs", &other)),
    }
}
