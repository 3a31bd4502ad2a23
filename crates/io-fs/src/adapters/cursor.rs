//! A file with a position.

use super::{
    OFFSET_MAX, WriteFailed,
    begun::Begun,
    detached,
    reader::Reader,
    wakers::{Half, Wakers},
    writer::Writer,
};
use crate::File;
use io_engine::core::Metadata;
use std::{
    fmt,
    io::{self, SeekFrom},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

/// Settings of a [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CursorOptions {
    /// Bytes of one read or write, rounded up to 4096.
    pub chunk: usize,
    /// Chunks that are read ahead while the file is read in sequence; 0: none.
    pub read_ahead: usize,
    /// Most writes in flight; at least 1.
    pub write_behind: usize,
    /// Shutting down (`poll_shutdown`, `poll_close`) makes durable what was written, after it has flushed.
    pub sync_on_shutdown: bool,
}

impl Default for CursorOptions {
    fn default() -> Self {
        CursorOptions { chunk: 64 << 10, read_ahead: 2, write_behind: 4, sync_on_shutdown: false }
    }
}

impl CursorOptions {
    fn sound(mut self) -> CursorOptions {
        self.chunk = self.chunk.clamp(1, 1 << 30).next_multiple_of(super::BLOCK);
        self.write_behind = self.write_behind.max(1);
        self
    }
}

/// A file with a position: tokio's `AsyncRead`, `AsyncBufRead`, `AsyncWrite` and `AsyncSeek` (feature `tokio`), and those of the
/// futures crates (feature `futures-io`).
///
/// Reads and writes share the position, as they do with `std::fs::File`: what was written is there for the next read. Several cursors
/// over clones of one [`File`] have positions of their own and do not know of each other: what one has read ahead, or holds in its
/// buffer, the other does not see.
///
/// **Reading** goes chunk by chunk; in sequence, [`read_ahead`](CursorOptions::read_ahead) more chunks are on their way. What is read
/// is the file as it was when the chunk was read. The end of the file is asked for anew each time: a file that grows goes on.
///
/// **Writing** fills a chunk, and keeps [`write_behind`](CursorOptions::write_behind) of them in flight at most. What a write accepted
/// is *buffered*, and no more than that. **Flushing** writes the rest, waits for all of it, and reports what failed; reading
/// after a write, and moving the position, flush first. The first failure sticks: whatever depends on the writes answers
/// [`WriteFailed`] from then on (as the source of the `io::Error`), until [`take_failure`](Cursor::take_failure); what was buffered behind
/// it is not written.
///
/// **Dropping** a cursor that was not flushed writes what it has accepted all the same, without waiting; whether that succeeded
/// is not reported any more, failures only counted ([`Cursor::writes_lost`]). (Of a [`LocalFs`](crate::LocalFs), what waits for its turn at that moment is not
/// written, and failures are not counted: flush there.)
///
/// A direct file can be read from any position. Written it can be only where position and length of what is flushed are multiples of
/// its block size.
pub struct Cursor {
    file: File,
    options: CursorOptions,
    position: u64,
    reader: Reader,
    writer: Writer,
    seek: Seek,
    sync: Option<Begun<io::Result<()>>>,
    wakers: Arc<Wakers>,
    /// Wakes the above.
    waker: Waker,
}

/// A move of the position that was asked for.
#[derive(Debug)]
enum Seek {
    None,
    To(SeekFrom),
    Size(SeekFrom, Begun<io::Result<Metadata>>),
}

impl File {
    /// A cursor at the start of the file, with the default settings.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.clone())
    }
}

impl Cursor {
    /// A cursor at the start of the file, with the default settings.
    pub fn new(file: File) -> Cursor {
        Cursor::with_options(file, CursorOptions::default())
    }

    /// A cursor at the start of the file.
    pub fn with_options(file: File, options: CursorOptions) -> Cursor {
        let wakers = Arc::new(Wakers::default());
        Cursor {
            file,
            options: options.sound(),
            position: 0,
            reader: Reader::new(),
            writer: Writer::default(),
            seek: Seek::None,
            sync: None,
            waker: wakers.clone().into(),
            wakers,
        }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The position, without a move that is not over.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The first write that failed since the last call. The cursor then works again, at the position where it is: what was accepted
    /// behind the failed write is not written.
    pub fn take_failure(&mut self) -> Option<WriteFailed> {
        self.writer.take_failure()
    }

    /// How many writes failed that were still to be done when their cursor was dropped, of all cursors of this process so far.
    pub fn writes_lost() -> u64 {
        detached::lost()
    }
}

/// What the traits are made of.
#[cfg_attr(not(any(feature = "tokio", feature = "futures-io")), allow(dead_code))]
impl Cursor {
    /// The bytes at the position, none at the end of the file; more than none are not said to be all that are `wanted`.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<&[u8]>> {
        ready!(self.poll_as(Half::Reading, cx, |this, cx| this.poll_here(cx, wanted)))?;
        Poll::Ready(Ok(self.reader.bytes(self.position)))
    }

    /// What a buffered read takes at once.
    pub(super) fn chunk(&self) -> usize {
        self.options.chunk
    }

    /// Moves on by bytes that [`poll_fill`](Cursor::poll_fill) gave.
    pub(super) fn consume(&mut self, count: usize) {
        assert!(count <= self.reader.bytes(self.position).len(), "more was used than there was");
        self.position += count as u64;
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_as(Half::Writing, cx, |this, cx| this.poll_put(cx, bytes))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_as(Half::Writing, cx, |this, cx| this.writer.poll_drain(&this.file, cx))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_as(Half::Writing, cx, |this, cx| this.poll_end(cx))
    }

    /// Asks for a move. Whatever uses the position finishes it first.
    pub(super) fn start_seek(&mut self, to: SeekFrom) {
        self.seek = Seek::To(to);
    }

    /// Finishes the move that was asked for, if there is one; the position.
    pub(super) fn poll_position(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_as(Half::Reading, cx, Cursor::poll_seek)
    }

    /// Asks for a move, unless this very one is going on, and finishes it.
    #[cfg(feature = "futures-io")]
    pub(super) fn poll_seek_to(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        match &self.seek {
            Seek::To(going) | Seek::Size(going, _) if *going == to => {}
            _ => self.start_seek(to),
        }
        self.poll_position(cx)
    }

    /// Polls with a waker that wakes both halves, whatever the cursor waits for.
    fn poll_as<T>(
        &mut self,
        half: Half,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Cursor, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.wakers.hear(half, cx.waker());
        let waker = self.waker.clone();
        let polled = poll(self, &mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.wakers.done(half);
        }
        polled
    }

    fn poll_here(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<()>> {
        ready!(self.poll_seek(cx))?;
        if !self.writer.is_idle() {
            ready!(self.writer.poll_drain(&self.file, cx))?;
        }
        self.reader.poll_fill(&self.file, self.position, wanted, &self.options, cx)
    }

    fn poll_put(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_seek(cx))?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = usize::try_from(OFFSET_MAX - self.position).unwrap_or(usize::MAX);
        if room == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let bytes = &bytes[..bytes.len().min(room)];
        self.reader.forget();
        let taken = ready!(self.writer.poll_put(&self.file, self.position, bytes, &self.options, cx))?;
        self.position += taken as u64;
        // A sync that somebody began and gave up does not cover what comes after it.
        self.sync = None;
        Poll::Ready(Ok(taken))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.writer.poll_drain(&self.file, cx))?;
        if !self.options.sync_on_shutdown {
            return Poll::Ready(Ok(()));
        }
        let sync = self.sync.get_or_insert_with(|| Begun::begin(self.file.sync_data()));
        let result = ready!(sync.poll(cx));
        self.sync = None;
        Poll::Ready(result)
    }

    fn poll_seek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        if let Seek::None = self.seek {
            return Poll::Ready(Ok(self.position));
        }
        let target = ready!(self.poll_target(cx));
        self.seek = Seek::None;
        self.position = target?;
        Poll::Ready(Ok(self.position))
    }

    /// Where the move leads, once nothing is left to be written where the position is now.
    fn poll_target(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        loop {
            match &mut self.seek {
                Seek::None => return Poll::Ready(Ok(self.position)),
                &mut Seek::To(to @ SeekFrom::End(_)) => {
                    ready!(self.writer.poll_drain(&self.file, cx))?;
                    self.seek = Seek::Size(to, Begun::begin(self.file.metadata()));
                }
                &mut Seek::To(to) => {
                    let target = moved(self.position, to)?;
                    if target != self.position {
                        ready!(self.writer.poll_drain(&self.file, cx))?;
                    }
                    return Poll::Ready(Ok(target));
                }
                Seek::Size(to, metadata) => {
                    let to = *to;
                    return metadata.poll(cx).map(|metadata| moved(metadata?.size, to));
                }
            }
        }
    }
}

/// `from` is the position, or the size of the file.
fn moved(from: u64, to: SeekFrom) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::Current(by) | SeekFrom::End(by) => from.checked_add_signed(by),
    };
    target
        .filter(|&at| at <= OFFSET_MAX)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a position before the start or behind all ends"))
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.writer.detach(&self.file);
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor(at {} of {:?})", self.position, self.file)
    }
}
