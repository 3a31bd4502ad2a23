//! The ways to sleep on a readiness.

use io_core::Readiness;
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Wake, Waker},
    time::Duration,
};

/// One way to sleep on a [`Readiness`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleeper {
    /// In its `wait`.
    Wait,
    /// As a runtime's reactor does, polling its descriptor.
    #[cfg(unix)]
    Fd,
    /// Until a subscribed waker is woken, where there is no descriptor.
    Subscribe,
}

impl Sleeper {
    /// The ways that this readiness offers.
    pub(crate) fn all(readiness: &dyn Readiness) -> Vec<Sleeper> {
        #[cfg(unix)]
        if readiness.fd().is_some() {
            return vec![Sleeper::Wait, Sleeper::Fd];
        }
        let _ = readiness;
        vec![Sleeper::Wait, Sleeper::Subscribe]
    }

    /// Sleeps; `false` if nothing but the time's end ended it.
    pub(crate) fn sleep(self, readiness: &dyn Readiness, at_most: Duration) -> bool {
        match self {
            Sleeper::Wait => {
                let begun = std::time::Instant::now();
                readiness.wait(Some(at_most));
                begun.elapsed() < at_most
            }
            #[cfg(unix)]
            Sleeper::Fd => poll(readiness, at_most),
            Sleeper::Subscribe => {
                let bell = Arc::new(Bell::default());
                readiness.subscribe(Waker::from(bell.clone()));
                let rung = bell.rung.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = bell.changed.wait_timeout_while(rung, at_most, |rung| !*rung);
                let (rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
                *rung
            }
        }
    }
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

#[cfg(unix)]
fn poll(readiness: &dyn Readiness, at_most: Duration) -> bool {
    use std::os::fd::AsRawFd as _;
    let fd = readiness.fd().expect("only offered where there is one").as_raw_fd();
    let until = std::time::Instant::now() + at_most;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let mut watch = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // Rounded up: a poll of 0 ms would spin through the last one.
        let ms = left.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        // SAFETY: one pollfd, of a descriptor that the readiness keeps open.
        let found = unsafe { libc::poll(&mut watch, 1, ms) };
        // A completion may interrupt the poll of the thread that submitted; that is not readiness.
        if found != -1 {
            return found > 0;
        }
    }
}
