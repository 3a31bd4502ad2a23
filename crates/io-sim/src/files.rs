//! Open files, and how they are closed when nobody holds them any more.

use crate::{codes::Answer, image::Image, inode::Body, locks::Locks, tree::Found};
use io_core::{OpenOptions, RawFile, errno};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct OpenFile {
    pub(crate) ino: u64,
    pub(crate) options: OpenOptions,
    /// The path that it was opened by, without links: what fault rules go by.
    pub(crate) path: Arc<PathBuf>,
}

/// The open files of a disk, and their locks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    open: HashMap<i64, OpenFile>,
    locks: BTreeMap<u64, Locks>,
}

/// A number that no other open file of the process has or had, outside the range of descriptors.
fn next_number() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1 << 40);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Files {
    pub(crate) fn get(&self, raw: RawFile) -> Answer<&OpenFile> {
        self.open.get(&raw.get()).ok_or(errno::EBADF)
    }

    /// Opens what a path leads to, or makes it.
    pub(crate) fn open(&mut self, image: &mut Image, path: &Path, options: OpenOptions) -> Answer<RawFile> {
        if !options.read && !options.write {
            return Err(errno::EINVAL);
        }
        let creates = options.create || options.create_new;
        let found = image.find(path, !options.no_follow && !options.create_new, false)?;
        let ino = match found.ino {
            Some(_) if options.create_new => return Err(errno::EEXIST),
            Some(ino) => Files::existing(image, &found, ino, options)?,
            None if creates => image.create(&found, options.mode)?,
            None => return Err(errno::ENOENT),
        };
        image.change(ino, |inode| inode.opens += 1);
        let number = next_number();
        self.open.insert(number, OpenFile { ino, options, path: Arc::new(image.path_of(&found)) });
        Ok(RawFile::new(number))
    }

    fn existing(image: &mut Image, found: &Found, ino: u64, options: OpenOptions) -> Answer<u64> {
        match image.inode(ino).body {
            Body::Symlink(_) => return Err(crate::codes::ELOOP),
            Body::Dir(_) if options.write || options.create || found.slash && options.truncate => {
                return Err(errno::EISDIR);
            }
            Body::Dir(_) if options.direct => return Err(errno::EINVAL),
            Body::Dir(_) | Body::File(_) => {}
        }
        if options.truncate {
            if !options.write {
                return Err(errno::EINVAL);
            }
            image.change_content(ino, |content| content.truncate(0))?;
        }
        Ok(ino)
    }

    /// Closes an open file; its locks go with it.
    pub(crate) fn close(&mut self, image: &mut Image, raw: RawFile) -> Answer<()> {
        let file = self.open.remove(&raw.get()).ok_or(errno::EBADF)?;
        if let Some(locks) = self.locks.get_mut(&file.ino) {
            locks.release(raw.get());
            if locks.is_empty() {
                self.locks.remove(&file.ino);
            }
        }
        image.change(file.ino, |inode| inode.opens -= 1);
        image.reap(file.ino);
        Ok(())
    }

    pub(crate) fn locks(&mut self, ino: u64) -> &mut Locks {
        self.locks.entry(ino).or_default()
    }

    /// How often an inode is open.
    pub(crate) fn times_open(&self, ino: u64) -> usize {
        self.open.values().filter(|file| file.ino == ino).count()
    }
}

/// Files that were dropped and wait to be closed.
///
/// A handle may be dropped anywhere, also where the disk is locked already (in the output place of an operation that is just
/// being answered). So dropping only puts the number here; whoever locks the disk next closes it before anything else, and
/// nobody can tell the difference.
#[derive(Debug, Default)]
pub(crate) struct Closing(Mutex<Vec<RawFile>>);

impl Closing {
    pub(crate) fn put(&self, raw: RawFile) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(raw);
    }

    pub(crate) fn take(&self) -> Vec<RawFile> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SimOptions;

    fn open(image: &mut Image, files: &mut Files, path: &str, options: OpenOptions) -> Answer<RawFile> {
        files.open(image, path.as_ref(), options)
    }

    #[test]
    fn options_are_honoured() {
        let mut image = Image::new(Arc::new(SimOptions::default()));
        let mut files = Files::default();
        let mut open = |path, options| open(&mut image, &mut files, path, options);
        let none = OpenOptions { read: false, ..OpenOptions::READ };
        assert_eq!(open("/f", OpenOptions::READ), Err(errno::ENOENT));
        assert_eq!(open("/x/f", OpenOptions::CREATE), Err(errno::ENOENT));
        assert!(open("/f", OpenOptions::CREATE_NEW).is_ok());
        assert_eq!(open("/f", OpenOptions::CREATE_NEW), Err(errno::EEXIST));
        assert!(open("/f", OpenOptions::CREATE).is_ok());
        assert_eq!(open("/f", none), Err(errno::EINVAL));
        assert_eq!(open("/f", OpenOptions { truncate: true, ..OpenOptions::READ }), Err(errno::EINVAL));
        assert_eq!(open("/f/x", OpenOptions::READ), Err(errno::ENOTDIR));
        assert_eq!(open("/", OpenOptions::READ_WRITE), Err(errno::EISDIR));
        assert!(open("/", OpenOptions::READ).is_ok());
        image.symlink("f".as_ref(), "/l".as_ref()).unwrap();
        let no_follow = OpenOptions { no_follow: true, ..OpenOptions::READ };
        assert_eq!(files.open(&mut image, "/l".as_ref(), no_follow), Err(crate::codes::ELOOP));
        assert_eq!(files.open(&mut image, "/l".as_ref(), OpenOptions::CREATE_NEW), Err(errno::EEXIST));
        let raw = files.open(&mut image, "/l".as_ref(), OpenOptions::READ).unwrap();
        assert_eq!(**files.get(raw).unwrap().path, PathBuf::from("/f"));
        assert!(raw.get() >= 1 << 40);
    }

    #[test]
    fn an_unlinked_file_lives_until_it_is_closed() {
        let mut image = Image::new(Arc::new(SimOptions::default()));
        let mut files = Files::default();
        let raw = open(&mut image, &mut files, "/f", OpenOptions::CREATE).unwrap();
        let ino = files.get(raw).unwrap().ino;
        image.change_content(ino, |content| content.write(0, b"abc", false)).unwrap();
        image.unlink("/f".as_ref()).unwrap();
        assert_eq!(image.content(ino).unwrap().to_vec(), b"abc");
        assert_eq!(image.capacity() - image.free(), 1);
        files.locks(ino).lock(raw.get(), 0, 0, true).unwrap();
        files.close(&mut image, raw).unwrap();
        assert_eq!(image.capacity(), image.free());
        assert_eq!(files.close(&mut image, raw), Err(errno::EBADF));
    }
}
