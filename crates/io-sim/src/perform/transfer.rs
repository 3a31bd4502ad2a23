//! Reads and writes.

use super::{Effect, FILE_MAX, Site};
use crate::{codes::Answer, pages::PAGE, source::Source};
use io_core::{FileRef, RwFlags, errno};

impl Site<'_> {
    pub(super) fn read(&mut self, source: Source<'_>, file: FileRef, offset: u64, flags: RwFlags) -> Answer<Effect> {
        let open = self.files.get(file.raw)?;
        if !open.options.read {
            return Err(errno::EBADF);
        }
        let (ino, direct) = (open.ino, open.options.direct);
        let size = self.image.content(ino)?.size();
        if flags.contains(RwFlags::ATOMIC) {
            return Err(errno::EOPNOTSUPP);
        }
        self.check(source, offset, direct)?;
        let there = source.len().min(size.saturating_sub(offset));
        let len = self.short(there, direct);
        let now = self.image.now;
        self.image.inode_mut(ino).accessed = now;
        Ok(Effect::Read { ino, offset, len })
    }

    pub(super) fn write(&mut self, source: Source<'_>, file: FileRef, offset: u64, flags: RwFlags) -> Answer<u64> {
        let open = self.files.get(file.raw)?;
        if !open.options.write {
            return Err(errno::EBADF);
        }
        let (ino, direct) = (open.ino, open.options.direct);
        let content = self.image.content(ino)?;
        let offset = if flags.contains(RwFlags::APPEND) { content.size() } else { offset };
        self.check(source, offset, direct)?;
        let asked = source.len();
        let atomic = flags.contains(RwFlags::ATOMIC);
        if atomic {
            self.check_atomic(offset, asked, direct)?;
        }
        if asked == 0 {
            return Ok(0);
        }
        if offset >= FILE_MAX {
            return Err(errno::EFBIG);
        }
        let wanted = if atomic { asked } else { self.short(asked.min(FILE_MAX - offset), direct) };
        let len = self.fitting(ino, offset, wanted)?;
        if len == 0 || (atomic && len < asked) {
            return Err(errno::ENOSPC);
        }
        let durable = flags.contains(RwFlags::DSYNC) && !self.lose_sync;
        let sector = self.image.options.sector as usize;
        self.image.change_content(ino, |content| {
            if atomic {
                let mut whole = Vec::with_capacity(len as usize);
                source.take(len, |piece| whole.extend_from_slice(piece));
                content.write(offset, &whole, true);
            } else {
                let mut at = offset;
                source.take(len, |piece| {
                    content.write(at, piece, false);
                    at += piece.len() as u64;
                });
            }
            if durable {
                content.sync_range(offset, len, sector);
            }
        })?;
        if durable && self.image.options.sync_names {
            self.image.commit_name(ino, true);
        }
        Ok(len)
    }

    /// The rules of offsets, addresses and direct I/O.
    fn check(&self, source: Source<'_>, offset: u64, direct: bool) -> Answer<()> {
        let rules = self.image.options.direct;
        let misaligned = direct && (offset % rules.offset_align as u64 != 0 || !source.is_aligned(rules));
        if offset > i64::MAX as u64 || misaligned {
            return Err(errno::EINVAL);
        }
        if source.has_null() { Err(errno::EFAULT) } else { Ok(()) }
    }

    /// The rules of pwritev2(2) for `RWF_ATOMIC`.
    fn check_atomic(&self, offset: u64, len: u64, direct: bool) -> Answer<()> {
        let most = self.image.options.atomic_write_max as u64;
        if most == 0 || !direct {
            return Err(errno::EOPNOTSUPP);
        }
        let least = most.min(self.image.options.sector as u64);
        if !len.is_power_of_two() || len > most || len < least || offset % len != 0 {
            return Err(errno::EINVAL);
        }
        Ok(())
    }

    /// How far a transfer of `len` bytes goes.
    fn short(&self, len: u64, direct: bool) -> u64 {
        let unit = if direct { self.image.options.direct.offset_align as u64 } else { 1 };
        match self.limit / unit * unit {
            0 => len,
            limit => len.min(limit),
        }
    }

    /// How many of `len` bytes at `offset` there is space for.
    pub(super) fn fitting(&self, ino: u64, offset: u64, len: u64) -> Answer<u64> {
        let (content, free) = (self.image.content(ino)?, self.image.free());
        if content.missing(offset, offset + len) <= free {
            return Ok(len);
        }
        let (mut left, mut end) = (free, offset);
        while end < offset + len {
            let next = (end / PAGE as u64 + 1) * PAGE as u64;
            let missing = content.missing(end, next);
            if missing > left {
                break;
            }
            left -= missing;
            end = next;
        }
        Ok(end.min(offset + len) - offset)
    }
}
