//! How a file is opened.

use io_engine::core::OpenOptions;

/// How [`FileSystem::open_with`](crate::FileSystem::open_with) opens a file, built step by step.
///
/// [`OpenOptions`] and its constants are taken in its place wherever one is asked for; what only the facade can do is here.
///
/// ```
/// use io_fs::{FileOptions, FileSystem, OpenOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("table");
/// let fs = FileSystem::new()?;
/// fs.block_on(async {
///     fs.open_with(&path, FileOptions::new().write(true).create_new(true).mode(0o600)).await?;
///     fs.open_with(&path, FileOptions::new().read(true).direct_or_buffered(true)).await?;
///     fs.open_with(&path, OpenOptions::READ).await?;
///     std::io::Result::Ok(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    plain: OpenOptions,
    falls_back: bool,
}

impl FileOptions {
    /// No access yet: [`FileOptions::read`], [`FileOptions::write`] or both have to follow, or the open answers `EINVAL`. Permission
    /// bits of a new file are 0o666 before the umask.
    pub const fn new() -> FileOptions {
        FileOptions { plain: OpenOptions { read: false, ..OpenOptions::READ }, falls_back: false }
    }

    /// Read access.
    #[must_use]
    pub const fn read(mut self, read: bool) -> FileOptions {
        self.plain.read = read;
        self
    }

    /// Write access.
    #[must_use]
    pub const fn write(mut self, write: bool) -> FileOptions {
        self.plain.write = write;
        self
    }

    /// Makes the file if it is missing.
    #[must_use]
    pub const fn create(mut self, create: bool) -> FileOptions {
        self.plain.create = create;
        self
    }

    /// Makes the file, and fails if something is there, be it a link that leads nowhere (`O_EXCL`).
    #[must_use]
    pub const fn create_new(mut self, create_new: bool) -> FileOptions {
        self.plain.create_new = create_new;
        self
    }

    /// Cuts an existing file to length 0. It takes write access.
    #[must_use]
    pub const fn truncate(mut self, truncate: bool) -> FileOptions {
        self.plain.truncate = truncate;
        self
    }

    /// Past the page cache (`O_DIRECT`), or an error where the file system cannot do that.
    #[must_use]
    pub const fn direct(mut self, direct: bool) -> FileOptions {
        self.plain.direct = direct;
        self.falls_back = false;
        self
    }

    /// Past the page cache where the file system can do that, buffered where its open(2) refuses. Which of them it is, is said by
    /// `file.handle().facts().direct`.
    #[must_use]
    pub const fn direct_or_buffered(mut self, direct: bool) -> FileOptions {
        self.plain.direct = direct;
        self.falls_back = direct;
        self
    }

    /// Fails if the last component of the path is a symbolic link (`O_NOFOLLOW`).
    #[must_use]
    pub const fn no_follow(mut self, no_follow: bool) -> FileOptions {
        self.plain.no_follow = no_follow;
        self
    }

    /// Permission bits of a file that is made (Unix), before the umask.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> FileOptions {
        self.plain.mode = mode;
        self
    }

    /// What of it the engine understands.
    pub const fn plain(&self) -> OpenOptions {
        self.plain
    }

    /// True if direct access is asked for, and buffered access is as good where that is refused.
    pub const fn falls_back(&self) -> bool {
        self.falls_back
    }
}

impl Default for FileOptions {
    fn default() -> FileOptions {
        FileOptions::new()
    }
}

impl From<OpenOptions> for FileOptions {
    fn from(plain: OpenOptions) -> FileOptions {
        FileOptions { plain, falls_back: false }
    }
}

/// How a file is opened, in a word: what requests to an [`IoWorker`](crate::IoWorker) say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OpenMode {
    /// For reading; it has to exist.
    #[default]
    Read,
    /// For reading and writing; it has to exist.
    ReadWrite,
    /// For reading and writing; made if it is missing, cut to length 0 if it is not.
    Create,
    /// For reading, writing and appending; made if it is missing. See [`FileSystem::open_append`](crate::FileSystem::open_append).
    Append,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_changes_its_own_field() {
        let none = FileOptions::new().plain();
        assert!(!none.read && !none.write && none.mode == 0o666);
        assert_eq!(FileOptions::new().read(true), FileOptions::from(OpenOptions::READ));
        assert_eq!(FileOptions::new().read(true).write(true).create(true), OpenOptions::CREATE.into());
        assert_eq!(FileOptions::new().read(true).write(true).create_new(true), OpenOptions::CREATE_NEW.into());
        let all = FileOptions::new().write(true).truncate(true).no_follow(true).mode(0o600);
        let wanted =
            OpenOptions { read: false, write: true, truncate: true, no_follow: true, mode: 0o600, ..OpenOptions::READ };
        assert_eq!(all.plain(), wanted);
    }

    #[test]
    fn the_last_word_on_direct_access_counts() {
        let soft = FileOptions::new().direct_or_buffered(true);
        assert!(soft.plain().direct && soft.falls_back());
        let hard = soft.direct(true);
        assert!(hard.plain().direct && !hard.falls_back());
        let none = soft.direct_or_buffered(false);
        assert!(!none.plain().direct && !none.falls_back());
    }
}
