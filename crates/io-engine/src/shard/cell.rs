//! Result cells: what a future waits on, apart from the slot that the kernel needs.
//!
//! A slot is freed by its completion, a cell by whoever takes the result. A future that nobody polls holds a cell and never a slot,
//! and a cell whose future is gone tells the completion that nobody waits.

use super::{Answer, OpBox};
use io_core::{Op, Token};
use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Most cells that a thread keeps for its next operations.
const SPARE_MAX: usize = 256;

/// Where one operation's answer arrives.
pub(crate) struct Cell(Mutex<State>);

enum State {
    /// Waits for admission; the operation rests here and not in the queue.
    Queued {
        op: OpBox,
        waker: Option<Waker>,
    },
    /// Somewhere between admission and answer.
    Under {
        way: Way,
        waker: Option<Waker>,
    },
    Done(Answer),
    /// Nobody waits any more: the answer's buffer is dropped when it comes.
    Orphan,
    /// The operation is in a driver that died: there will be no answer.
    Lost {
        waker: Option<Waker>,
    },
    /// Given up while it was queued, or taken.
    Empty,
}

/// Where an admitted operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Taken from the queue, not accepted yet.
    Admitted,
    /// In flight on this shard under this token.
    Shard(usize, Token),
    /// A sync that somebody else's operation will answer.
    Shared,
}

/// What giving up the waiting end of a cell leaves behind. What is inside is dropped by the caller, under no lock.
#[must_use]
#[derive(Debug)]
#[allow(dead_code)] // held to be dropped
pub(crate) enum Left {
    /// The operation never began.
    Queued(OpBox),
    /// It is in flight and nobody waits for it.
    Orphan,
    /// It was answered.
    Done(Answer),
    Nothing,
}

thread_local! {
    static SPARE: RefCell<Vec<Arc<Cell>>> = const { RefCell::new(Vec::new()) };
}

impl Cell {
    /// A cell of an operation under way; from the thread's spare ones where there are some.
    pub(crate) fn under(way: Way, waker: Option<Waker>) -> Arc<Cell> {
        Cell::with(State::Under { way, waker })
    }

    /// A cell in which an operation waits for admission.
    pub(crate) fn queued(op: OpBox, waker: Option<Waker>) -> Arc<Cell> {
        Cell::with(State::Queued { op, waker })
    }

    fn with(state: State) -> Arc<Cell> {
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok().and_then(|mut spare| spare.pop()));
        match spare.ok().flatten() {
            Some(cell) => {
                *cell.lock() = state;
                cell
            }
            None => Arc::new(Cell(Mutex::new(state))),
        }
    }

    /// Keeps an empty cell that nobody else holds for the thread's next operation.
    pub(crate) fn recycle(mut cell: Arc<Cell>) {
        // Who delivered the answer lets go of the cell in the next few instructions, on another thread.
        for _ in 0..32 {
            if Arc::strong_count(&cell) == 1 {
                break;
            }
            std::hint::spin_loop();
        }
        let reusable = Arc::get_mut(&mut cell).is_some_and(|cell| {
            let state = cell.0.get_mut().unwrap_or_else(PoisonError::into_inner);
            matches!(state, State::Empty)
        });
        if reusable {
            let _ = SPARE.try_with(|spare| {
                if let Ok(mut spare) = spare.try_borrow_mut() {
                    if spare.len() < SPARE_MAX {
                        spare.push(cell);
                    }
                }
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the operation out of the queue; `None`: it was given up meanwhile.
    pub(crate) fn admit(&self) -> Option<OpBox> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Empty) {
            State::Queued { op, waker } => {
                *state = State::Under { way: Way::Admitted, waker };
                Some(op)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// How much a queued operation weighs, by `weigh`; `None`: it was given up.
    pub(crate) fn weigh<T>(&self, weigh: impl FnOnce(&Op) -> T) -> Option<T> {
        match &*self.lock() {
            State::Queued { op, .. } => Some(weigh(op)),
            _ => None,
        }
    }

    /// Notes where the operation is.
    pub(crate) fn set_way(&self, new: Way) {
        if let State::Under { way, .. } = &mut *self.lock() {
            *way = new;
        }
    }

    /// Where the operation is, if it is under way.
    pub(crate) fn way(&self) -> Option<Way> {
        match &*self.lock() {
            State::Under { way, .. } => Some(*way),
            _ => None,
        }
    }

    /// The answer has come. The waker is woken by the caller, under no lock.
    ///
    /// # Errors
    /// The answer back, if nobody waits: its buffer is dropped by the caller.
    pub(crate) fn finish(&self, answer: Answer) -> Result<Option<Waker>, Answer> {
        let mut state = self.lock();
        match &mut *state {
            State::Under { waker, .. } | State::Queued { waker, .. } => {
                let waker = waker.take();
                let before = std::mem::replace(&mut *state, State::Done(answer));
                drop(state);
                drop(before);
                Ok(waker)
            }
            _ => {
                *state = State::Empty;
                Err(answer)
            }
        }
    }

    /// The answer, or the waker is kept for it.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.lock();
        match &mut *state {
            State::Done(_) => {
                let State::Done(answer) = std::mem::replace(&mut *state, State::Empty) else { unreachable!() };
                Poll::Ready(answer)
            }
            State::Under { waker, .. } | State::Queued { waker, .. } | State::Lost { waker } => {
                let same = waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
                // Cloning and dropping wakers is foreign code: the old one goes when the lock is released.
                let old = if same { None } else { waker.replace(cx.waker().clone()) };
                drop(state);
                drop(old);
                Poll::Pending
            }
            State::Orphan | State::Empty => panic!("a result cell was polled after its answer was taken"),
        }
    }

    /// The answer, if it is there.
    pub(crate) fn try_take(&self) -> Option<Answer> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Empty) {
            State::Done(answer) => Some(answer),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Takes a queued operation out again, for a cancel; `None`: it is not queued (any more).
    pub(crate) fn unqueue(&self) -> Option<(OpBox, Option<Waker>)> {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Empty) {
            State::Queued { op, waker } => {
                *state = State::Under { way: Way::Admitted, waker: None };
                Some((op, waker))
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// The operation has to wait once more.
    ///
    /// # Errors
    /// The operation back, if nobody waits for it.
    pub(crate) fn requeue(&self, op: OpBox) -> Result<(), OpBox> {
        let mut state = self.lock();
        match &mut *state {
            State::Under { waker, .. } => {
                let waker = waker.take();
                *state = State::Queued { op, waker };
                Ok(())
            }
            _ => {
                *state = State::Empty;
                Err(op)
            }
        }
    }

    /// There will be no answer. True: nobody waited for it either.
    pub(crate) fn lose(&self) -> bool {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Empty) {
            State::Under { waker, .. } => {
                *state = State::Lost { waker };
                false
            }
            State::Orphan => true,
            other => {
                *state = other;
                false
            }
        }
    }

    /// Nobody waits any more.
    pub(crate) fn leave(&self) -> Left {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Empty) {
            State::Queued { op, waker } => {
                drop(state);
                drop(waker);
                Left::Queued(op)
            }
            State::Under { waker, .. } => {
                *state = State::Orphan;
                drop(state);
                drop(waker);
                Left::Orphan
            }
            State::Lost { waker } => {
                drop(state);
                drop(waker);
                Left::Nothing
            }
            State::Done(answer) => Left::Done(answer),
            State::Orphan | State::Empty => Left::Nothing,
        }
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &*self.lock() {
            State::Queued { .. } => "Cell(queued)",
            State::Under { .. } => "Cell(under way)",
            State::Done(_) => "Cell(done)",
            State::Orphan => "Cell(orphan)",
            State::Lost { .. } => "Cell(lost)",
            State::Empty => "Cell(empty)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        Answer { op: None, result: Ok(7) }
    }

    #[test]
    fn an_answer_is_taken_once() {
        let cell = Cell::under(Way::Admitted, None);
        assert!(cell.try_take().is_none());
        assert!(cell.finish(answer()).unwrap().is_none());
        assert!(cell.try_take().is_some_and(|a| a.result.unwrap() == 7));
        assert!(cell.try_take().is_none());
    }

    #[test]
    fn an_orphan_gives_its_answer_back() {
        let cell = Cell::under(Way::Admitted, None);
        assert!(matches!(cell.leave(), Left::Orphan));
        assert!(cell.finish(answer()).is_err());
        assert!(matches!(cell.leave(), Left::Nothing));
    }

    #[test]
    fn only_empty_cells_of_nobody_are_used_again() {
        let cell = Cell::under(Way::Admitted, None);
        let (address, other) = (Arc::as_ptr(&cell), cell.clone());
        Cell::recycle(cell);
        assert_ne!(Arc::as_ptr(&Cell::under(Way::Admitted, None)), address);
        let _ = other.leave();
        let _ = other.finish(answer());
        Cell::recycle(other);
        assert_eq!(Arc::as_ptr(&Cell::under(Way::Admitted, None)), address);
    }
}
