//! Saying whether bytes are what a file holds.

use crate::files;
use io_fs::FileHandle;
use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

/// Knows what a file holds.
pub(crate) trait Check: fmt::Debug + Send + Sync {
    /// True if `bytes` are what the file holds at `offset`.
    fn check(&self, offset: u64, bytes: &[u8]) -> bool;
}

/// Somebody's file: it holds what plain pread of `std` reads there now.
#[derive(Debug)]
pub(crate) struct Compare {
    file: FileHandle,
    buf: Mutex<Vec<u8>>,
}

impl Compare {
    pub(crate) fn new(file: FileHandle) -> Compare {
        Compare { file, buf: Mutex::default() }
    }
}

impl Check for Compare {
    fn check(&self, offset: u64, bytes: &[u8]) -> bool {
        let mut buf = self.buf.lock().unwrap_or_else(PoisonError::into_inner);
        buf.clear();
        buf.resize(bytes.len(), 0);
        let read = files::read_full_at(files::std_file(&self.file), &mut buf, offset);
        read.is_ok_and(|n| n == bytes.len()) && buf[..] == *bytes
    }
}
