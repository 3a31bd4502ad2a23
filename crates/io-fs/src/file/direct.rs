//! Direct I/O: what it asks for, found out at the open and checked before a transfer is begun.

use super::{File, errors, transfer_of};
use crate::{FileSystem, fs::metadata_of};
use io_engine::{
    Answer, Operation,
    core::{AlignedBuf, BufResult, FileHandle, IoBuf, IoBufMut, Op, Slice, errno},
};
use std::{io, mem::size_of};

/// What transfers past the page cache have to be aligned to, in bytes. Offsets and lengths are multiples of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DioGeometry {
    /// Alignment of the memory.
    pub memory: u32,
    /// Alignment of offset and length of a read.
    pub read_offset: u32,
    /// Alignment of offset and length of a write. On some file systems larger than that of a read.
    pub write_offset: u32,
    /// Where the numbers are from.
    pub source: DioSource,
}

/// How a [`DioGeometry`] was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DioSource {
    /// The system told (`STATX_DIOALIGN`, Linux 6.1; `STATX_DIO_READ_ALIGN`, Linux 6.14).
    Statx,
    /// By reading from the file in smaller and larger pieces. Taken for writes as well.
    Tried,
    /// Not at all: 4096 is enough for common devices. Such numbers are a recommendation and not checked; what the system refuses is
    /// explained with them.
    Default,
}

impl DioGeometry {
    const GUESS: DioGeometry =
        DioGeometry { memory: 4096, read_offset: 4096, write_offset: 4096, source: DioSource::Default };

    /// Whether a transfer keeps to it; `address` 0 for memory whose place is not settled yet.
    ///
    /// # Errors
    /// `InvalidInput`, naming the first number that does not fit.
    pub(crate) fn check(&self, address: usize, len: u64, offset: u64, write: bool) -> io::Result<()> {
        let align = u64::from(if write { self.write_offset } else { self.read_offset });
        if self.source == DioSource::Default {
            return Ok(());
        }
        let misfit = |n: u64, align: u64| n & (align - 1) != 0;
        if !misfit(offset | len, align) && !misfit(address as u64, u64::from(self.memory)) {
            return Ok(());
        }
        Err(self.violation(address, len, offset, align))
    }

    #[cold]
    fn violation(&self, address: usize, len: u64, offset: u64, align: u64) -> io::Error {
        let text = if offset % align != 0 {
            format!("offset {offset} is not a multiple of {align}")
        } else if len % align != 0 {
            format!("length {len} is not a multiple of {align}")
        } else {
            format!("buffer address {address:#x} is not a multiple of {}", self.memory)
        };
        io::Error::new(io::ErrorKind::InvalidInput, format!("direct I/O: {text}"))
    }
}

/// What a direct file knows of its rules.
#[derive(Debug)]
pub(super) struct Direct {
    pub(super) geometry: DioGeometry,
}

impl Default for Direct {
    fn default() -> Self {
        Direct { geometry: DioGeometry::GUESS }
    }
}

impl Direct {
    /// The rules of a direct file; `None` for a buffered one.
    pub(super) async fn of(fs: &FileSystem, file: &FileHandle) -> Option<Direct> {
        if file.facts().direct { Some(Direct::ask(fs, file).await) } else { None }
    }

    /// Asks the system, and else the file itself.
    async fn ask(fs: &FileSystem, file: &FileHandle) -> Direct {
        let Ok(metadata) = fs.run(Op::stat(file), metadata_of).await else { return Direct::default() };
        let powers = [metadata.dio_mem_align, metadata.dio_offset_align].iter().all(|n| n.is_power_of_two());
        if powers {
            let read_offset = metadata.dio_read_offset_align;
            let read_offset = if read_offset.is_power_of_two() { read_offset } else { metadata.dio_offset_align };
            let (memory, write_offset) = (metadata.dio_mem_align, metadata.dio_offset_align);
            return Direct { geometry: DioGeometry { memory, read_offset, write_offset, source: DioSource::Statx } };
        }
        // Reading nothing proves nothing: at the end of the file any number may be right.
        if metadata.size == 0 {
            return Direct::default();
        }
        Direct { geometry: Direct::try_out(fs, file).await.unwrap_or(DioGeometry::GUESS) }
    }

    /// Reads at offset 0: first in aligned memory for the smallest length, then of that length at the smallest alignment of memory.
    async fn try_out(fs: &FileSystem, file: &FileHandle) -> Option<DioGeometry> {
        const SIZES: [u32; 3] = [1, 512, 4096];
        let works = async |at: u32, len: u32| {
            let (begin, end) = (at as usize, (at + len) as usize);
            let window = AlignedBuf::zeroed(2 * 4096).slice(begin..end);
            fs.run(Op::read(file, window, 0), transfer_of::<Slice<AlignedBuf>>).await.0.is_ok()
        };
        let mut offset = None;
        for size in SIZES {
            if works(0, size).await {
                offset = Some(size);
                break;
            }
        }
        let offset = offset?;
        let mut memory = 4096;
        for size in SIZES {
            if size < 4096 && works(size, offset).await {
                memory = size;
                break;
            }
        }
        Some(DioGeometry { memory, read_offset: offset, write_offset: offset, source: DioSource::Tried })
    }
}

impl File {
    /// True if the file is read and written past the page cache. Asked for with a way out
    /// ([`FileOptions::direct_or_buffered`](crate::FileOptions::direct_or_buffered)), this tells what came of it.
    pub fn is_direct(&self) -> bool {
        self.0.handle.facts().direct
    }

    /// What transfers of this file have to be aligned to; `None` for a buffered file, where anything goes.
    pub fn dio_geometry(&self) -> Option<DioGeometry> {
        self.0.direct.as_ref().map(|direct| direct.geometry)
    }

    pub(super) fn read_directly<B: IoBufMut>(
        &self,
        direct: &Direct,
        mut buf: B,
        offset: u64,
    ) -> Operation<BufResult<usize, B>> {
        self.0.note_transfer();
        let at = buf.as_mut_ptr() as usize;
        let checked = direct.geometry.check(settled(at, &buf), buf.capacity() as u64, offset, false);
        let op = Op::read(&self.0.handle, buf, offset);
        match checked {
            Ok(()) => self.run(op, explained),
            Err(error) => self.refuse(op, error, transfer_of),
        }
    }

    pub(super) fn write_directly<B: IoBuf>(
        &self,
        direct: &Direct,
        buf: B,
        offset: u64,
    ) -> Operation<BufResult<usize, B>> {
        self.0.note_transfer();
        let checked = direct.geometry.check(address(&buf), buf.len() as u64, offset, true);
        let op = Op::write(&self.0.handle, buf, offset);
        match checked {
            Ok(()) => self.run(op, explained),
            Err(error) => self.refuse(op, error, transfer_of),
        }
    }

    /// Whether a transfer of these buffers, in a row, keeps to the geometry.
    pub(super) fn check_pieces(
        &self,
        pieces: impl Iterator<Item = (usize, u64)>,
        mut offset: u64,
        write: bool,
    ) -> io::Result<()> {
        let Some(direct) = &self.0.direct else { return Ok(()) };
        for (address, len) in pieces {
            direct.geometry.check(address, len, offset, write)?;
            offset = offset.saturating_add(len);
        }
        Ok(())
    }
}

/// The address of a buffer's bytes, or 0 if they lie within the value itself and will move with it.
pub(super) fn address<B: IoBuf>(buf: &B) -> usize {
    settled(buf.as_ptr() as usize, buf)
}

pub(super) fn settled<B>(at: usize, buf: &B) -> usize {
    let value = std::ptr::from_ref(buf) as usize;
    if (value..value + size_of::<B>()).contains(&at) { 0 } else { at }
}

/// As `transfer_of` and `written_of`, with words where the system has only `EINVAL`.
pub(super) fn explained<B: 'static>(mut answer: Answer) -> BufResult<usize, B> {
    if answer.result.is_err() {
        answer = explain(errors::with_written(answer));
    }
    transfer_of(answer)
}

#[cold]
fn explain(mut answer: Answer) -> Answer {
    let invalid = answer.result.as_ref().is_err_and(|error| error.raw_os_error() == Some(errno::EINVAL));
    let direct = |op: &&Op| op.file().is_some_and(|file| file.facts().direct);
    if let Some(op) = answer.op.as_deref().filter(direct).filter(|_| invalid) {
        let (len, offset, enough) = (op.len(), op.offset(), DioGeometry::GUESS.read_offset);
        let text = format!(
            "direct I/O: the system refuses {len} bytes at offset {offset} (EINVAL); \
             offset, length and buffer address that are multiples of {enough} are commonly taken"
        );
        answer.result = Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_that_does_not_fit_is_named() {
        let rules = DioGeometry { memory: 4, read_offset: 512, write_offset: 4096, source: DioSource::Statx };
        let said = |address, len, offset, write| rules.check(address, len, offset, write).unwrap_err().to_string();
        assert!(rules.check(8, 512, 1024, false).is_ok());
        assert_eq!(said(8, 512, 513, false), "direct I/O: offset 513 is not a multiple of 512");
        assert_eq!(said(8, 512, 4096, true), "direct I/O: length 512 is not a multiple of 4096");
        assert_eq!(said(6, 512, 0, false), "direct I/O: buffer address 0x6 is not a multiple of 4");
        assert!(DioGeometry::GUESS.check(1, 1, 1, true).is_ok(), "a guess forbids nothing");
    }

    #[test]
    fn memory_within_the_value_has_no_address_yet() {
        assert_eq!(address(&[0u8; 64]), 0);
        let heap = vec![0u8; 64];
        assert_eq!(address(&heap), heap.as_ptr() as usize);
    }
}
