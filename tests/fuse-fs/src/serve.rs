//! The kernel's requests, answered from the tree.
//!
//! Requests that are not here are answered with ENOSYS, which the kernel takes as "never ask again" and turns into what a
//! caller of such a file system sees: EOPNOTSUPP for fallocate(2), a copy by hand for copy_file_range(2), nothing for flush.

use crate::content::PAGE;
use crate::tree::{Body, Tree};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// How long the kernel may believe us: nobody else changes anything.
const TTL: Duration = Duration::from_secs(1);
const WRITE_MAX: u32 = 128 << 10;
/// Inode numbers are never used twice.
const GENERATION: Generation = Generation(0);

type Listing = Vec<(u64, FileType, OsString)>;

#[derive(Debug)]
pub(crate) struct Served {
    tree: Mutex<Tree>,
    /// What a directory held when it was opened, so that names which go meanwhile make nobody miss another.
    listings: Mutex<(u64, HashMap<u64, Listing>)>,
}

impl Served {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { tree: Mutex::new(Tree::new(bytes_max)), listings: Mutex::default() }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("no request panics")
    }

    /// Attributes of a node that the kernel is told of by this very answer.
    fn told(tree: &mut Tree, ino: u64) -> Result<FileAttr, Errno> {
        tree.known(ino)?;
        tree.attr(ino)
    }

    fn make(&self, req: &Request, dir: INodeNo, name: &OsStr, body: Body, perm: u32) -> Result<FileAttr, Errno> {
        let mut tree = self.tree();
        let ino = tree.make(dir.0, name, body, perm, (req.uid(), req.gid()))?;
        Self::told(&mut tree, ino)
    }
}

fn entry(reply: ReplyEntry, answer: Result<FileAttr, Errno>) {
    match answer {
        Ok(attr) => reply.entry(&TTL, &attr, GENERATION),
        Err(error) => reply.error(error),
    }
}

fn empty(reply: ReplyEmpty, answer: Result<(), Errno>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Served {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // As small as many daemons have it: a large transfer becomes several requests.
        config.set_max_write(WRITE_MAX).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let long = if name.len() > 255 { Err(Errno::ENAMETOOLONG) } else { Ok(()) };
        let found = long.and_then(|()| tree.find(parent.0, name)).and_then(|ino| Self::told(&mut tree, ino));
        entry(reply, found);
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.tree().forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree().attr(ino.0) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree();
        let time = |time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        };
        let mut set = || {
            if let Some(size) = size {
                tree.set_len(ino.0, size)?;
            }
            let node = tree.node_mut(ino.0)?;
            node.perm = mode.map_or(node.perm, |mode| (mode & 0o7777) as u16);
            node.uid = uid.unwrap_or(node.uid);
            node.gid = gid.unwrap_or(node.gid);
            node.atime = atime.map_or(node.atime, time);
            node.mtime = mtime.map_or(node.mtime, time);
            node.ctime = SystemTime::now();
            tree.attr(ino.0)
        };
        match set() {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree().node(ino.0).map(|node| &node.body) {
            Ok(Body::Link(target)) => reply.data(target.as_os_str().as_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let body = match mode & libc::S_IFMT {
            libc::S_IFREG => Body::File(Default::default()),
            libc::S_IFIFO => Body::Special(FileType::NamedPipe),
            libc::S_IFSOCK => Body::Special(FileType::Socket),
            _ => return reply.error(Errno::EPERM),
        };
        entry(reply, self.make(req, parent, name, body, mode));
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        entry(reply, self.make(req, parent, name, Body::Dir(BTreeMap::new()), mode));
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent.0, name, false));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.tree().remove(parent.0, name, true));
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        entry(reply, self.make(req, parent, name, Body::Link(target.to_owned()), 0o777));
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        empty(reply, self.tree().rename((parent.0, name), (newparent.0, newname), flags));
    }

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let mut tree = self.tree();
        let linked = tree.link(ino.0, newparent.0, newname).and_then(|()| Self::told(&mut tree, ino.0));
        entry(reply, linked);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(req, parent, name, Body::File(Default::default()), mode) {
            Ok(attr) => reply.created(&TTL, &attr, GENERATION, FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = match self.tree().node(ino.0).map(|node| &node.body) {
            Ok(Body::File(content)) => Ok(content.read(offset, size as usize)),
            Ok(_) => Err(Errno::EINVAL),
            Err(error) => Err(error),
        };
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.tree().write(ino.0, offset, data);
        match written {
            Ok(written) => reply.written(written as u32),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // Memory is as durable as it gets here. Said and not left out, so that the request travels every time.
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let tree = self.tree();
        let names = match tree.names(ino.0) {
            Ok(names) => names,
            Err(error) => return reply.error(error),
        };
        let kind = |ino: u64| tree.node(ino).map_or(FileType::RegularFile, |node| node.kind());
        let dots = [(ino.0, FileType::Directory, ".".into()), (ino.0, FileType::Directory, "..".into())];
        let listing = dots.into_iter().chain(names.iter().map(|(name, &ino)| (ino, kind(ino), name.clone()))).collect();
        let mut listings = self.listings.lock().expect("no request panics");
        listings.0 += 1;
        let handle = listings.0;
        listings.1.insert(handle, listing);
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listings = self.listings.lock().expect("no request panics");
        let Some(listing) = listings.1.get(&fh.0) else { return reply.error(Errno::EBADF) };
        for (at, (ino, kind, name)) in listing.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*ino), at as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.listings.lock().expect("no request panics").1.remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (blocks, free) = self.tree().space();
        reply.statfs(blocks, free, free, u32::MAX.into(), u32::MAX.into(), PAGE as u32, 255, PAGE as u32);
    }
}
