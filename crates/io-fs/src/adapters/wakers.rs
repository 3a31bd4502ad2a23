//! Who waits for a cursor.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Wake, Waker},
};

/// Which half of a cursor somebody waits for. The halves may be used by two tasks (`tokio::io::split`), and both may wait for the
/// same write; an operation knows one waker only.
#[derive(Clone, Copy, Debug)]
pub(super) enum Half {
    Reading,
    Writing,
}

/// Wakes both halves.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<[Option<Waker>; 2]>);

impl Wakers {
    /// Wakes this half from now on, until it was woken once.
    pub(super) fn hear(&self, half: Half, waker: &Waker) {
        let slot = half as usize;
        // Wakers are foreign code: cloned and dropped outside of the lock.
        let waker = waker.clone();
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner)[slot].replace(waker);
        drop(before);
    }

    /// This half waits no longer. The other one looks again: what it waits for may be gone, or done without a wake.
    pub(super) fn done(&self, half: Half) {
        let [reading, writing] = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let other = match half {
            Half::Reading => writing,
            Half::Writing => reading,
        };
        if let Some(waker) = other {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        let both = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        both.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_reaches_both_halves_once_and_the_newest_waker_of_each() {
        let wakers = Arc::new(Wakers::default());
        let counts: [Arc<Count>; 3] = Default::default();
        let woken = || counts.each_ref().map(|count| count.0.load(Ordering::Relaxed));
        wakers.hear(Half::Reading, &counts[0].clone().into());
        wakers.hear(Half::Writing, &counts[1].clone().into());
        wakers.hear(Half::Reading, &counts[2].clone().into());
        let waker = Waker::from(wakers.clone());
        waker.wake_by_ref();
        assert_eq!(woken(), [0, 1, 1]);
        wakers.hear(Half::Writing, &counts[1].clone().into());
        waker.wake();
        assert_eq!(woken(), [0, 2, 1]);
    }

    #[test]
    fn a_half_that_is_done_lets_the_other_one_look_again() {
        let wakers = Wakers::default();
        let counts: [Arc<Count>; 2] = Default::default();
        let woken = || counts.each_ref().map(|count| count.0.load(Ordering::Relaxed));
        wakers.hear(Half::Reading, &counts[0].clone().into());
        wakers.hear(Half::Writing, &counts[1].clone().into());
        wakers.done(Half::Writing);
        assert_eq!(woken(), [1, 0]);
        wakers.done(Half::Reading);
        assert_eq!(woken(), [1, 0]);
    }
}
