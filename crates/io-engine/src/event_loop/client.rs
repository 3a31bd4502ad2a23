//! The other end of the channel.

use super::AIOMessage;
use crate::{InFlightOp, Stats};
use flume::r#async::SendFut;
use io_core::{Gate, Readiness};
use std::{
    error, fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

/// How often somebody who waits for a loop's answer looks whether there still is a loop.
const LOOK: Duration = Duration::from_millis(10);

/// The loop has ended or is ending: the request comes back.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Refused<T>(pub T);

/// Why a request could not be sent at once; it comes back either way.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum TrySendError<T> {
    /// The channel is full.
    Full(T),
    /// The loop has ended or is ending.
    Refused(T),
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event loop takes no more requests")
    }
}
impl<T: fmt::Debug> error::Error for Refused<T> {}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the event loop's channel is full",
            TrySendError::Refused(_) => "the event loop takes no more requests",
        })
    }
}
impl<T: fmt::Debug> error::Error for TrySendError<T> {}

/// Sends requests to a loop, from any thread or task. Clones send to the same loop. A request that was sent is given to the
/// listener, whatever happens to the client; one that was not sent comes back.
pub struct AIOClient<T>(Arc<Shared<T>>);

struct Shared<T> {
    tx: flume::Sender<AIOMessage<T>>,
    questions: Arc<Questions>,
    readiness: Arc<dyn Readiness>,
    gate: Arc<Gate>,
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // The last client is gone: the loop has to notice, asleep or not. A closed gate tells it, and is there before the wake. (The
        // end of the channel would come after it: a loop that has emptied the channel by then would sleep for ever.)
        self.gate.close();
        self.readiness.wake();
    }
}

/// What a loop is asked about itself. Not by way of the channel: a loop whose every place is taken by operations that do not come
/// back takes nothing from there, and is the one that people ask.
#[derive(Default)]
pub(crate) struct Questions {
    asked: AtomicBool,
    /// At most one for each thread that waits for its answer.
    open: Mutex<Vec<flume::Sender<Report>>>,
}

type Report = (Stats, Vec<InFlightOp>);

impl Questions {
    fn ask(&self) -> flume::Receiver<Report> {
        let (answer, answered) = flume::bounded(1);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        self.asked.store(true, Ordering::Release);
        answered
    }

    /// Answers all open questions with one report.
    #[inline]
    pub(crate) fn answer(&self, report: impl FnOnce() -> Report) {
        if !self.asked.load(Ordering::Acquire) || !self.asked.swap(false, Ordering::AcqRel) {
            return;
        }
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        let report = report();
        for answer in open {
            let _ = answer.send(report.clone());
        }
    }
}

impl<T> AIOClient<T> {
    pub(crate) fn new(
        tx: flume::Sender<AIOMessage<T>>,
        questions: Arc<Questions>,
        readiness: Arc<dyn Readiness>,
        gate: Arc<Gate>,
    ) -> AIOClient<T> {
        AIOClient(Arc::new(Shared { tx, questions, readiness, gate }))
    }

    /// Sends a request; waits while the channel is full.
    ///
    /// # Errors
    /// The request back, if the loop takes no more.
    pub fn send(&self, request: T) -> Result<(), Refused<T>> {
        let Some(_inside) = self.0.gate.enter() else { return Err(Refused(request)) };
        // A full channel's loop is awake, or woken by the try: it cannot sleep on requests that it has not seen.
        match self.0.tx.try_send(AIOMessage::Req(request)) {
            Ok(()) => {}
            Err(flume::TrySendError::Full(message)) => {
                self.0.readiness.wake();
                self.0.tx.send(message).map_err(|e| Refused(request_of(e.0)))?;
            }
            Err(flume::TrySendError::Disconnected(message)) => return Err(Refused(request_of(message))),
        }
        self.0.readiness.wake();
        Ok(())
    }

    /// Sends a request if there is room for it now.
    ///
    /// # Errors
    /// The request back, if the channel is full or the loop takes no more.
    pub fn try_send(&self, request: T) -> Result<(), TrySendError<T>> {
        let Some(_inside) = self.0.gate.enter() else { return Err(TrySendError::Refused(request)) };
        match self.0.tx.try_send(AIOMessage::Req(request)) {
            Ok(()) => {
                self.0.readiness.wake();
                Ok(())
            }
            Err(flume::TrySendError::Full(message)) => Err(TrySendError::Full(request_of(message))),
            Err(flume::TrySendError::Disconnected(message)) => Err(TrySendError::Refused(request_of(message))),
        }
    }

    /// Sends a request; the future waits while the channel is full. Dropped before it is ready, it has sent nothing, or its
    /// request is given to the listener all the same: never something between.
    ///
    /// The future resolves to the request back (`Err`), if the loop takes no more.
    pub fn send_async(&self, request: T) -> SendAsync<'_, T> {
        SendAsync { client: self, request: Some(request), inner: None }
    }

    /// Tells the loop to finish what is queued and in flight, and to end. Requests sent after this come back; requests sent
    /// before are answered. Does not wait: join the loop's thread for that. More than one call does no harm.
    pub fn shutdown(&self) {
        self.0.gate.close();
        // A full channel means a loop that is awake; it looks at the gate when it has emptied it.
        let _ = self.0.tx.try_send(AIOMessage::Shutdown);
        self.0.readiness.wake();
    }

    /// True if the loop takes no more requests.
    pub fn is_closed(&self) -> bool {
        self.0.gate.is_closed() || self.0.tx.is_disconnected()
    }

    /// The loop's counters, and what is in flight and for how long; also while it is shutting down. Waits for a loop that does not
    /// run yet. `None` if the loop has ended.
    pub fn in_flight(&self) -> Option<(Stats, Vec<InFlightOp>)> {
        let answered = self.0.questions.ask();
        self.0.readiness.wake();
        loop {
            match answered.recv_timeout(LOOK) {
                Ok(report) => return Some(report),
                // A loop that ended, or panicked, leaves questions unanswered.
                Err(_) if self.0.tx.is_disconnected() => return None,
                Err(_) => {}
            }
        }
    }
}

fn request_of<T>(message: AIOMessage<T>) -> T {
    match message {
        AIOMessage::Req(request) => request,
        AIOMessage::Shutdown => unreachable!("a request was sent"),
    }
}

impl<T> Clone for AIOClient<T> {
    fn clone(&self) -> Self {
        AIOClient(self.0.clone())
    }
}

impl<T> fmt::Debug for AIOClient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AIOClient({} queued{})", self.0.tx.len(), if self.is_closed() { ", closed" } else { "" })
    }
}

/// The future of [`AIOClient::send_async`].
#[must_use = "futures send nothing unless polled"]
pub struct SendAsync<'a, T> {
    client: &'a AIOClient<T>,
    request: Option<T>,
    inner: Option<SendFut<'a, AIOMessage<T>>>,
}

impl<T> Unpin for SendAsync<'_, T> {}

impl<T> Future for SendAsync<'_, T> {
    type Output = Result<(), Refused<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let shared = &this.client.0;
        // The gate is held while the request goes into the channel, not while it waits there: a future that nobody polls must
        // not keep the loop from ending. The loop's last look takes waiting requests as well, and dropping the receiver sends
        // back what is still unsent.
        let _inside = if this.inner.is_none() {
            let Some(inside) = shared.gate.enter() else {
                let request = this.request.take().expect("polled after it was ready");
                return Poll::Ready(Err(Refused(request)));
            };
            let request = this.request.take().expect("polled after it was ready");
            this.inner = Some(shared.tx.send_async(AIOMessage::Req(request)));
            Some(inside)
        } else {
            None
        };
        let sent = Pin::new(this.inner.as_mut().expect("made above")).poll(cx);
        shared.readiness.wake();
        sent.map_err(|e| Refused(request_of(e.0)))
    }
}

impl<T> fmt::Debug for SendAsync<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendAsync")
    }
}
