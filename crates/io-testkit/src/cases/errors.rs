//! Each error surfaces as itself, on its own operation, once.

use crate::{BLOCK, Cx, bytes::assert_same, nobodys_file, pattern};
use io_core::{AlignedBuf, Op, OpKind, errno};

/// An operation that the system refuses fails as itself; the others of its batch go on. `io_submit` stops at the first one it
/// refuses, and an engine that gave up there leaked the rest.
pub fn bad_descriptor_between_good_ones(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let contents = pattern(1, 8 * BLOCK);
        let (_, file) = cx.file(mode, &contents);
        let bad = nobodys_file(*file.facts());
        for places in [&[0][..], &[3], &[7], &[0, 1, 2], &[5, 6, 7], &[0, 1, 2, 3, 4, 5, 6, 7]] {
            let mut bench = cx.bench(8);
            let tokens: Vec<_> = (0..8)
                .map(|i| {
                    let file = if places.contains(&i) { &bad } else { &file };
                    bench.start(Op::read(file, AlignedBuf::with_capacity(BLOCK), (i * BLOCK) as u64))
                })
                .collect();
            bench.wait_all();
            for (i, token) in tokens.into_iter().enumerate() {
                let done = bench.take(token).expect("all have completed");
                if places.contains(&i) {
                    assert_eq!(done.result, -errno::EBADF);
                } else {
                    assert_eq!(done.result, BLOCK as i32);
                    let at = i * BLOCK;
                    assert_same("a block", &done.op.into_buf::<AlignedBuf>().unwrap(), &contents[at..at + BLOCK]);
                }
            }
        }
    }
}
