//! The file system at one moment: inodes, undecided changes of names, space.
//!
//! Cloning an image copies pointers; what differs afterwards is copied when it changes.

use crate::{
    codes::Answer,
    content::{Content, Cut},
    inode::{Body, Inode, Names},
    journal::{Change, Journal, What},
    options::SimOptions,
    pages::PAGE,
    random::Random,
};
use io_core::errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// The root directory.
pub(crate) const ROOT: u64 = 1;

/// A device number that no real device has and no other simulated disk of the process. A disk that went through a power cut
/// has a new one, because nothing that was known of its inodes may be believed any more.
fn next_dev() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The file system at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) options: Arc<SimOptions>,
    pub(crate) inodes: BTreeMap<u64, Arc<Inode>>,
    journal: Journal,
    next_ino: u64,
    /// Pages in use and pages there are.
    used: u64,
    capacity: u64,
    pub(crate) now: Duration,
    /// What `stat` calls the device.
    pub(crate) dev: u64,
}

impl Image {
    /// An empty file system.
    pub(crate) fn new(options: Arc<SimOptions>) -> Image {
        let root = Names { parent: ROOT, ..Names::default() };
        let mut root = Inode::new(Body::Dir(root), 0o755, Duration::ZERO);
        (root.links, root.durable_links) = (1, 1);
        let capacity = options.capacity / PAGE as u64;
        let inodes = BTreeMap::from([(ROOT, Arc::new(root))]);
        let (journal, now, dev) = (Journal::default(), Duration::ZERO, next_dev());
        Image { options, inodes, journal, next_ino: ROOT + 1, used: 0, capacity, now, dev }
    }

    pub(crate) fn inode(&self, ino: u64) -> &Inode {
        self.inodes.get(&ino).expect("an inode that something leads to")
    }

    /// The inode, to be changed in place; space is accounted for by [`Image::change`].
    pub(crate) fn inode_mut(&mut self, ino: u64) -> &mut Inode {
        Arc::make_mut(self.inodes.get_mut(&ino).expect("an inode that something leads to"))
    }

    /// Changes an inode and keeps account of the space.
    pub(crate) fn change<R>(&mut self, ino: u64, change: impl FnOnce(&mut Inode) -> R) -> R {
        let inode = self.inode_mut(ino);
        let before = inode.occupied();
        let result = change(inode);
        let after = inode.occupied();
        self.used = self.used + after - before;
        result
    }

    /// The bytes of a regular file.
    pub(crate) fn content(&self, ino: u64) -> Answer<&Content> {
        match &self.inode(ino).body {
            Body::File(content) => Ok(content),
            Body::Dir(_) => Err(errno::EISDIR),
            Body::Symlink(_) => Err(errno::EINVAL),
        }
    }

    /// Changes the bytes of a regular file.
    pub(crate) fn change_content<R>(&mut self, ino: u64, change: impl FnOnce(&mut Content) -> R) -> Answer<R> {
        self.content(ino)?;
        let now = self.now;
        Ok(self.change(ino, |inode| {
            inode.modified = now;
            match &mut inode.body {
                Body::File(content) => change(content),
                Body::Dir(_) | Body::Symlink(_) => unreachable!("asked above"),
            }
        }))
    }

    pub(crate) fn names(&self, dir: u64) -> Answer<&Names> {
        match &self.inode(dir).body {
            Body::Dir(names) => Ok(names),
            Body::File(_) | Body::Symlink(_) => Err(errno::ENOTDIR),
        }
    }

    pub(crate) fn names_mut(&mut self, dir: u64) -> &mut Names {
        let now = self.now;
        let inode = self.inode_mut(dir);
        inode.modified = now;
        match &mut inode.body {
            Body::Dir(names) => names,
            Body::File(_) | Body::Symlink(_) => unreachable!("the callers have looked"),
        }
    }

    /// A new inode without a name.
    pub(crate) fn add(&mut self, body: Body, mode: u32) -> u64 {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.inodes.insert(ino, Arc::new(Inode::new(body, mode, self.now)));
        ino
    }

    /// Forgets the inode if nothing leads to it.
    pub(crate) fn reap(&mut self, ino: u64) {
        if self.inodes.get(&ino).is_some_and(|inode| inode.is_lost()) {
            self.inodes.remove(&ino);
        }
    }

    /// Pages that are free.
    pub(crate) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(crate) fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes / PAGE as u64;
    }

    /// Notes a change of names that the live directories have seen already.
    pub(crate) fn note(&mut self, change: Change) {
        for ino in change.subjects().into_iter().flatten() {
            self.inode_mut(ino).pending += 1;
        }
        if let Some(old) = self.journal.note(change) {
            self.settle(&[old]);
        }
    }

    /// Makes the names of a directory durable.
    pub(crate) fn commit_dir(&mut self, dir: u64) {
        let changes = self.journal.commit_dir(dir);
        self.settle(&changes);
        self.commit_mode(dir);
    }

    /// Makes the name of an inode durable, and with `way_there` those of the directories above it.
    pub(crate) fn commit_name(&mut self, ino: u64, way_there: bool) {
        let changes = self.journal.commit_inode(ino, way_there);
        self.settle(&changes);
    }

    pub(crate) fn commit_mode(&mut self, ino: u64) {
        if self.inode(ino).durable_mode != self.inode(ino).mode {
            let inode = self.inode_mut(ino);
            inode.durable_mode = inode.mode;
        }
    }

    /// Brings changes to the durable directories, and forgets inodes that nothing leads to any more.
    fn settle(&mut self, changes: &[Arc<Change>]) {
        let mut touched = BTreeSet::new();
        for change in changes {
            for ino in change.subjects().into_iter().flatten() {
                self.inode_mut(ino).pending -= 1;
                touched.insert(ino);
            }
            self.settle_names(&change.what, &mut touched);
        }
        for ino in touched {
            self.reap(ino);
        }
    }

    fn settle_names(&mut self, what: &What, touched: &mut BTreeSet<u64>) {
        let mut set = |dir: u64, name: &OsString, from: Option<u64>, to: Option<u64>| {
            // A directory that is gone for good takes its names along.
            if !self.inodes.contains_key(&dir) {
                return;
            }
            let durable = &mut self.names_mut(dir).durable;
            if from.is_some() && durable.get(name).copied() != from {
                return;
            }
            let old = match to {
                Some(ino) => durable.insert(name.clone(), ino),
                None => durable.remove(name),
            };
            if let Some(old) = old {
                self.inode_mut(old).durable_links -= 1;
                touched.insert(old);
            }
            if let Some(new) = to {
                self.inode_mut(new).durable_links += 1;
            }
        };
        match what {
            What::Add { name, ino } => set(name.0, &name.1, None, Some(*ino)),
            What::Remove { name, ino } => set(name.0, &name.1, Some(*ino), None),
            What::Move { from, to, ino } => {
                set(to.0, &to.1, None, Some(*ino));
                set(from.0, &from.1, Some(*ino), None);
            }
            What::Swap { a, a_ino, b, b_ino } => {
                set(a.0, &a.1, Some(*a_ino), Some(*b_ino));
                set(b.0, &b.1, Some(*b_ino), Some(*a_ino));
            }
        }
    }

    /// What a power cut leaves. Nothing is open afterwards and everything that is left is durable.
    pub(crate) fn after_cut(&self, cut: Cut, random: &mut Random) -> Image {
        let mut names = self.clone();
        for change in self.journal.survivors(cut.keep, random) {
            names.settle_names(&change.what, &mut BTreeSet::new());
        }
        let mut left =
            Image { inodes: BTreeMap::new(), journal: Journal::default(), used: 0, ..Image::new(self.options.clone()) };
        (left.next_ino, left.now, left.capacity) = (self.next_ino, self.now, self.capacity);
        let mut reached = vec![(ROOT, ROOT)];
        while let Some((ino, parent)) = reached.pop() {
            let inode = names.inode(ino);
            let mut new = Inode::new(inode.body.clone(), inode.durable_mode, inode.created);
            (new.modified, new.accessed) = (inode.modified, inode.accessed);
            if inode.mode != inode.durable_mode && random.chance(cut.keep) {
                (new.mode, new.durable_mode) = (inode.mode, inode.mode);
            }
            (new.links, new.durable_links) = (1, 1);
            match &mut new.body {
                Body::File(content) if !content.is_durable() => *content = content.after(cut, random),
                Body::File(_) | Body::Symlink(_) => {}
                Body::Dir(names) => {
                    names.parent = parent;
                    names.live = names.durable.clone();
                    reached.extend(names.live.values().map(|&below| (below, ino)));
                }
            }
            left.used += new.occupied();
            let twice = left.inodes.insert(ino, Arc::new(new));
            assert!(twice.is_none(), "inode {ino} has two names: the simulator is wrong");
        }
        left
    }

    /// What the end of all processes leaves: everything, but nothing is open.
    pub(crate) fn after_kill(&self) -> Image {
        let mut left = Image { dev: next_dev(), ..self.clone() };
        let open: Vec<u64> = left.inodes.iter().filter(|(_, inode)| inode.opens > 0).map(|(&ino, _)| ino).collect();
        for ino in open {
            left.change(ino, |inode| inode.opens = 0);
            left.reap(ino);
        }
        left
    }

    /// True if a power cut would change nothing.
    pub(crate) fn is_durable(&self) -> bool {
        let settled = |inode: &Inode| match &inode.body {
            Body::File(content) => content.is_durable() && inode.mode == inode.durable_mode,
            Body::Dir(_) | Body::Symlink(_) => inode.mode == inode.durable_mode,
        };
        self.journal.is_empty() && self.inodes.values().all(|inode| settled(inode))
    }
}
