//! Settings of a pool.

/// One size of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeClass {
    /// Bytes of a buffer, rounded up to 4096.
    pub size: usize,
    /// Most bytes of all buffers of this size; at least one buffer there may be.
    pub bytes_max: usize,
}

/// What happens to a request for a class whose buffers are all out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenExhausted {
    /// It waits, first come, first served.
    Wait,
    /// It gets an aligned buffer of the heap, which is freed when it is dropped.
    #[default]
    Heap,
}

/// Settings of a [`BufferPool`](crate::BufferPool).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// The classes, in any order; of two with the same size the later one counts.
    pub classes: Vec<SizeClass>,
    /// What happens where a class has none left.
    pub when_exhausted: WhenExhausted,
}

impl PoolOptions {
    /// Classes of 4 KiB, 64 KiB and 1 MiB that together take at most this many bytes: a quarter, a quarter and a half. Each may have
    /// one buffer at least.
    pub fn bounded(bytes_max: usize) -> PoolOptions {
        let class = |size, bytes_max| SizeClass { size, bytes_max };
        PoolOptions {
            classes: vec![class(4 << 10, bytes_max / 4), class(64 << 10, bytes_max / 4), class(1 << 20, bytes_max / 2)],
            when_exhausted: WhenExhausted::default(),
        }
    }

    /// Classes of 4 KiB, 64 KiB and 1 MiB with at most so many buffers each.
    pub fn per_class(buffers_max: usize) -> PoolOptions {
        let class = |size| SizeClass { size, bytes_max: buffers_max.saturating_mul(size) };
        PoolOptions { classes: [4 << 10, 64 << 10, 1 << 20].map(class).to_vec(), ..PoolOptions::bounded(0) }
    }

    /// The same with other classes.
    #[must_use]
    pub fn classes(mut self, classes: impl Into<Vec<SizeClass>>) -> PoolOptions {
        self.classes = classes.into();
        self
    }

    /// The same with another answer where a class has none left.
    #[must_use]
    pub fn when_exhausted(mut self, answer: WhenExhausted) -> PoolOptions {
        self.when_exhausted = answer;
        self
    }

    /// Classes of whole pages, ascending, one for each size.
    pub(super) fn sorted(&self) -> Vec<SizeClass> {
        let whole = |class: &SizeClass| SizeClass {
            size: class.size.max(1).checked_next_multiple_of(4096).expect("a buffer's size overflows"),
            ..*class
        };
        let mut classes: Vec<_> = self.classes.iter().rev().map(whole).collect();
        classes.sort_by_key(|class| class.size);
        classes.dedup_by_key(|class| class.size);
        classes
    }
}

impl Default for PoolOptions {
    /// At most 64 MiB, mapped as it is needed; the heap where that is used up.
    fn default() -> Self {
        PoolOptions::bounded(64 << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_whole_pages_in_order_and_the_later_one_counts() {
        let class = |size, bytes_max| SizeClass { size, bytes_max };
        let options = PoolOptions::default().classes([class(9000, 1), class(0, 2), class(12288, 3)]);
        assert_eq!(options.sorted(), [class(4096, 2), class(12288, 3)]);
    }

    #[test]
    fn the_standard_classes_stay_within_their_bytes() {
        let bytes: usize = PoolOptions::bounded(64 << 20).sorted().iter().map(|class| class.bytes_max).sum();
        assert_eq!(bytes, 64 << 20);
    }
}
