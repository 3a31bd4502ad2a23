//! The future of one operation.

use super::{
    Answer, OpBox, Shards,
    admission::Weight,
    at_once::AtOnce,
    cell::{Cell, Left, Way},
    deadlines::Key,
    fair::{self, Away},
    metrics,
};
use io_core::{BufResult, FileHandle, IoBufMut, Op, errno};
use std::{
    error, fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// An operation that is going to be done, is being done, or was done. It begins when it is first polled.
///
/// Dropping it loses the interest in its answer and nothing else: what has begun goes on, its buffer and file stay with the engine
/// until it is over, and a buffer that belongs to a pool goes back there. What had not begun, or waits for its turn, is not done.
#[must_use = "an operation that nobody polls does not begin"]
pub struct Operation<T> {
    shards: Shards,
    stage: Stage<T>,
    make: fn(Answer) -> T,
}

enum Stage<T> {
    /// A read that has not begun and may find its data in memory: nothing is made for the engine before that is known.
    Fresh(FreshRead<T>),
    /// Answered inline; the task yields first.
    Yielded(T, Away),
    Flow(Flow),
}

/// The buffer of a read as it will be answered, and how to read into it.
struct FreshRead<T> {
    outcome: T,
    file: FileHandle,
    offset: u64,
    how: ReadInto<T>,
}

/// What an operation has to know of the buffer inside its outcome.
struct ReadInto<T> {
    /// Reads at once and says how many bytes, or answers `None`.
    at_once: fn(&AtOnce, &FileHandle, &mut T, u64) -> Option<usize>,
    op: fn(&FileHandle, T, u64) -> Op,
}

impl<B: IoBufMut> ReadInto<BufResult<usize, B>> {
    const WAY: ReadInto<BufResult<usize, B>> = ReadInto {
        at_once: |at_once, file, outcome, offset| {
            let n = at_once.read_into(file, &mut outcome.1, offset)?;
            outcome.0 = Ok(n);
            Some(n)
        },
        op: |file, outcome, offset| Op::read(file, outcome.1, offset),
    };
}

/// The state of an operation, without the type of its outcome.
struct Flow {
    weight: Weight,
    state: State,
    /// A durable write that may be done with others of its inode.
    together: bool,
}

enum State {
    New(OpBox),
    /// Answered, but the task yields first; or it never began, and there was nothing to wait for.
    Yielded(Answer, Option<Away>),
    Under(Arc<Cell>),
    Over,
}

impl Shards {
    /// An operation that is refused before it begins: its answer is this error, and `make` gets the buffer out as ever.
    pub fn refused<T>(&self, op: Op, error: io::Error, make: fn(Answer) -> T) -> Operation<T> {
        let state = State::Yielded(Answer { op: Some(OpBox::new(op)), result: Err(error) }, None);
        Operation { shards: self.clone(), stage: Stage::Flow(Flow::over(state)), make }
    }

    /// A durable write ([`RwFlags::DSYNC`](io_core::RwFlags::DSYNC)), to be polled. If one of its inode is under way that ends where it
    /// begins (or a little before), it waits for that one, and is then done as one with those that waited, too.
    pub fn write_together<T>(&self, op: Op, make: fn(Answer) -> T) -> Operation<T> {
        let mut operation = Operation::new(self.clone(), op, make);
        if let Stage::Flow(flow) = &mut operation.stage {
            flow.together = true;
        }
        operation
    }
}

// Nothing inside is pinned: the operation moves into the engine when it begins.
impl<T> Unpin for Operation<T> {}

impl<T> Operation<T> {
    pub(crate) fn new(shards: Shards, op: Op, make: fn(Answer) -> T) -> Operation<T> {
        Operation { shards, stage: Stage::Flow(Flow::new(op)), make }
    }

    /// Wishes that the operation ended soon. What waits in the engine ends at once with `ECANCELED`; what the system has already
    /// begun ends when and how the system likes, with its own result or with `ECANCELED`, and one that has not begun will end with
    /// `ECANCELED` when it is polled. The operation is still to be awaited: the answer brings the buffer.
    pub fn cancel(&mut self) {
        let shards = self.shards.clone();
        if let Some(flow) = self.flow() {
            flow.cancel(&shards);
        }
    }

    /// Waits for the answer no longer than `at_most`, counted from here on. After that the caller gets a [`Ticket`] instead.
    pub fn with_timeout(self, at_most: Duration) -> Timed<T> {
        let at = self.shards.now().saturating_add(at_most);
        Timed { operation: Some(self), at, key: None }
    }

    /// The flow, begun in this moment if there was none yet; `None` if the outcome is there already.
    fn flow(&mut self) -> Option<&mut Flow> {
        if let Stage::Fresh(_) = &self.stage {
            if let Stage::Fresh(FreshRead { outcome, file, offset, how }) = self.take_stage() {
                self.stage = Stage::Flow(Flow::new((how.op)(&file, outcome, offset)));
            }
        }
        match &mut self.stage {
            Stage::Flow(flow) => Some(flow),
            Stage::Fresh(_) | Stage::Yielded(..) => None,
        }
    }

    /// The stage; the operation is over.
    fn take_stage(&mut self) -> Stage<T> {
        std::mem::replace(&mut self.stage, Stage::Flow(Flow::over(State::Over)))
    }
}

impl<B: IoBufMut> Operation<BufResult<usize, B>> {
    /// A read into the buffer's capacity. `make` is for the case that the engine has to do it.
    pub(crate) fn read(shards: Shards, file: &FileHandle, buf: B, offset: u64) -> Operation<BufResult<usize, B>> {
        let fresh = FreshRead { outcome: (Ok(0), buf), file: file.clone(), offset, how: ReadInto::WAY };
        Operation { shards, stage: Stage::Fresh(fresh), make: transfer_of }
    }
}

/// The bytes moved, and the buffer.
pub(crate) fn transfer_of<B: 'static>(answer: Answer) -> BufResult<usize, B> {
    let op = answer.op.expect("a transfer's answer brings its operation");
    let buf = op.into_buf().unwrap_or_else(|_| unreachable!("the operation was made with this buffer"));
    (answer.result, buf)
}

impl<T> Future for Operation<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        match &mut this.stage {
            Stage::Flow(flow) => return flow.poll(&this.shards, cx).map(this.make),
            Stage::Fresh(FreshRead { outcome, file, offset, how }) => {
                let meter = this.shards.at_once_meter();
                let mut read = || (how.at_once)(this.shards.at_once(), file, outcome, *offset);
                if metrics::is_due() {
                    if meter.timed(read).is_none() {
                        return this.poll_flow(cx);
                    }
                } else {
                    let Some(n) = read() else { return this.poll_flow(cx) };
                    meter.note(n);
                }
            }
            Stage::Yielded(..) => {}
        }
        match this.take_stage() {
            Stage::Yielded(outcome, away) => {
                away.back();
                Poll::Ready(outcome)
            }
            Stage::Fresh(FreshRead { outcome, .. }) => match fair::completed_inline() {
                None => Poll::Ready(outcome),
                Some(away) => {
                    this.stage = Stage::Yielded(outcome, away);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
            Stage::Flow(_) => unreachable!("polled above"),
        }
    }
}

impl<T> Operation<T> {
    #[inline(never)]
    fn poll_flow(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.flow();
        match &mut self.stage {
            Stage::Flow(flow) => flow.poll(&self.shards, cx).map(self.make),
            Stage::Fresh(_) | Stage::Yielded(..) => unreachable!("begun above"),
        }
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stage {
            Stage::Fresh(fresh) => write!(f, "Operation(not begun, a read of {:?} at {})", fresh.file, fresh.offset),
            Stage::Yielded(..) => f.write_str("Operation(answered)"),
            Stage::Flow(flow) => match &flow.state {
                State::New(op) => write!(f, "Operation(not begun, {op:?})"),
                State::Yielded(..) => f.write_str("Operation(answered)"),
                State::Under(cell) => write!(f, "Operation({cell:?})"),
                State::Over => f.write_str("Operation(over)"),
            },
        }
    }
}

impl Flow {
    fn new(op: Op) -> Flow {
        Flow { weight: Weight::of(&op), state: State::New(OpBox::new(op)), together: false }
    }

    fn over(state: State) -> Flow {
        Flow { weight: Weight::default(), state, together: false }
    }

    #[inline]
    fn poll(&mut self, shards: &Shards, cx: &mut Context<'_>) -> Poll<Answer> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::New(op) => match shards.begin(op, self.weight, self.together) {
                Ok(answer) => match fair::completed_inline() {
                    None => Poll::Ready(answer),
                    away => {
                        self.state = State::Yielded(answer, away);
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                },
                Err(cell) => {
                    fair::waits();
                    self.poll_cell(cell, shards, cx)
                }
            },
            State::Yielded(answer, away) => {
                if let Some(away) = away {
                    away.back();
                }
                Poll::Ready(answer)
            }
            State::Under(cell) => self.poll_cell(cell, shards, cx),
            State::Over => panic!("an operation was polled after it was over"),
        }
    }

    fn poll_cell(&mut self, cell: Arc<Cell>, shards: &Shards, cx: &mut Context<'_>) -> Poll<Answer> {
        match cell.poll(cx) {
            Poll::Ready(answer) => {
                Cell::recycle(cell);
                Poll::Ready(answer)
            }
            Poll::Pending => {
                shards.help(&cell, cx);
                self.state = State::Under(cell);
                Poll::Pending
            }
        }
    }

    fn cancel(&mut self, shards: &Shards) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::New(op) => {
                let result = Err(io::Error::from_raw_os_error(errno::ECANCELED));
                self.state = State::Yielded(Answer { op: Some(op), result }, None);
            }
            State::Under(cell) => {
                shards.cancel(&cell);
                self.state = State::Under(cell);
            }
            other => self.state = other,
        }
    }
}

impl<T> Drop for Operation<T> {
    #[inline]
    fn drop(&mut self) {
        if let Stage::Flow(Flow { state: State::Under(_), .. }) = &self.stage {
            self.abandon();
        }
    }
}

impl<T> Operation<T> {
    /// Nobody waits for the answer any more.
    #[cold]
    fn abandon(&mut self) {
        let Stage::Flow(flow) = &mut self.stage else { return };
        let State::Under(cell) = std::mem::replace(&mut flow.state, State::Over) else { return };
        let admission = self.shards.admission();
        let shared = cell.way() == Some(Way::Shared);
        // Noted before anybody can forget it.
        admission.note_orphan(flow.weight);
        let left = cell.leave();
        if shared || !matches!(left, Left::Orphan) {
            admission.forget_orphan(flow.weight);
        }
        if let Left::Queued(_) = &left {
            admission.note_gone();
        }
        drop(left);
        Cell::recycle(cell);
    }
}

/// An operation whose answer is waited for no longer than a time; see [`Operation::with_timeout`].
#[must_use = "an operation that nobody polls does not begin"]
#[derive(Debug)]
pub struct Timed<T> {
    operation: Option<Operation<T>>,
    at: Duration,
    key: Option<Key>,
}

impl<T> Future for Timed<T> {
    type Output = Result<T, TimedOut<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let operation = this.operation.as_mut().expect("a timed operation was polled after it was over");
        if let Poll::Ready(outcome) = Pin::new(&mut *operation).poll(cx) {
            this.finish();
            return Poll::Ready(Ok(outcome));
        }
        let shards = operation.shards.clone();
        let deadlines = shards.deadlines();
        let left = this.at.saturating_sub(deadlines.now());
        if left.is_zero() {
            return Poll::Ready(Err(this.time_is_over()));
        }
        match this.key {
            Some(key) => deadlines.replace(key, cx.waker()),
            None => this.key = Some(deadlines.set(this.at, cx.waker().clone())),
        }
        shards.help_until(left, cx);
        Poll::Pending
    }
}

impl<T> Timed<T> {
    fn finish(&mut self) -> Option<Operation<T>> {
        let operation = self.operation.take();
        if let (Some(operation), Some(key)) = (&operation, self.key.take()) {
            operation.shards.deadlines().clear(key);
        }
        operation
    }

    #[cold]
    fn time_is_over(&mut self) -> TimedOut<T> {
        let operation = self.finish().expect("it was polled just now");
        crate::trace::event_warn!(?operation, "an operation was given up by the clock");
        TimedOut { ticket: Ticket(operation) }
    }

    /// As [`Operation::cancel`].
    pub fn cancel(&mut self) {
        if let Some(operation) = &mut self.operation {
            operation.cancel();
        }
    }
}

impl<T> Drop for Timed<T> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The time was over before the answer came. What has begun goes on; the ticket claims its outcome and its buffer later.
#[derive(Debug)]
pub struct TimedOut<T> {
    /// Waits for the answer without a time.
    pub ticket: Ticket<T>,
}

impl<T> fmt::Display for TimedOut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation took longer than it was given; it goes on, and its ticket claims the outcome")
    }
}

impl<T: fmt::Debug> error::Error for TimedOut<T> {}

impl<T> From<TimedOut<T>> for io::Error {
    /// `TimedOut` without the ticket: outcome and buffer are given up.
    fn from(timed_out: TimedOut<T>) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, timed_out.to_string())
    }
}

/// The claim to the outcome of an operation that took too long: a future of it. Dropped, the operation goes on as an orphan.
#[must_use = "the ticket holds the claim to the buffer"]
#[derive(Debug)]
pub struct Ticket<T>(Operation<T>);

impl<T> Ticket<T> {
    /// The outcome, if it is there by now; else the ticket back.
    ///
    /// # Errors
    /// The ticket, while the operation goes on.
    pub fn try_claim(mut self) -> Result<T, Ticket<T>> {
        let answer = match self.0.take_stage() {
            // It had its answer when the time was over, and its task was away.
            Stage::Yielded(outcome, _) => return Ok(outcome),
            Stage::Flow(Flow { state: State::Yielded(answer, _), .. }) => Some(answer),
            Stage::Flow(Flow { state: State::Under(cell), weight, together }) => {
                let answer = cell.try_take();
                if answer.is_none() {
                    self.0.stage = Stage::Flow(Flow { state: State::Under(cell), weight, together });
                }
                answer
            }
            other => {
                self.0.stage = other;
                None
            }
        };
        match answer {
            Some(answer) => Ok((self.0.make)(answer)),
            None => Err(self),
        }
    }

    /// As [`Operation::cancel`].
    pub fn cancel(&mut self) {
        self.0.cancel();
    }
}

impl<T> Future for Ticket<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx)
    }
}
