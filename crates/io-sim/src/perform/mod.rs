//! What each operation does to the file system: one exhaustive match.
//!
//! It happens at one moment, somewhere between acceptance and completion. Faults are decided elsewhere; what arrives here is
//! how far a transfer may go, and whether a sync is honest.

mod ranges;
mod transfer;

use crate::{
    codes::Answer,
    files::{Files, OpenFile},
    image::Image,
    inode::Body,
    pages::PAGE,
    source::Source,
};
use io_core::{DirEntry, FileKind, FileRef, Metadata, Output, RawFile, RawOp, StatFs, StatTarget, errno};
use std::time::{Duration, SystemTime};

/// `statfs` type magic of simulated file systems.
pub(crate) const MAGIC: i64 = 0x5349_4d46;

/// The largest file, in bytes.
pub(crate) const FILE_MAX: u64 = 1 << 44;

/// The file system as an operation finds it.
pub(crate) struct Site<'a> {
    pub(crate) image: &'a mut Image,
    pub(crate) files: &'a mut Files,
    /// Most bytes that a transfer moves.
    pub(crate) limit: u64,
    /// Nothing is made durable, whatever is said.
    pub(crate) lose_sync: bool,
}

/// What an operation did.
#[derive(Debug)]
pub(crate) enum Effect {
    /// It did it.
    Done,
    /// It moved so many bytes.
    Moved(u64),
    /// It reads so many bytes here; they are still to be given out.
    Read { ino: u64, offset: u64, len: u64 },
    /// It opened a file.
    Opened(RawFile),
    /// It found out.
    Answer(Output),
}

impl Site<'_> {
    /// Does what the operation says.
    pub(crate) fn perform(&mut self, source: Source<'_>) -> Answer<Effect> {
        match *source.op() {
            RawOp::Read { file, offset, flags, .. } | RawOp::ReadVectored { file, offset, flags, .. } => {
                return self.read(source, file, offset, flags);
            }
            RawOp::Write { file, offset, flags, .. } | RawOp::WriteVectored { file, offset, flags, .. } => {
                return self.write(source, file, offset, flags).map(Effect::Moved);
            }
            RawOp::SyncData { file } => self.sync(file, false)?,
            RawOp::SyncAll { file } => self.sync(file, true)?,
            RawOp::SyncRange { file, offset, .. } => drop(self.regular(file, offset)?),
            RawOp::Allocate { file, offset, len, keep_size } => self.allocate(file, offset, len, keep_size)?,
            RawOp::PunchHole { file, offset, len } => self.punch_hole(file, offset, len)?,
            RawOp::ZeroRange { file, offset, len, keep_size } => self.zero_range(file, offset, len, keep_size)?,
            RawOp::Truncate { file, len } => self.truncate(file, len)?,
            RawOp::Advise { file, offset, .. } => drop(self.regular(file, offset)?),
            RawOp::WriteHint { file, .. } => drop(self.regular(file, 0)?),
            RawOp::TryLock { file, offset, len, exclusive } => {
                let open = self.files.get(file.raw)?;
                if exclusive && !open.options.write || !exclusive && !open.options.read {
                    return Err(errno::EBADF);
                }
                let ino = open.ino;
                self.files.locks(ino).lock(file.raw.get(), offset, len, exclusive)?;
            }
            RawOp::Unlock { file, offset, len } => {
                let ino = self.files.get(file.raw)?.ino;
                self.files.locks(ino).unlock(file.raw.get(), offset, len)?;
            }
            RawOp::QueryLock { file, offset, len, exclusive, .. } => {
                let ino = self.files.get(file.raw)?.ino;
                let holder = self.files.locks(ino).query(file.raw.get(), offset, len, exclusive)?;
                return Ok(Effect::Answer(Output::Lock(holder)));
            }
            RawOp::Open { options, .. } => {
                return self.files.open(self.image, source.path(), options).map(Effect::Opened);
            }
            RawOp::Close { file } => self.files.close(self.image, file.raw)?,
            RawOp::Stat { target: StatTarget::File(file), .. } => {
                return Ok(Effect::Answer(Output::Metadata(self.metadata(self.files.get(file.raw)?.ino))));
            }
            RawOp::Stat { target: StatTarget::Path { follow, .. }, .. } => {
                let ino = self.image.find(source.path(), follow, false)?.there()?;
                return Ok(Effect::Answer(Output::Metadata(self.metadata(ino))));
            }
            RawOp::StatFs { .. } => {
                self.there(source)?;
                return Ok(Effect::Answer(Output::StatFs(self.stat_fs())));
            }
            // Everything is done as root, so what exists may be read and written.
            RawOp::Access { .. } => drop(self.there(source)?),
            RawOp::RealPath { .. } => {
                let found = self.image.find(source.path(), true, false)?;
                found.there()?;
                return Ok(Effect::Answer(Output::Path(self.image.path_of(&found))));
            }
            RawOp::SetPermissions { mode, .. } => {
                let ino = self.there(source)?;
                self.image.inode_mut(ino).mode = mode & 0o7777;
            }
            RawOp::Rename { mode, .. } => self.image.rename(source.path(), source.second_path(), mode)?,
            RawOp::Unlink { .. } => self.image.unlink(source.path())?,
            RawOp::MakeDir { mode, .. } => drop(self.image.make_dir(source.path(), mode)?),
            RawOp::RemoveDir { .. } => self.image.remove_dir(source.path())?,
            RawOp::ReadDir { .. } => return Ok(Effect::Answer(Output::Entries(self.entries(source)?))),
            RawOp::SyncDir { .. } => {
                let dir = self.there(source)?;
                self.image.names(dir)?;
                if !self.lose_sync {
                    self.image.commit_dir(dir);
                }
            }
            RawOp::CopyRange { from, from_offset, to, to_offset, len } => {
                return self.copy_range(from, from_offset, to, to_offset, len).map(Effect::Moved);
            }
            RawOp::Clone { from, from_offset, to, to_offset, len } => {
                self.clone_range(from, from_offset, to, to_offset, len)?;
            }
        }
        Ok(Effect::Done)
    }

    fn there(&self, source: Source<'_>) -> Answer<u64> {
        self.image.find(source.path(), true, false)?.there()
    }

    /// The open file, if it has content and the offset is one.
    fn regular(&self, file: FileRef, offset: u64) -> Answer<&OpenFile> {
        let open = self.files.get(file.raw)?;
        self.image.content(open.ino)?;
        if offset > i64::MAX as u64 { Err(errno::EINVAL) } else { Ok(open) }
    }

    fn sync(&mut self, file: FileRef, all: bool) -> Answer<()> {
        let ino = self.files.get(file.raw)?.ino;
        if self.lose_sync {
            return Ok(());
        }
        match self.image.inode(ino).body {
            Body::Dir(_) => self.image.commit_dir(ino),
            Body::Symlink(_) => {}
            Body::File(_) => {
                self.image.change(ino, |inode| match &mut inode.body {
                    Body::File(content) => content.sync(),
                    Body::Dir(_) | Body::Symlink(_) => {}
                });
                if all {
                    self.image.commit_mode(ino);
                }
                if self.image.options.sync_names {
                    self.image.commit_name(ino, true);
                }
            }
        }
        Ok(())
    }

    fn entries(&self, source: Source<'_>) -> Answer<Vec<DirEntry>> {
        let names = self.image.names(self.there(source)?)?;
        let entry = |(name, &ino): (&std::ffi::OsString, &u64)| {
            let kind = self.image.inode(ino).kind();
            DirEntry { name: name.clone(), kind, ino }
        };
        Ok(names.live.iter().map(entry).collect())
    }

    fn metadata(&self, ino: u64) -> Metadata {
        let (inode, options) = (self.image.inode(ino), &self.image.options);
        let mut metadata = Metadata::new(inode.kind(), 0);
        metadata.links = inode.links as u64;
        match &inode.body {
            Body::File(content) => {
                metadata.size = content.size();
                metadata.blocks = content.pages() * (PAGE as u64 / 512);
            }
            Body::Dir(names) => {
                metadata.size = PAGE as u64;
                let below = names.live.values().filter(|&&ino| self.image.inode(ino).kind() == FileKind::Dir);
                metadata.links = if inode.links == 0 { 0 } else { 2 + below.count() as u64 };
            }
            Body::Symlink(target) => metadata.size = target.as_os_str().len() as u64,
        }
        metadata.mode = inode.mode;
        metadata.dev = self.image.dev;
        metadata.ino = ino;
        metadata.block_size = PAGE as u32;
        metadata.modified = Some(at(inode.modified));
        metadata.accessed = Some(at(inode.accessed));
        metadata.created = Some(at(inode.created));
        if inode.kind() == FileKind::File {
            metadata.dio_mem_align = options.direct.mem_align;
            metadata.dio_offset_align = options.direct.offset_align;
            metadata.dio_read_offset_align = options.direct.offset_align;
            metadata.atomic_write_max = options.atomic_write_max;
            metadata.atomic_write_min = options.atomic_write_max.min(options.sector);
        }
        metadata
    }

    fn stat_fs(&self) -> StatFs {
        let mut answer = StatFs::default();
        answer.magic = MAGIC;
        answer.block_size = PAGE as u64;
        answer.blocks = self.image.capacity();
        answer.free = self.image.free();
        answer.available = self.image.free();
        answer
    }
}

/// Virtual time as files carry it: it starts on 2001-09-09, so that no file is as old as the epoch.
fn at(time: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000) + time
}
