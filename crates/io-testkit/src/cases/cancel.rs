//! Cancel is a wish; exactly one completion is the law.

use crate::{BLOCK, Cx, pattern};
use io_core::{AlignedBuf, Op, OpKind, Token, Wait};
use std::time::Duration;

/// Cancelling what was never there, or is long gone, answers nothing and harms nobody.
pub fn unknown_token(cx: &Cx<'_>) {
    for mode in cx.modes(&[OpKind::Read]) {
        let mut bench = cx.bench(4);
        let (_, file) = cx.file(mode, &pattern(1, BLOCK));
        let read = || Op::read(&file, AlignedBuf::with_capacity(BLOCK), 0);
        bench.cancel(Token::new(3, 77));
        bench.reap(Wait::No);
        let token = bench.start(read());
        assert_eq!(bench.finish(token).result, BLOCK as i32);
        bench.cancel(token);
        // The same slot flies again under the next generation: the late wish is not its.
        assert_eq!(bench.run(read()).0, BLOCK as i32);
        bench.reap(Wait::AtMost(Duration::from_millis(10)));
        assert_eq!(bench.ready(), 0);
    }
}
