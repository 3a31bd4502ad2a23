//! The turn of a sync that several wait for.

use super::{OpBox, aftermath::Aftermath};
use crate::inode::{Inode, Mailbox, Sharing};
use io_core::{Token, errno};
use std::{io, sync::Arc};

/// The right and the duty to do the shared sync of an inode that is due: whoever holds it begins it, and tells how it ended. If it is
/// dropped instead, its engine is gone, and those who wait hear of it.
pub(crate) struct SyncTurn(Option<(Arc<Inode>, Sharing)>);

impl SyncTurn {
    pub(crate) fn new(inode: Arc<Inode>, sharing: Sharing) -> SyncTurn {
        SyncTurn(Some((inode, sharing)))
    }

    /// The sync as an operation.
    pub(crate) fn op(&self) -> OpBox {
        let (inode, sharing) = self.0.as_ref().expect("a turn that was not over");
        OpBox::new(inode.shared_sync(*sharing))
    }

    /// A core has the sync under this token: others may join until it begins.
    pub(crate) fn accepted(&self, token: Token, mailbox: &Arc<Mailbox>) {
        if let Some((inode, sharing)) = &self.0 {
            inode.name_shared(*sharing, token, mailbox);
        }
    }

    /// The sync is answered. If others have come meanwhile, the turn is handed on.
    pub(crate) fn finish(mut self, result: &io::Result<usize>, after: &mut Aftermath) -> Option<SyncTurn> {
        let (inode, sharing) = self.0.take().expect("a turn ends once");
        let again = inode.finish_shared(sharing, &mut after.synced);
        after.deliver_shared(result);
        again.then(|| SyncTurn::new(inode, sharing))
    }
}

impl Drop for SyncTurn {
    fn drop(&mut self) {
        let Some((inode, sharing)) = self.0.take() else { return };
        let mut waiters = Vec::new();
        while inode.finish_shared(sharing, &mut waiters) {}
        let mut after = Aftermath::new();
        after.synced.append(&mut waiters);
        after.deliver_shared(&Err(io::Error::from_raw_os_error(errno::ECANCELED)));
        after.run();
    }
}
