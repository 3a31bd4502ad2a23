//! Buffers that are used again: aligned, of a few sizes, bounded.

#[allow(unsafe_code)] // memory of an arena or of the heap, as a buffer
mod buf;
mod class;
mod line;
mod options;
#[allow(unsafe_code)] // arenas are lent to drivers
mod registry;
mod stack;

pub use self::{
    buf::PoolBuf,
    options::{PoolOptions, SizeClass, WhenExhausted},
};

use self::{buf::HEAP, class::Class, registry::Registry};
use crate::Shards;
use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

/// A pool of buffers for transfers. Clones are the same pool.
///
/// Buffers come in classes of one size each, aligned to 4096 bytes and cut from arenas, which are mapped when they are first needed and
/// stay until the pool is gone. An arena of 2 MiB or more is aligned for huge pages and asks for them: large sequential transfers run
/// twice as fast (Linux, `MADV_HUGEPAGE`). A buffer returns when it is dropped, on whatever thread, also out of an operation whose
/// future is long gone, and also when no handle of the pool is left: the memory lives until the last buffer.
///
/// [Attached](BufferPool::attach) to an engine, the arenas are registered with its drivers, as far as the system allows (Linux charges
/// them to `RLIMIT_MEMLOCK`, once for each ring): transfers then save the pinning of pages. What is not registered works all the
/// same; [`PoolStats`] tells.
///
/// Taking and returning a buffer is a few atomic operations and allocates nothing. Content is not cleared in between: a buffer starts
/// with length 0, and what a longer [`resize`](PoolBuf::resize) uncovers is zero or an earlier user's.
#[derive(Clone)]
pub struct BufferPool(Arc<Inner>);

struct Inner {
    /// First dropped, and only with the last buffer: it takes the registrations of the arenas back.
    registry: Registry,
    /// Ascending by size.
    classes: Box<[Class]>,
    when_exhausted: WhenExhausted,
    heap: AtomicU32,
    heap_bytes: AtomicU64,
    too_large: AtomicU64,
}

impl BufferPool {
    /// A pool with these settings. It maps nothing yet.
    ///
    /// # Panics
    /// Without a class, and with more than 2²⁴ − 1 buffers in one.
    pub fn new(options: PoolOptions) -> BufferPool {
        let classes: Box<[Class]> = options.sorted().into_iter().map(Class::new).collect();
        assert!(!classes.is_empty(), "a pool has at least one class of buffers");
        BufferPool(Arc::new(Inner {
            classes,
            when_exhausted: options.when_exhausted,
            registry: Registry::default(),
            heap: AtomicU32::new(0),
            heap_bytes: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
        }))
    }

    /// Registers the arenas, those of now and those to come, with the drivers of this engine. The engine may end before the pool does,
    /// and the other way round.
    ///
    /// An engine that belongs to one thread takes registrations on that thread only: what grows elsewhere stays unregistered there.
    pub fn attach(&self, shards: &Shards) {
        self.0.registry.attach(shards.borrowers());
    }

    /// A buffer of the smallest class that `len` bytes fit into, of length 0: a read fills its whole capacity, which may be more than
    /// `len` (limit it with [`slice`](io_core::IoBuf::slice)). Where all buffers of the class are out, the settings decide: it waits
    /// for one in turn, or takes memory of the heap.
    ///
    /// What is larger than every class comes from the heap always, and is counted.
    pub fn acquire(&self, len: usize) -> Acquire {
        Acquire { pool: self.clone(), len, ticket: None, over: false }
    }

    /// As [`BufferPool::acquire`], without waiting: `None` if it would. It does not overtake those who wait.
    pub fn try_acquire(&self, len: usize) -> Option<PoolBuf> {
        let Some(class) = self.0.class_of(len) else {
            self.0.too_large.fetch_add(1, Ordering::Relaxed);
            return Some(self.heap_buf(len));
        };
        if let Some(buf) = self.take(class) {
            return Some(buf);
        }
        self.exhausted(class)
    }

    /// As [`BufferPool::acquire`], with the calling thread asleep while it waits. A thread that has to return a buffer itself before
    /// one can come back sleeps for ever.
    pub fn acquire_blocking(&self, len: usize) -> PoolBuf {
        if let Some(buf) = self.try_acquire(len) {
            return buf;
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut acquire = pin!(self.acquire(len));
        loop {
            if let Poll::Ready(buf) = acquire.as_mut().poll(&mut Context::from_waker(&waker)) {
                return buf;
            }
            thread::park();
        }
    }

    /// What there is, what is out, and how often there was nothing.
    pub fn stats(&self) -> PoolStats {
        let inner = &*self.0;
        let (registered, refused) = inner.registry.counts();
        PoolStats {
            classes: inner.classes.iter().map(Class::stats).collect(),
            heap: inner.heap.load(Ordering::Relaxed),
            heap_bytes: inner.heap_bytes.load(Ordering::Relaxed),
            too_large: inner.too_large.load(Ordering::Relaxed),
            registered,
            refused,
        }
    }

    fn take(&self, class: usize) -> Option<PoolBuf> {
        let slot = self.0.classes[class].take(|arena| self.0.registry.add(arena))?;
        Some(self.buf(class, slot))
    }

    fn buf(&self, class: usize, slot: u32) -> PoolBuf {
        let of = &self.0.classes[class];
        PoolBuf::pooled(self.0.clone(), class as u32, slot, of.memory(slot), of.size())
    }

    /// The answer where the class has none left, unless it is to wait.
    #[cold]
    fn exhausted(&self, class: usize) -> Option<PoolBuf> {
        let class = &self.0.classes[class];
        class.note_exhausted();
        // Without a single buffer (the system had no memory for one) nobody would ever return one.
        if self.0.when_exhausted == WhenExhausted::Wait && !class.is_empty() {
            return None;
        }
        class.note_fallback();
        Some(self.heap_buf(class.size()))
    }

    #[cold]
    fn heap_buf(&self, len: usize) -> PoolBuf {
        let buf = PoolBuf::of_heap(self.0.clone(), len);
        self.0.heap.fetch_add(1, Ordering::Relaxed);
        self.0.heap_bytes.fetch_add(buf.capacity() as u64, Ordering::Relaxed);
        buf
    }
}

impl Default for BufferPool {
    /// A pool with the default settings.
    fn default() -> Self {
        BufferPool::new(PoolOptions::default())
    }
}

impl Inner {
    fn class_of(&self, len: usize) -> Option<usize> {
        let class = self.classes.partition_point(|class| class.size() < len);
        (class < self.classes.len()).then_some(class)
    }

    /// A buffer is back.
    fn release(&self, class: u32, slot: u32, capacity: usize) {
        if class == HEAP {
            self.heap.fetch_sub(1, Ordering::Relaxed);
            self.heap_bytes.fetch_sub(capacity as u64, Ordering::Relaxed);
            return;
        }
        self.classes[class as usize].give(slot);
    }
}

/// Waits for a buffer; see [`BufferPool::acquire`]. Dropped, it hands its turn on.
#[must_use = "nothing is acquired before it is polled"]
pub struct Acquire {
    pool: BufferPool,
    len: usize,
    /// Class, and place in its line.
    ticket: Option<(usize, u64)>,
    over: bool,
}

impl Future for Acquire {
    type Output = PoolBuf;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<PoolBuf> {
        let this = &mut *self;
        assert!(!this.over, "a buffer was already acquired");
        let (class, ticket) = match this.ticket {
            Some(ticket) => ticket,
            None => {
                if let Some(buf) = this.pool.try_acquire(this.len) {
                    this.over = true;
                    return Poll::Ready(buf);
                }
                let class = this.pool.0.class_of(this.len).expect("what fits no class comes from the heap");
                let ticket = this.pool.0.classes[class].join(cx.waker());
                *this.ticket.insert((class, ticket))
            }
        };
        match this.pool.0.classes[class].claim(ticket, cx.waker()) {
            Some(slot) => {
                (this.over, this.ticket) = (true, None);
                Poll::Ready(this.pool.buf(class, slot))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some((class, ticket)) = self.ticket {
            self.pool.0.classes[class].leave(ticket);
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Counters of a pool. They are read one after the other while others count on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// One set for each class, ascending by size.
    pub classes: Vec<ClassStats>,
    /// Buffers of the heap that are out now.
    pub heap: u32,
    /// Their bytes.
    pub heap_bytes: u64,
    /// Requests for more than the largest class.
    pub too_large: u64,
    /// Arenas that are registered, each counted once for each driver.
    pub registered: u32,
    /// Registrations that were refused. A driver that refused one is not asked again.
    pub refused: u32,
}

/// Counters of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassStats {
    /// Size of a buffer in bytes.
    pub size: usize,
    /// Most buffers that there will be.
    pub total_max: u32,
    /// Buffers that there are.
    pub total: u32,
    /// Buffers in the pool.
    pub free: u32,
    /// Buffers out, those included that were handed to waiters which have not looked yet.
    pub out: u32,
    /// Most that were ever out at once.
    pub high_water: u32,
    /// Who waits.
    pub waiting: usize,
    /// Requests that met an empty class.
    pub exhausted: u64,
    /// Those that the heap answered.
    pub fallbacks: u64,
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BufferPool").field(&self.stats()).finish()
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acquire({} bytes{})", self.len, if self.ticket.is_some() { ", waiting" } else { "" })
    }
}
