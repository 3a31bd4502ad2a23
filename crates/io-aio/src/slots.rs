//! The iocbs, one per slot, and how far each one's operation has come.

use crate::iocb::{BLANK, rings};
use crate::ring::Event;
use io_core::{Completion, Token};
use libaio_sys::iocb;
use std::ptr::NonNull;

/// How far the operation of a slot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The slot is free.
    Free,
    /// Its iocb waits to be submitted.
    Staged,
    /// The kernel has it.
    InFlight,
    /// Its completion waits in the driver for room in a batch.
    Finished,
}

/// One iocb per slot, and one more of the driver's own behind them. They never move (I5): the kernel and the queue know them
/// by address.
#[derive(Debug)]
pub(crate) struct Slots {
    /// An allocation of our own rather than a `Box`, whose content would be reachable through the box alone by Rust's rules.
    iocbs: NonNull<iocb>,
    states: Box<[State]>,
    used: u32,
    silent: u32,
    leaked: bool,
}

// SAFETY: the allocation belongs to this value alone.
unsafe impl Send for Slots {}

impl Slots {
    pub(crate) fn new(depth: u32) -> Slots {
        let iocbs = Box::into_raw(vec![BLANK; depth as usize + 1].into_boxed_slice());
        let iocbs = NonNull::new(iocbs.cast()).expect("a box is somewhere");
        let states = vec![State::Free; depth as usize].into_boxed_slice();
        Slots { iocbs, states, used: 0, silent: 0, leaked: false }
    }

    /// Slots that are not free.
    #[inline]
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Operations, staged or in flight, that will complete without ringing the bell.
    #[inline]
    pub(crate) fn silent(&self) -> u32 {
        self.silent
    }

    /// Puts an operation into its free slot, staged.
    ///
    /// # Panics
    /// If the slot is beyond the depth, or its operation has not completed.
    #[inline]
    pub(crate) fn stage(&mut self, token: Token, iocb: iocb) -> *mut iocb {
        self.silent += u32::from(!rings(&iocb));
        self.occupy(token, iocb, State::Staged)
    }

    /// Takes the slot of an operation that the kernel will not see.
    ///
    /// # Panics
    /// As [`Slots::stage`].
    pub(crate) fn reserve(&mut self, token: Token) {
        self.occupy(token, BLANK, State::Finished);
    }

    #[inline]
    fn occupy(&mut self, token: Token, iocb: iocb, state: State) -> *mut iocb {
        let slot = token.slot() as usize;
        assert!(slot < self.states.len(), "{token:?} has a slot beyond the depth of {}", self.states.len());
        assert!(self.states[slot] == State::Free, "{token:?} was prepared while its slot is {:?}", self.states[slot]);
        self.states[slot] = state;
        self.used += 1;
        let at = self.at(slot);
        // SAFETY: the slot was free, so the kernel has finished with its iocb (I2).
        unsafe { at.write(libaio_sys::iocb { aio_data: token.as_u64(), ..iocb }) };
        at
    }

    /// How far the operation has come; `Free` for one that is not the slot's current one.
    #[inline]
    pub(crate) fn state(&self, token: Token) -> State {
        let slot = token.slot() as usize;
        if slot < self.states.len() && self.token_at(self.at(slot)) == token { self.states[slot] } else { State::Free }
    }

    /// The kernel has taken a staged operation.
    #[inline]
    pub(crate) fn accepted(&mut self, token: Token) {
        self.states[token.slot() as usize] = State::InFlight;
    }

    /// The operation is over, but its completion has to wait in the driver.
    ///
    /// # Panics
    /// As [`Slots::complete`].
    pub(crate) fn finish(&mut self, token: Token, from: State) {
        self.leave(token, from);
        self.states[token.slot() as usize] = State::Finished;
    }

    /// Frees the slot of an operation in flight that the kernel has answered.
    ///
    /// # Panics
    /// If that operation is not in flight: an answer that is stale or came twice (I2, I4).
    #[inline]
    pub(crate) fn complete(&mut self, event: Event) -> Completion {
        self.leave(event.token, State::InFlight);
        self.free(event.token);
        Completion::new(event.token, event.result)
    }

    /// Frees the slot of an operation whose completion waited in the driver.
    pub(crate) fn deliver(&mut self, token: Token) {
        assert!(self.state(token) == State::Finished, "a completion for {token:?}, which is not finished");
        self.free(token);
    }

    #[inline]
    fn leave(&mut self, token: Token, from: State) {
        assert!(self.state(token) == from, "an answer for {token:?}, which is not {from:?}");
        // SAFETY: in its place, and nobody writes it now.
        let silent = !rings(unsafe { &*self.iocb(token) });
        self.silent -= u32::from(silent);
    }

    #[inline]
    fn free(&mut self, token: Token) {
        self.states[token.slot() as usize] = State::Free;
        self.used -= 1;
    }

    /// Fills the driver's own iocb, which the kernel does not have.
    pub(crate) fn set_own(&mut self, iocb: iocb) -> *mut iocb {
        let at = self.at(self.states.len());
        // SAFETY: ours, and the caller knows that the kernel has finished with it.
        unsafe { at.write(iocb) };
        at
    }

    /// Where the operation's iocb is.
    pub(crate) fn iocb(&self, token: Token) -> *mut iocb {
        self.at(token.slot() as usize)
    }

    /// Whose operation an iocb of this table is.
    #[inline]
    pub(crate) fn token_at(&self, at: *mut iocb) -> Token {
        // SAFETY: one of ours. The kernel, while it has it, writes `aio_key` during io_submit and nothing else.
        Token::from_u64(unsafe { (*at).aio_data })
    }

    /// Where a slot's iocb is; the one behind the last is the driver's own.
    #[inline]
    fn at(&self, slot: usize) -> *mut iocb {
        debug_assert!(slot <= self.states.len());
        // SAFETY: within the allocation of depth + 1.
        unsafe { self.iocbs.as_ptr().add(slot) }
    }

    /// Leaves the iocbs where they are, for ever.
    pub(crate) fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        let all = std::ptr::slice_from_raw_parts_mut(self.iocbs.as_ptr(), self.states.len() + 1);
        // SAFETY: made of a box of this length in `new`; whoever drops this knows that the kernel has finished with them.
        drop(unsafe { Box::from_raw(all) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn event(token: Token, result: i32) -> Event {
        Event { token, result }
    }

    #[test]
    fn slots_go_round() {
        let mut slots = Slots::new(2);
        let token = Token::new(1, 7);
        let at = slots.stage(token, BLANK);
        assert_eq!((slots.token_at(at), slots.state(token), slots.used()), (token, State::Staged, 1));
        slots.accepted(token);
        assert_eq!(slots.complete(event(token, 5)), Completion::new(token, 5));
        assert_eq!((slots.state(token), slots.used()), (State::Free, 0));
        assert_eq!(slots.stage(Token::new(1, 8), BLANK), at, "the same place for the same slot");
    }

    #[test]
    fn another_generation_is_another_operation() {
        let mut slots = Slots::new(1);
        slots.stage(Token::new(0, 7), BLANK);
        assert_eq!(slots.state(Token::new(0, 6)), State::Free);
        assert_eq!(slots.state(Token::new(9, 7)), State::Free, "beyond the depth");
    }

    #[test]
    fn silent_operations_are_counted_until_they_are_over() {
        let mut slots = Slots::new(4);
        let bell = File::open("/dev/null").unwrap();
        let tokens: Vec<Token> = (0..4).map(|slot| Token::new(slot, 1)).collect();
        slots.stage(tokens[0], BLANK);
        slots.stage(tokens[1], BLANK);
        slots.stage(tokens[2], crate::iocb::ringing(BLANK, bell.as_fd()));
        slots.reserve(tokens[3]);
        assert_eq!(slots.silent(), 2);
        slots.finish(tokens[0], State::Staged);
        assert_eq!(slots.silent(), 1);
        slots.accepted(tokens[1]);
        slots.accepted(tokens[2]);
        slots.complete(event(tokens[2], 0));
        assert_eq!(slots.silent(), 1);
        slots.complete(event(tokens[1], 0));
        slots.deliver(tokens[0]);
        slots.deliver(tokens[3]);
        assert_eq!((slots.silent(), slots.used()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "was prepared while its slot is Staged")]
    fn a_slot_in_use_is_not_given_twice() {
        let mut slots = Slots::new(1);
        slots.stage(Token::new(0, 0), BLANK);
        slots.stage(Token::new(0, 1), BLANK);
    }

    #[test]
    #[should_panic(expected = "which is not InFlight")]
    fn a_doubled_answer_is_an_assertion() {
        let mut slots = Slots::new(1);
        let token = Token::new(0, 0);
        slots.stage(token, BLANK);
        slots.accepted(token);
        slots.complete(event(token, 0));
        slots.complete(event(token, 0));
    }

    #[test]
    #[should_panic(expected = "beyond the depth of 4")]
    fn a_slot_beyond_the_depth_is_an_assertion() {
        Slots::new(4).stage(Token::new(4, 0), BLANK);
    }
}
