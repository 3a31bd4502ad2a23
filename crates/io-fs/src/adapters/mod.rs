//! Files as what other crates expect: streams of bytes with a position, and streams of chunks.
//!
//! [`Cursor`] has tokio's and the futures crates' I/O traits (features `tokio`, `futures-io`), [`Chunks`] is a `Stream` under either.
//! Both are made of nothing but the public operations of [`File`](crate::File).

mod begun;
mod chunks;
mod cursor;
mod detached;
mod reader;
mod wakers;
mod writer;

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "tokio")]
mod tokio;

pub use chunks::Chunks;
pub use cursor::{Cursor, CursorOptions};
pub use writer::WriteFailed;

/// A transfer that has begun.
type Transfer<B> = begun::Begun<io_engine::core::BufResult<usize, B>>;

/// Positions and offsets end where the systems' do.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// What direct I/O wants of memory, offsets and lengths everywhere.
const BLOCK: usize = 4096;
