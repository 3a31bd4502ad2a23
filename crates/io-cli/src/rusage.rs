//! What the process has used so far: getrusage(2), and on Linux what /proc says beside it.

use std::ops::Sub;

/// CPU time and context switches of the whole process, all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Seconds in user space.
    pub(crate) user: f64,
    /// Seconds in the kernel on the process's behalf. Kernel threads (io_uring's helpers are the process's, those that sync for
    /// AIO are not) count elsewhere.
    pub(crate) sys: f64,
    /// Context switches, wanted or not.
    pub(crate) switches: u64,
}

impl Usage {
    /// As of now.
    #[cfg(unix)]
    pub(crate) fn now() -> Usage {
        // SAFETY: `rusage` is plain numbers, for which all zeros are a value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a `rusage` that lives across the call; RUSAGE_SELF needs nothing else (getrusage(2)).
        let answer = unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) };
        if answer != 0 {
            return Usage::default();
        }
        let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
        Usage {
            user: seconds(usage.ru_utime),
            sys: seconds(usage.ru_stime),
            switches: (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
        }
    }

    /// Unknown here.
    #[cfg(not(unix))]
    pub(crate) fn now() -> Usage {
        Usage::default()
    }

    /// CPU seconds in all.
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.sys
    }
}

impl Sub for Usage {
    type Output = Usage;
    fn sub(self, before: Usage) -> Usage {
        Usage {
            user: self.user - before.user,
            sys: self.sys - before.sys,
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// Busy CPU seconds of the whole machine, kernel threads included; 0 where /proc/stat is not there (proc_stat(5)).
pub(crate) fn machine_busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = first.split_whitespace().skip(1).map(|t| t.parse().unwrap_or(0.0)).collect();
    // user, nice, system, (idle, iowait,) irq, softirq; a hundredth of a second each.
    [0, 1, 2, 5, 6].into_iter().filter_map(|i| ticks.get(i)).sum::<f64>() / 100.0
}

/// Most memory the process has had, in KiB (`VmHWM`: ru_maxrss would include what the parent had before the exec).
pub(crate) fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn time_spent_is_seen() {
        let before = Usage::now();
        let start = std::time::Instant::now();
        // On a busy machine time passes without being ours.
        while (Usage::now() - before).cpu() < 0.02 {
            assert!(start.elapsed().as_secs() < 60, "a spinning thread uses no CPU");
        }
        assert!((Usage::now() - before).cpu() <= start.elapsed().as_secs_f64() * 64.0);
    }
}
