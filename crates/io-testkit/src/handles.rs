//! Handles for the error cases.

use io_core::{FileFacts, FileHandle, RawFile};
use std::io;

/// A handle whose number is no file of any driver: every operation on it is `EBADF`. `facts` make it look like a file that the
/// driver takes.
pub fn nobodys_file(facts: FileFacts) -> FileHandle {
    // SAFETY: the number is outside the range of descriptors.
    unsafe { FileHandle::from_raw(RawFile::new(1 << 50), Box::new(()), facts) }
}

/// The two ends of a pipe, for reading and for writing.
#[cfg(unix)]
pub(crate) fn pipe(facts: FileFacts) -> io::Result<(FileHandle, FileHandle)> {
    use std::os::fd::{FromRawFd as _, OwnedFd};
    let mut ends = [0; 2];
    // SAFETY: the call fills the two numbers.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both descriptors are new and nobody else owns them.
    let [reader, writer] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((FileHandle::from_std(reader.into(), facts), FileHandle::from_std(writer.into(), facts)))
}

/// Writes past the driver into the handle of a pipe.
#[cfg(unix)]
pub(crate) fn write_all(pipe: &FileHandle, bytes: &[u8]) {
    let end = pipe.owner::<std::fs::File>().expect("made by `pipe`");
    std::io::Write::write_all(&mut &*end, bytes).expect("a pipe has room for a block");
}

/// No pipes here.
#[cfg(not(unix))]
pub(crate) fn pipe(_facts: FileFacts) -> io::Result<(FileHandle, FileHandle)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes a FIFO, whose opening takes as long as nobody opens its other end.
#[cfg(unix)]
pub(crate) fn make_fifo(path: &std::path::Path) -> io::Result<()> {
    let path = io_core::OpPath::new(path)?;
    // SAFETY: a C string and a number.
    if unsafe { libc::mkfifo(path.as_c_str().as_ptr(), 0o600) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
