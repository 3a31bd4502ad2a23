//! Writes that are never torn.

use super::{File, direct::address, written_of};
use crate::composite::{BoxedSteps, Composite, step};
use io_engine::core::{BufResult, IoBuf, Metadata, Op, RwFlags};
use std::io;

impl File {
    /// Writes the buffer's bytes at `offset` so that after a crash there is all of the old content or all of the new (`RWF_ATOMIC`,
    /// Linux 6.11). Nothing is durable before a sync.
    ///
    /// # Errors
    /// `Unsupported`, saying why, if the file is buffered, its file system promises no such thing (`STATX_WRITE_ATOMIC`), or does not for
    /// this length and offset: the length has to be a power of two within the limits, the offset a multiple of it. Else as
    /// [`File::write_at`]. On an error nothing is written, or, by `EIO`, all or nothing.
    pub fn write_atomic_at<B: IoBuf>(&self, buf: B, offset: u64) -> Composite<BoxedSteps<BufResult<usize, B>>> {
        Composite::new(self.0.fs.shards(), BoxedSteps::new(write_atomic(self.clone(), buf, offset)))
    }
}

async fn write_atomic<B: IoBuf>(file: File, buf: B, offset: u64) -> BufResult<usize, B> {
    let len = buf.len() as u64;
    let asked = match file.is_direct() {
        false => Err(unsupported("the file is buffered, and untorn writes go past the page cache".to_owned())),
        true => step(file.metadata()).await,
    };
    if let Err(error) = asked.and_then(|metadata| fits(&metadata, len, offset)) {
        return (Err(error), buf);
    }
    let piece = (address(&buf), len);
    let checked = file.check_pieces([piece].into_iter(), offset, true);
    let op = Op::write(&file.0.handle, buf, offset).with_flags(RwFlags::ATOMIC);
    let (result, buf) = step(file.run_checked(checked, op, written_of)).await;
    let result = result.and_then(|n| if n as u64 == len { Ok(n) } else { Err(super::errors::cut_short(n as u64)) });
    (result, buf)
}

/// Whether the file system promises it.
fn fits(metadata: &Metadata, len: u64, offset: u64) -> io::Result<()> {
    let (least, most) = (u64::from(metadata.atomic_write_min), u64::from(metadata.atomic_write_max));
    let text = if most == 0 {
        "its file system does not promise any (STATX_WRITE_ATOMIC)".to_owned()
    } else if !len.is_power_of_two() {
        format!("length {len} is not a power of two")
    } else if len < least || len > most {
        format!("length {len} is not within {least} and {most}")
    } else if offset % len != 0 {
        format!("offset {offset} is not a multiple of the length, {len}")
    } else {
        return Ok(());
    };
    Err(unsupported(text))
}

#[cold]
fn unsupported(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("no untorn write: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_engine::core::FileKind;

    #[test]
    fn the_reason_is_named() {
        let mut metadata = Metadata::new(FileKind::File, 0);
        let said = |metadata: &Metadata, len, offset| fits(metadata, len, offset).unwrap_err().to_string();
        assert!(said(&metadata, 4096, 0).contains("STATX_WRITE_ATOMIC"));
        (metadata.atomic_write_min, metadata.atomic_write_max) = (512, 16384);
        assert!(fits(&metadata, 4096, 8192).is_ok());
        assert!(said(&metadata, 5000, 0).ends_with("length 5000 is not a power of two"));
        assert!(said(&metadata, 32768, 0).ends_with("length 32768 is not within 512 and 16384"));
        assert!(said(&metadata, 4096, 512).ends_with("offset 512 is not a multiple of the length, 4096"));
    }
}
