//! Closing a file in order to hear what the system says about it.

use super::{File, Inner};
use crate::fs::nothing_of;
use io_engine::core::Op;
use std::{error, fmt, io, sync::Arc};

/// Why a file was not closed, or what closing it said.
#[derive(Debug)]
pub enum CloseFailed {
    /// Clones of the file are alive, or operations on it that nobody waits for: here it is back.
    InUse(File),
    /// The file is closed, and the system reports this.
    Failed(io::Error),
}

impl fmt::Display for CloseFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseFailed::InUse(_) => f.write_str("the file is in use by a clone or by an operation, and stays open"),
            CloseFailed::Failed(error) => write!(f, "closing reports: {error}"),
        }
    }
}

impl error::Error for CloseFailed {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            CloseFailed::InUse(_) => None,
            CloseFailed::Failed(error) => Some(error),
        }
    }
}

impl From<CloseFailed> for io::Error {
    /// `ResourceBusy` in place of a file that is in use; that clone of it is dropped.
    fn from(failed: CloseFailed) -> io::Error {
        match failed {
            CloseFailed::InUse(_) => io::Error::new(io::ErrorKind::ResourceBusy, failed.to_string()),
            CloseFailed::Failed(error) => error,
        }
    }
}

impl File {
    /// Closes the file and reports what the system says about it. Nobody has to: a file that is dropped is closed, too, and what close(2)
    /// says is no promise of durability anyway; that is [`File::sync_data`]'s.
    ///
    /// # Errors
    /// [`CloseFailed`], with the file if it is in use. Whatever else the system says, the file is closed.
    pub async fn close(self) -> Result<(), CloseFailed> {
        let inner = match Arc::try_unwrap(self.0) {
            Ok(inner) => inner,
            Err(shared) => return Err(CloseFailed::InUse(File(shared))),
        };
        let fs = inner.fs.clone();
        match inner.into_close() {
            Ok(op) => fs.run(op, nothing_of).await.map_err(CloseFailed::Failed),
            Err(inner) => Err(CloseFailed::InUse(File(Arc::new(inner)))),
        }
    }
}

impl Inner {
    /// The operation that closes the file; all else that the file has is given back.
    fn into_close(mut self) -> Result<Op, Inner> {
        if std::mem::take(self.registered.get_mut()) {
            self.fs.shards().unregister_file(self.handle.id());
            *self.transfers.get_mut() = 0;
        }
        let handle = self.handle.clone();
        // Two: this one and the file's own. With more of them the clones share one open file with somebody.
        if !handle.is_shared_by(2) {
            return Err(self);
        }
        drop(self);
        Op::close(handle).map_err(|_| unreachable!("nobody else had a handle"))
    }
}
