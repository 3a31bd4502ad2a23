//! What a file should hold: a `Vec<u8>`, histories of operations on it, and a run of both side by side.

mod history;
mod run;

pub use history::{Doing, Reshape, Step, Trouble, What, histories};
pub use run::{check_histories, run_history};

/// A file as a `Vec<u8>`: what it holds for sure, and what it may hold after operations whose outcome nobody was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileModel {
    bytes: Vec<u8>,
    /// Writes that may have happened, in part or in full. They do not overlap.
    doubts: Vec<(usize, Vec<u8>)>,
}

impl FileModel {
    /// A file with these contents.
    pub fn new(contents: Vec<u8>) -> FileModel {
        FileModel { bytes: contents, doubts: Vec::new() }
    }

    /// What it holds for sure.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A write that happened. Behind the end it leaves zeros between.
    pub fn write(&mut self, at: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        self.grow(at + data.len());
        self.bytes[at..at + data.len()].copy_from_slice(data);
    }

    /// A write that may have happened, in part or in full: it was cancelled, or its answer was lost.
    pub fn maybe_write(&mut self, at: usize, data: &[u8]) {
        self.doubts.push((at, data.to_vec()));
    }

    /// The file was cut or grown to this length.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.resize(len, 0);
    }

    /// The file has at least this length.
    pub fn grow(&mut self, len: usize) {
        if len > self.bytes.len() {
            self.bytes.resize(len, 0);
        }
    }

    /// What lies in the range reads as zeros; the length stays.
    pub fn zero(&mut self, at: usize, len: usize) {
        let end = (at + len).min(self.bytes.len());
        if at < end {
            self.bytes[at..end].fill(0);
        }
    }

    /// Whether a read of `asked` bytes at `at` may have got these. `len_max`: how long the file may have been by then.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check_read(&self, at: usize, asked: usize, got: &[u8], len_max: usize) -> Result<(), String> {
        let least = self.bytes.len().saturating_sub(at).min(asked);
        let most = len_max.saturating_sub(at).min(asked);
        if got.len() < least || got.len() > most {
            return Err(format!("read {} of {asked} bytes at {at}, not {least} to {most}", got.len()));
        }
        let wrong = |(i, &byte): (usize, &u8)| (byte != self.bytes.get(at + i).copied().unwrap_or(0)).then_some(at + i);
        match got.iter().enumerate().find_map(wrong) {
            Some(wrong) => Err(format!("read at {at}: byte {wrong} is {:#04x}", got[wrong - at])),
            None => Ok(()),
        }
    }

    /// Compares with what the file really holds. Doubts are over afterwards: what is there counts.
    ///
    /// # Errors
    /// The first byte that can be there in no way.
    pub fn settle(&mut self, actual: Vec<u8>) -> Result<(), String> {
        let least = self.bytes.len();
        let most = self.doubts.iter().map(|(at, data)| at + data.len()).max().unwrap_or(0).max(least);
        if actual.len() < least || actual.len() > most {
            return Err(format!("the file has {} bytes, not {least} to {most}", actual.len()));
        }
        for (i, &byte) in actual.iter().enumerate() {
            let sure = self.bytes.get(i).copied().unwrap_or(0);
            let doubtful = || {
                let covers = |(at, data): &(usize, Vec<u8>)| i.checked_sub(*at).and_then(|i| data.get(i).copied());
                self.doubts.iter().any(|doubt| covers(doubt) == Some(byte))
            };
            if byte != sure && !doubtful() {
                return Err(format!("byte {i} of the file is {byte:#04x} instead of {sure:#04x}"));
            }
        }
        *self = FileModel::new(actual);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_cuts_and_zeros() {
        let mut file = FileModel::new(b"abcdef".to_vec());
        file.write(8, b"xy");
        assert_eq!(file.bytes(), b"abcdef\0\0xy");
        file.truncate(4);
        file.zero(1, 2);
        file.grow(5);
        assert_eq!(file.bytes(), b"a\0\0d\0");
        file.write(100, b"");
        assert_eq!(file.bytes().len(), 5, "a write of nothing does not grow");
    }

    #[test]
    fn reads_are_held_against_the_length() {
        let file = FileModel::new(b"abc".to_vec());
        assert!(file.check_read(1, 5, b"bc", 3).is_ok());
        assert!(file.check_read(1, 5, b"b", 3).is_err(), "short of the end");
        assert!(file.check_read(1, 5, b"bc\0", 3).is_err(), "past the end");
        assert!(file.check_read(1, 5, b"bc\0", 10).is_ok(), "somebody was growing it");
        assert!(file.check_read(1, 1, b"x", 3).is_err());
    }

    #[test]
    fn doubts_allow_old_and_new_and_nothing_else() {
        let mut file = FileModel::new(b"aaaa".to_vec());
        file.maybe_write(1, b"bb");
        assert!(file.clone().settle(b"aaaa".to_vec()).is_ok());
        assert!(file.clone().settle(b"abaa".to_vec()).is_ok());
        assert!(file.clone().settle(b"acaa".to_vec()).is_err());
        assert!(file.clone().settle(b"aaab".to_vec()).is_err());
        file.maybe_write(4, b"cc");
        assert!(file.clone().settle(b"aaaacc".to_vec()).is_ok());
        assert!(file.clone().settle(b"aaaacc\0".to_vec()).is_err());
        file.settle(b"abba".to_vec()).unwrap();
        assert!(file.settle(b"aaaa".to_vec()).is_err(), "what was seen stays");
    }
}
