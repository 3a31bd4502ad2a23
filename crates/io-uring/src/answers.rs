//! Answers that do not fit 32 bits: a file that was opened, metadata.

use io_core::{Completion, FileFacts, FileHandle, InodeKey, Output, RawFile, Statx, Token};
use std::{
    mem::MaybeUninit,
    os::fd::{FromRawFd, OwnedFd},
};

/// What the driver itself puts into the queue, told apart by the upper bits of [`Token::internal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Internal {
    /// The poll that ends a sleeping submit.
    Wake,
    /// The wish to cancel something; its own answer interests nobody.
    Cancel,
    /// An operation whose answer is post-processed, by its place.
    Answer(u32),
}

impl Internal {
    const PLACE_BITS: u32 = 24;

    pub(crate) fn token(self, sequence: u32) -> Token {
        let (kind, place) = match self {
            Internal::Wake => (0, 0),
            Internal::Cancel => (1, 0),
            Internal::Answer(place) => (2, place),
        };
        // 2 bits of kind, 14 of sequence, 24 of place: the 40 bits that an internal token has.
        Token::internal(kind << 38 | (u64::from(sequence) & 0x3fff) << Self::PLACE_BITS | u64::from(place))
    }

    pub(crate) fn of(token: Token) -> Internal {
        match token.generation() >> 38 {
            0 => Internal::Wake,
            1 => Internal::Cancel,
            _ => Internal::Answer((token.generation() & ((1 << Self::PLACE_BITS) - 1)) as u32),
        }
    }
}

/// The operations in flight whose answer is post-processed: a place for each that may be, and room for the kernel to write to.
pub(crate) struct Answers {
    places: Box<[Option<Expected>]>,
    free: Vec<u32>,
    /// Behind a raw pointer, because the kernel writes there while the driver is borrowed.
    rooms: *mut [MaybeUninit<Statx>],
    sequence: u32,
}

// SAFETY: the addresses belong to operations in flight, and whoever drives the driver, on whatever thread, may follow them until
// he has delivered the completion (the contract of `prepare`); `rooms` is owned.
unsafe impl Send for Answers {}

#[derive(Clone, Copy, Debug)]
struct Expected {
    /// What the operation was prepared with, and what it travels under.
    token: Token,
    internal: Token,
    out: *mut Output,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    File { direct: bool },
    Metadata,
}

impl Answers {
    pub(crate) fn new(depth: u32) -> Answers {
        Answers {
            places: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
            rooms: Box::into_raw(Box::new_uninit_slice(depth as usize)),
            sequence: 0,
        }
    }

    /// The token under which the kernel is asked to open a file.
    pub(crate) fn expect_file(&mut self, token: Token, direct: bool, out: *mut Output) -> Token {
        self.expect(token, out, What::File { direct }).0
    }

    /// The token under which the kernel is asked for metadata, and where it writes them.
    pub(crate) fn expect_metadata(&mut self, token: Token, out: *mut Output) -> (Token, *mut Statx) {
        let (internal, place) = self.expect(token, out, What::Metadata);
        (internal, self.room(place))
    }

    fn expect(&mut self, token: Token, out: *mut Output, what: What) -> (Token, u32) {
        let place = self.free.pop().expect("as many places as operations in flight");
        self.sequence = self.sequence.wrapping_add(1);
        let internal = Internal::Answer(place).token(self.sequence);
        self.places[place as usize] = Some(Expected { token, internal, out, what });
        (internal, place)
    }

    fn room(&self, place: u32) -> *mut Statx {
        debug_assert!((place as usize) < self.rooms.len());
        // SAFETY: within the allocation, as there are as many rooms as places.
        unsafe { self.rooms.cast::<Statx>().add(place as usize) }
    }

    /// What this operation travels under, if it is one of these.
    pub(crate) fn internal_of(&self, token: Token) -> Option<Token> {
        if self.free.len() == self.places.len() {
            return None;
        }
        self.places.iter().flatten().find(|expected| expected.token == token).map(|expected| expected.internal)
    }

    /// Takes an operation back that the kernel was not asked for after all.
    pub(crate) fn forget(&mut self, internal: Token) {
        if let Internal::Answer(place) = Internal::of(internal) {
            self.places[place as usize] = None;
            self.free.push(place);
        }
    }

    /// Puts the kernel's answer where the operation wants it.
    ///
    /// # Safety
    /// The kernel has completed this request with `result`, and its completion was not delivered yet.
    pub(crate) unsafe fn finish(&mut self, internal: Token, result: i32) -> Completion {
        let Internal::Answer(place) = Internal::of(internal) else { unreachable!("{internal:?} expects no answer") };
        let expected = self.places[place as usize].take().filter(|expected| expected.internal == internal);
        let Expected { token, out, what, .. } =
            expected.unwrap_or_else(|| panic!("{internal:?} was answered twice (I2)"));
        self.free.push(place);
        if result < 0 {
            return Completion::new(token, result);
        }
        let output = match what {
            // SAFETY: the kernel has just made this descriptor for us; from here on it cannot leak.
            What::File { direct } => Output::File(unsafe { adopt(result, direct) }),
            // SAFETY: the kernel has filled the room: it did so before it answered 0, and it wrote all of it.
            What::Metadata => Output::Metadata(unsafe { self.room(place).read() }.metadata()),
        };
        // SAFETY: the owner of the operation keeps the place valid until its completion is delivered (`prepare`).
        unsafe { *out = output };
        Completion::new(token, 0)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: made from a box in `new`. The driver forgets this value if the kernel may still write there (I7).
        drop(unsafe { Box::from_raw(self.rooms) });
    }
}

/// # Safety
/// `fd` is open and nobody else's.
unsafe fn adopt(fd: i32, direct: bool) -> FileHandle {
    // SAFETY: the caller's promise.
    let owner = unsafe { OwnedFd::from_raw_fd(fd) };
    let facts = facts(fd, direct);
    // SAFETY: the owner keeps the descriptor open and closes it when dropped.
    unsafe { FileHandle::from_raw(RawFile::new(fd.into()), Box::new(owner), facts) }
}

/// What the system knows of an open file without asking a server or a daemon for it (`AT_STATX_DONT_SYNC`, statx(2)): this runs where
/// completions are reaped, and must not wait. The type of the file system stays unknown, because statfs(2) has no such flag.
fn facts(fd: i32, direct: bool) -> FileFacts {
    let mut room = MaybeUninit::<Statx>::uninit();
    let (flags, path) = (libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC, c"".as_ptr());
    // SAFETY: the path is NUL-terminated, and the kernel writes at most the size of the room.
    let answer = unsafe { libc::syscall(libc::SYS_statx, fd, path, flags, Statx::MASK, room.as_mut_ptr()) };
    if answer != 0 {
        return FileFacts { direct, ..FileFacts::default() };
    }
    // SAFETY: the kernel has filled all of it.
    let stat = unsafe { room.assume_init_ref() };
    let (metadata, mode) = (stat.metadata(), stat.mode());
    let allocated = metadata.blocks.saturating_mul(512);
    let filled = match mode & libc::S_IFMT {
        // A device has all its blocks; past its end a write fails and allocates nothing.
        libc::S_IFBLK => u64::MAX,
        libc::S_IFREG if allocated >= metadata.size => metadata.size,
        _ => 0,
    };
    FileFacts {
        direct,
        seekable: matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFBLK),
        inode: Some(InodeKey { dev: metadata.dev, ino: metadata.ino }),
        filled,
        fs_magic: 0,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn internal_tokens_keep_their_parts() {
        for internal in [Internal::Wake, Internal::Cancel, Internal::Answer(0), Internal::Answer((1 << 24) - 1)] {
            for sequence in [0, 1, 0x3fff, u32::MAX] {
                let token = internal.token(sequence);
                assert!(token.is_internal());
                assert_eq!(Internal::of(token), internal);
            }
        }
    }

    #[test]
    fn a_failed_open_answers_its_own_token_and_nothing_else() {
        let mut answers = Answers::new(2);
        let mut out = Output::None;
        let internal = answers.expect_file(Token::new(7, 1), false, &mut out);
        assert_eq!(answers.internal_of(Token::new(7, 1)), Some(internal));
        // SAFETY: no request is in flight, and `out` is alive.
        let completion = unsafe { answers.finish(internal, -libc::ENOENT) };
        assert_eq!(completion, Completion::new(Token::new(7, 1), -libc::ENOENT));
        assert!(matches!(out, Output::None));
        assert_eq!(answers.internal_of(Token::new(7, 1)), None);
    }

    #[test]
    #[should_panic(expected = "answered twice")]
    fn a_second_answer_is_noticed() {
        let mut answers = Answers::new(1);
        let mut out = Output::None;
        let internal = answers.expect_file(Token::new(0, 1), false, &mut out);
        // SAFETY: no request is in flight, and `out` is alive.
        unsafe {
            answers.finish(internal, -libc::ENOENT);
            answers.finish(internal, -libc::ENOENT);
        }
    }
}
