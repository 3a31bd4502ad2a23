//! What changes a file without the caller's memory: space, size, copies.

use super::{FILE_MAX, Site};
use crate::{codes::Answer, pages::PAGE};
use io_core::{FileRef, RawOp, errno};

impl Site<'_> {
    /// The inode of a file that may be changed in this range.
    fn changeable(&self, file: FileRef, offset: u64, len: u64) -> Answer<u64> {
        let open = self.files.get(file.raw)?;
        if !open.options.write {
            return Err(errno::EBADF);
        }
        self.image.content(open.ino)?;
        if offset > i64::MAX as u64 || len > i64::MAX as u64 || len == 0 {
            return Err(errno::EINVAL);
        }
        if offset + len > FILE_MAX { Err(errno::EFBIG) } else { Ok(open.ino) }
    }

    fn with_space(&self, ino: u64, offset: u64, len: u64) -> Answer<()> {
        let missing = self.image.content(ino)?.missing(offset, offset + len);
        if missing > self.image.free() { Err(errno::ENOSPC) } else { Ok(()) }
    }

    pub(super) fn allocate(&mut self, file: FileRef, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
        let ino = self.changeable(file, offset, len)?;
        self.with_space(ino, offset, len)?;
        self.image.change_content(ino, |content| {
            content.allocate(offset, offset + len);
            if !keep_size {
                content.grow(offset + len);
            }
        })
    }

    pub(super) fn punch_hole(&mut self, file: FileRef, offset: u64, len: u64) -> Answer<()> {
        let ino = self.changeable(file, offset, len)?;
        self.image.change_content(ino, |content| content.clear(offset, offset + len, false))
    }

    pub(super) fn zero_range(&mut self, file: FileRef, offset: u64, len: u64, keep_size: bool) -> Answer<()> {
        let ino = self.changeable(file, offset, len)?;
        self.with_space(ino, offset, len)?;
        self.image.change_content(ino, |content| {
            content.clear(offset, offset + len, true);
            if !keep_size {
                content.grow(offset + len);
            }
        })
    }

    pub(super) fn truncate(&mut self, file: FileRef, len: u64) -> Answer<()> {
        let open = self.files.get(file.raw)?;
        if !open.options.write || len > i64::MAX as u64 {
            return Err(errno::EINVAL);
        }
        if len > FILE_MAX {
            return Err(errno::EFBIG);
        }
        self.image.change_content(open.ino, |content| content.truncate(len))
    }

    /// Both inodes of a copy, and how many bytes there are to copy.
    fn pair(&self, from: FileRef, from_offset: u64, to: FileRef, to_offset: u64) -> Answer<(u64, u64, u64)> {
        let (source, target) = (self.files.get(from.raw)?, self.files.get(to.raw)?);
        if !source.options.read || !target.options.write {
            return Err(errno::EBADF);
        }
        if from_offset > i64::MAX as u64 || to_offset > i64::MAX as u64 {
            return Err(errno::EINVAL);
        }
        self.image.content(target.ino)?;
        let there = self.image.content(source.ino)?.size().saturating_sub(from_offset);
        Ok((source.ino, target.ino, there))
    }

    pub(super) fn copy_range(
        &mut self,
        from: FileRef,
        from_offset: u64,
        to: FileRef,
        to_offset: u64,
        len: u32,
    ) -> Answer<u64> {
        let (source, target, there) = self.pair(from, from_offset, to, to_offset)?;
        let asked = len.min(RawOp::MAX_TRANSFER) as u64;
        if source == target && from_offset < to_offset + asked && to_offset < from_offset + asked {
            return Err(errno::EINVAL);
        }
        let mut len = asked.min(there);
        if len == 0 {
            return Ok(0);
        }
        if to_offset >= FILE_MAX {
            return Err(errno::EFBIG);
        }
        len = len.min(FILE_MAX - to_offset).min(self.limit);
        len = self.fitting(target, to_offset, len)?;
        if len == 0 {
            return Err(errno::ENOSPC);
        }
        let mut done = 0;
        while done < len {
            // By and by, because a copy may be as long as the largest transfer.
            let part = (len - done).min(1 << 20);
            let mut bytes = Vec::with_capacity(part as usize);
            self.image.content(source)?.read(from_offset + done, part, |piece| bytes.extend_from_slice(piece));
            self.image.change_content(target, |content| content.write(to_offset + done, &bytes, false))?;
            done += part;
        }
        Ok(len)
    }

    pub(super) fn clone_range(
        &mut self,
        from: FileRef,
        from_offset: u64,
        to: FileRef,
        to_offset: u64,
        len: u64,
    ) -> Answer<()> {
        if !self.image.options.reflink {
            return Err(errno::EOPNOTSUPP);
        }
        let (source, target, there) = self.pair(from, from_offset, to, to_offset)?;
        let len = if len == 0 { there } else { len };
        let whole = |n: u64| n % PAGE as u64 == 0;
        // The end of the source need not be the end of a page, unless that would cut into the target.
        let target_end = self.image.content(target)?.size();
        let odd_end = len == there && to_offset.saturating_add(len) >= target_end;
        let aligned = whole(from_offset) && whole(to_offset) && (whole(len) || odd_end);
        let overlap = source == target
            && from_offset < to_offset.saturating_add(len)
            && to_offset < from_offset.saturating_add(len);
        if !aligned || overlap || len > there {
            return Err(errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        if to_offset.saturating_add(len) > FILE_MAX {
            return Err(errno::EFBIG);
        }
        self.with_space(target, to_offset, len)?;
        let shared = self.image.content(source)?.clone();
        self.image.change_content(target, |content| content.share(&shared, from_offset, to_offset, len))
    }
}
