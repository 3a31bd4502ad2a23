//! The file of a workload: found, or made; never somebody's.
//!
//! A file that this command made has a mark beside it, `FILE.ready`, as the harness of peer benchmarks leaves one. A file with
//! content and without a mark is somebody's: it is written to only if the user says so.

use crate::{
    args::{BenchArgs, BenchOp, Wal},
    exit::Failure,
    files, load, once, size,
};
use io_fs::{FileHandle, Op, OpenOptions};
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

pub(crate) struct Ground {
    /// Opened as the workload wants it.
    pub(crate) file: FileHandle,
    /// Buffered and read only, to compare with.
    pub(crate) plain: FileHandle,
}

pub(crate) fn prepare(args: &BenchArgs) -> Result<Ground, Failure> {
    let path = &args.file;
    let writes = !matches!(args.op, BenchOp::Randread | BenchOp::Seqread);
    if writes {
        make(args)?;
    }
    let source = files::source(path)?;
    let grows = args.op == BenchOp::WalAppend && args.wal == Wal::Grow;
    if source.len < args.size && !grows {
        let (want, have) = (size::show(args.size), size::show(source.len));
        return Err(Failure::usage(format!("{}: has {have}, --size wants {want} of it", path.display())));
    }
    let mut options = if writes { OpenOptions::READ_WRITE } else { OpenOptions::READ };
    options.direct = args.direct == 1;
    let file = io_fs::open(path, options).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported if options.direct => {
            Failure::usage(format!("{}: its file system refuses O_DIRECT ({error})", path.display()))
        }
        _ => Failure::opening(path, &error),
    })?;
    if !writes && !options.direct {
        load::warm(&file, args.size).map_err(|error| Failure::opening(path, &error))?;
    }
    Ok(Ground { file, plain: source.handle })
}

/// Makes the file of a workload that writes, unless it is there as it has to be.
fn make(args: &BenchArgs) -> Result<(), Failure> {
    let (path, mark) = (&args.file, mark_of(&args.file));
    let failed = |error: &io::Error| Failure::opening(path, error);
    let len = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(Failure::usage(format!("{}: is a directory; name a file", path.display())));
        }
        Ok(metadata) if !metadata.is_file() => {
            return Err(Failure::usage(format!("{}: is not a regular file; nothing is written to it", path.display())));
        }
        Ok(metadata) => Some(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(&error)),
    };
    let ours = mark.exists();
    if len.is_some_and(|len| len > 0) && !ours && !args.overwrite {
        let line =
            format!("{}: has content that this command did not make; --overwrite writes into it", path.display());
        return Err(Failure::usage(line));
    }
    let fresh = match (args.op, args.wal) {
        (BenchOp::WalAppend, Wal::Grow | Wal::Fallocate) => true,
        // A log is written round its end: its size has to be right.
        (BenchOp::WalAppend, Wal::Prealloc) => len != Some(args.size) || !ours,
        _ => len.is_none_or(|len| len < args.size),
    };
    if !fresh {
        return Ok(());
    }
    if let Ok(free) = once::free_space(&files::dir_of(path)) {
        let free = free.saturating_add(len.unwrap_or(0));
        if args.size > free {
            let (want, free) = (size::show(args.size), size::show(free));
            return Err(Failure::usage(format!("{}: {want} are wanted and {free} are free", path.display())));
        }
    }
    // What is half made has no mark.
    let unmarked = fs::remove_file(&mark);
    if let Err(error) = unmarked.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
        return Err(Failure::opening(&mark, &error));
    }
    let file = File::create(path).map_err(|error| failed(&error))?;
    fill(args, path, &file).and_then(|()| file.sync_all()).map_err(|error| {
        // A full disk shall not stay full.
        let _ = file.set_len(0);
        Failure::work(format!("{}: {error}", path.display()))
    })?;
    fs::write(&mark, "").map_err(|error| Failure::opening(&mark, &error))
}

fn fill(args: &BenchArgs, path: &Path, file: &File) -> io::Result<()> {
    match (args.op, args.wal) {
        (BenchOp::WalAppend, Wal::Grow) => Ok(()),
        (BenchOp::WalAppend, Wal::Fallocate) => {
            let handle = io_fs::open(path, OpenOptions::READ_WRITE)?;
            once::run(None, Op::allocate(&handle, 0, args.size, false)).map(drop)
        }
        _ => {
            let zeros = vec![0; 1 << 20];
            let mut at = 0;
            while at < args.size {
                let len = (args.size - at).min(zeros.len() as u64);
                files::write_full_at(file, &zeros[..len as usize], at)?;
                at += len;
            }
            Ok(())
        }
    }
}

fn mark_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".ready");
    PathBuf::from(name)
}
