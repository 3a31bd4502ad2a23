//! Registered files, by [`FileId`] and never by descriptor number.

use io_core::{FileHandle, FileId};
use io_uring::Submitter;
use std::{io, os::fd::RawFd};

/// Which open file has which place in the ring's file table.
///
/// A table keyed by descriptor number writes to the wrong file once the number has been closed and opened anew (fsys 1.1.0). An id
/// is never used again; and the handle that stays here keeps the number from being used while it is registered.
///
/// The look-up is open addressing over a power of two of entries at least twice the places. Ids count up, so files that were opened
/// one after the other lie side by side and the first probe hits.
#[derive(Debug)]
pub(crate) struct FileTable {
    places: Box<[Option<FileHandle>]>,
    /// Id and place; id 0 is an empty entry.
    index: Box<[(u64, u32)]>,
    registered: u32,
    /// The ring has its table.
    made: bool,
}

impl FileTable {
    pub(crate) fn new(places: u32) -> FileTable {
        let buckets = if places == 0 { 1 } else { (places as usize * 2).next_power_of_two() };
        FileTable {
            places: (0..places).map(|_| None).collect(),
            index: vec![(0, 0); buckets].into_boxed_slice(),
            registered: 0,
            made: false,
        }
    }

    /// The place of a file, if it has one.
    #[inline]
    pub(crate) fn place(&self, id: FileId) -> Option<u32> {
        if self.registered == 0 {
            return None;
        }
        let mask = self.index.len() - 1;
        let mut at = id.get() as usize & mask;
        loop {
            match self.index[at] {
                (key, place) if key == id.get() => return Some(place),
                (0, _) => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Registers a file; one that has a place keeps it.
    pub(crate) fn register(&mut self, submitter: &Submitter<'_>, file: &FileHandle) -> io::Result<()> {
        if self.place(file.id()).is_some() {
            return Ok(());
        }
        if self.places.is_empty() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let Some(place) = self.places.iter().position(Option::is_none) else {
            let all = self.places.len();
            return Err(io::Error::other(format!("all {all} places for registered files are taken")));
        };
        if !self.made {
            // A table of empty places: by a call of its own from 5.19 on, before that as descriptors of -1.
            submitter
                .register_files_sparse(self.places.len() as u32)
                .or_else(|_| submitter.register_files(&vec![-1; self.places.len()]))?;
            self.made = true;
        }
        update(submitter, place as u32, file.at().raw.fd())?;
        self.places[place] = Some(file.clone());
        self.registered += 1;
        self.rebuild();
        Ok(())
    }

    /// Gives a registration back. Operations in flight keep their file.
    pub(crate) fn unregister(&mut self, submitter: &Submitter<'_>, id: FileId) {
        let Some(place) = self.place(id) else { return };
        if update(submitter, place, -1).is_ok() {
            self.places[place as usize] = None;
            self.registered -= 1;
            self.rebuild();
        }
        // Else the kernel still holds the file at this place (the wrong thread asked, or a filter forbids it by now), and so do
        // we: id, number and place stay what they are to one another.
    }

    /// Gives all of them back, so that nothing holds the files any longer than their handles do: a ring that is closed is torn
    /// down some milliseconds later.
    pub(crate) fn clear(&mut self, submitter: &Submitter<'_>) {
        if self.made {
            let _ = submitter.unregister_files();
        }
    }

    fn rebuild(&mut self) {
        self.index.fill((0, 0));
        let mask = self.index.len() - 1;
        for (place, file) in self.places.iter().enumerate() {
            let Some(file) = file else { continue };
            let mut at = file.id().get() as usize & mask;
            while self.index[at].0 != 0 {
                at = (at + 1) & mask;
            }
            self.index[at] = (file.id().get(), place as u32);
        }
    }
}

fn update(submitter: &Submitter<'_>, place: u32, fd: RawFd) -> io::Result<()> {
    if fd < 0 && fd != -1 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    submitter.register_files_update(place, &[fd]).map(drop)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use io_core::FileFacts;

    fn null() -> FileHandle {
        FileHandle::from_std(std::fs::File::open("/dev/null").unwrap(), FileFacts::default())
    }

    #[test]
    fn ids_are_found_and_forgotten_in_any_order() {
        let mut table = FileTable::new(4);
        let files: Vec<_> = (0..40).map(|_| null()).collect();
        // Ids that meet in the same bucket: eight buckets, so every eighth.
        let picked = [&files[1], &files[9], &files[17], &files[2]];
        for (place, file) in picked.iter().enumerate() {
            table.places[place] = Some((*file).clone());
            table.registered += 1;
            table.rebuild();
        }
        for (place, file) in picked.iter().enumerate() {
            assert_eq!(table.place(file.id()), Some(place as u32));
        }
        assert_eq!(table.place(files[25].id()), None);
        table.places[0] = None;
        table.registered -= 1;
        table.rebuild();
        assert_eq!(table.place(picked[0].id()), None);
        assert_eq!(table.place(picked[2].id()), Some(2), "found past the bucket of the one that went");
    }

    #[test]
    fn no_places_no_table() {
        assert_eq!(FileTable::new(0).place(null().id()), None);
    }
}
