//! Names: where a path leads, and what changes names.

use crate::{
    codes::{Answer, ELOOP, ENAMETOOLONG},
    content::Content,
    image::{Image, ROOT},
    inode::{Body, Names},
    journal::{Change, What},
};
use io_core::{RenameMode, errno};
use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
};

const NAME_MAX: usize = 255;
const LINKS_MAX: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The directory that holds the last name.
    pub(crate) dir: u64,
    /// The last name; none for the root and for paths that end in `..`.
    pub(crate) name: Option<OsString>,
    /// What has the name.
    pub(crate) ino: Option<u64>,
    /// The path asked for a directory by a slash at its end.
    pub(crate) slash: bool,
}

impl Found {
    /// What is there.
    pub(crate) fn there(&self) -> Answer<u64> {
        self.ino.ok_or(errno::ENOENT)
    }
}

/// One step of a path.
enum Step {
    Up,
    Down(OsString),
}

/// The steps of a path, from the root. Paths are absolute, or relative to the root.
fn steps(path: &Path) -> impl DoubleEndedIterator<Item = Step> {
    path.components().filter_map(|component| match component {
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
    })
}

impl Image {
    /// Follows a path; `follow`: also a symbolic link at its end; `durable`: in what a power cut leaves for certain.
    pub(crate) fn find(&self, path: &Path, follow: bool, durable: bool) -> Answer<Found> {
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.is_empty() {
            return Err(errno::ENOENT);
        }
        let slash = bytes.len() > 1 && bytes.ends_with(b"/");
        let mut left: VecDeque<Step> = steps(path).collect();
        let mut found = Found { dir: ROOT, name: None, ino: Some(ROOT), slash };
        let mut links = 0;
        while let Some(step) = left.pop_front() {
            let dir = found.there()?;
            let names = self.names(dir)?;
            let name = match step {
                Step::Up => {
                    found = Found { dir: names.parent, name: None, ino: Some(names.parent), slash };
                    continue;
                }
                Step::Down(name) => name,
            };
            if name.len() > NAME_MAX {
                return Err(ENAMETOOLONG);
            }
            let ino = names.get(&name, durable);
            let target = ino.and_then(|ino| match &self.inode(ino).body {
                Body::Symlink(target) if follow || slash || !left.is_empty() => Some(target),
                _ => None,
            });
            let Some(target) = target else {
                found = Found { dir, name: Some(name), ino, slash };
                continue;
            };
            links += 1;
            if links > LINKS_MAX {
                return Err(ELOOP);
            }
            for step in steps(target).rev() {
                left.push_front(step);
            }
            let from = if target.has_root() { ROOT } else { dir };
            found = Found { dir: from, name: None, ino: Some(from), slash };
        }
        match found.ino {
            Some(ino) if slash => self.names(ino).map(|_| found),
            _ => Ok(found),
        }
    }

    /// The path of a directory, without links.
    pub(crate) fn path_of_dir(&self, mut dir: u64) -> PathBuf {
        let mut names: Vec<&OsStr> = Vec::new();
        while dir != ROOT {
            let Ok(above) = self.names(self.names(dir).map_or(ROOT, |names| names.parent)) else { break };
            let Some((name, _)) = above.live.iter().find(|&(_, &ino)| ino == dir) else { break };
            names.push(name);
            dir = self.names(dir).map_or(ROOT, |names| names.parent);
        }
        let mut path = PathBuf::from("/");
        path.extend(names.into_iter().rev());
        path
    }

    /// The absolute path of what was found, without links.
    pub(crate) fn path_of(&self, found: &Found) -> PathBuf {
        let dir = self.path_of_dir(found.dir);
        match &found.name {
            Some(name) => dir.join(name),
            None => dir,
        }
    }

    fn has_names(&self, ino: u64) -> bool {
        self.names(ino).is_ok_and(|names| !names.live.is_empty())
    }

    fn is_dir(&self, ino: u64) -> bool {
        self.names(ino).is_ok()
    }

    /// Gives a new inode a name that nobody has.
    pub(crate) fn link_new(&mut self, dir: u64, name: OsString, body: Body, mode: u32) -> u64 {
        let makes_dir = matches!(body, Body::Dir(_));
        let ino = self.add(body, mode);
        self.change(ino, |inode| inode.links = 1);
        self.names_mut(dir).live.insert(name.clone(), ino);
        let what = What::Add { name: (dir, name), ino };
        self.note(Change { what, makes: makes_dir.then_some(ino), removes: None, moves_dir: false });
        ino
    }

    /// Takes a live name away from what has it, without noting the change.
    fn drop_link(&mut self, ino: u64) {
        self.change(ino, |inode| inode.links = 0);
        self.reap(ino);
    }

    /// Makes an empty file where a path leads to nothing.
    pub(crate) fn create(&mut self, found: &Found, mode: u32) -> Answer<u64> {
        let name = found.name.clone().ok_or(errno::EISDIR)?;
        if found.slash {
            return Err(errno::EISDIR);
        }
        Ok(self.link_new(found.dir, name, Body::File(Content::default()), mode & 0o7777))
    }

    pub(crate) fn make_dir(&mut self, path: &Path, mode: u32) -> Answer<u64> {
        let found = self.find(path, false, false)?;
        let (Some(name), None) = (found.name, found.ino) else { return Err(errno::EEXIST) };
        let names = Names { parent: found.dir, ..Names::default() };
        Ok(self.link_new(found.dir, name, Body::Dir(names), mode & 0o7777))
    }

    pub(crate) fn symlink(&mut self, target: &Path, path: &Path) -> Answer<u64> {
        let found = self.find(path, false, false)?;
        let (Some(name), None) = (found.name, found.ino) else { return Err(errno::EEXIST) };
        Ok(self.link_new(found.dir, name, Body::Symlink(target.to_path_buf()), 0o777))
    }

    /// Removes the name of what is no directory.
    pub(crate) fn unlink(&mut self, path: &Path) -> Answer<()> {
        let found = self.find(path, false, false)?;
        let ino = found.there()?;
        let Some(name) = found.name.filter(|_| !self.is_dir(ino)) else { return Err(errno::EISDIR) };
        self.remove(found.dir, name, ino, None);
        Ok(())
    }

    pub(crate) fn remove_dir(&mut self, path: &Path) -> Answer<()> {
        let found = self.find(path, false, false)?;
        let ino = found.there()?;
        if !self.is_dir(ino) {
            return Err(errno::ENOTDIR);
        }
        let Some(name) = found.name else {
            return Err(if ino == ROOT { errno::EBUSY } else { errno::ENOTEMPTY });
        };
        if self.has_names(ino) {
            return Err(errno::ENOTEMPTY);
        }
        self.remove(found.dir, name, ino, Some(ino));
        Ok(())
    }

    fn remove(&mut self, dir: u64, name: OsString, ino: u64, removes: Option<u64>) {
        self.names_mut(dir).live.remove(&name);
        self.note(Change { what: What::Remove { name: (dir, name), ino }, makes: None, removes, moves_dir: false });
        self.drop_link(ino);
    }

    /// True if `below` is `above` or lies somewhere in it.
    fn is_within(&self, mut below: u64, above: u64) -> bool {
        loop {
            if below == above {
                return true;
            }
            match self.names(below) {
                Ok(names) if below != ROOT => below = names.parent,
                _ => return false,
            }
        }
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path, mode: RenameMode) -> Answer<()> {
        let (from, to) = (self.find(from, false, false)?, self.find(to, false, false)?);
        let ino = from.there()?;
        let (Some(from_name), Some(to_name)) = (from.name, to.name) else { return Err(errno::EBUSY) };
        let (from_at, to_at) = ((from.dir, from_name), (to.dir, to_name));
        let is_dir = self.is_dir(ino);
        if is_dir && self.is_within(to.dir, ino) {
            return Err(errno::EINVAL);
        }
        if to.slash && to.ino.is_none() && !is_dir {
            return Err(errno::ENOTDIR);
        }
        match (to.ino, mode) {
            (Some(_), RenameMode::NoReplace) => Err(errno::EEXIST),
            (None, RenameMode::Exchange) => Err(errno::ENOENT),
            (Some(other), _) if other == ino => Ok(()),
            (Some(other), RenameMode::Exchange) => self.exchange((from_at, ino), (to_at, other)),
            (Some(other), RenameMode::Replace) => match (is_dir, self.is_dir(other)) {
                (true, false) => Err(errno::ENOTDIR),
                (false, true) => Err(errno::EISDIR),
                _ if self.has_names(other) => Err(errno::ENOTEMPTY),
                _ => {
                    self.shift(from_at, to_at, ino, Some(other));
                    Ok(())
                }
            },
            (None, RenameMode::Replace | RenameMode::NoReplace) => {
                self.shift(from_at, to_at, ino, None);
                Ok(())
            }
        }
    }

    fn shift(&mut self, from: (u64, OsString), to: (u64, OsString), ino: u64, replaced: Option<u64>) {
        self.names_mut(from.0).live.remove(&from.1);
        self.names_mut(to.0).live.insert(to.1.clone(), ino);
        let moves_dir = self.is_dir(ino) && from.0 != to.0;
        if moves_dir {
            self.names_mut(ino).parent = to.0;
        }
        let removes = replaced.filter(|&other| self.is_dir(other));
        self.note(Change { what: What::Move { from, to, ino }, makes: None, removes, moves_dir });
        if let Some(other) = replaced {
            self.drop_link(other);
        }
    }

    fn exchange(&mut self, (a, a_ino): ((u64, OsString), u64), (b, b_ino): ((u64, OsString), u64)) -> Answer<()> {
        if self.is_within(a.0, b_ino) {
            return Err(errno::EINVAL);
        }
        self.names_mut(a.0).live.insert(a.1.clone(), b_ino);
        self.names_mut(b.0).live.insert(b.1.clone(), a_ino);
        let apart = a.0 != b.0;
        for (ino, dir) in [(a_ino, b.0), (b_ino, a.0)] {
            if apart && self.is_dir(ino) {
                self.names_mut(ino).parent = dir;
            }
        }
        let moves_dir = apart && (self.is_dir(a_ino) || self.is_dir(b_ino));
        self.note(Change { what: What::Swap { a, a_ino, b, b_ino }, makes: None, removes: None, moves_dir });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::SimOptions;
    use std::sync::Arc;

    fn image() -> Image {
        let mut image = Image::new(Arc::new(SimOptions::default()));
        image.make_dir("/d".as_ref(), 0o755).unwrap();
        image.make_dir("/d/e".as_ref(), 0o755).unwrap();
        file(&mut image, "/d/f");
        image.symlink("d/e".as_ref(), "/l".as_ref()).unwrap();
        image.symlink("loop".as_ref(), "/loop".as_ref()).unwrap();
        image
    }

    fn file(image: &mut Image, path: &str) -> u64 {
        let found = image.find(path.as_ref(), true, false).unwrap();
        image.create(&found, 0o644).unwrap()
    }

    fn at(image: &Image, path: &str) -> Answer<u64> {
        image.find(path.as_ref(), true, false)?.there()
    }

    fn renamed(image: &mut Image, from: &str, to: &str, mode: RenameMode) -> Answer<()> {
        image.rename(from.as_ref(), to.as_ref(), mode)
    }

    #[test]
    fn paths_lead_where_they_should() {
        let image = image();
        let f = at(&image, "/d/f").unwrap();
        for path in ["d/f", "/d/./f", "/d/e/../f", "/l/../f", "/../d/f"] {
            assert_eq!(at(&image, path), Ok(f), "{path}");
        }
        assert_eq!(at(&image, "/"), Ok(ROOT));
        assert_eq!(at(&image, ""), Err(errno::ENOENT));
        assert_eq!(at(&image, "/x"), Err(errno::ENOENT));
        assert_eq!(at(&image, "/x/y"), Err(errno::ENOENT));
        assert_eq!(at(&image, "/d/f/y"), Err(errno::ENOTDIR));
        assert_eq!(at(&image, "/d/f/"), Err(errno::ENOTDIR));
        assert_eq!(at(&image, "/loop"), Err(ELOOP));
        assert_eq!(at(&image, &format!("/{}", "n".repeat(256))), Err(ENAMETOOLONG));
        let found = image.find("/l/../f".as_ref(), true, false).unwrap();
        assert_eq!(image.path_of(&found), PathBuf::from("/d/f"));
    }

    #[test]
    fn renames_refuse_what_linux_refuses() {
        let mut image = image();
        let mut refused = |from, to, mode| renamed(&mut image, from, to, mode).unwrap_err();
        assert_eq!(refused("/x", "/y", RenameMode::Replace), errno::ENOENT);
        assert_eq!(refused("/d/f", "/x/y", RenameMode::Replace), errno::ENOENT);
        assert_eq!(refused("/d", "/d/e/x", RenameMode::Replace), errno::EINVAL);
        assert_eq!(refused("/d/f", "/d/e", RenameMode::Replace), errno::EISDIR);
        assert_eq!(refused("/d/e", "/d/f", RenameMode::Replace), errno::ENOTDIR);
        assert_eq!(refused("/d/e", "/d/f", RenameMode::NoReplace), errno::EEXIST);
        assert_eq!(refused("/d/e", "/x", RenameMode::Exchange), errno::ENOENT);
        assert_eq!(refused("/d/e", "/d", RenameMode::Exchange), errno::EINVAL);
        assert_eq!(refused("/", "/x", RenameMode::Replace), errno::EBUSY);
    }

    #[test]
    fn renames_replace_move_and_exchange() {
        let mut image = image();
        let (e, f) = (at(&image, "/d/e").unwrap(), at(&image, "/d/f").unwrap());
        let g = file(&mut image, "/g");
        renamed(&mut image, "/g", "/d/f", RenameMode::Replace).unwrap();
        assert_eq!((at(&image, "/d/f"), at(&image, "/g")), (Ok(g), Err(errno::ENOENT)));
        assert_eq!(image.inode(f).links, 0);
        renamed(&mut image, "/d/e", "/e", RenameMode::NoReplace).unwrap();
        assert_eq!(at(&image, "/e/.."), Ok(ROOT), "a moved directory has another one above");
        renamed(&mut image, "/e", "/d/f", RenameMode::Exchange).unwrap();
        assert_eq!((at(&image, "/e"), at(&image, "/d/f")), (Ok(g), Ok(e)));
        renamed(&mut image, "/e", "/e", RenameMode::Replace).unwrap();
    }

    #[test]
    fn removal_asks_for_the_right_kind() {
        let mut image = image();
        assert_eq!(image.unlink("/d".as_ref()), Err(errno::EISDIR));
        assert_eq!(image.remove_dir("/d/f".as_ref()), Err(errno::ENOTDIR));
        assert_eq!(image.remove_dir("/d".as_ref()), Err(errno::ENOTEMPTY));
        assert_eq!(image.remove_dir("/".as_ref()), Err(errno::EBUSY));
        assert_eq!(image.make_dir("/d".as_ref(), 0), Err(errno::EEXIST));
        image.unlink("/l".as_ref()).unwrap();
        image.unlink("/d/f".as_ref()).unwrap();
        image.remove_dir("/d/e".as_ref()).unwrap();
        image.remove_dir("/d".as_ref()).unwrap();
        assert_eq!(at(&image, "/d"), Err(errno::ENOENT));
        assert!(!image.is_durable());
        image.unlink("/loop".as_ref()).unwrap();
        image.commit_dir(ROOT);
        assert!(image.is_durable());
        assert_eq!(image.inodes.len(), 1, "nothing is left behind");
    }
}
