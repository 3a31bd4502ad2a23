//! Handles for the error cases.

use io_core::{FileFacts, FileHandle, RawFile};

/// A handle whose number is no file of any driver: every operation on it is `EBADF`. `facts` make it look like a file that the
/// driver takes.
pub fn nobodys_file(facts: FileFacts) -> FileHandle {
    // SAFETY: the number is outside the range of descriptors.
    unsafe { FileHandle::from_raw(RawFile::new(1 << 50), Box::new(()), facts) }
}
