//! Limits for anything that may be too much at once, in operations and in bytes.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Lets only so many operations, of only so many bytes, go on at once. Clones are the same one.
///
/// First come, first served: who asks while others wait, waits behind them, and a large request is not overtaken by small ones. A
/// waiter that is dropped leaves the queue, or hands on the permit that it was about to get. Nothing is allocated for who need not wait.
///
/// Nobody needs this in front of a [`FileSystem`](crate::FileSystem): it has limits of its own
/// ([`queue_depth`](crate::IoConfig::queue_depth), [`queue_bytes`](crate::IoConfig::queue_bytes)), under which what is too much waits
/// in the same way. This one is for what a program wants to limit beyond that: one tenant, one kind of work, the bytes of a queue.
///
/// ```
/// use io_fs::BackpressureController;
///
/// let controller = BackpressureController::new(2);
/// let one = controller.try_acquire().unwrap();
/// let two = controller.try_acquire().unwrap();
/// assert!(controller.try_acquire().is_none());
/// drop(one);
/// assert_eq!((controller.available_permits(), controller.max_concurrent()), (1, 2));
/// # drop(two);
/// ```
#[derive(Clone)]
pub struct BackpressureController(Arc<Inner>);

struct Inner {
    max_concurrent: usize,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    operations: usize,
    bytes: u64,
    waiting: VecDeque<Waiting>,
    /// Number of the next one that waits.
    next: u64,
}

struct Waiting {
    number: u64,
    bytes: u64,
    /// Taken when its turn has come; it stays in front until it has looked.
    waker: Option<Waker>,
}

impl BackpressureController {
    /// At most `max_concurrent` operations at once, whatever their size.
    ///
    /// # Panics
    /// If that is none.
    pub fn new(max_concurrent: usize) -> BackpressureController {
        BackpressureController::with_bytes(max_concurrent, u64::MAX)
    }

    /// At most `max_concurrent` operations at once, and at most `max_bytes` bytes of them. An operation of more bytes than that is let
    /// in when it is alone.
    ///
    /// # Panics
    /// If one of the limits is 0.
    pub fn with_bytes(max_concurrent: usize, max_bytes: u64) -> BackpressureController {
        assert!(max_concurrent > 0 && max_bytes > 0, "a limit of nothing would let nothing in");
        BackpressureController(Arc::new(Inner { max_concurrent, max_bytes, state: Mutex::default() }))
    }

    /// Waits for its turn with one operation that counts no bytes.
    pub fn acquire(&self) -> AcquirePermit {
        self.acquire_bytes(0)
    }

    /// Waits for its turn with one operation of so many bytes. Its place in the queue is taken when the future is first polled.
    pub fn acquire_bytes(&self, bytes: u64) -> AcquirePermit {
        AcquirePermit { controller: self.clone(), bytes, number: None }
    }

    /// Lets one operation without bytes in, if there is room and nobody waits.
    pub fn try_acquire(&self) -> Option<BackpressurePermit> {
        self.try_acquire_bytes(0)
    }

    /// Lets one operation of so many bytes in, if there is room and nobody waits.
    pub fn try_acquire_bytes(&self, bytes: u64) -> Option<BackpressurePermit> {
        let mut state = self.0.lock();
        let enters = state.waiting.is_empty() && self.0.fits(&state, bytes);
        enters.then(|| self.enter(&mut state, bytes))
    }

    /// Operations that would be let in now, their bytes aside. None while somebody waits: he comes first.
    pub fn available_permits(&self) -> usize {
        let state = self.0.lock();
        if state.waiting.is_empty() { self.0.max_concurrent - state.operations } else { 0 }
    }

    /// Bytes that would be let in now; none while somebody waits.
    pub fn available_bytes(&self) -> u64 {
        let state = self.0.lock();
        if state.waiting.is_empty() { self.0.max_bytes.saturating_sub(state.bytes) } else { 0 }
    }

    /// Most operations at once.
    pub fn max_concurrent(&self) -> usize {
        self.0.max_concurrent
    }

    /// Most bytes at once.
    pub fn max_bytes(&self) -> u64 {
        self.0.max_bytes
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }

    fn enter(&self, state: &mut State, bytes: u64) -> BackpressurePermit {
        state.operations += 1;
        state.bytes = state.bytes.saturating_add(bytes);
        BackpressurePermit { controller: self.clone(), bytes }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, state: &State, bytes: u64) -> bool {
        let room = self.max_bytes.saturating_sub(state.bytes);
        state.operations == 0 || (state.operations < self.max_concurrent && bytes <= room)
    }

    /// The first waiter's waker, if he can go on now and does not know yet. To be woken without the lock.
    fn next_to_wake(&self, state: &mut State) -> Option<Waker> {
        let first = state.waiting.front()?.bytes;
        if !self.fits(state, first) {
            return None;
        }
        state.waiting.front_mut().and_then(|first| first.waker.take())
    }
}

/// The wait for a permit, see [`BackpressureController::acquire`]. Dropped, it gives its place up.
#[must_use = "nothing waits before it is polled"]
pub struct AcquirePermit {
    controller: BackpressureController,
    bytes: u64,
    /// Its number in the queue, while it is there.
    number: Option<u64>,
}

impl Future for AcquirePermit {
    type Output = BackpressurePermit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BackpressurePermit> {
        let this = &mut *self;
        let inner = &this.controller.0;
        let mut state = inner.lock();
        let is_first = match this.number {
            Some(number) => state.waiting.front().is_some_and(|first| first.number == number),
            None => state.waiting.is_empty(),
        };
        if is_first && inner.fits(&state, this.bytes) {
            if this.number.take().is_some() {
                state.waiting.pop_front();
            }
            let permit = this.controller.enter(&mut state, this.bytes);
            let next = inner.next_to_wake(&mut state);
            drop(state);
            next.into_iter().for_each(Waker::wake);
            return Poll::Ready(permit);
        }
        let waker = Some(cx.waker().clone());
        let old = match this.number {
            Some(number) => {
                let mine = state.waiting.iter_mut().find(|waiting| waiting.number == number);
                mine.and_then(|mine| std::mem::replace(&mut mine.waker, waker))
            }
            None => {
                let number = state.next;
                state.next += 1;
                state.waiting.push_back(Waiting { number, bytes: this.bytes, waker });
                this.number = Some(number);
                None
            }
        };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for AcquirePermit {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let inner = &self.controller.0;
        let mut state = inner.lock();
        let mine = state.waiting.iter().position(|waiting| waiting.number == number);
        let mine = mine.and_then(|at| state.waiting.remove(at));
        let next = inner.next_to_wake(&mut state);
        drop(state);
        drop(mine);
        next.into_iter().for_each(Waker::wake);
    }
}

/// The right to go on. Dropped, it is given back.
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct BackpressurePermit {
    controller: BackpressureController,
    bytes: u64,
}

impl BackpressurePermit {
    /// The bytes that it stands for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for BackpressurePermit {
    fn drop(&mut self) {
        let inner = &self.controller.0;
        let mut state = inner.lock();
        state.operations -= 1;
        state.bytes -= self.bytes;
        let next = inner.next_to_wake(&mut state);
        drop(state);
        next.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for BackpressureController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        let (operations, bytes, waiting) = (state.operations, state.bytes, state.waiting.len());
        let (max_concurrent, max_bytes) = (self.0.max_concurrent, self.0.max_bytes);
        write!(
            f,
            "BackpressureController({operations} of {max_concurrent} operations, {bytes} of {max_bytes} bytes, \
             {waiting} waiting)"
        )
    }
}

impl fmt::Debug for AcquirePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = if self.number.is_some() { "waiting" } else { "not begun" };
        write!(f, "AcquirePermit({} bytes, {waits})", self.bytes)
    }
}

impl fmt::Debug for BackpressurePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackpressurePermit({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        task::Wake,
    };

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(wait: &mut AcquirePermit, count: &Arc<Count>) -> Option<BackpressurePermit> {
        let waker = Waker::from(count.clone());
        match Pin::new(wait).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    fn woken(count: &Count) -> u32 {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn the_first_that_waits_goes_first() {
        let controller = BackpressureController::new(1);
        let held = controller.try_acquire().unwrap();
        let (one, two) = (Arc::<Count>::default(), Arc::<Count>::default());
        let (mut first, mut second) = (controller.acquire(), controller.acquire());
        assert!(poll(&mut first, &one).is_none() && poll(&mut second, &two).is_none());
        drop(held);
        assert_eq!((woken(&one), woken(&two)), (1, 0));
        assert!(controller.try_acquire().is_none(), "who waits comes first");
        assert!(poll(&mut second, &two).is_none(), "and is not overtaken by who looks earlier");
        let permit = poll(&mut first, &one).unwrap();
        assert_eq!(woken(&two), 0);
        drop(permit);
        assert_eq!(woken(&two), 1);
        drop(poll(&mut second, &two).unwrap());
        assert_eq!(controller.available_permits(), 1);
    }

    #[test]
    fn a_dropped_waiter_hands_its_turn_on() {
        let controller = BackpressureController::new(1);
        let held = controller.try_acquire().unwrap();
        let count = Arc::<Count>::default();
        let mut waits: Vec<_> = (0..3).map(|_| controller.acquire()).collect();
        waits.iter_mut().for_each(|wait| assert!(poll(wait, &count).is_none()));
        drop(waits.remove(1));
        assert_eq!((woken(&count), controller.waiting()), (0, 2));
        drop(held);
        assert_eq!(woken(&count), 1, "the first one was told");
        drop(waits.remove(0));
        assert_eq!(woken(&count), 2, "and dropped before it looked: the next one is told");
        assert!(poll(&mut waits[0], &count).is_some());
        assert_eq!(controller.waiting(), 0);
    }

    #[test]
    fn bytes_count_and_the_large_are_not_overtaken() {
        let controller = BackpressureController::with_bytes(10, 100);
        let held = controller.try_acquire_bytes(60).unwrap();
        assert_eq!(controller.available_bytes(), 40);
        let (one, two) = (Arc::<Count>::default(), Arc::<Count>::default());
        let (mut large, mut small) = (controller.acquire_bytes(50), controller.acquire_bytes(10));
        assert!(poll(&mut large, &one).is_none());
        assert!(poll(&mut small, &two).is_none(), "there is room for it, and somebody before it");
        assert!(controller.try_acquire_bytes(1).is_none());
        drop(held);
        let large = poll(&mut large, &one).unwrap();
        assert_eq!(woken(&two), 1, "both fit, and the second one is told at once");
        let small = poll(&mut small, &two).unwrap();
        assert_eq!((large.bytes(), small.bytes(), controller.available_bytes()), (50, 10, 40));
    }

    #[test]
    fn what_is_larger_than_the_limit_goes_alone() {
        let controller = BackpressureController::with_bytes(4, 100);
        let huge = controller.try_acquire_bytes(1000).unwrap();
        assert!(controller.try_acquire().is_some(), "operations without bytes have room");
        assert!(controller.try_acquire_bytes(1).is_none());
        drop(huge);
        assert!(controller.try_acquire_bytes(100).is_some());
    }
}
