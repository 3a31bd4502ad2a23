//! A file that is not to be seen before it is whole: made under a name of its own, renamed when its content is durable.

use super::{FileSystem, nothing_of};
use crate::{
    File,
    composite::{Step, is_cancelled, step},
};
use io_engine::core::{BufResult, DriverName, FileHandle, IoBuf, Metadata, Op, OpenOptions, RenameMode, errno};
use std::{
    hash::{BuildHasher, RandomState},
    io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

/// How many names are tried. They are random, so that the second one is already unlikely.
const NAMES_MAX: u32 = 32;

/// A temporary file. Dropped before it was given its name, it is removed.
pub(super) struct Temporary {
    file: File,
    path: PathBuf,
    /// Its name is still to be removed.
    is_there: bool,
}

impl Temporary {
    /// Makes an empty file in a directory, of a name that nobody has: what a crash leaves behind is in nobody's way.
    pub(super) async fn make(fs: &FileSystem, dir: &Path, mode: u32) -> io::Result<Temporary> {
        let options = OpenOptions { create_new: true, mode, ..OpenOptions::READ_WRITE };
        fs.0.janitor.look();
        let mut left = NAMES_MAX;
        loop {
            let path = dir.join(name(fs));
            match (Opening { fs, path: &path, open: None }).open(options).await {
                Ok(handle) => {
                    let file = File::plain(fs, handle);
                    return Ok(Temporary { file, path, is_there: true });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && left > 0 => left -= 1,
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes the bytes as the file's whole content.
    pub(super) async fn fill<B: IoBuf>(&self, bytes: B) -> BufResult<(), B> {
        let len = bytes.len();
        if len == 0 {
            return (Ok(()), bytes);
        }
        let (written, bytes) = step(self.file.write_at(bytes, 0)).await;
        let whole = written.and_then(|n| if n == len { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) });
        (whole, bytes)
    }

    /// Gives the file the permissions of the one that it stands for, as far as they mean the same for its own owner and group. After
    /// the content, because writing takes some of them away.
    pub(super) async fn permit_as(&self, model: &Metadata) -> io::Result<()> {
        let own = step(self.file.metadata()).await?;
        let bits = permissions(model, &own);
        if own.mode & 0o7777 == bits || !(cfg!(unix) || model.mode != 0) {
            return Ok(());
        }
        self.file.file_system().set_permissions(&self.path, bits).await
    }

    /// Makes content, size and permissions durable, then gives the file its name, then makes that durable. Up to the rename an error
    /// leaves all as it was, without the temporary file.
    pub(super) async fn publish(mut self, to: &Path, mode: RenameMode) -> io::Result<()> {
        let fs = self.file.file_system().clone();
        if let Err(error) = self.sync_and_rename(&fs, to, mode).await {
            self.remove().await;
            return Err(error);
        }
        self.is_there = false;
        fs.sync_dir(to.parent().unwrap_or(Path::new("."))).await.map_err(|error| {
            let text = format!("{} has its new content, but its directory could not be synced: {error}", to.display());
            io::Error::new(error.kind(), text)
        })
    }

    async fn sync_and_rename(&self, fs: &FileSystem, to: &Path, mode: RenameMode) -> io::Result<()> {
        step(self.file.sync_all()).await?;
        // From here on a wish to end is worth nothing: what is renamed has to be made durable.
        if is_cancelled() {
            return Err(io::Error::from_raw_os_error(errno::ECANCELED));
        }
        fs.rename_with(&self.path, to, mode).await
    }

    /// Removes the file. What goes wrong has no better answer than the error that led here.
    pub(super) async fn remove(mut self) {
        let _ = self.file.file_system().remove_file(&self.path).await;
        // Not before: given up while it waits for its turn, the removal would not be done.
        self.is_there = false;
    }
}

impl Drop for Temporary {
    /// The future that it belonged to was given up. The removal is begun, and the file system keeps it where it has to wait for its
    /// turn.
    fn drop(&mut self) {
        if !self.is_there {
            return;
        }
        unlink_later(self.file.file_system(), &self.path);
    }
}

/// A temporary file that is being made. Given up in the middle it may come into being all the same, and is removed then.
struct Opening<'a> {
    fs: &'a FileSystem,
    path: &'a Path,
    open: Option<Step<io::Result<FileHandle>>>,
}

impl Opening<'_> {
    async fn open(mut self, options: OpenOptions) -> io::Result<FileHandle> {
        let open = self.open.insert(step(self.fs.open_op(self.path, options)?));
        let answer = open.await;
        self.open = None;
        answer
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        let Ok(unlink) = Op::unlink(self.path) else { return };
        // What waits for its turn need not begin.
        open.ask();
        let unlink = self.fs.run(unlink, nothing_of);
        self.fs.0.janitor.add(Box::pin(async move {
            if open.await.is_ok() {
                let _ = unlink.await;
            }
        }));
    }
}

fn unlink_later(fs: &FileSystem, path: &Path) {
    if let Ok(op) = Op::unlink(path) {
        let unlink = fs.run(op, nothing_of);
        fs.0.janitor.add(Box::pin(async move { drop(unlink.await) }));
    }
}

/// The permission bits of `model` for a file of this owner and group. Bits that would give somebody else what the model did not give
/// him are left out: set-user-ID and set-group-ID for another owner, and the group's rights for another group than the model's, unless
/// everybody has them.
fn permissions(model: &Metadata, own: &Metadata) -> u32 {
    let mut bits = model.mode & 0o7777;
    if model.uid != own.uid {
        bits &= !0o4000;
    }
    if model.gid != own.gid {
        bits &= !0o2000;
        bits &= !0o070 | (bits & 0o007) << 3;
    }
    bits
}

/// A name that no other process, and no earlier life of this one, has given to a file. On a simulator it follows from the run alone.
fn name(fs: &FileSystem) -> String {
    let count = fs.0.temporaries.fetch_add(1, Ordering::Relaxed);
    let (process, chance) = if fs.0.backend.driver() == DriverName::Sim {
        (0, mixed(fs.0.shards.now().as_nanos() as u64).wrapping_add(mixed(count)))
    } else {
        // Every one of these has keys of its own, which come from the system's source of chance.
        (std::process::id(), RandomState::new().hash_one((count, std::time::SystemTime::now())))
    };
    format!(".iofs-{process:x}-{chance:016x}.tmp")
}

/// The finalizer of SplitMix64: neighbours come out far apart.
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use io_engine::core::FileKind;

    fn metadata(mode: u32, uid: u32, gid: u32) -> Metadata {
        let mut metadata = Metadata::new(FileKind::File, 0);
        (metadata.mode, metadata.uid, metadata.gid) = (mode, uid, gid);
        metadata
    }

    #[test]
    fn permissions_are_kept_and_never_given_to_others() {
        let model = metadata(0o100_6654, 1, 2);
        assert_eq!(permissions(&model, &metadata(0o600, 1, 2)), 0o6654);
        assert_eq!(permissions(&model, &metadata(0o600, 9, 2)), 0o2654);
        assert_eq!(permissions(&model, &metadata(0o600, 1, 9)), 0o4644);
        assert_eq!(permissions(&metadata(0o640, 1, 2), &metadata(0o600, 1, 9)), 0o600);
    }
}
