//! The future of one operation.

use super::{
    Answer, Shards,
    admission::Weight,
    cell::{Cell, Left, Way},
    deadlines::Key,
};
use io_core::{Op, errno};
use std::{
    cell::Cell as StdCell,
    error, fmt,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// A task whose operations all complete inline yields after so many of them, so that its neighbours on the same thread get their turn:
/// at one to two microseconds each they wait for some tens of microseconds.
const INLINE_MAX: u32 = 32;

thread_local! {
    static INLINE: StdCell<u32> = const { StdCell::new(0) };
}

/// An operation that is going to be done, is being done, or was done. It begins when it is first polled.
///
/// Dropping it loses the interest in its answer and nothing else: what has begun goes on, its buffer and file stay with the engine
/// until it is over, and a buffer that belongs to a pool goes back there. What had not begun, or waits for its turn, is not done.
#[must_use = "an operation that nobody polls does not begin"]
pub struct Operation<T> {
    flow: Flow,
    make: fn(Answer) -> T,
}

/// The state of an operation, without the type of its outcome.
struct Flow {
    shards: Shards,
    weight: Weight,
    state: State,
}

enum State {
    New(Op),
    /// Answered inline; the task yields first.
    Yielded(Answer),
    Under(Arc<Cell>),
    Over,
}

impl Shards {
    /// An operation that is refused before it begins: its answer is this error, and `make` gets the buffer out as ever.
    pub fn refused<T>(&self, op: Op, error: io::Error, make: fn(Answer) -> T) -> Operation<T> {
        let state = State::Yielded(Answer { op: Some(op), result: Err(error) });
        Operation { flow: Flow { weight: Weight::default(), shards: self.clone(), state }, make }
    }
}

impl<T> Operation<T> {
    pub(crate) fn new(shards: Shards, op: Op, make: fn(Answer) -> T) -> Operation<T> {
        Operation { flow: Flow { weight: Weight::of(&op), shards, state: State::New(op) }, make }
    }

    /// Wishes that the operation ended soon. What waits in the engine ends at once with `ECANCELED`; what the system has already
    /// begun ends when and how the system likes, with its own result or with `ECANCELED`, and one that has not begun will end with
    /// `ECANCELED` when it is polled. The operation is still to be awaited: the answer brings the buffer.
    pub fn cancel(&mut self) {
        self.flow.cancel();
    }

    /// Waits for the answer no longer than `at_most`, counted from here on. After that the caller gets a [`Ticket`] instead.
    pub fn with_timeout(self, at_most: Duration) -> Timed<T> {
        let at = self.flow.shards.now().saturating_add(at_most);
        Timed { operation: Some(self), at, key: None }
    }
}

impl<T> Future for Operation<T> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.flow.poll(cx).map(self.make)
    }
}

impl<T> fmt::Debug for Operation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flow.state {
            State::New(op) => write!(f, "Operation(not begun, {op:?})"),
            State::Yielded(_) => f.write_str("Operation(answered)"),
            State::Under(cell) => write!(f, "Operation({cell:?})"),
            State::Over => f.write_str("Operation(over)"),
        }
    }
}

impl Flow {
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::New(mut op) => {
                if let Some(result) = self.shards.read_at_once(&mut op) {
                    return self.answered_inline(Answer { op: Some(op), result }, cx);
                }
                match self.shards.begin(op, self.weight) {
                    Ok(answer) => self.answered_inline(answer, cx),
                    Err(cell) => {
                        INLINE.set(0);
                        self.poll_cell(cell, cx)
                    }
                }
            }
            State::Yielded(answer) => Poll::Ready(answer),
            State::Under(cell) => self.poll_cell(cell, cx),
            State::Over => panic!("an operation was polled after it was over"),
        }
    }

    #[inline]
    fn answered_inline(&mut self, answer: Answer, cx: &mut Context<'_>) -> Poll<Answer> {
        let inline = INLINE.get() + 1;
        if inline < INLINE_MAX {
            INLINE.set(inline);
            return Poll::Ready(answer);
        }
        INLINE.set(0);
        self.state = State::Yielded(answer);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_cell(&mut self, cell: Arc<Cell>, cx: &mut Context<'_>) -> Poll<Answer> {
        match cell.poll(cx) {
            Poll::Ready(answer) => {
                Cell::recycle(cell);
                Poll::Ready(answer)
            }
            Poll::Pending => {
                self.shards.help(&cell, cx);
                self.state = State::Under(cell);
                Poll::Pending
            }
        }
    }

    fn cancel(&mut self) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::New(op) => {
                let result = Err(io::Error::from_raw_os_error(errno::ECANCELED));
                self.state = State::Yielded(Answer { op: Some(op), result });
            }
            State::Under(cell) => {
                self.shards.cancel(&cell);
                self.state = State::Under(cell);
            }
            other => self.state = other,
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let State::Under(cell) = std::mem::replace(&mut self.state, State::Over) {
            abandon(&self.shards, self.weight, cell);
        }
    }
}

/// Nobody waits for the answer of this cell any more.
fn abandon(shards: &Shards, weight: Weight, cell: Arc<Cell>) {
    let shared = cell.way() == Some(Way::Shared);
    // Noted before anybody can forget it.
    shards.admission().note_orphan(weight);
    let left = cell.leave();
    if shared || !matches!(left, Left::Orphan) {
        shards.admission().forget_orphan(weight);
    }
    drop(left);
    Cell::recycle(cell);
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
        let shards = operation.flow.shards.clone();
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
            operation.flow.shards.deadlines().clear(key);
        }
        operation
    }

    #[cold]
    fn time_is_over(&mut self) -> TimedOut<T> {
        let operation = self.finish().expect("it was polled just now");
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
        let taken = match &self.0.flow.state {
            State::Under(cell) => cell.try_take(),
            _ => None,
        };
        match taken {
            Some(answer) => {
                self.0.flow.state = State::Over;
                Ok((self.0.make)(answer))
            }
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
