//! A descriptor that is readable while somebody should look: an eventfd on Linux, a pair of sockets elsewhere.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

/// Raised: readable. Neither raising nor lowering ever blocks, and both may be done too often.
#[derive(Debug)]
pub(crate) struct Signal(imp::Signal);

impl Signal {
    /// A lowered signal.
    pub(crate) fn new() -> io::Result<Signal> {
        imp::Signal::new().map(Signal)
    }

    /// The descriptor to watch for reading.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    pub(crate) fn raise(&self) {
        self.0.raise();
    }

    pub(crate) fn lower(&self) {
        self.0.lower();
    }
}

#[cfg(target_os = "linux")]
mod imp {
    use super::{AsFd, BorrowedFd, io};
    use std::{
        fs::File,
        io::{Read, Write},
        os::fd::FromRawFd,
    };

    /// eventfd(2): one counter, one descriptor.
    #[derive(Debug)]
    pub(super) struct Signal(File);

    impl Signal {
        pub(super) fn new() -> io::Result<Signal> {
            // SAFETY: takes numbers only.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd == -1 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: just made, nobody else's.
            Ok(Signal(unsafe { File::from_raw_fd(fd) }))
        }

        pub(super) fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        pub(super) fn raise(&self) {
            // The one error there can be is a counter near its maximum, which is raised enough.
            let _ = (&self.0).write(&1u64.to_ne_bytes());
        }

        pub(super) fn lower(&self) {
            // EAGAIN: it was not raised, or somebody has read it already.
            let _ = (&self.0).read(&mut [0; 8]);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::{AsFd, BorrowedFd, io};
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    #[derive(Debug)]
    pub(super) struct Signal {
        watched: UnixStream,
        rung: UnixStream,
    }

    impl Signal {
        pub(super) fn new() -> io::Result<Signal> {
            let (watched, rung) = UnixStream::pair()?;
            watched.set_nonblocking(true)?;
            rung.set_nonblocking(true)?;
            Ok(Signal { watched, rung })
        }

        pub(super) fn fd(&self) -> BorrowedFd<'_> {
            self.watched.as_fd()
        }

        pub(super) fn raise(&self) {
            // A full pair is raised enough.
            let _ = (&self.rung).write(&[1]);
        }

        pub(super) fn lower(&self) {
            let mut bytes = [0; 64];
            while matches!((&self.watched).read(&mut bytes), Ok(64)) {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, and no waiting.
        unsafe { libc::poll(&mut poll, 1, 0) == 1 }
    }

    #[test]
    fn raised_is_readable_until_lowered() {
        let signal = Signal::new().unwrap();
        assert!(!is_readable(signal.fd()));
        signal.lower();
        for _ in 0..100 {
            signal.raise();
        }
        assert!(is_readable(signal.fd()));
        signal.lower();
        assert!(!is_readable(signal.fd()));
    }
}
