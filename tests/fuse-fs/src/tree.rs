//! Nodes and the names that lead to them.

use crate::content::{Content, PAGE};
use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::SystemTime;

#[derive(Debug)]
pub(crate) enum Body {
    File(Content),
    Dir(BTreeMap<OsString, u64>),
    Link(PathBuf),
    /// A pipe or socket: the kernel does all of it, and only the name is ours.
    Special(FileType),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) body: Body,
    pub(crate) perm: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) atime: SystemTime,
    pub(crate) mtime: SystemTime,
    pub(crate) ctime: SystemTime,
    links: u32,
    /// How often the kernel was told of the node and has not forgotten it: a file without a name lives as long as it is open.
    known: u64,
}

impl Node {
    pub(crate) fn kind(&self) -> FileType {
        match self.body {
            Body::File(_) => FileType::RegularFile,
            Body::Dir(_) => FileType::Directory,
            Body::Link(_) => FileType::Symlink,
            Body::Special(kind) => kind,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tree {
    nodes: HashMap<u64, Node>,
    next: u64,
    /// Pages that all files together may have, and have.
    pages_max: u64,
    pages: u64,
}

impl Tree {
    /// An empty root directory that belongs to root and is open to everybody, as the root of a fresh tmpfs is.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let mut tree = Self { nodes: HashMap::new(), next: 1, pages_max: bytes_max / PAGE, pages: 0 };
        let root = tree.insert(Body::Dir(BTreeMap::new()), 0o1777, 0, 0);
        tree.node_mut(root).expect("just made").links = 2;
        tree
    }

    pub(crate) fn space(&self) -> (u64, u64) {
        (self.pages_max, self.pages_max - self.pages)
    }

    pub(crate) fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(Errno::ESTALE)
    }

    pub(crate) fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::ESTALE)
    }

    pub(crate) fn attr(&self, ino: u64) -> Result<FileAttr, Errno> {
        let node = self.node(ino)?;
        let (size, pages) = match &node.body {
            Body::File(content) => (content.len(), content.pages()),
            Body::Dir(names) => (names.len() as u64, 0),
            Body::Link(target) => (target.as_os_str().len() as u64, 0),
            Body::Special(_) => (0, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: pages * (PAGE / 512),
            atime: node.atime,
            mtime: node.mtime,
            ctime: node.ctime,
            crtime: node.ctime,
            kind: node.kind(),
            perm: node.perm,
            nlink: node.links,
            uid: node.uid,
            gid: node.gid,
            rdev: 0,
            blksize: PAGE as u32,
            flags: 0,
        })
    }

    pub(crate) fn names(&self, dir: u64) -> Result<&BTreeMap<OsString, u64>, Errno> {
        match &self.node(dir)?.body {
            Body::Dir(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn names_mut(&mut self, dir: u64) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        let node = self.node_mut(dir)?;
        node.mtime = SystemTime::now();
        node.ctime = node.mtime;
        match &mut node.body {
            Body::Dir(names) => Ok(names),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(crate) fn find(&self, dir: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(dir)?.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// A new node under a new name.
    pub(crate) fn make(
        &mut self,
        dir: u64,
        name: &OsStr,
        body: Body,
        perm: u32,
        owner: (u32, u32),
    ) -> Result<u64, Errno> {
        let free = self.find(dir, name).map(|_| ());
        match free {
            Err(error) if error.code() == libc::ENOENT => {}
            Err(error) => return Err(error),
            Ok(()) => return Err(Errno::EEXIST),
        }
        if name.len() > 255 {
            return Err(Errno::ENAMETOOLONG);
        }
        let is_dir = matches!(body, Body::Dir(_));
        let ino = self.insert(body, (perm & 0o7777) as u16, owner.0, owner.1);
        self.enter(dir, name, ino, is_dir)?;
        if is_dir {
            self.node_mut(ino)?.links += 1;
        }
        Ok(ino)
    }

    pub(crate) fn link(&mut self, ino: u64, dir: u64, name: &OsStr) -> Result<(), Errno> {
        if self.find(dir, name).is_ok() {
            return Err(Errno::EEXIST);
        }
        self.enter(dir, name, ino, false)
    }

    /// Removes a name, and the node with its last name unless the kernel still knows it.
    pub(crate) fn remove(&mut self, dir: u64, name: &OsStr, want_dir: bool) -> Result<(), Errno> {
        let ino = self.find(dir, name)?;
        match &self.node(ino)?.body {
            Body::Dir(names) if want_dir && !names.is_empty() => return Err(Errno::ENOTEMPTY),
            Body::Dir(_) if !want_dir => return Err(Errno::EISDIR),
            Body::Dir(_) => {}
            _ if want_dir => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.leave(dir, name)?;
        if want_dir {
            self.node_mut(ino)?.links -= 1;
        }
        self.settle(ino);
        Ok(())
    }

    /// rename(2) with its flags. The kernel has seen to it that no directory goes below itself.
    pub(crate) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr), flags: RenameFlags) -> Result<(), Errno> {
        let moved = self.find(from.0, from.1)?;
        let there = self.find(to.0, to.1).ok();
        let exchange = flags.contains(RenameFlags::RENAME_EXCHANGE);
        match there {
            Some(_) if flags.contains(RenameFlags::RENAME_NOREPLACE) => return Err(Errno::EEXIST),
            None if exchange => return Err(Errno::ENOENT),
            _ if flags.contains(RenameFlags::RENAME_WHITEOUT) => return Err(Errno::EINVAL),
            Some(there) if there == moved => return Ok(()),
            _ => {}
        }
        if to.1.len() > 255 {
            return Err(Errno::ENAMETOOLONG);
        }
        let moved_dir = self.node(moved)?.kind() == FileType::Directory;
        match there {
            Some(there) if exchange => {
                let there_dir = self.node(there)?.kind() == FileType::Directory;
                self.leave(from.0, from.1)?;
                self.leave(to.0, to.1)?;
                self.enter(from.0, from.1, there, there_dir)?;
                return self.enter(to.0, to.1, moved, moved_dir);
            }
            Some(_) => self.remove(to.0, to.1, moved_dir)?,
            None => {}
        }
        self.leave(from.0, from.1)?;
        self.enter(to.0, to.1, moved, moved_dir)
    }

    /// Writes as much as there is room for.
    pub(crate) fn write(&mut self, ino: u64, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let room = self.pages_max - self.pages;
        let node = self.nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        let Body::File(content) = &mut node.body else { return Err(Errno::EINVAL) };
        let before = content.pages();
        let written = content.write(offset, bytes, room);
        self.pages += content.pages() - before;
        node.mtime = SystemTime::now();
        node.ctime = node.mtime;
        if written == 0 && !bytes.is_empty() { Err(Errno::ENOSPC) } else { Ok(written) }
    }

    pub(crate) fn set_len(&mut self, ino: u64, len: u64) -> Result<(), Errno> {
        let node = self.nodes.get_mut(&ino).ok_or(Errno::ESTALE)?;
        let Body::File(content) = &mut node.body else { return Err(Errno::EINVAL) };
        let before = content.pages();
        content.set_len(len);
        self.pages -= before - content.pages();
        node.mtime = SystemTime::now();
        Ok(())
    }

    /// The kernel was told of the node once more.
    pub(crate) fn known(&mut self, ino: u64) -> Result<(), Errno> {
        self.node_mut(ino)?.known += 1;
        Ok(())
    }

    pub(crate) fn forget(&mut self, ino: u64, times: u64) {
        if let Ok(node) = self.node_mut(ino) {
            node.known = node.known.saturating_sub(times);
            self.settle(ino);
        }
    }

    fn insert(&mut self, body: Body, perm: u16, uid: u32, gid: u32) -> u64 {
        let (ino, now) = (self.next, SystemTime::now());
        self.next += 1;
        let node = Node { body, perm, uid, gid, atime: now, mtime: now, ctime: now, links: 0, known: 0 };
        self.nodes.insert(ino, node);
        ino
    }

    /// A directory counts the directories in it, by their `..`.
    fn enter(&mut self, dir: u64, name: &OsStr, ino: u64, is_dir: bool) -> Result<(), Errno> {
        self.names_mut(dir)?.insert(name.to_owned(), ino);
        self.node_mut(dir)?.links += u32::from(is_dir);
        let node = self.node_mut(ino)?;
        node.links += 1;
        node.ctime = SystemTime::now();
        Ok(())
    }

    fn leave(&mut self, dir: u64, name: &OsStr) -> Result<(), Errno> {
        let ino = self.names_mut(dir)?.remove(name).ok_or(Errno::ENOENT)?;
        let node = self.node_mut(ino)?;
        node.links -= 1;
        node.ctime = SystemTime::now();
        let is_dir = node.kind() == FileType::Directory;
        self.node_mut(dir)?.links -= u32::from(is_dir);
        Ok(())
    }

    fn settle(&mut self, ino: u64) {
        let gone = self.nodes.get(&ino).is_some_and(|node| node.links == 0 && node.known == 0);
        if gone && let Some(Node { body: Body::File(content), .. }) = self.nodes.remove(&ino) {
            self.pages -= content.pages();
        }
    }
}
