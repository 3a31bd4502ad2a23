//! Why there is no ring here, and what would change it.

use io_core::{DriverName, Unavailable, errno};
use std::io;

/// What `call` was refused with, in words.
pub(crate) fn unavailable(call: &str, error: &io::Error) -> Unavailable {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok();
    Unavailable::from_io(DriverName::Uring, call, error, remedy(error.raw_os_error(), disabled.as_deref()))
}

/// The one change that helps against this answer, where the sysctl `kernel.io_uring_disabled` (Linux 6.6) says `disabled`.
fn remedy(code: Option<i32>, disabled: Option<&str>) -> String {
    let code = code.unwrap_or(0);
    match (code, disabled.map(str::trim)) {
        (errno::EPERM, Some("2")) => "sysctl kernel.io_uring_disabled=0 (it is 2: io_uring is switched off for everybody)".into(),
        (errno::EPERM, Some("1")) => {
            "sysctl kernel.io_uring_disabled=0 (it is 1: only CAP_SYS_ADMIN and the group kernel.io_uring_group may)".into()
        }
        (errno::EPERM | errno::EACCES, _) => {
            "a seccomp profile (of a container: Docker's default one) or a security module forbids it; allow io_uring_setup, \
             io_uring_enter and io_uring_register there"
                .into()
        }
        (errno::ENOSYS, _) => {
            "Linux 5.6 or newer with CONFIG_IO_URING, and no sandbox or seccomp profile that answers ENOSYS for it".into()
        }
        (errno::ENOMEM, _) => {
            "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=), which rings are charged to, or ask for a smaller depth".into()
        }
        (errno::EMFILE, _) => "raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=) or close files".into(),
        (libc::ENFILE, _) => "raise the sysctl fs.file-max or close files: the whole system is out of them".into(),
        (errno::EINVAL | errno::EOPNOTSUPP, _) => {
            "a newer kernel: this one does not know what a ring needs (Linux 5.6 for the basic operations)".into()
        }
        _ => "none is known; another driver works without a ring".into(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_sysctl_is_told_from_the_sandbox() {
        let remedy = |disabled| remedy(Some(errno::EPERM), disabled);
        assert!(remedy(Some("2\n")).contains("switched off for everybody"));
        assert!(remedy(Some("1\n")).contains("io_uring_group"));
        assert!(remedy(Some("0\n")).contains("seccomp"));
        assert!(remedy(None).contains("seccomp"), "kernels before 6.6 have no such sysctl");
    }

    #[test]
    fn every_refusal_has_a_remedy_of_its_own() {
        let codes = [errno::EPERM, errno::ENOSYS, errno::ENOMEM, errno::EMFILE, errno::EINVAL, errno::EBADF];
        let remedies: std::collections::HashSet<_> = codes.iter().map(|&code| remedy(Some(code), None)).collect();
        assert_eq!(remedies.len(), codes.len());
        let text = unavailable("io_uring_setup", &io::Error::from_raw_os_error(errno::ENOMEM)).to_string();
        assert!(text.starts_with("driver uring is not available: io_uring_setup: ") && text.contains("RLIMIT_MEMLOCK"));
    }
}
