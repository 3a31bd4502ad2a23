//! Both ends of a copy, looked at before anything is touched.

use super::pump::End;
use crate::{
    args::CopyArgs,
    exit::Failure,
    files::{self, SECTOR, Source},
    size,
};
use io_fs::{FileHandle, OpenOptions};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Most chunks in flight.
const DEPTH_MAX: u32 = 4096;
/// Most memory for chunks.
const MEMORY_MAX: u64 = 1 << 30;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: Source,
    pub(crate) from: PathBuf,
    /// As the user named it; for messages.
    pub(crate) to: PathBuf,
    /// What gets replaced or made: links followed.
    pub(crate) target: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) replace: bool,
    pub(crate) depth: u32,
    pub(crate) chunk: usize,
    /// Access bits of the source.
    pub(crate) permissions: fs::Permissions,
    pub(crate) modified: Option<SystemTime>,
    direct: Option<FileHandle>,
}

impl Plan {
    pub(crate) fn make(args: &CopyArgs) -> Result<Plan, Failure> {
        let (depth, bs) = (args.depth, args.bs);
        if depth == 0 || depth > DEPTH_MAX {
            return Err(Failure::usage(format!("--depth {depth} is out of range; 1 to {DEPTH_MAX}")));
        }
        if args.direct && bs % SECTOR != 0 {
            return Err(Failure::usage(format!("--bs {bs} is not a multiple of {SECTOR}, which --direct needs")));
        }
        // Two buffers per chunk when comparing.
        if bs.saturating_mul(u64::from(depth)) > MEMORY_MAX / 2 {
            let (bs, most) = (size::show(bs), size::show(MEMORY_MAX / 2));
            return Err(Failure::usage(format!("--depth {depth} times --bs {bs} is more than {most} of buffers")));
        }
        let source = files::source(&args.from)?;
        let metadata = files::std_file(&source.handle).metadata();
        let metadata = metadata.map_err(|error| Failure::opening(&args.from, &error))?;
        let target = target(&args.from, &args.to, &metadata, args.force)?;
        let dir = files::dir_of(&target);
        let inside = fs::metadata(&dir).map_err(|error| Failure::opening(&dir, &error))?;
        if !inside.is_dir() {
            return Err(Failure::usage(format!("{}: is not a directory", dir.display())));
        }
        let direct = match args.direct && source.len >= SECTOR {
            true => Some(files::takes_direct(&args.from, OpenOptions::READ).map_err(|e| refuses(&args.from, &e))?),
            false => None,
        };
        let chunks = source.len.div_ceil(bs).clamp(1, u64::from(depth)) as u32;
        Ok(Plan {
            from: args.from.clone(),
            to: args.to.clone(),
            dir,
            target,
            replace: args.force,
            depth: chunks,
            chunk: bs.min(source.len.next_multiple_of(SECTOR).max(SECTOR)) as usize,
            permissions: metadata.permissions(),
            modified: metadata.modified().ok(),
            source,
            direct,
        })
    }

    /// The source, through the page cache or past it.
    pub(crate) fn end(&self, direct: bool) -> End<'_> {
        let mut end = End { handle: &self.source.handle, path: &self.from, options: OpenOptions::READ };
        if direct {
            let opened = self.direct.as_ref();
            end.handle = opened.expect("whole sectors are copied past the cache only if the source was opened so");
            end.options = end.options.direct();
        }
        end
    }

    pub(crate) fn wants_direct(&self) -> bool {
        self.direct.is_some()
    }
}

pub(crate) fn refuses(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => {
            let line = format!("{}: its file system refuses O_DIRECT ({error}); leave --direct out", path.display());
            Failure::usage(line)
        }
        _ => Failure::opening(path, error),
    }
}

/// The name that the copy gets.
fn target(from: &Path, to: &Path, source: &fs::Metadata, force: bool) -> Result<PathBuf, Failure> {
    let refuse = |why: &str| Err(Failure::usage(format!("{}: {why}", to.display())));
    let metadata = match fs::metadata(to) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if to.file_name().is_none() || ends_in_separator(to) {
                return refuse("is no name for a file");
            }
            return match fs::symlink_metadata(to) {
                // The link leads nowhere. What it would lead to is not ours to make: the link itself is what gets replaced.
                Ok(_) if !force => refuse("is a symbolic link that leads nowhere; --force replaces it"),
                _ => Ok(to.to_owned()),
            };
        }
        Err(error) => return Err(Failure::opening(to, &error)),
    };
    if metadata.is_dir() {
        return refuse("is a directory; give the copy a name");
    }
    if is_same_file((from, source), (to, &metadata)) {
        return refuse("is the file that is to be copied");
    }
    if !metadata.is_file() {
        return refuse("is not a regular file; it will not be replaced");
    }
    if !force {
        return refuse("exists; --force replaces it");
    }
    to.canonicalize().map_err(|error| Failure::opening(to, &error))
}

fn ends_in_separator(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().last().is_some_and(|&b| std::path::is_separator(char::from(b)))
}

#[cfg(unix)]
fn is_same_file(a: (&Path, &fs::Metadata), b: (&Path, &fs::Metadata)) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.1.dev(), a.1.ino()) == (b.1.dev(), b.1.ino())
}

/// Without inode numbers in `std`: the same name once all links are followed.
#[cfg(not(unix))]
fn is_same_file(a: (&Path, &fs::Metadata), b: (&Path, &fs::Metadata)) -> bool {
    matches!((a.0.canonicalize(), b.0.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
