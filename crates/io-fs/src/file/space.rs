//! The size of a file, its space, and hints about it.

use super::File;
use crate::fs::{metadata_of, nothing_of};
use io_engine::{
    Answer, Operation,
    core::{Advice, Lifetime, Op},
};
use std::io;

impl File {
    /// Its size in bytes, as the system has it now.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn size(&self) -> Operation<io::Result<u64>> {
        self.run(Op::stat(self.handle()), size_of)
    }

    /// Takes space for a range, so that later writes there cannot run out of it. The size of the file stays as it is (fallocate(2),
    /// `FALLOC_FL_KEEP_SIZE`); the space reads as zeros once the size covers it.
    ///
    /// # Errors
    /// Those of fallocate(2): `StorageFull`, or `Unsupported` where the file system cannot do it.
    pub fn allocate(&self, offset: u64, len: u64) -> Operation<io::Result<()>> {
        self.run(Op::allocate(self.handle(), offset, len, true), nothing_of)
    }

    /// Cuts the file to `len` bytes, or grows it to that with zeros (ftruncate(2)).
    ///
    /// # Errors
    /// Those of ftruncate(2).
    pub fn truncate(&self, len: u64) -> Operation<io::Result<()>> {
        self.run(Op::truncate(self.handle(), len), nothing_of)
    }

    /// Gives the space of a range back; it reads as zeros, the size stays.
    ///
    /// # Errors
    /// Those of fallocate(2) with `FALLOC_FL_PUNCH_HOLE`: `Unsupported` where the file system cannot do it.
    pub fn punch_hole(&self, offset: u64, len: u64) -> Operation<io::Result<()>> {
        self.run(Op::punch_hole(self.handle(), offset, len), nothing_of)
    }

    /// Says how a range will be used (posix_fadvise(2)). `len` 0: to the end.
    ///
    /// # Errors
    /// Those of posix_fadvise(2); `Unsupported` where the system has no such thing.
    pub fn advise(&self, offset: u64, len: u64, advice: Advice) -> Operation<io::Result<()>> {
        self.run(Op::advise(self.handle(), offset, len, advice), nothing_of)
    }

    /// Says how long what is written will live (fcntl(2), `F_SET_RW_HINT`), for devices that place data by it.
    ///
    /// # Errors
    /// Those of fcntl(2); `Unsupported` where the system has no such thing.
    pub fn write_hint(&self, lifetime: Lifetime) -> Operation<io::Result<()>> {
        self.run(Op::write_hint(self.handle(), lifetime), nothing_of)
    }
}

fn size_of(answer: Answer) -> io::Result<u64> {
    metadata_of(answer).map(|metadata| metadata.size)
}
