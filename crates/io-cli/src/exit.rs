//! How a command ends: one line on stderr and an exit code.

use std::{fmt, io, path::Path, process::ExitCode};

/// The work failed, or damage was found.
pub(crate) const WORK: u8 = 1;
/// Usage, bad input, or a driver that was named and cannot run.
pub(crate) const USAGE: u8 = 2;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    line: String,
}

impl Failure {
    /// The user asked for something that cannot be done: nothing was begun.
    pub(crate) fn usage(line: impl fmt::Display) -> Failure {
        Failure { code: USAGE, line: line.to_string() }
    }

    /// The work was begun and failed.
    pub(crate) fn work(line: impl fmt::Display) -> Failure {
        Failure { code: WORK, line: line.to_string() }
    }

    /// What the system said to an attempt to open or look at `path`. A path that is not there, or not for us, is bad input; a
    /// device that does not answer is not.
    pub(crate) fn opening(path: &Path, error: &io::Error) -> Failure {
        use io::ErrorKind::*;
        let line = format!("{}: {error}", path.display());
        match error.kind() {
            NotFound | PermissionDenied | IsADirectory | NotADirectory | AlreadyExists | InvalidInput
            | InvalidFilename | ReadOnlyFilesystem | ExecutableFileBusy => Failure::usage(line),
            _ if is_link_loop(error) => Failure::usage(line),
            _ => Failure::work(line),
        }
    }

    /// What is wrong, without the command's name.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Says it, and gives the code to end with. Whatever the cause wrote, it is one line.
    pub(crate) fn report(self) -> ExitCode {
        crate::output::complain(&self.line);
        ExitCode::from(self.code)
    }
}

impl From<io_fs::Unavailable> for Failure {
    fn from(unavailable: io_fs::Unavailable) -> Failure {
        Failure::usage(unavailable)
    }
}

#[cfg(unix)]
fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(not(unix))]
fn is_link_loop(_error: &io::Error) -> bool {
    false
}

/// A panic is a mistake of ours. It unwinds, so that scratch files are removed, and says so in one line.
pub(crate) fn name_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        let place = panic.location().map(|at| format!(" ({at})")).unwrap_or_default();
        crate::output::complain(&format!("internal error: {text}{place}"));
    }));
}
