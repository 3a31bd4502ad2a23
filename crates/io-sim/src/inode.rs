//! Files, directories and links, as the disk knows them.

use crate::content::Content;
use io_core::FileKind;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::PathBuf,
    time::Duration,
};

/// One inode.
#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) body: Body,
    pub(crate) mode: u32,
    /// The mode that a power cut leaves for certain.
    pub(crate) durable_mode: u32,
    /// Live names (directories: 1 while they are there).
    pub(crate) links: u32,
    /// Durable names.
    pub(crate) durable_links: u32,
    /// Undecided changes that speak of it.
    pub(crate) pending: u32,
    /// Open files on it.
    pub(crate) opens: u32,
    pub(crate) created: Duration,
    pub(crate) modified: Duration,
    pub(crate) accessed: Duration,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    File(Content),
    Dir(Names),
    Symlink(PathBuf),
}

/// A directory's names, live and durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// The directory above; the root is its own.
    pub(crate) parent: u64,
    pub(crate) live: BTreeMap<OsString, u64>,
    pub(crate) durable: BTreeMap<OsString, u64>,
}

impl Names {
    pub(crate) fn get(&self, name: &OsStr, durable: bool) -> Option<u64> {
        if durable { self.durable.get(name).copied() } else { self.live.get(name).copied() }
    }
}

impl Inode {
    pub(crate) fn new(body: Body, mode: u32, now: Duration) -> Inode {
        Inode {
            body,
            mode,
            durable_mode: mode,
            links: 0,
            durable_links: 0,
            pending: 0,
            opens: 0,
            created: now,
            modified: now,
            accessed: now,
        }
    }

    pub(crate) fn kind(&self) -> FileKind {
        match self.body {
            Body::File(_) => FileKind::File,
            Body::Dir(_) => FileKind::Dir,
            Body::Symlink(_) => FileKind::Symlink,
        }
    }

    /// Pages that count against the capacity: those of files that readers can still reach.
    pub(crate) fn occupied(&self) -> u64 {
        match &self.body {
            Body::File(content) if self.links > 0 || self.opens > 0 => content.pages(),
            _ => 0,
        }
    }

    /// True if nothing leads here and nothing can lead here again.
    pub(crate) fn is_lost(&self) -> bool {
        self.links == 0 && self.durable_links == 0 && self.pending == 0 && self.opens == 0
    }
}
