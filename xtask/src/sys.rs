//! The few things that std cannot do: signals, process groups, raw system calls of the probe, a private mount namespace.
//!
//! The only file of this package with unsafe code. Elsewhere than on Linux each function answers as if the machine did not
//! allow it, and commands run as plain children.

#![allow(unsafe_code)]

pub(crate) use imp::*;

#[cfg(target_os = "linux")]
mod imp {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::OpenOptionsExt;
    use std::os::unix::process::CommandExt;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::sync::atomic::{AtomicBool, Ordering};

    static INTERRUPTED: AtomicBool = AtomicBool::new(false);

    extern "C" fn note_signal(_signal: libc::c_int) {
        // An atomic store is all that signal-safety(7) allows here, and all that is needed.
        INTERRUPTED.store(true, Ordering::Relaxed);
    }

    /// Turns SIGINT, SIGTERM and SIGHUP into a flag, so that guards run (unmount, remove, restore) before we end.
    pub(crate) fn catch_interrupts() {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: an all-zero sigaction is a valid value (sigaction(2)); the handler is async-signal-safe, and both
            // pointers are valid for the call.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = note_signal as extern "C" fn(libc::c_int) as usize;
                action.sa_flags = libc::SA_RESTART;
                libc::sigaction(signal, &action, std::ptr::null_mut());
            }
        }
    }

    pub(crate) fn interrupted() -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }

    /// Makes the child the leader of a process group of its own, which is told to end if we are killed.
    ///
    /// The kernel watches the thread that starts the child (prctl(2), PR_SET_PDEATHSIG): the main one, here.
    pub(crate) fn own_group(command: &mut Command) {
        command.process_group(0);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl is a plain system call, allocates
        // nothing and takes no pointer here.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                Ok(())
            })
        };
    }

    pub(crate) fn terminate_group(child: &Child) {
        signal_group(child, libc::SIGTERM);
    }

    pub(crate) fn kill_group(child: &Child) {
        signal_group(child, libc::SIGKILL);
    }

    fn signal_group(child: &Child, signal: libc::c_int) {
        let group = child.id() as libc::pid_t;
        // SAFETY: no memory is passed. The group was made by `own_group`, and its id is not reused while a member lives;
        // with no member left the call answers ESRCH.
        unsafe { libc::kill(-group, signal) };
    }

    pub(crate) fn is_root() -> bool {
        // SAFETY: geteuid(2) has no arguments and cannot fail.
        unsafe { libc::geteuid() == 0 }
    }

    /// A mount namespace of our own: whatever we mount is gone with the last of our processes, even after SIGKILL.
    ///
    /// Children that are started by this thread are in it. mount_namespaces(7), unshare(2).
    pub(crate) fn private_mounts() -> io::Result<()> {
        // SAFETY: unshare takes no pointer; mount reads two C strings that live for the call and three null pointers, which
        // mount(2) allows for a change of propagation.
        let done = unsafe {
            if libc::unshare(libc::CLONE_NEWNS) != 0 {
                -1
            } else {
                let nothing = std::ptr::null();
                libc::mount(nothing, c"/".as_ptr(), nothing, libc::MS_REC | libc::MS_PRIVATE, nothing.cast())
            }
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Creates an io_uring of one entry and closes it again. io_uring_setup(2), kernel 5.1.
    pub(crate) fn try_io_uring_setup() -> io::Result<()> {
        /// `struct io_uring_params` is 120 bytes of plain integers.
        #[repr(C, align(8))]
        struct Params([u8; 120]);
        let mut params = Params([0; 120]);
        // SAFETY: `params` is as large as the kernel's structure and outlives the call; the descriptor that comes back is
        // ours alone.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, &raw mut params) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just created by us and nobody else knows it.
        unsafe { libc::close(fd as libc::c_int) };
        Ok(())
    }

    /// Creates an AIO context of one event and destroys it again. io_setup(2), kernel 2.5.
    pub(crate) fn try_io_setup() -> io::Result<()> {
        let mut context: libc::c_ulong = 0;
        // SAFETY: io_setup writes one `aio_context_t` (an unsigned long) through the pointer, which outlives the call.
        let done = unsafe { libc::syscall(libc::SYS_io_setup, 1, &raw mut context) };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the context was just created by us and has nothing in flight.
        unsafe { libc::syscall(libc::SYS_io_destroy, context) };
        Ok(())
    }

    /// Opens a file past the page cache. open(2), O_DIRECT.
    pub(crate) fn open_direct(path: &Path) -> io::Result<File> {
        File::options().read(true).custom_flags(libc::O_DIRECT).open(path)
    }

    /// Soft and hard limit of locked memory in bytes; `u64::MAX` is unlimited.
    pub(crate) fn memlock() -> Option<(u64, u64)> {
        // SAFETY: getrlimit(2) writes one rlimit through the pointer, which outlives the call.
        limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, limit) })
    }

    /// Soft and hard limit of open files.
    pub(crate) fn nofile() -> Option<(u64, u64)> {
        // SAFETY: as above.
        limit(|limit| unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, limit) })
    }

    fn limit(get: impl FnOnce(&mut libc::rlimit) -> libc::c_int) -> Option<(u64, u64)> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        (get(&mut limit) == 0).then_some((limit.rlim_cur, limit.rlim_max))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::process::{Child, Command};

    pub(crate) fn catch_interrupts() {}

    pub(crate) fn interrupted() -> bool {
        false
    }

    pub(crate) fn own_group(_command: &mut Command) {}

    // Without groups there is nobody to ask: `exec` waits its ten seconds and then kills what it can.
    pub(crate) fn terminate_group(_child: &Child) {}

    pub(crate) fn kill_group(_child: &Child) {}

    pub(crate) fn is_root() -> bool {
        false
    }

    pub(crate) fn private_mounts() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn try_io_uring_setup() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn try_io_setup() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn open_direct(_path: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn memlock() -> Option<(u64, u64)> {
        None
    }

    pub(crate) fn nofile() -> Option<(u64, u64)> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn limits_are_readable_and_ordered() {
        let (soft, hard) = nofile().unwrap();
        assert!(soft > 0 && soft <= hard, "{soft} of {hard}");
        let (soft, hard) = memlock().unwrap();
        assert!(soft <= hard, "{soft} of {hard}");
    }

    #[test]
    fn a_group_ends_with_its_leader() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep 60 & wait"]);
        own_group(&mut command);
        let mut child = command.spawn().unwrap();
        terminate_group(&child);
        assert!(!child.wait().unwrap().success());
        kill_group(&child);
    }
}
