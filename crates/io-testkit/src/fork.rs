//! Children that are forked and do nothing.

use std::time::Duration;

/// A forked child; waited for on drop.
pub(crate) struct Child(#[cfg(unix)] libc::pid_t);

/// Forks a child that sleeps for so long and exits without running a destructor.
#[cfg(unix)]
pub(crate) fn idle_child(sleep: Duration) -> Child {
    let sleep = libc::timespec { tv_sec: sleep.as_secs() as _, tv_nsec: sleep.subsec_nanos() as _ };
    // SAFETY: the child calls nothing but functions that are safe after the fork of a process with threads (signal-safety(7)),
    // and ends without touching what it inherited.
    let pid = unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::nanosleep(&sleep, std::ptr::null_mut());
            libc::_exit(0);
        }
        pid
    };
    assert!(pid > 0, "cannot fork: {}", std::io::Error::last_os_error());
    Child(pid)
}

/// No forks here; callers skip before.
#[cfg(not(unix))]
pub(crate) fn idle_child(_sleep: Duration) -> Child {
    Child()
}

#[cfg(unix)]
impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the child is ours and was not waited for; no status is asked for.
        while unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) } == -1
            && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
        {}
    }
}
