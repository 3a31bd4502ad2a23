//! Temp directories on real file systems.

use crate::Disk;
use io_core::{FileFacts, FileHandle, OpenOptions};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A fresh directory on a real file system, removed with all that is in it on drop.
#[derive(Debug)]
pub struct RealDisk {
    dir: tempfile::TempDir,
    label: String,
}

impl RealDisk {
    /// A fresh directory inside `parent`.
    ///
    /// # Errors
    /// The system's, for instance if `parent` is not there.
    pub fn in_dir(parent: &Path) -> io::Result<RealDisk> {
        let dir = tempfile::Builder::new().prefix("conformance-").tempdir_in(parent)?;
        // /tmp may be a link; RealPath answers without links, and the cases compare.
        let label = sys::file_system(dir.path());
        Ok(RealDisk { dir, label })
    }
}

/// A fresh [`RealDisk`] in each directory that the variable `IOFS_TEST_DIRS` names, separated as in `PATH`; without it one in
/// the `tmp` of cargo's target directory, or else where temp files go.
///
/// # Panics
/// If one of them cannot be made: a suite that runs on fewer disks than it was told to proves less than it says.
pub fn real_disks() -> Vec<RealDisk> {
    let parents: Vec<PathBuf> = match std::env::var_os("IOFS_TEST_DIRS") {
        Some(dirs) if !dirs.is_empty() => std::env::split_paths(&dirs).collect(),
        _ => vec![target_tmp().unwrap_or_else(std::env::temp_dir)],
    };
    let make = |parent: &PathBuf| match RealDisk::in_dir(parent) {
        Ok(disk) => disk,
        Err(error) => panic!("cannot make a test directory in {}: {error}", parent.display()),
    };
    parents.iter().map(make).collect()
}

/// The `tmp` of the target directory that the running test lies in; cargo marks target directories with a tag.
fn target_tmp() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    let target = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists())?;
    let tmp = target.join("tmp");
    fs::create_dir_all(&tmp).ok()?;
    Some(tmp)
}

impl Disk for RealDisk {
    fn label(&self) -> String {
        self.label.clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn create(&self, name: &str, contents: &[u8], options: OpenOptions) -> io::Result<FileHandle> {
        fs::write(self.path(name), contents)?;
        let options = OpenOptions { create: false, create_new: false, truncate: false, ..options };
        let file = self.open(name, options)?;
        // Every byte was written just now, so every byte is allocated.
        let facts = FileFacts { filled: contents.len() as u64, ..*file.facts() };
        Ok(file.with_facts(facts).expect("nobody else has the handle yet"))
    }

    fn open(&self, name: &str, options: OpenOptions) -> io::Result<FileHandle> {
        let mut how = fs::OpenOptions::new();
        how.read(options.read).write(options.write);
        how.create(options.create).create_new(options.create_new).truncate(options.truncate);
        sys::flags(&mut how, options);
        let file = how.open(self.path(name))?;
        let facts = sys::facts(&file, options)?;
        Ok(FileHandle::from_std(file, facts))
    }

    fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    #[cfg(target_os = "linux")]
    fn times_open(&self, name: &str) -> Option<usize> {
        // Asking for the file and not for the number of descriptors keeps other tests of the process out of it.
        let path = self.path(name);
        let open = fs::read_dir("/proc/self/fd").ok()?.filter_map(Result::ok);
        Some(open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == path)).count())
    }

    fn dir(&self) -> Option<&Path> {
        Some(self.dir.path())
    }
}

#[cfg(unix)]
mod sys {
    use io_core::{FileFacts, InodeKey, OpenOptions};
    use std::{
        fs, io,
        os::{
            fd::AsRawFd as _,
            unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
        },
        path::Path,
    };

    pub(super) fn flags(how: &mut fs::OpenOptions, options: OpenOptions) {
        how.mode(options.mode);
        let mut flags = 0;
        if options.no_follow {
            flags |= libc::O_NOFOLLOW;
        }
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        if options.direct {
            flags |= libc::O_DIRECT;
        }
        how.custom_flags(flags);
    }

    pub(super) fn facts(file: &fs::File, options: OpenOptions) -> io::Result<FileFacts> {
        #[cfg(target_os = "macos")]
        if options.direct {
            // SAFETY: the file is open as long as it is borrowed; the call takes no memory.
            unsafe { libc::fcntl(file.as_raw_fd(), libc::F_NOCACHE, 1) };
        }
        let meta = file.metadata()?;
        let seekable = meta.file_type().is_file() || meta.file_type().is_block_device();
        Ok(FileFacts {
            direct: options.direct,
            seekable,
            inode: Some(InodeKey { dev: meta.dev(), ino: meta.ino() }),
            filled: 0,
            fs_magic: magic(file),
        })
    }

    #[cfg(target_os = "linux")]
    fn magic(file: &fs::File) -> i64 {
        let mut answer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: the descriptor is open as long as the file is borrowed; `answer` is the call's own type, and all zeros is a
        // valid one.
        let answer = unsafe {
            libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr());
            answer.assume_init()
        };
        #[allow(clippy::unnecessary_cast)] // its width differs between targets
        let magic = answer.f_type as i64;
        magic
    }

    #[cfg(not(target_os = "linux"))]
    fn magic(file: &fs::File) -> i64 {
        let _ = file.as_raw_fd();
        0
    }

    pub(super) fn file_system(dir: &Path) -> String {
        let magic = fs::File::open(dir).map_or(0, |dir| magic(&dir));
        match magic {
            0xef53 => "ext4".to_owned(),
            0x0102_1994 => "tmpfs".to_owned(),
            0x5846_5342 => "xfs".to_owned(),
            0x9123_683e => "btrfs".to_owned(),
            0x6573_5546 => "fuse".to_owned(),
            0x794c_7630 => "overlayfs".to_owned(),
            other => format!("file system {other:#x}"),
        }
    }
}

#[cfg(windows)]
mod sys {
    use io_core::{FileFacts, OpenOptions};
    use std::{fs, io, os::windows::fs::OpenOptionsExt as _, path::Path};

    const FILE_FLAG_NO_BUFFERING: u32 = 0x2000_0000;

    pub(super) fn flags(how: &mut fs::OpenOptions, options: OpenOptions) {
        if options.direct {
            how.custom_flags(FILE_FLAG_NO_BUFFERING);
        }
    }

    pub(super) fn facts(file: &fs::File, options: OpenOptions) -> io::Result<FileFacts> {
        let seekable = file.metadata()?.is_file();
        Ok(FileFacts { direct: options.direct, seekable, ..FileFacts::default() })
    }

    pub(super) fn file_system(_dir: &Path) -> String {
        "windows".to_owned()
    }
}
