//! The input, cut into records.
//!
//! A thread reads, because a pipe blocks who reads it; what it has cut goes through a channel that holds little. Records are windows
//! into the blocks that were read, so that no byte is copied but those of a record which two reads brought.

use crate::exit::Failure;
use bytes::{Bytes, BytesMut};
use smol::channel::{Receiver, Sender};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    thread,
};

/// Bytes of one read.
const BLOCK: usize = 64 << 10;
/// Batches that wait: enough that neither side waits for the other, little to be lost in a crash.
const BATCHES: usize = 4;

/// How the input becomes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At newlines, which are left out; a line has at most so many bytes.
    Lines { line_max: usize },
    /// So many bytes each.
    Chunks(usize),
}

/// What one read brought to an end.
pub(crate) type Batch = Result<Vec<Bytes>, InputFailed>;

/// Why there is no more.
#[derive(Debug)]
pub(crate) enum InputFailed {
    Read(io::Error),
    /// This line, counted from 1, is longer than a record may be.
    LineTooLong {
        line: u64,
        line_max: usize,
    },
}

/// The input, being read.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) batches: Receiver<Batch>,
    /// Its size, where that is known.
    pub(crate) len: Option<u64>,
}

impl Input {
    /// Opens a file, or standard input, and has it read.
    pub(crate) fn open(path: &Path, cut: Cut) -> Result<Input, Failure> {
        let (sender, batches) = smol::channel::bounded(BATCHES);
        let (len, source): (_, Box<dyn Read + Send>) = if path == Path::new("-") {
            (None, Box::new(io::stdin()))
        } else {
            let file = File::open(path).map_err(|error| Failure::opening(path, &error))?;
            let metadata = file.metadata().map_err(|error| Failure::opening(path, &error))?;
            if metadata.is_dir() {
                return Err(Failure::usage(format!("{}: is a directory; name a file", path.display())));
            }
            (metadata.is_file().then_some(metadata.len()), Box::new(file))
        };
        // Nobody waits for it: blocked in a read, it ends with the process.
        let spawned = thread::Builder::new().name("input".into()).spawn(move || read(source, cut, &sender));
        spawned.map_err(|error| Failure::work(format!("no thread to read the input: {error}")))?;
        Ok(Input { batches, len })
    }
}

/// Reads to the end, to what cannot be a record, or until nobody listens.
fn read(mut source: impl Read, cut: Cut, batches: &Sender<Batch>) {
    let mut cutter = Cutter::new(cut);
    loop {
        let (records, failed) = match cutter.fill(&mut source) {
            Ok(0) => {
                let rest = cutter.rest();
                if !rest.is_empty() {
                    let _ = batches.send_blocking(Ok(rest));
                }
                return;
            }
            Ok(_) => cutter.cut(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => (Vec::new(), Some(InputFailed::Read(error))),
        };
        // What stands in front of the trouble is good.
        if !records.is_empty() && batches.send_blocking(Ok(records)).is_err() {
            return;
        }
        if let Some(failed) = failed {
            let _ = batches.send_blocking(Err(failed));
            return;
        }
    }
}

/// What was read and is no whole record yet.
#[derive(Debug)]
struct Cutter {
    cut: Cut,
    buf: BytesMut,
    /// So much of it has no newline.
    looked_at: usize,
    lines: u64,
}

impl Cutter {
    fn new(cut: Cut) -> Cutter {
        Cutter { cut, buf: BytesMut::new(), looked_at: 0, lines: 0 }
    }

    fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let there = self.buf.len();
        let room = match self.cut {
            Cut::Lines { .. } => BLOCK,
            Cut::Chunks(size) => size.saturating_sub(there).max(BLOCK),
        };
        self.buf.resize(there + room, 0);
        let read = source.read(&mut self.buf[there..]);
        self.buf.truncate(there + *read.as_ref().unwrap_or(&0));
        read
    }

    /// The records that are whole, and why there will be no more.
    fn cut(&mut self) -> (Vec<Bytes>, Option<InputFailed>) {
        match self.cut {
            Cut::Chunks(size) => {
                let whole = self.buf.len() / size;
                ((0..whole).map(|_| self.buf.split_to(size).freeze()).collect(), None)
            }
            Cut::Lines { line_max } => self.lines(line_max),
        }
    }

    fn lines(&mut self, line_max: usize) -> (Vec<Bytes>, Option<InputFailed>) {
        let mut records = Vec::new();
        while let Some(at) = memchr::memchr(b'\n', &self.buf[self.looked_at..]) {
            let len = self.looked_at + at;
            if len > line_max {
                break;
            }
            let mut line = self.buf.split_to(len + 1);
            line.truncate(len);
            records.push(line.freeze());
            (self.looked_at, self.lines) = (0, self.lines + 1);
        }
        let too_long = self.buf.len() > line_max && memchr::memchr(b'\n', &self.buf[..=line_max]).is_none();
        self.looked_at = self.buf.len();
        (records, too_long.then_some(InputFailed::LineTooLong { line: self.lines + 1, line_max }))
    }

    /// What is left at the end of the input.
    fn rest(&mut self) -> Vec<Bytes> {
        if self.buf.is_empty() { Vec::new() } else { vec![self.buf.split().freeze()] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that gives so many bytes at most at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buf.len());
            let (now, later) = self.0.split_at(n);
            buf[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    /// The records, and the line that was too long.
    fn cut(bytes: &[u8], drip: usize, cut: Cut) -> (Vec<Vec<u8>>, Option<u64>) {
        let (sender, batches) = smol::channel::unbounded();
        read(Drip(bytes, drip), cut, &sender);
        drop(sender);
        let (mut records, mut too_long) = (Vec::new(), None);
        while let Ok(batch) = batches.recv_blocking() {
            assert!(too_long.is_none(), "an error is the last word");
            match batch {
                Ok(batch) => records.extend(batch.iter().map(|record| record.to_vec())),
                Err(InputFailed::LineTooLong { line, .. }) => too_long = Some(line),
                Err(InputFailed::Read(error)) => panic!("{error}"),
            }
        }
        (records, too_long)
    }

    #[test]
    fn lines_are_what_stands_between_newlines_however_they_come() {
        let long = vec![b'x'; 200_000];
        let mut text = b"one\n\ntwo\r\n\xff\0\n".to_vec();
        text.extend_from_slice(&long);
        text.extend_from_slice(b"\nlast");
        let wanted: [&[u8]; 6] = [b"one", b"", b"two\r", b"\xff\0", &long, b"last"];
        for drip in [1, 3, 7, 4096, usize::MAX] {
            assert_eq!(cut(&text, drip, Cut::Lines { line_max: 1 << 20 }), (wanted.map(<[u8]>::to_vec).to_vec(), None));
        }
        assert_eq!(cut(b"", 1, Cut::Lines { line_max: 9 }).0, [[0u8; 0]; 0]);
        assert_eq!(cut(b"\n", 1, Cut::Lines { line_max: 9 }).0, [b""]);
    }

    #[test]
    fn a_line_that_is_too_long_ends_it_behind_those_in_front() {
        for drip in [1, 5, usize::MAX] {
            for text in [&b"a\nbbbb\nccccc\nd\n"[..], b"a\nbbbb\nccccc", b"a\nbbbb\ncccccccccccccccccccc"] {
                let (records, too_long) = cut(text, drip, Cut::Lines { line_max: 4 });
                assert_eq!((records, too_long), (vec![b"a".to_vec(), b"bbbb".to_vec()], Some(3)), "{drip}");
            }
        }
    }

    #[test]
    fn chunks_are_of_one_size_but_the_last_one() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        for drip in [100, 1000, usize::MAX] {
            for size in [1000, 65_536, 150_000, 200_000, 300_000] {
                let (records, _) = cut(&bytes, drip, Cut::Chunks(size));
                assert_eq!(records, bytes.chunks(size).map(<[u8]>::to_vec).collect::<Vec<_>>(), "{drip} {size}");
            }
        }
        assert_eq!(cut(b"", 1, Cut::Chunks(5)).0, [[0u8; 0]; 0]);
    }
}
