//! The buffer pool under the name that it has elsewhere.

use io_engine::{BufferPool, PoolBuf, PoolOptions};
use std::ops::Deref;

/// A [`BufferPool`] of the classes 4 KiB, 64 KiB and 1 MiB, with so many buffers of each at most and the heap behind them. It has the
/// two methods that pools of `Vec`s usually have; everything else is [`BufferPool`]'s.
///
/// What differs from a pool of `Vec`s: a buffer starts with length 0 and a read fills its *capacity*, which is that of its class; and
/// it goes back by itself when it is dropped, so that [`release`](IoBufferPool::release) is only another word for that, and nobody
/// can use a buffer after it.
///
/// ```
/// let pool = io_fs::IoBufferPool::new(64);
/// let mut buf = pool.acquire(5000);
/// assert_eq!((buf.len(), buf.capacity()), (0, 64 << 10));
/// buf.extend_from_slice(b"record");
/// pool.release(buf);
/// assert_eq!(pool.stats().classes[1].out, 0);
/// ```
#[derive(Clone, Debug)]
pub struct IoBufferPool(BufferPool);

impl IoBufferPool {
    /// A pool of at most so many buffers of each class, mapped as they are needed.
    pub fn new(buffers_max: usize) -> IoBufferPool {
        IoBufferPool(BufferPool::new(PoolOptions::per_class(buffers_max)))
    }

    /// A buffer of at least `min_size` bytes; of the heap, if the pool has none left or none that large. (Made from a pool whose
    /// requests [wait](io_engine::WhenExhausted::Wait), it waits, with the calling thread asleep.)
    pub fn acquire(&self, min_size: usize) -> PoolBuf {
        self.0.acquire_blocking(min_size)
    }

    /// Gives a buffer back: drops it.
    pub fn release(&self, buf: PoolBuf) {
        drop(buf);
    }
}

impl From<BufferPool> for IoBufferPool {
    fn from(pool: BufferPool) -> IoBufferPool {
        IoBufferPool(pool)
    }
}

impl Deref for IoBufferPool {
    type Target = BufferPool;
    fn deref(&self) -> &BufferPool {
        &self.0
    }
}
