//! What sleepers outside the driver sleep on, and what ends a sleep inside.

use crate::context::refused;
use crate::wake::{Arming, Sleepers};
use io_core::{Readiness, Unavailable};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    panic::{self, AssertUnwindSafe},
    process,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
    time::{Duration, Instant},
};

/// Two eventfds and the word that says which of them a waker has to write.
///
/// - The *bell* is what operations carry (`IOCB_FLAG_RESFD`) and what watchers watch: the kernel rings it for completions,
///   wakers for wakes. Silencing it (reading it) is always followed by a look at what it may have rung for.
/// - The *poke* is for the driver's own thread in io_getevents, which only a completion ends: an `IOCB_CMD_POLL` on the poke
///   is in flight whenever that thread sleeps, and completes when a waker writes. It must not be the bell itself, or each
///   completion would complete that poll too.
///
/// Sleeping in ppoll(2) on both instead was measured: the same speed at depth 1 and 32 on a device, but one system call
/// more per sleep (the read), and it needs operations that ring, which cost 4 % where completions come from memory.
#[derive(Debug)]
pub(crate) struct Bell {
    inner: Arc<Inner>,
    pid: u32,
}

/// What the thread that serves [`Readiness::subscribe`] keeps alive as well.
#[derive(Debug)]
struct Inner {
    bell: OwnedFd,
    poke: OwnedFd,
    sleepers: Sleepers,
    subscribers: Mutex<Subscribers>,
    subscribed: Condvar,
}

#[derive(Debug, Default)]
struct Subscribers {
    wakers: Vec<Waker>,
    thread: bool,
    closed: bool,
}

impl Bell {
    pub(crate) fn new() -> Result<Bell, Unavailable> {
        let inner = Inner {
            bell: eventfd()?,
            poke: eventfd()?,
            sleepers: Sleepers::new(),
            subscribers: Mutex::default(),
            subscribed: Condvar::new(),
        };
        Ok(Bell { inner: Arc::new(inner), pid: process::id() })
    }

    /// What operations ring.
    #[inline]
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.inner.bell.as_fd()
    }

    /// What the driver's poll watches.
    pub(crate) fn poke_fd(&self) -> BorrowedFd<'_> {
        self.inner.poke.as_fd()
    }

    /// Who sleeps.
    pub(crate) fn sleepers(&self) -> &Sleepers {
        &self.inner.sleepers
    }

    /// Completes the driver's poll.
    pub(crate) fn poke(&self) {
        add_one(&self.inner.poke);
    }

    /// Makes the poke pollable again, after the driver's poll has completed.
    pub(crate) fn clear_poke(&self) {
        clear(&self.inner.poke);
    }

    /// Arms the bell; `true`: a wake was taken, the caller has to look around again. Whatever the bell had rung for before is
    /// forgotten, so the caller looks at the ring afterwards in every case.
    pub(crate) fn arm(&self) -> bool {
        // First silence, then announce. A wake that comes between the two still finds the old state, and rings anew; the
        // other way round its ring could be silenced here while the watcher goes to sleep.
        clear(&self.inner.bell);
        match self.inner.sleepers.arm() {
            Arming::Quiet => false,
            Arming::Ring => {
                add_one(&self.inner.bell);
                false
            }
            Arming::Taken => true,
        }
    }

    pub(crate) fn disarm(&self) {
        self.inner.sleepers.disarm();
    }
}

impl Inner {
    /// Forgets what the bell has rung for, except a wake that somebody still relies on it for.
    fn silence(&self) {
        clear(&self.bell);
        if self.sleepers.relies_on_bell() {
            add_one(&self.bell);
        }
    }

    fn wait(&self, at_most: Option<Duration>) {
        match self.sleepers.begin_wait() {
            Some(true) => self.silence(),
            Some(false) => {}
            None => {
                poll_readable(&self.bell, at_most);
                // The last one silences, and only when it is out: another that still sleeps needs the ring to end its poll.
                if self.sleepers.end_wait() {
                    self.silence();
                }
            }
        }
    }

    fn wake(&self) {
        let rings = self.sleepers.wake();
        if rings.bell {
            add_one(&self.bell);
        }
        if rings.poke {
            add_one(&self.poke);
        }
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        // A panicking waker runs outside the lock, so what it guards is whole.
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps on the bell in the place of wakers that cannot, as long as there are any.
    fn serve(&self) {
        let mut subscribers = self.subscribers();
        loop {
            while subscribers.wakers.is_empty() && !subscribers.closed {
                subscribers = self.subscribed.wait(subscribers).unwrap_or_else(PoisonError::into_inner);
            }
            let closed = subscribers.closed;
            drop(subscribers);
            if !closed {
                self.wait(None);
            }
            let wakers = std::mem::take(&mut self.subscribers().wakers);
            for waker in wakers {
                // One that panics must not take the others' only thread with it.
                let _ = panic::catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
            subscribers = self.subscribers();
            if subscribers.closed && subscribers.wakers.is_empty() {
                return;
            }
        }
    }
}

impl Readiness for Bell {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.bell())
    }

    fn wait(&self, at_most: Option<Duration>) {
        self.inner.wait(at_most);
    }

    fn wake(&self) {
        self.inner.wake();
    }

    /// Who has a reactor watches [`Readiness::fd`] instead: this takes a thread, which starts at the first call and ends with
    /// the driver and its readiness.
    fn subscribe(&self, when_ready: Waker) {
        let mut subscribers = self.inner.subscribers();
        if !subscribers.thread {
            let inner = self.inner.clone();
            match thread::Builder::new().name("aio-readiness".to_owned()).spawn(move || inner.serve()) {
                Ok(_) => subscribers.thread = true,
                // Without a thread nobody could wake it later: better once too early than never.
                Err(_) => {
                    drop(subscribers);
                    return when_ready.wake();
                }
            }
        }
        subscribers.wakers.push(when_ready);
        self.inner.subscribed.notify_one();
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // A forked child has no such thread, and shares the eventfds with its parent.
        if process::id() != self.pid {
            return;
        }
        let mut subscribers = self.inner.subscribers();
        subscribers.closed = true;
        let serving = subscribers.thread;
        drop(subscribers);
        if serving {
            self.inner.subscribed.notify_one();
            self.inner.wake();
        }
    }
}

fn eventfd() -> Result<OwnedFd, Unavailable> {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(refused("eventfd", io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)));
    }
    // SAFETY: just opened, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn add_one(eventfd: &OwnedFd) {
    let one = 1u64;
    // It fails only if the count is at its end, and then the descriptor is readable as it should be.
    // SAFETY: eight bytes of a live number are read.
    unsafe { libc::write(eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
}

fn clear(eventfd: &OwnedFd) {
    let mut count = 0u64;
    // EAGAIN: it was clear.
    // SAFETY: eight bytes of a live number are written.
    unsafe { libc::read(eventfd.as_raw_fd(), (&raw mut count).cast(), 8) };
}

/// Sleeps until `fd` is readable, at most `at_most`; a signal does not end it.
fn poll_readable(fd: &OwnedFd, at_most: Option<Duration>) {
    let deadline = at_most.and_then(|time| Instant::now().checked_add(time));
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let time = left.map(|left| libc::timespec {
            // What a time of 32 bits holds, and longer than any process lives.
            tv_sec: left.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: left.subsec_nanos() as _,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: one pollfd and one time, both live; no mask is changed.
        let answer = unsafe { libc::ppoll(&raw mut poll, 1, time, std::ptr::null()) };
        if answer >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn eventually(what: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !what() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        what()
    }

    fn takes(at_least: Duration, what: impl FnOnce()) {
        let start = Instant::now();
        what();
        assert!(start.elapsed() >= at_least, "{:?}", start.elapsed());
    }

    #[test]
    fn a_wait_takes_its_whole_time() {
        let bell = Bell::new().unwrap();
        for ms in [0, 1, 30] {
            takes(Duration::from_millis(ms), || bell.wait(Some(Duration::from_millis(ms))));
        }
    }

    #[test]
    fn a_wake_ends_one_wait() {
        let bell = Arc::new(Bell::new().unwrap());
        bell.wake();
        bell.wait(None);
        takes(Duration::from_millis(30), || bell.wait(Some(Duration::from_millis(30))));
        let waker = thread::spawn({
            let bell = bell.clone();
            move || {
                thread::sleep(Duration::from_millis(20));
                bell.wake();
            }
        });
        bell.wait(None);
        waker.join().unwrap();
        takes(Duration::from_millis(30), || bell.wait(Some(Duration::from_millis(30))));
    }

    #[test]
    fn a_wake_of_who_watches_makes_the_descriptor_readable_once() {
        let bell = Bell::new().unwrap();
        let readable = || {
            let mut poll = libc::pollfd { fd: bell.fd().unwrap().as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one live pollfd.
            unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
        };
        assert!(!bell.arm());
        assert!(!readable());
        bell.wake();
        assert!(readable());
        assert!(bell.arm(), "look again");
        assert!(!readable());
        assert!(!bell.arm());
        bell.disarm();
        bell.wake();
        assert!(!readable(), "nobody watches");
        assert!(!bell.arm());
        assert!(readable(), "but who begins to learns of it");
    }

    #[test]
    fn subscribers_are_woken_once_each() {
        let bell = Bell::new().unwrap();
        for wake_first in [false, true] {
            let count = Arc::new(Count(AtomicU32::new(0)));
            if wake_first {
                bell.wake();
            }
            bell.subscribe(Waker::from(count.clone()));
            if !wake_first {
                bell.wake();
            }
            assert!(eventually(|| count.0.load(Ordering::SeqCst) == 1));
            bell.wake();
            thread::sleep(Duration::from_millis(5));
            assert_eq!(count.0.load(Ordering::SeqCst), 1);
            bell.wait(Some(Duration::ZERO));
        }
    }

    #[test]
    fn the_thread_of_subscribers_ends_with_the_bell() {
        let bell = Bell::new().unwrap();
        let count = Arc::new(Count(AtomicU32::new(0)));
        bell.subscribe(Waker::from(count.clone()));
        let inner = Arc::downgrade(&bell.inner);
        drop(bell);
        assert!(eventually(|| inner.strong_count() == 0), "the thread is still there");
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "and leaves nobody asleep");
    }
}
