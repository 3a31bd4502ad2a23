//! The iocbs, and how far each one's operation has come.

use crate::iocb::{BLANK, rings};
use crate::ring::Event;
use io_core::{Completion, Token};
use libaio_sys::iocb;
use std::ptr::NonNull;

/// How far the operation of an iocb has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none.
    Free,
    /// It waits to be submitted.
    Staged,
    /// The kernel has it.
    InFlight,
}

/// As many iocbs as the depth, and one more of the driver's own behind them. They never move (I5): the kernel and the queue
/// know them by address.
///
/// An operation gets any iocb that is free, not the one of its token's slot: a core may number its slots beyond the depth,
/// because some of them are busy elsewhere. The way back is as short: an event brings the iocb's address.
#[derive(Debug)]
pub(crate) struct Slots {
    /// An allocation of our own rather than a `Box`, whose content would be reachable through the box alone by Rust's rules.
    iocbs: NonNull<iocb>,
    states: Box<[State]>,
    /// The last one freed goes first: it is still in the cache.
    free: Vec<u32>,
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
        Slots { iocbs, states, free: (0..depth).rev().collect(), silent: 0, leaked: false }
    }

    /// Operations, staged or in flight.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.states.len() - self.free.len()
    }

    /// Those of them that will complete without ringing the bell.
    #[inline]
    pub(crate) fn silent(&self) -> u32 {
        self.silent
    }

    /// Gives an operation an iocb.
    ///
    /// # Panics
    /// If none is free.
    #[inline]
    pub(crate) fn stage(&mut self, token: Token, iocb: iocb) -> *mut iocb {
        let index = self.free.pop().expect("whoever stages has looked at the depth") as usize;
        self.states[index] = State::Staged;
        self.silent += u32::from(!rings(&iocb));
        let at = self.at(index);
        // SAFETY: it was free, so the kernel has finished with it (I2).
        unsafe { at.write(libaio_sys::iocb { aio_data: token.as_u64(), ..iocb }) };
        at
    }

    /// The kernel has taken a staged operation.
    #[inline]
    pub(crate) fn accepted(&mut self, at: *mut iocb) {
        let index = self.index(at.addr());
        self.states[index] = State::InFlight;
    }

    /// A staged operation is not the kernel's and will not be: its iocb is free. Returns whose it was, and what it said.
    pub(crate) fn withdraw(&mut self, at: *mut iocb) -> (Token, iocb) {
        let token = self.token_at(at);
        self.release(self.index(at.addr()), State::Staged, token);
        // SAFETY: one of ours, which nobody writes now.
        (token, unsafe { *at })
    }

    /// The kernel has answered: the iocb of that operation is free.
    ///
    /// # Panics
    /// If the operation is not in flight: an answer that is stale or came twice (I2, I4).
    #[inline]
    pub(crate) fn complete(&mut self, event: Event) -> Completion {
        self.release(self.index(event.iocb), State::InFlight, event.token);
        Completion::new(event.token, event.result)
    }

    #[inline]
    fn release(&mut self, index: usize, from: State, token: Token) {
        let right = self.states[index] == from && self.token_at(self.at(index)) == token;
        assert!(right, "an answer for {token:?}, which is not {from:?}");
        // SAFETY: one of ours, which nobody writes now.
        self.silent -= u32::from(!rings(unsafe { &*self.at(index) }));
        self.states[index] = State::Free;
        self.free.push(index as u32);
    }

    /// Where the operation's iocb is, and how far it has come. A search, for what is rare.
    pub(crate) fn find(&self, token: Token) -> Option<(*mut iocb, State)> {
        let used = self.states.iter().enumerate().filter(|&(_, &state)| state != State::Free);
        used.map(|(index, &state)| (self.at(index), state)).find(|&(at, _)| self.token_at(at) == token)
    }

    /// Fills the driver's own iocb, which the kernel does not have.
    pub(crate) fn set_own(&mut self, iocb: iocb) -> *mut iocb {
        let at = self.at(self.states.len());
        // SAFETY: ours, and the caller knows that the kernel has finished with it.
        unsafe { at.write(iocb) };
        at
    }

    /// Whose operation an iocb of this table is.
    #[inline]
    pub(crate) fn token_at(&self, at: *mut iocb) -> Token {
        // SAFETY: one of ours. The kernel, while it has it, writes `aio_key` during io_submit and nothing else.
        Token::from_u64(unsafe { (*at).aio_data })
    }

    /// Where an iocb is; the one behind the last is the driver's own.
    #[inline]
    fn at(&self, index: usize) -> *mut iocb {
        debug_assert!(index <= self.states.len());
        // SAFETY: within the allocation of depth + 1.
        unsafe { self.iocbs.as_ptr().add(index) }
    }

    /// Which iocb is at this address. What is none of the table's gives an index that no use of it survives.
    #[inline]
    fn index(&self, address: usize) -> usize {
        address.wrapping_sub(self.iocbs.as_ptr().addr()) / size_of::<iocb>()
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
    use crate::iocb::ringing;
    use std::fs::File;
    use std::os::fd::AsFd;

    fn event(token: Token, at: *mut iocb, result: i32) -> Event {
        Event { token, iocb: at.addr(), result }
    }

    #[test]
    fn iocbs_go_round() {
        let mut slots = Slots::new(2);
        let token = Token::new(Token::MAX_SLOT, 7);
        let at = slots.stage(token, BLANK);
        assert_eq!((slots.token_at(at), slots.find(token), slots.used()), (token, Some((at, State::Staged)), 1));
        slots.accepted(at);
        assert_eq!(slots.find(token), Some((at, State::InFlight)));
        assert_eq!(slots.complete(event(token, at, 5)), Completion::new(token, 5));
        assert_eq!((slots.find(token), slots.used()), (None, 0));
        assert_eq!(slots.stage(Token::new(0, 8), BLANK), at, "the one that is in the cache");
    }

    #[test]
    fn another_generation_is_another_operation() {
        let mut slots = Slots::new(1);
        slots.stage(Token::new(0, 7), BLANK);
        assert_eq!(slots.find(Token::new(0, 6)), None);
    }

    #[test]
    fn silent_operations_are_counted_until_they_are_over() {
        let mut slots = Slots::new(3);
        let bell = File::open("/dev/null").unwrap();
        let [a, b, c] = [0, 1, 2].map(|slot| Token::new(slot, 1));
        let at_a = slots.stage(a, BLANK);
        let at_b = slots.stage(b, BLANK);
        let at_c = slots.stage(c, ringing(BLANK, bell.as_fd()));
        assert_eq!(slots.silent(), 2);
        assert_eq!(slots.withdraw(at_a).0, a);
        assert_eq!(slots.silent(), 1);
        slots.accepted(at_b);
        slots.accepted(at_c);
        slots.complete(event(c, at_c, 0));
        assert_eq!(slots.silent(), 1);
        slots.complete(event(b, at_b, 0));
        assert_eq!((slots.silent(), slots.used()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "which is not InFlight")]
    fn a_doubled_answer_is_an_assertion() {
        let mut slots = Slots::new(1);
        let token = Token::new(0, 0);
        let at = slots.stage(token, BLANK);
        slots.accepted(at);
        slots.complete(event(token, at, 0));
        slots.complete(event(token, at, 0));
    }

    #[test]
    #[should_panic(expected = "which is not InFlight")]
    fn a_stale_answer_is_an_assertion() {
        let mut slots = Slots::new(1);
        let at = slots.stage(Token::new(0, 1), BLANK);
        slots.accepted(at);
        slots.complete(event(Token::new(0, 0), at, 0));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn an_answer_for_a_stranger_s_iocb_is_an_assertion() {
        let mut slots = Slots::new(1);
        let at = slots.stage(Token::new(0, 1), BLANK);
        slots.accepted(at);
        slots.complete(event(Token::new(0, 1), at.wrapping_sub(1), 0));
    }
}
