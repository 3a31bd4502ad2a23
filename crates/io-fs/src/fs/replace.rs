//! A file's whole content, replaced as one step.

use super::{FileSystem, temporary::Temporary};
use crate::composite::{BoxedSteps, Composite};
use io_engine::core::{BufResult, FileKind, IoBuf, Metadata, RenameMode};
use std::{
    io,
    path::{Path, PathBuf},
};

/// How often a file may be made and removed again while it is looked for.
const APPEARANCES_MAX: u32 = 8;

/// Where a name leads.
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// The file that is there now.
    pub(super) old: Option<Metadata>,
}

impl FileSystem {
    /// Makes `bytes` the whole content of a file; makes the file if it is missing. Whatever happens, a crash or a power cut included,
    /// readers find all of the old content or all of the new, and after success the new one. The buffer comes back either way.
    ///
    /// The bytes are written to a file of another name in the same directory (`.iofs-….tmp`), which is synced, renamed over the old
    /// one, and its directory synced. So the directory must be writable, who has the old file open goes on seeing the old content, and
    /// other hard links keep it. A symbolic link is followed and stays: the file that it leads to is replaced, in that file's
    /// directory. The new file has the old one's permission bits and belongs to who replaced it; where its group therefore is another
    /// one, the group has no more rights than everybody. Attributes and access control lists are not copied.
    ///
    /// A crash may leave the temporary file behind; it is in nobody's way. Of several replacements at the same time the last one stays.
    ///
    /// Dropped or cancelled before it renames, it leaves the old file, and the temporary one is removed; a cancel that comes later is
    /// worth nothing. Dropped while it renames or later, it leaves either content, whole; that of the new one's name is then not
    /// known to be durable.
    ///
    /// # Errors
    /// Those of the system calls on the way: the old file is untouched and the temporary one removed. With one exception, of which the
    /// error's text says that the new content is there: if the directory could not be synced at the end, a crash may bring the old
    /// content back. `IsADirectory`, or `InvalidInput` for what is no regular file. `NotFound` if a directory is missing, or if the
    /// path is a link that leads nowhere.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("settings");
    /// let fs = io_fs::FileSystem::new()?;
    /// let (result, _bytes) = fs.block_on(fs.replace(&path, b"depth = 32".to_vec()));
    /// result?;
    /// assert_eq!(std::fs::read(&path)?, b"depth = 32");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace<B: IoBuf>(&self, path: impl AsRef<Path>, bytes: B) -> Composite<BoxedSteps<BufResult<(), B>>> {
        let (fs, path) = (self.clone(), path.as_ref().to_path_buf());
        Composite::new(self.shards(), BoxedSteps::new(async move { fs.replacing(&path, bytes).await }))
    }

    async fn replacing<B: IoBuf>(&self, path: &Path, bytes: B) -> BufResult<(), B> {
        let (place, temporary) = match self.begin_replacement(path).await {
            Ok(begun) => begun,
            Err(error) => return (Err(error), bytes),
        };
        let (filled, bytes) = temporary.fill(bytes).await;
        (self.finish_replacement(filled, place, temporary).await, bytes)
    }

    async fn begin_replacement(&self, path: &Path) -> io::Result<(Place, Temporary)> {
        let place = self.place_of(path).await?;
        // What the old file hid from others stays hidden while the new one is written.
        let mode = if place.old.is_some() { 0o600 } else { 0o666 };
        let temporary = Temporary::make(self, place.dir(), mode).await?;
        Ok((place, temporary))
    }

    async fn finish_replacement(&self, filled: io::Result<()>, place: Place, temporary: Temporary) -> io::Result<()> {
        let ready = match (filled, &place.old) {
            (Ok(()), Some(old)) => temporary.permit_as(old).await,
            (filled, _) => filled,
        };
        if let Err(error) = ready {
            temporary.remove().await;
            return Err(error);
        }
        temporary.publish(&place.path, RenameMode::Replace).await
    }

    /// Finds out where a name leads: to a regular file, or to where one can be made.
    pub(super) async fn place_of(&self, path: &Path) -> io::Result<Place> {
        let mut left = APPEARANCES_MAX;
        loop {
            let missing = match self.canonicalize(path).await {
                Ok(real) => return self.old_place(real, path).await,
                Err(error) if error.kind() == io::ErrorKind::NotFound => error,
                Err(error) => return Err(error),
            };
            match self.symlink_metadata(path).await {
                Err(_) => return self.new_place(path, missing).await,
                // To make a file where the link leads is what attackers hope for; to replace the link is not what was asked for.
                Ok(metadata) if metadata.kind == FileKind::Symlink => {
                    let text = format!("{} is a link that leads nowhere; nothing was changed", path.display());
                    return Err(io::Error::new(io::ErrorKind::NotFound, text));
                }
                // It has come there since.
                Ok(_) if left > 0 => left -= 1,
                Ok(_) => return Err(missing),
            }
        }
    }

    async fn old_place(&self, real: PathBuf, path: &Path) -> io::Result<Place> {
        let old = self.metadata(&real).await?;
        regular(&old, path)?;
        Ok(Place { path: real, old: Some(old) })
    }

    async fn new_place(&self, path: &Path, missing: io::Error) -> io::Result<Place> {
        let text = path.as_os_str().as_encoded_bytes();
        let names_a_dir = text.last().is_some_and(|&last| std::path::is_separator(char::from(last)));
        let Some(name) = path.file_name().filter(|name| !names_a_dir && text.ends_with(name.as_encoded_bytes())) else {
            return Err(missing);
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = self.canonicalize(dir).await?;
        Ok(Place { path: dir.join(name), old: None })
    }
}

impl Place {
    pub(super) fn dir(&self) -> &Path {
        self.path.parent().expect("a file's name is in a directory")
    }
}

/// An error for everything but regular files: to open a pipe could wait for ever.
pub(super) fn regular(metadata: &Metadata, path: &Path) -> io::Result<()> {
    let kind = match metadata.kind {
        FileKind::File => return Ok(()),
        FileKind::Dir => io::ErrorKind::IsADirectory,
        FileKind::Symlink | FileKind::Other => io::ErrorKind::InvalidInput,
    };
    let what = if metadata.kind == FileKind::Dir { "a directory" } else { "no regular file" };
    Err(io::Error::new(kind, format!("{} is {what}", path.display())))
}
