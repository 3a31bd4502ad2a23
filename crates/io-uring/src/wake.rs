//! What sleepers sleep on: two eventfds, or a ring that is watched itself.

use crate::bell::Bell;
use io_core::Readiness;
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    task::Waker,
    time::{Duration, Instant},
};

/// An eventfd (eventfd(2)) that never blocks.
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: takes numbers only.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        // SAFETY: just made, nobody else's.
        own(fd).map(EventFd)
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Makes it readable. A counter at its limit is readable as well, so nothing can go wrong here.
    pub(crate) fn write(&self) {
        let one = 1u64;
        // SAFETY: eight bytes of a local are read.
        unsafe { libc::write(self.raw(), (&raw const one).cast(), 8) };
    }

    /// Makes it unreadable.
    pub(crate) fn drain(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes of a local are written; without a count the call answers `EAGAIN`.
        unsafe { libc::read(self.raw(), (&raw mut count).cast(), 8) };
    }
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the callers pass what a system call has just made.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The readiness of one driver. Lives as long as any waker.
#[derive(Debug)]
pub(crate) struct Signals {
    pub(crate) bell: Bell,
    /// Ends a submit that sleeps: an operation of the ring polls it. Apart from `outside`, because that one would see itself
    /// become readable with every completion.
    pub(crate) inside: EventFd,
    /// The kernel rings it for completions while the driver is armed, wakers ring it for sleepers outside.
    pub(crate) outside: EventFd,
    /// Where the kernel refuses to register an eventfd: an epoll over `outside` and the ring itself, which is readable as long
    /// as there are completions.
    watched: Option<OwnedFd>,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Signals> {
        Ok(Signals { bell: Bell::new(), inside: EventFd::new()?, outside: EventFd::new()?, watched: None })
    }

    /// Watches the ring itself from now on.
    pub(crate) fn watch_ring(&mut self, ring: RawFd) -> io::Result<()> {
        // SAFETY: takes numbers only.
        let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        for fd in [ring, self.outside.raw()] {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            // SAFETY: the event is a local that is read during the call.
            if unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        self.watched = Some(epoll);
        Ok(())
    }

    /// Makes the descriptor unreadable. A waker who has rung for somebody that went to sleep meanwhile is not silenced with the
    /// others: his call came before his ring, so whoever drains the ring finds the call, and rings again.
    fn silence(&self) {
        self.outside.drain();
        if self.bell.is_called() {
            self.outside.write();
        }
    }

    fn readable(&self) -> BorrowedFd<'_> {
        self.watched.as_ref().map_or(self.outside.0.as_fd(), AsFd::as_fd)
    }
}

impl Readiness for Signals {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.readable())
    }

    fn wait(&self, at_most: Option<Duration>) {
        let mut rung = true;
        let back = self.bell.begin_outside().unwrap_or_else(|| {
            let deadline = at_most.and_then(|most| Instant::now().checked_add(most));
            rung = wait_readable(&[self.readable().as_raw_fd()], deadline);
            self.bell.end_outside()
        });
        // Whoever comes back from here looks at the driver and arms it anew before the next wait, and arming looks at the
        // completion queue: a completion whose ringing is swallowed here is seen there.
        if back.last && (rung || back.woken) {
            self.silence();
        }
    }

    fn wake(&self) {
        let ring = self.bell.wake();
        if ring.inside {
            self.inside.write();
        }
        if ring.outside {
            self.outside.write();
        }
    }

    /// This driver has a descriptor, and the kernel makes it readable without calling anybody. Who subscribes all the same is
    /// woken at once, and so polls: slow, but nothing is lost.
    fn subscribe(&self, when_ready: Waker) {
        when_ready.wake();
    }
}

/// Sleeps until one of the descriptors is readable (`true`) or the time is over (ppoll(2)). A signal does not end it.
pub(crate) fn wait_readable(fds: &[RawFd], deadline: Option<Instant>) -> bool {
    let mut polled = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; 2];
    for (polled, &fd) in polled.iter_mut().zip(fds) {
        polled.fd = fd;
    }
    loop {
        let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let left = left.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: two structures and the time are locals that outlive the call; negative descriptors are passed over.
        let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), 2, left, std::ptr::null()) };
        match ready {
            0 if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return false,
            0 => {}
            ready if ready > 0 => return true,
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // A system that cannot even poll: better come back without reason than never.
            _ => return true,
        }
    }
}

fn timespec(left: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: left.subsec_nanos() as _,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn took(readiness: &Signals, at_most: u64) -> Duration {
        let begun = Instant::now();
        readiness.wait(Some(Duration::from_millis(at_most)));
        begun.elapsed()
    }

    #[test]
    fn a_wake_ends_one_wait() {
        let signals = Arc::new(Signals::new().unwrap());
        signals.wake();
        assert!(took(&signals, 10_000) < Duration::from_secs(5));
        assert!(took(&signals, 20) >= Duration::from_millis(20));
        let waker = {
            let signals = signals.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(10));
                signals.wake();
            })
        };
        assert!(took(&signals, 10_000) < Duration::from_secs(5));
        waker.join().unwrap();
        assert!(took(&signals, 20) >= Duration::from_millis(20));
    }

    #[test]
    fn an_eventfd_is_readable_until_it_is_drained() {
        let fd = EventFd::new().unwrap();
        let now = || Some(Instant::now());
        assert!(!wait_readable(&[fd.raw()], now()));
        fd.write();
        assert!(wait_readable(&[fd.raw()], now()));
        fd.drain();
        fd.drain();
        assert!(!wait_readable(&[fd.raw()], now()));
    }
}
