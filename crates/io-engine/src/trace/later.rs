//! What has happened under a lock and is told afterwards.

use crate::Died;
use io_core::{InodeKey, Op, OpKind};
use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

/// An operation that took so long is worth an event.
const SLOW: Duration = Duration::from_secs(1);

/// Most events that one thread keeps; an avalanche says nothing more by its end.
const KEPT_MAX: usize = 64;

pub(crate) enum Later {
    Died(Died),
    /// A sync or a durable write has failed, and the inode is marked.
    Marked {
        kind: OpKind,
        code: i32,
        inode: Option<InodeKey>,
    },
    Slow {
        kind: OpKind,
        offset: u64,
        bytes: u64,
        took: Duration,
        offloaded: bool,
    },
}

thread_local! {
    static ANY: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Vec<Later>> = const { RefCell::new(Vec::new()) };
}

#[cold]
pub(crate) fn later(event: Later) {
    let _ = KEPT.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(event);
            ANY.set(true);
        }
    });
}

/// An operation was answered after so long.
#[inline]
pub(crate) fn slow(op: &Op, took: Duration, offloaded: bool) {
    if took >= SLOW {
        later(Later::Slow { kind: op.kind(), offset: op.offset(), bytes: op.len(), took, offloaded });
    }
}

/// Tells what this thread has kept. Under no lock.
#[inline]
pub(crate) fn tell() {
    if ANY.get() {
        tell_all();
    }
}

#[cold]
fn tell_all() {
    ANY.set(false);
    // A listener may do operations of its own: nothing is borrowed while it runs.
    let kept = KEPT.try_with(RefCell::take).unwrap_or_default();
    for event in kept {
        match event {
            Later::Died(died) => {
                tracing::warn!(driver = %died.driver, code = died.code, "the driver's channel broke: {died}");
            }
            Later::Marked { kind, code, inode } => {
                let error = std::io::Error::from_raw_os_error(code);
                let (dev, ino) = inode.map_or((0, 0), |inode| (inode.dev, inode.ino));
                tracing::error!(
                    ?kind, %error, dev, ino,
                    "a file's durability is in doubt: its syncs fail until it is closed and opened anew"
                );
            }
            Later::Slow { kind, offset, bytes, took, offloaded } => {
                tracing::warn!(?kind, offset, bytes, ?took, offloaded, "an operation was slow");
            }
        }
    }
}
