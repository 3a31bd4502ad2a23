//! Futures that belong to nobody in particular: whoever waits for what they do polls them.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering::SeqCst, fence},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Locks whatever happened to the others: nothing here is left half-done by a panic.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All who wait for something. Any progress wakes all of them, and each looks for itself: so nobody depends on another one's future
/// being polled, and one that is parked or dropped holds up nobody.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<List>);

#[derive(Default)]
struct List {
    generation: u64,
    wakers: Vec<Waker>,
    /// Places of those who have gone.
    free: Vec<usize>,
    /// An empty list, kept for its memory.
    spare: Vec<Waker>,
}

/// A place in the list.
#[derive(Debug, Default)]
pub(crate) struct Seat(Option<(u64, usize)>);

impl Waiters {
    /// Wakes this waker at the next progress.
    pub(crate) fn sit(&self, seat: &mut Seat, waker: &Waker) {
        let mut list = lock(&self.0);
        let old = match seat.0 {
            Some((generation, at)) if generation == list.generation => {
                if list.wakers[at].will_wake(waker) {
                    return;
                }
                Some(mem::replace(&mut list.wakers[at], waker.clone()))
            }
            _ => match list.free.pop() {
                Some(at) => {
                    seat.0 = Some((list.generation, at));
                    Some(mem::replace(&mut list.wakers[at], waker.clone()))
                }
                None => {
                    seat.0 = Some((list.generation, list.wakers.len()));
                    list.wakers.push(waker.clone());
                    None
                }
            },
        };
        drop(list);
        drop(old);
    }

    /// Gives the place to somebody else.
    pub(crate) fn leave(&self, seat: &mut Seat) {
        let Some((generation, at)) = seat.0.take() else { return };
        let mut list = lock(&self.0);
        if generation != list.generation {
            return;
        }
        let old = mem::replace(&mut list.wakers[at], Waker::noop().clone());
        list.free.push(at);
        drop(list);
        drop(old);
    }

    pub(crate) fn wake_all(&self) {
        let mut list = lock(&self.0);
        list.generation += 1;
        list.free.clear();
        let empty = mem::take(&mut list.spare);
        let mut wakers = mem::replace(&mut list.wakers, empty);
        drop(list);
        wakers.drain(..).for_each(Waker::wake);
        lock(&self.0).spare = wakers;
    }
}

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A future, and who is woken with it.
pub(crate) struct Host {
    future: Mutex<Option<Boxed>>,
    waiters: Arc<Waiters>,
    /// It is to be polled.
    woken: AtomicBool,
    /// It waits for its users, not for an operation.
    idle: AtomicBool,
    abandoned: AtomicBool,
}

impl Host {
    pub(crate) fn new(waiters: Arc<Waiters>) -> Arc<Host> {
        let (woken, idle, abandoned) = Default::default();
        Arc::new(Host { future: Mutex::default(), waiters, woken, idle, abandoned })
    }

    /// Takes the future in. It is polled by the next one who drives.
    pub(crate) fn begin(&self, future: impl Future<Output = ()> + Send + 'static) {
        *lock(&self.future) = Some(Box::pin(future));
        self.woken.store(true, SeqCst);
    }

    /// There is something to do for it.
    pub(crate) fn rouse(&self) {
        self.woken.store(true, SeqCst);
    }

    /// Whether somebody has to poll it.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(SeqCst)
    }

    /// Said by the future itself, from within.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.store(idle, SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        // Whoever polls it at the moment will wake all when it is over.
        match self.future.try_lock() {
            Ok(future) => future.is_none(),
            Err(_) => false,
        }
    }

    /// Polls it if it was woken. Where another thread does that already, that one looks again afterwards, so nothing is missed.
    pub(crate) fn drive(self: &Arc<Host>) {
        while self.woken.load(SeqCst) {
            // Who was woken and finds the lock taken goes; who has the lock looks again after it has given it back. The fences here
            // and below keep each of them from looking before it has said so.
            fence(SeqCst);
            let mut future = match self.future.try_lock() {
                Ok(future) => future,
                Err(TryLockError::Poisoned(future)) => future.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.woken.store(false, SeqCst);
            let Some(running) = future.as_mut() else { return };
            let waker = Waker::from(self.clone());
            let over = match running.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => future.take(),
                Poll::Pending => None,
            };
            drop(future);
            fence(SeqCst);
            if over.is_some() {
                self.waiters.wake_all();
            }
            drop(over);
        }
    }

    /// Nobody will drive it any more. What it has in flight is waited for, so that nothing of it happens after it is gone.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, SeqCst);
        if self.idle.load(SeqCst) || self.woken.load(SeqCst) {
            self.end();
        }
    }

    fn end(&self) {
        let future = match self.future.try_lock() {
            Ok(mut future) => future.take(),
            Err(TryLockError::Poisoned(future)) => future.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        };
        drop(future);
    }
}

impl Wake for Host {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        if self.abandoned.load(SeqCst) {
            self.end();
        }
        self.waiters.wake_all();
    }
}

/// Runs a future as its own host: dropped in the middle, what it has in flight ends before it goes.
pub(crate) async fn hosted<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    struct Owner(Arc<Host>, Arc<Waiters>, Seat);
    impl Drop for Owner {
        fn drop(&mut self) {
            self.1.leave(&mut self.2);
            self.0.abandon();
        }
    }
    let (waiters, outcome) = (Arc::new(Waiters::default()), Arc::new(Mutex::new(None)));
    let host = Host::new(waiters.clone());
    let there = outcome.clone();
    host.begin(async move {
        let value = future.await;
        *lock(&there) = Some(value);
    });
    let mut owner = Owner(host, waiters, Seat::default());
    std::future::poll_fn(move |cx| {
        let Owner(host, waiters, seat) = &mut owner;
        waiters.sit(seat, cx.waker());
        host.drive();
        match lock(&outcome).take() {
            Some(value) => Poll::Ready(value),
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn places_are_used_again_and_all_are_woken_once() {
        let (waiters, count) = (Waiters::default(), Arc::new(Count::default()));
        let waker = Waker::from(count.clone());
        for _ in 0..1000 {
            let mut seat = Seat::default();
            waiters.sit(&mut seat, &waker);
            waiters.sit(&mut seat, &waker);
            waiters.leave(&mut seat);
        }
        assert_eq!(lock(&waiters.0).wakers.len(), 1, "who leaves makes room");
        let mut seats = [Seat::default(), Seat::default()];
        seats.iter_mut().for_each(|seat| waiters.sit(seat, &waker));
        waiters.wake_all();
        waiters.wake_all();
        assert_eq!(count.0.load(SeqCst), 2);
    }

    /// A future that is pending until it is told, and says when it is dropped.
    struct Told(Arc<Mutex<Option<Waker>>>, #[allow(dead_code)] Arc<()>);

    impl Future for Told {
        type Output = ();
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            *lock(&self.0) = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    #[test]
    fn what_is_in_flight_keeps_an_abandoned_future_alive() {
        let (slot, alive) = (Arc::default(), Arc::new(()));
        let mut future = Box::pin(hosted(Told(Arc::clone(&slot), alive.clone())));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(future);
        assert_eq!(Arc::strong_count(&alive), 2, "it is still there");
        let waker = lock(&slot).take().unwrap();
        waker.wake();
        assert_eq!(Arc::strong_count(&alive), 1, "its operation is over, and so is it");
    }

    #[test]
    fn an_idle_future_goes_with_its_users() {
        let host = Host::new(Arc::default());
        let alive = Arc::new(());
        host.begin(Told(Arc::default(), alive.clone()));
        host.drive();
        host.set_idle(true);
        host.abandon();
        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
