//! Syncs.

use crate::{BLOCK, Cx, pattern};
use io_core::{AlignedBuf, Op, OpKind};

/// Both syncs of a file that was written answer 0.
pub fn syncs_of_data_and_of_all_succeed(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Write, OpKind::SyncData, OpKind::SyncAll]) {
        let mut bench = cx.bench(4);
        let (_, file) = cx.file(mode, &pattern(1, BLOCK));
        assert_eq!(bench.run(Op::write(&file, AlignedBuf::zeroed(BLOCK), 0)).0, BLOCK as i32);
        assert_eq!(bench.run(Op::sync_data(&file)).0, 0);
        assert_eq!(bench.run(Op::sync_all(&file)).0, 0);
    }
}
