//! The names of the drivers, in one place.

use std::{fmt, str::FromStr};

/// Which driver: its name is the same on the command line, in `IOFS_DRIVER`, in reports and in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DriverName {
    /// Linux io_uring.
    Uring,
    /// Linux native AIO (`io_submit`).
    Aio,
    /// A bounded pool of threads, on every platform.
    ThreadPool,
    /// The deterministic simulator.
    Sim,
    /// Somebody else's driver.
    Other(&'static str),
}

impl DriverName {
    /// The drivers that touch real files, best first: the order of an automatic choice.
    pub const REAL: [DriverName; 3] = [DriverName::Uring, DriverName::Aio, DriverName::ThreadPool];

    /// The name as users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            DriverName::Uring => "uring",
            DriverName::Aio => "aio",
            DriverName::ThreadPool => "threadpool",
            DriverName::Sim => "sim",
            DriverName::Other(name) => name,
        }
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// No driver has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDriver(String);

impl fmt::Display for UnknownDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown driver `{}`; the drivers are uring, aio, threadpool and sim", self.0)
    }
}

impl std::error::Error for UnknownDriver {}

impl FromStr for DriverName {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<DriverName, UnknownDriver> {
        [DriverName::Uring, DriverName::Aio, DriverName::ThreadPool, DriverName::Sim]
            .into_iter()
            .find(|driver| driver.as_str() == name)
            .ok_or_else(|| UnknownDriver(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for driver in DriverName::REAL {
            assert_eq!(driver.as_str().parse(), Ok(driver));
        }
        assert!("URING".parse::<DriverName>().unwrap_err().to_string().contains("URING"));
    }
}
