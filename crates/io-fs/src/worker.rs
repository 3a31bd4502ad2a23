//! A front of messages over a file system: requests go through a channel to one thread, answers come back through channels of their own.
//!
//! [`FileSystem`] and [`File`] are the shorter way, without thread and channel. This is for programs built around messages.

use crate::{File, FileSystem, IoConfig, OpenMode};
use flume::TrySendError;
use futures_util::{StreamExt, stream::FuturesUnordered};
use io_engine::core::{BufResult, FileId, Unavailable};
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    thread::{self, JoinHandle},
};

/// What a transfer answers: the outcome, and the buffer on success and on failure alike.
pub type IoResult<T, B = Vec<u8>> = BufResult<T, B>;

/// One request to an [`IoWorker`]. Each has the channel for its answer with it; who has dropped the receiver gets none. An answer for which
/// its channel has no room counts as a request that is not done.
#[derive(Debug)]
pub enum IoRequest {
    /// Reads up to `len` bytes: fewer only at the end of the file.
    Read {
        /// Which file.
        file_id: FileId,
        /// Where it starts.
        offset: u64,
        /// How many bytes.
        len: usize,
        /// For the bytes.
        response: flume::Sender<io::Result<Vec<u8>>>,
    },
    /// Writes all of the data, or answers an error.
    Write {
        /// Which file.
        file_id: FileId,
        /// Where it starts.
        offset: u64,
        /// The bytes.
        data: Vec<u8>,
        /// For the number of bytes, and the data back.
        response: flume::Sender<IoResult<usize>>,
    },
    /// Makes durable what was written by requests before this one.
    Sync {
        /// Which file.
        file_id: FileId,
        /// For the outcome.
        response: flume::Sender<io::Result<()>>,
    },
    /// Opens a file.
    OpenFile {
        /// Which one.
        path: PathBuf,
        /// How.
        mode: OpenMode,
        /// For the name by which other requests call it.
        response: flume::Sender<io::Result<FileId>>,
    },
    /// Forgets a file. It is closed when the requests before this one are done.
    CloseFile {
        /// Which one.
        file_id: FileId,
    },
    /// Ends the worker: requests before this one are done and answered, later ones are not.
    Shutdown,
}

/// A thread that does what requests say, as many of them at once as [`queue_depth`](IoConfig::queue_depth) allows: none waits for
/// another's end. So requests overtake one another; only a sync covers all writes that were requested before it.
///
/// Dropped without [`IoWorker::shutdown`], it finishes what it was asked for and ends; nobody waits for that.
pub struct IoWorker {
    requests: flume::Sender<Message>,
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread has answered everything.
    over: flume::Receiver<Infallible>,
}

impl IoWorker {
    /// Makes a file system with these settings, and starts the thread.
    ///
    /// # Errors
    /// As [`FileSystem::with_config`], or if the system has no thread left.
    pub fn start(config: IoConfig) -> Result<IoWorker, Unavailable> {
        IoWorker::over(FileSystem::with_config(config)?)
    }

    /// Starts the thread over a file system that is there already.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn over(fs: FileSystem) -> Result<IoWorker, Unavailable> {
        let (requests, inbox) = flume::bounded(fs.config().queue_depth as usize);
        let driver = fs.backend().driver();
        let (at_the_end, over) = flume::bounded(0);
        let run = move || {
            let _dropped_at_the_end = at_the_end;
            fs.block_on(serve(&fs, inbox));
        };
        let thread = thread::Builder::new().name("iofs-worker".into()).spawn(run).map_err(|error| {
            Unavailable::from_io(driver, "starting the worker's thread", &error, "raise the limit of threads")
        })?;
        Ok(IoWorker { requests, thread: Some(thread), over })
    }

    /// Opens a file. Given up before it answers, it leaves nothing open.
    ///
    /// # Errors
    /// Those of open(2); `BrokenPipe` if the worker was shut down, as for all requests.
    pub async fn open(&self, path: impl Into<PathBuf>, mode: OpenMode) -> io::Result<FileId> {
        let (response, answer) = flume::bounded(1);
        self.post(Message::Open(path.into(), mode, response)).await?;
        let claim: Claim = answer.recv_async().await.map_err(|_| gone())??;
        Ok(claim.take())
    }

    /// Reads up to `len` bytes at `offset`, fewer only at the end of the file.
    ///
    /// # Errors
    /// Those of pread(2); `NotFound` for a file that is not open here.
    pub async fn read(&self, file_id: FileId, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.ask(|response| IoRequest::Read { file_id, offset, len, response }).await?
    }

    /// Writes all of the data at `offset`, and answers its length and the data.
    ///
    /// # Errors
    /// Those of pwrite(2); `NotFound` for a file that is not open here. The data comes back, unless the worker was shut down.
    pub async fn write(&self, file_id: FileId, offset: u64, data: Vec<u8>) -> IoResult<usize> {
        match self.ask(|response| IoRequest::Write { file_id, offset, data, response }).await {
            Ok(answer) => answer,
            Err(error) => (Err(error), Vec::new()),
        }
    }

    /// Makes durable what was written to a file by requests before this one.
    ///
    /// # Errors
    /// As [`File::sync_data`]; `NotFound` for a file that is not open here.
    pub async fn sync(&self, file_id: FileId) -> io::Result<()> {
        self.ask(|response| IoRequest::Sync { file_id, response }).await?
    }

    /// Forgets a file; it is closed when the requests before this one are done.
    ///
    /// # Errors
    /// `BrokenPipe` if the worker was shut down.
    pub async fn close(&self, file_id: FileId) -> io::Result<()> {
        self.send(IoRequest::CloseFile { file_id }).await
    }

    /// Sends a request, when there is room for it in the channel.
    ///
    /// # Errors
    /// `BrokenPipe` if the worker was shut down.
    pub async fn send(&self, request: IoRequest) -> io::Result<()> {
        self.post(Message::Request(request)).await
    }

    /// Does and answers what was requested before, then ends the thread. Later requests answer `BrokenPipe`.
    pub async fn shutdown(&mut self) {
        let _ = self.send(IoRequest::Shutdown).await;
        let Some(thread) = self.thread.take() else { return };
        let _ = self.over.recv_async().await;
        // It has nothing left to do.
        let _ = thread.join();
    }

    async fn post(&self, message: Message) -> io::Result<()> {
        self.requests.send_async(message).await.map_err(|_| gone())
    }

    async fn ask<T>(&self, request: impl FnOnce(flume::Sender<T>) -> IoRequest) -> io::Result<T> {
        let (response, answer) = flume::bounded(1);
        self.send(request(response)).await?;
        answer.recv_async().await.map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the worker was shut down")
}

/// What goes through the worker's channel.
enum Message {
    Request(IoRequest),
    /// [`IoWorker::open`]: who asks may go away with the answer in his channel.
    Open(PathBuf, OpenMode, flume::Sender<io::Result<Claim>>),
}

/// The files that are open here, by the name that requests call them.
type Files = Mutex<HashMap<FileId, File>>;

fn lock(files: &Files) -> MutexGuard<'_, HashMap<FileId, File>> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody knows the file, or nobody wants it any more. It is closed when nobody has the lock.
fn forget(files: &Files, id: FileId) {
    let file = lock(files).remove(&id);
    drop(file);
}

/// A file that was opened for somebody who has not heard of it yet. Dropped before that, wherever it is then, it is closed.
struct Claim {
    id: FileId,
    files: Weak<Files>,
}

impl Claim {
    fn take(mut self) -> FileId {
        self.files = Weak::new();
        self.id
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(files) = self.files.upgrade() {
            forget(&files, self.id);
        }
    }
}

/// Takes requests, runs them all at once, and comes back when intake and work are over.
async fn serve(fs: &FileSystem, inbox: flume::Receiver<Message>) {
    let mut desk = Desk { fs, files: Arc::default(), running: FuturesUnordered::new() };
    let mut incoming = Some(inbox.into_stream());
    poll_fn(|cx| desk.poll(&mut incoming, cx)).await;
}

type Running = Pin<Box<dyn Future<Output = Done> + Send>>;

/// What a request has come to.
enum Done {
    Answered,
    /// Answered when the file is in its place, so that the next request finds it.
    Opened(io::Result<File>, flume::Sender<io::Result<FileId>>),
    /// The same, for [`IoWorker::open`].
    Claimed(io::Result<File>, flume::Sender<io::Result<Claim>>),
    /// Opened, and who asked was gone before he could hear of it.
    Unheard(Option<FileId>),
}

struct Desk<'a> {
    fs: &'a FileSystem,
    files: Arc<Files>,
    running: FuturesUnordered<Running>,
}

impl Desk<'_> {
    fn poll(
        &mut self,
        incoming: &mut Option<flume::r#async::RecvStream<'_, Message>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let at_most = self.fs.config().queue_depth as usize;
        loop {
            while let Poll::Ready(Some(done)) = self.running.poll_next_unpin(cx) {
                self.note(done);
            }
            match incoming {
                None if self.running.is_empty() => return Poll::Ready(()),
                Some(inbox) if self.running.len() < at_most => match inbox.poll_next_unpin(cx) {
                    // What comes later, and what is in the channel behind it, is told by the channel's end.
                    Poll::Ready(Some(Message::Request(IoRequest::Shutdown)) | None) => *incoming = None,
                    // Begun, in this order, before the next one is looked at.
                    Poll::Ready(Some(Message::Request(request))) => self.begin(request),
                    Poll::Ready(Some(Message::Open(path, mode, response))) => {
                        let fs = self.fs.clone();
                        let opening = async move { Done::Claimed(open(&fs, path, mode).await, response) };
                        self.running.push(Box::pin(opening));
                    }
                    Poll::Pending => return Poll::Pending,
                },
                _ => return Poll::Pending,
            }
        }
    }

    fn note(&mut self, done: Done) {
        let (opened, response) = match done {
            Done::Answered => return,
            Done::Unheard(id) => return self.forget(id),
            Done::Opened(opened, response) => (opened, response),
            Done::Claimed(opened, response) => {
                let claim = |file| Claim { id: self.keep(file), files: Arc::downgrade(&self.files) };
                // There is room; with nobody there, the claim comes back and is dropped.
                return drop(response.try_send(opened.map(claim)));
            }
        };
        let answer = opened.map(|file| self.keep(file));
        let id = answer.as_ref().ok().copied();
        match response.try_send(answer) {
            Ok(()) => {}
            Err(TrySendError::Full(answer)) => self.running.push(Box::pin(async move {
                let heard = response.send_async(answer).await.is_ok();
                if heard { Done::Answered } else { Done::Unheard(id) }
            })),
            Err(TrySendError::Disconnected(_)) => self.forget(id),
        }
    }

    /// Requests find the file from now on.
    fn keep(&self, file: File) -> FileId {
        let id = file.handle().id();
        lock(&self.files).insert(id, file);
        id
    }

    fn forget(&mut self, id: Option<FileId>) {
        id.into_iter().for_each(|id| forget(&self.files, id));
    }

    /// An answer at once; where its channel has no room, it waits for that among the other requests.
    fn answer<T: Send + 'static>(&mut self, response: flume::Sender<T>, answer: T) {
        if let Err(TrySendError::Full(answer)) = response.try_send(answer) {
            self.running.push(Box::pin(async move {
                let _ = response.send_async(answer).await;
                Done::Answered
            }));
        }
    }

    fn begin(&mut self, request: IoRequest) {
        let running: Running = match request {
            IoRequest::Read { file_id, offset, len, response } => match self.file(file_id) {
                Ok(file) => Box::pin(async move {
                    let _ = response.send_async(read(&file, offset, len).await).await;
                    Done::Answered
                }),
                Err(error) => return self.answer(response, Err(error)),
            },
            IoRequest::Write { file_id, offset, data, response } => match self.file(file_id) {
                Ok(file) => Box::pin(async move {
                    let _ = response.send_async(file.write_at(data, offset).await).await;
                    Done::Answered
                }),
                Err(error) => return self.answer(response, (Err(error), data)),
            },
            IoRequest::Sync { file_id, response } => match self.file(file_id) {
                Ok(file) => Box::pin(async move {
                    let _ = response.send_async(file.sync_data().await).await;
                    Done::Answered
                }),
                Err(error) => return self.answer(response, Err(error)),
            },
            IoRequest::OpenFile { path, mode, response } => {
                let fs = self.fs.clone();
                Box::pin(async move { Done::Opened(open(&fs, path, mode).await, response) })
            }
            IoRequest::CloseFile { file_id } => return self.forget(Some(file_id)),
            IoRequest::Shutdown => unreachable!("it ends the intake"),
        };
        self.running.push(running);
    }

    fn file(&self, id: FileId) -> io::Result<File> {
        lock(&self.files).get(&id).cloned().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no file with the id {} is open here", id.get()))
        })
    }
}

async fn open(fs: &FileSystem, path: PathBuf, mode: OpenMode) -> io::Result<File> {
    match mode {
        OpenMode::Read => fs.open(path).await,
        OpenMode::ReadWrite => fs.open_rw(path).await,
        OpenMode::Create => fs.create(path).await,
        OpenMode::Append => fs.open_append(path).await,
    }
}

async fn read(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buf = Vec::new();
    // A length that a message got wrong must not end the worker.
    buf.try_reserve_exact(len).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
    if len == 0 {
        return Ok(buf);
    }
    let (read, mut buf) = file.read_at(buf, offset).await;
    buf.truncate(read?.min(len));
    Ok(buf)
}

impl fmt::Debug for IoWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.thread.is_some() { "running" } else { "shut down" };
        write!(f, "IoWorker({state}, {} requests waiting)", self.requests.len())
    }
}
